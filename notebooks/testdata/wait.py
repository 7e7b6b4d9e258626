"""Executes cells that wait for each other's fits, and restarts their kernel: for TestWait. Prints what a cell shows meanwhile.

The argument is the program hrlab."""

import json
import re
import subprocess
import sys
import time

from jupyter_client.manager import start_new_kernel

TIMEOUT = 300  # seconds: machines that test are loaded
SETUP = """import (
	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/notebooks/nb"
)
%%
ctx := nb.Context()
lab := nb.Lab(ctx, "random")
first, second := hrstyle.Default, hrstyle.Default
first.Size, first.Steps, first.ReportEvery = 64, 100000, 1
second = first
second.Seed = 1
"""
WAITS = SETUP + """nb.Must(lab.(experiments.WarmLab).Enqueue(ctx, "wait", nb.Pair("", ""), experiments.List(first)))
nb.Must(hrstyle.Last(nb.Curves(lab.Fit(ctx, "wait", nb.Pair("", ""), second))))"""


def shown(client, pattern):
    """Returns the first output that matches, in HTML and in plain text, as text."""
    while True:
        message = client.get_iopub_msg(timeout=TIMEOUT)
        data = message["content"].get("data", {})
        text, plain = re.sub("<[^>]*>", "", data.get("text/html", "")).strip(), data.get("text/plain", "")
        if re.search(pattern, text) and re.search(pattern, plain):
            return text.splitlines()[0]


def states(hrlab):
    """Returns the status of every run."""
    runs = json.loads(subprocess.check_output([hrlab, "runs", "list", "--sort", "id", "--json"]))
    return [run["status"] for run in runs]


def main():
    hrlab = sys.argv[1]
    manager, client = start_new_kernel(kernel_name="hrlab", startup_timeout=TIMEOUT)
    try:
        client.execute(WAITS)
        print(shown(client, r"^waiting for run 1, [2-9] s$"))
        subprocess.check_call([hrlab, "queue", "cancel", "1"])
        print(shown(client, r"^fitting: step [1-9]"))
        manager.restart_kernel()
        client.wait_for_ready(timeout=TIMEOUT)
        until = time.monotonic() + TIMEOUT  # the cell's process ends by itself, after the kernel
        while set(states(hrlab)) != {"stopped"} and time.monotonic() < until:
            time.sleep(0.2)
        print(*states(hrlab))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


main()
