"""Times what a person in a notebook waits for. Usage: python bench.py HRLAB, in the folder notebooks.

Prints a Markdown table: what, the best of three in seconds, and what it should be below. XLA:CPU or better is expected, and
random filters are used: they cost what VGG19 costs.
"""

import atexit
import itertools
import os
import subprocess
import sys
import tempfile
import time

from jupyter_client.manager import KernelManager

IMPORTS = 'import (\n"hrlab/experiments"\n"hrlab/hrstyle"\n"hrlab/notebooks/nb"\n"hrlab/report"\n"hrlab/tracker"\n)\n'
FIT = """%%%%
ctx := nb.Context()
config := hrstyle.Default
config.Size, config.Steps, config.ReportEvery, config.ContentWeight = 128, 10, 5, %d
nb.Must(hrstyle.Last(nb.Curves(%s.Fit(ctx, "bench", nb.Pair("", ""), config))))"""

hrlab = sys.argv[1]
folder = tempfile.TemporaryDirectory(prefix="hrlab-bench-", ignore_cleanup_errors=True)
dir = folder.name
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
        m = client.get_iopub_msg(timeout=120)
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


another = itertools.count(1)  # a cell that was built before is not built again


def fit(lab):
    return cell(FIT % (next(another), lab), "data:image/jpeg")


def row(what, seconds, wanted):
    print(f"| {what} | {seconds:.2f} | {wanted} |", flush=True)


print("| what | seconds | wanted |\n|---|---|---|")
row("second `hrlab notebook install`", best(lambda: timed(lambda: subprocess.run([hrlab, "notebook", "install"], check=True, stderr=subprocess.DEVNULL))), 3)
ready = timed(kernel)
atexit.register(lambda: manager.shutdown_kernel())
row("kernel ready", ready, 1)
time.sleep(1)  # a subscription to outputs takes a moment, and what comes before is lost
cell("%noautoget\n" + IMPORTS + '%%\nfmt.Println(nb.Param("x", 1), report.Output, hrstyle.Default.Size, tracker.Finished)')
row("trivial cell, warm", best(lambda: cell(f"%%\nfmt.Println({next(another)})")), 0.3)
row("cell that imports hrlab and queries the tracker", best(lambda: cell(f'%%\nctx := nb.Context()\nfmt.Println({next(another)}, len(nb.Must(nb.Tracker(ctx).Runs(ctx, tracker.Query{{}}))), report.Output)')), 0.8)
row("first picture of a 10-step fit at 128 px, the worker's first", fit('nb.Lab(ctx, "auto")'), 10)
row("the same, worker warm", best(lambda: fit('nb.Lab(ctx, "auto")')), 3)
row("the same, in the cell", best(lambda: fit('nb.LabHere(ctx, "auto")')), 10)
