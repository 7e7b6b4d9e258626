"""Executes one notebook for hrlab notebook run.

Arguments: file, out (empty: nowhere) and kernel. Standard output gets a JSON object a line: one for every code cell that was
executed, one with an error for one that failed. With an error the exit code is 1. It is 2 with a line on standard error where
the file is not a notebook or the copy cannot be written.
"""

import asyncio
import json
import os
import re
import signal
import sys
import time

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

ANSI = re.compile(r"\x1b\[[0-9;]*m")
# GoNB's ways to say where in a cell something is: of the compiler's errors, and in a stack trace, where it misses what comes in
# pieces.
LINE = re.compile(r"Cell ?\[(\d+)\]:? Line (\d+)")
FRAME = re.compile(r"(?:Cell \[(\d+)\] Line (\d+) \]\] )?(/\S+/main\.go):(\d+)")
NOISE = re.compile(r"^(exit status \d+|\^C|hrlab: at .*|signal: .*)$")


def refuse(message):
    print(message, file=sys.stderr)
    sys.exit(2)


class Stopped(Exception):
    """Ends the execution between two cells."""


def tell(**what):
    print(json.dumps(what), flush=True)


def explain(cell, count):
    """Returns the error of a failed cell, the count-th that was executed, as one line, and its line in the cell, or 0."""
    said, error = "", {}
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stderr":
            said += output.text
        elif output.output_type == "error":
            error = output
    trace = ANSI.sub("", "\n".join(error.get("traceback", [])))
    said = ANSI.sub("", said)
    lines = [line for line in (l.strip() for l in said.splitlines()) if line and not NOISE.match(line)]
    panics = [line for line in lines if line.startswith("panic:")]
    compiler = [re.sub(r"^\S*main\.go:\d+:\d+: ", "", l) for l in error.get("evalue", "").splitlines() if re.search(r"main\.go:\d+:\d+: ", l)]
    message = (compiler + panics + lines[-1:] + [error.get("evalue", "").splitlines()[0] if error.get("evalue") else "no message"])[0]
    return message.removeprefix("hrlab: "), place(said, trace, cell.source, count)


def place(said, trace, source, count):
    """Returns the first line of this cell that a stack trace or the compiler names, or 0."""
    for cell, line, file, number in FRAME.findall(said):
        if cell and int(cell) == count:
            return int(line)
        if cell or not os.path.exists(file):
            continue
        with open(file, encoding="utf-8") as built:
            text = "".join(built.read().splitlines()[int(number) - 1].split())
        for i, line in enumerate(source.splitlines(), 1):
            if "".join(line.split()) == text:
                return i
    return next((int(line) for cell, line in LINE.findall(said + trace) if int(cell) == count), 0)


def main():
    file, out, kernel = sys.argv[1:]
    try:
        notebook = nbformat.read(file, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:
        refuse(f"{file}: is not a notebook: {str(error).splitlines()[0]}")
    code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()]
    began = 0.0
    at = None  # the code cell that is executed
    explanation = "", 0  # why the last cell failed

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

    def explained(cell, cell_index, execute_reply):
        """Explains while the kernel lives: its files go with it."""
        nonlocal explanation
        explanation = explain(cell, execute_reply["content"]["execution_count"])

    client = NotebookClient(
        notebook, timeout=None, iopub_timeout=600, kernel_name=kernel, record_timing=False,
        resources={"metadata": {"path": os.getcwd()}},  # a name on the command line is the same file in a cell
        on_cell_start=started, on_cell_executed=done, on_cell_error=explained,
    )
    failed = False
    try:
        if code:
            client.execute()
    except (CellExecutionError, DeadKernelError, Stopped) as error:
        failed = True
        message, line = explanation if isinstance(error, CellExecutionError) else (str(error) or "stopped", 0)
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
