"""Times what a person in a notebook waits for. Usage: python bench.py HRLAB, in the folder notebooks.

Prints a Markdown table: what, the best of three in seconds, and what it should be below. XLA:CPU or better is expected, and
random filters are used: they cost what VGG19 costs.
"""

import os
import subprocess
import sys
import tempfile
import time

from jupyter_client.manager import KernelManager

IMPORTS = 'import (\n"hrlab/experiments"\n"hrlab/hrstyle"\n"hrlab/notebooks/nb"\n"hrlab/tracker"\n)\n'
FIT = """%%%%
ctx := nb.Context()
config := hrstyle.Default
config.Size, config.Steps, config.ReportEvery, config.ContentWeight = 128, 10, 5, %d
nb.Must(hrstyle.Last(nb.Curves(%s.Fit(ctx, "bench", nb.Pair("", ""), config))))"""

hrlab = sys.argv[1]
dir = tempfile.mkdtemp(prefix="hrlab-bench-")
os.environ.update(HRLAB_DB=os.path.join(dir, "hrlab.db"), HRLAB_VGG="random")


def timed(what):
    began = time.monotonic()
    what()
    return time.monotonic() - began


def kernel():
    global manager, client
    manager = KernelManager(kernel_name="hrlab")
    manager.start_kernel(cwd=dir)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)


def cell(code, until=None):
    """Executes code; with until only to the first output that has this text."""
    began, seen = time.monotonic(), None
    id = client.execute(code)
    while True:
        m = client.get_iopub_msg(timeout=600)
        if m["parent_header"].get("msg_id") != id:
            continue
        if m["msg_type"] == "error":
            sys.exit(f"the cell failed: {m['content']['evalue']}")
        if seen is None and until and until in m["content"].get("data", {}).get("text/html", ""):
            seen = time.monotonic() - began
        if m["msg_type"] == "status" and m["content"]["execution_state"] == "idle":
            return seen if until else time.monotonic() - began


def best(what):
    return min(what() for _ in range(3))


weight = iter(range(1, 100))


def fit(lab):
    return cell(FIT % (next(weight), lab), "data:image/jpeg")


rows = [("second `hrlab notebook install`", best(lambda: timed(lambda: subprocess.run([hrlab, "notebook", "install"], check=True, stderr=subprocess.DEVNULL))), 3)]
ready = timed(kernel)
rows.append(("kernel ready", ready, 1))
cell("%noautoget\n" + IMPORTS + '%%\nfmt.Println(nb.Param("x", 1), experiments.Output, hrstyle.Default.Size, tracker.Finished)')
rows.append(("trivial cell, warm", best(lambda: cell("%%\nfmt.Println(1)")), 0.3))
rows.append(("cell that imports hrlab and queries the tracker", best(lambda: cell('%%\nctx := nb.Context()\nfmt.Println(len(nb.Must(nb.Tracker(ctx).Runs(ctx, tracker.Query{}))), experiments.Output)')), 0.8))
rows.append(("first picture of a 10-step fit at 128 px, in the cell", best(lambda: fit('nb.LabHere(ctx, "auto")')), 10))
rows.append(("the same, first fit of a worker", fit('nb.Lab(ctx, "auto")'), 10))
rows.append(("the same, worker warm", best(lambda: fit('nb.Lab(ctx, "auto")')), 3))
manager.shutdown_kernel()

print("| what | seconds | wanted |\n|---|---|---|")
for what, seconds, wanted in rows:
    print(f"| {what} | {seconds:.2f} | {wanted} |")
