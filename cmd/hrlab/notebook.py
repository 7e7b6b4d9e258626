"""Executes one notebook for hrlab notebook run.

Standard input has a JSON object: file, out (empty: nowhere) and kernel. Standard output gets a JSON object a line: one for
every code cell that was executed, one with an error for one that failed. With an error the exit code is 1.
"""

import asyncio
import json
import os
import queue
import re
import signal
import sys
import time

import nbformat
from nbclient import NotebookClient
from nbclient.client import CellExecutionComplete
from nbclient.exceptions import CellExecutionError, DeadKernelError

ANSI = re.compile(r"\x1b\[[0-9;]*m")
# GoNB's ways to say where in a cell something is: of the compiler's errors, and in what a program says.
LINE = re.compile(r"Cell ?\[\d+\]:? Line (\d+)")
NOISE = re.compile(r"^(exit status \d+|\^C|hrlab: at .*|signal: .*)$")


def tell(**what):
    print(json.dumps(what), flush=True)


def explain(cell):
    """Returns a failed cell's error as one line, and its line in the cell, or 0."""
    said, error = "", {}
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stderr":
            said += output.text
        elif output.output_type == "error":
            error = output
    trace = ANSI.sub("", "\n".join(error.get("traceback", [])))
    said = ANSI.sub("", said)
    where = LINE.search(said) or LINE.search(trace)
    lines = [line for line in (l.strip() for l in said.splitlines()) if line and not NOISE.match(line)]
    panics = [line for line in lines if line.startswith("panic:")]
    compiler = [re.sub(r"^\S*main\.go:\d+:\d+: ", "", l) for l in error.get("evalue", "").splitlines() if re.search(r"main\.go:\d+:\d+: ", l)]
    message = (compiler + panics + lines[-1:] + [error.get("evalue", "").splitlines()[0] if error.get("evalue") else "no message"])[0]
    return message.removeprefix("hrlab: "), int(where.group(1)) if where else 0


def main():
    job = json.load(sys.stdin)
    try:
        notebook = nbformat.read(job["file"], as_version=4)
    except Exception as error:
        sys.exit(f"is no notebook: {str(error).splitlines()[0]}")
    code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()]
    began = [0.0]

    def interrupt():
        """Stops the cell as the stop button does, so that its run is stopped too. A second signal would kill it."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
        asyncio.ensure_future(client.km.interrupt_kernel())

    def started(cell, cell_index):
        if cell_index == code[0]:
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
        began[0] = time.time()

    def done(cell, cell_index, execute_reply):
        if execute_reply["content"]["status"] == "ok":
            tell(cell=code.index(cell_index) + 1, cells=len(code), seconds=time.time() - began[0])

    async def late(cell, cell_index, execute_reply):
        """GoNB replies before it has published all that a failed cell said."""
        while True:
            try:
                client.process_message(await client.kc.get_iopub_msg(timeout=0.5), cell, cell_index)
            except CellExecutionComplete:
                pass
            except queue.Empty:
                return

    client = NotebookClient(
        notebook, timeout=None, kernel_name=job["kernel"], record_timing=False,
        resources={"metadata": {"path": os.path.dirname(os.path.abspath(job["file"]))}},
        on_cell_start=started, on_cell_executed=done, on_cell_error=late,
    )
    failed = False
    try:
        client.execute()
    except (CellExecutionError, DeadKernelError) as error:
        failed = True
        at = next((i for i in code if any(o.output_type == "error" for o in notebook.cells[i].outputs)), None)
        if at is None:
            tell(cell=0, cells=len(code), error=str(error).splitlines()[0], line=0, source="")
        else:
            message, line = explain(notebook.cells[at])
            tell(cell=code.index(at) + 1, cells=len(code), error=message, line=line, source=notebook.cells[at].source)
    if job["out"]:
        with open(job["out"] + ".part", "w") as out:
            nbformat.write(notebook, out)
        os.replace(job["out"] + ".part", job["out"])
    sys.exit(1 if failed else 0)


main()
