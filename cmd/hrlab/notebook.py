"""Executes one notebook for hrlab notebook run.

Arguments: file, out (empty: nowhere) and kernel. Standard output gets a JSON object a line: one for every code cell that was
executed, one with an error for one that failed. With an error the exit code is 1. It is 2 with a line on standard error where
the file is no notebook or the copy cannot be written.
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


def refuse(message):
    print(message, file=sys.stderr)
    sys.exit(2)


class Stopped(Exception):
    """Ends the execution between two cells."""


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
    file, out, kernel = sys.argv[1:]
    try:
        notebook = nbformat.read(file, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:
        refuse(f"{file}: is no notebook: {str(error).splitlines()[0]}")
    code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()]
    began = 0.0
    at = None  # the code cell that is executed

    def interrupt():
        """Stops the cell as the stop button does, so that its run is stopped too. A second signal would kill it."""
        client.force_raise_errors = True  # of a cell that may fail, too
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
        asyncio.ensure_future(client.km.interrupt_kernel())

    def started(cell, cell_index):
        nonlocal began, at
        if cell_index not in code:
            return
        if at is None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
        if client.force_raise_errors:
            raise Stopped  # the cell before came to its end all the same
        at, began = cell_index, time.time()

    def done(cell, cell_index, execute_reply):
        if execute_reply["content"]["status"] == "ok" or "raises-exception" in cell.metadata.get("tags", []):
            tell(cell=code.index(cell_index) + 1, cells=len(code), seconds=time.time() - began)

    async def late(cell, cell_index, execute_reply):
        """GoNB replies before it has published all that a failed cell said: mostly that ends with where it was."""
        patience = time.monotonic() + 5
        while True:
            try:
                client.process_message(await client.kc.get_iopub_msg(timeout=0.5), cell, cell_index)
            except CellExecutionComplete:
                pass
            except queue.Empty:
                if explain(cell)[1] or time.monotonic() > patience:
                    return

    client = NotebookClient(
        notebook, timeout=None, iopub_timeout=600, kernel_name=kernel, record_timing=False,
        resources={"metadata": {"path": os.path.dirname(os.path.abspath(file))}},
        on_cell_start=started, on_cell_executed=done, on_cell_error=late,
    )
    failed = False
    try:
        if code:
            client.execute()
    except (CellExecutionError, DeadKernelError, Stopped) as error:
        failed = True
        message, line = explain(notebook.cells[at])
        if isinstance(error, DeadKernelError):
            message, line = "the kernel died", 0
        tell(cell=code.index(at) + 1, cells=len(code), error=message, line=line, source=notebook.cells[at].source)
    if out:
        part = out + ".part"
        try:
            with open(part, "w", encoding="utf-8") as executed:
                nbformat.write(notebook, executed)
            os.replace(part, out)
        except OSError as error:
            if os.path.exists(part):
                os.remove(part)
            refuse(f"{out}: cannot be written: {error.strerror}")
    sys.exit(1 if failed else 0)


main()
