"""Times fits by turns alone and while 200 clients follow them by the server-sent events of hrlab serve.

Usage: watched.py HRLAB CONTENT STYLE [TURNS]
"""

import asyncio
import json
import os
import pathlib
import re
import statistics
import sys
import tempfile

CLIENTS, STEPS = 200, 100
hrlab, content, style = sys.argv[1:4]
turns = int(sys.argv[4]) if len(sys.argv) > 4 else 7


async def watch(port, got):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while data := await reader.read(1 << 16):
            got.append(len(data))
    finally:
        writer.close()


def busy(pid):
    """The processor time that a process has taken, in seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def fit(folder):
    """Fits, and returns the seconds a step, without start and compilation."""
    command = [hrlab, "fit", "--content", content, "--style", style, "--size", "96", "--style-size", "96", "--steps", str(STEPS), "--report-every", "10"]
    steps = folder / "steps.json"
    process = await asyncio.create_subprocess_exec(*command, "--db", folder / "hrlab.db", "--json", steps, "--out", folder / "out.png", stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    if process.returncode:
        sys.exit(said.decode())
    lines = [json.loads(line) for line in steps.read_text().splitlines()]
    return (lines[-1]["seconds"] - lines[0]["seconds"]) / (lines[-1]["step"] - lines[0]["step"])


async def main(folder):
    server = await asyncio.create_subprocess_exec(hrlab, "serve", "--addr", "127.0.0.1:0", "--db", folder / "hrlab.db", stderr=asyncio.subprocess.PIPE)
    try:
        port = int(re.search(rb":(\d+) shows", await server.stderr.readline())[1])
        alone, watched, got, took = [], [], [], []
        for turn in range(turns):
            for kind in (alone, watched) if turn % 2 == 0 else (watched, alone):
                clients = [asyncio.create_task(watch(port, got)) for _ in range(CLIENTS if kind is watched else 0)]
                await asyncio.sleep(1)  # they are connected
                before = busy(server.pid)
                kind.append(await fit(folder))
                if kind is watched:
                    took.append(busy(server.pid) - before)
                for client in clients:
                    client.cancel()
                await asyncio.gather(*clients, return_exceptions=True)
        peak = re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{server.pid}/status").read_text())[1]
    finally:
        server.terminate()
        await server.wait()
    ratios = [w / a for w, a in zip(watched, alone)]
    for name, list_ in ("alone", alone), ("watched", watched):
        print(f"s/step {name}:", " ".join(f"{t:.4f}" for t in list_))
    print(f"watched / alone: median {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}); {sum(got) / 1e6:.1f} MB sent; the server took {int(peak) / 1000:.0f} MB and {statistics.median(took):.2f} s of a processor a fit of {STEPS * statistics.median(watched):.1f} s")


with tempfile.TemporaryDirectory() as name:
    asyncio.run(main(pathlib.Path(name)))
