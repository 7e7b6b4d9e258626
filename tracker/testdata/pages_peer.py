"""Times what the table of runs takes of the server, with 2,000 runs of 100 steps: of hrlab serve, MLflow's server and trackio, by turns.

Usage: pages_peer.py HRLAB. hrlab sends the table as HTML. The pages of the others are programs that ask for JSON: MLflow's for the runs
that it shows, trackio's for a summary of the project and then for one of each run.
"""

import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
import mlflow
from mlflow.entities import Metric, Param, RunTag

RUNS, STEPS, SHOWN = 2000, 100, 100
folder = tempfile.TemporaryDirectory()
os.environ["TRACKIO_DIR"] = folder.name + "/trackio"
try:
    from trackio.sqlite_storage import SQLiteStorage
except ImportError:
    SQLiteStorage = None
    print("no trackio beside it: pip install trackio")


def params(i):
    return {"content_weight": i % 101, "style_weight": i % 11, "size": 128, "steps": STEPS, "seed": i, "gram": "mean"}


def values(i):
    points = [("total", step, float(i * step % 997)) for step in range(STEPS)]
    return points + [(name, STEPS - 1, i % 977 / 977) for name in ("ssim", "content_kept", "style_match", "seconds")]


def fill(uri):
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("e")
    for i in range(RUNS):
        run = client.create_run(experiment, run_name=f"run {i}").info.run_id
        client.log_batch(run, [Metric(name, v, 0, step) for name, step, v in values(i)], [Param(k, str(v)) for k, v in params(i).items()], [RunTag("pair", str(i % 7))])
        client.set_terminated(run)
    return experiment


def ask(url, body=None):
    request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def serve(*command):
    """Starts a server on a free port; returns its address once it answers, and the seconds until then."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    began = time.time()
    servers.append(subprocess.Popen([part.replace("PORT", str(port)) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    while time.time() - began < 120:
        try:
            ask(f"http://127.0.0.1:{port}/")
            return f"http://127.0.0.1:{port}", time.time() - began
        except urllib.error.HTTPError:
            return f"http://127.0.0.1:{port}", time.time() - began
        except OSError:
            time.sleep(0.01)
    sys.exit(f"{command[0]} does not answer")


servers = []
root = pathlib.Path(folder.name)
try:
    ours, started = serve(sys.argv[1], "serve", "--addr", "127.0.0.1:PORT", "--db", f"{root}/hrlab.db")
    print(f"hrlab answers after {started:.2f} s")
    fill(ours)
    experiment = fill(f"sqlite:///{root}/mlflow.db")
    theirs, started = serve(sys.executable, "-m", "mlflow", "server", "--port", "PORT", "--workers", "1", "--backend-store-uri", f"sqlite:///{root}/mlflow.db", "--default-artifact-root", f"{root}/files")
    print(f"MLflow answers after {started:.2f} s")
    pages = {
        "hrlab": lambda: ask(f"{ours}/runs?experiment=e&limit={SHOWN}"),
        "MLflow": lambda: ask(f"{theirs}/ajax-api/2.0/mlflow/runs/search", {"experiment_ids": [experiment], "max_results": SHOWN, "order_by": ["attributes.start_time DESC"], "run_view_type": "ACTIVE_ONLY"}),
    }
    if SQLiteStorage:
        for i in range(RUNS):
            by_step = {}
            for name, step, v in values(i):
                by_step.setdefault(step, {})[name] = v
            SQLiteStorage.bulk_log("e", f"run {i}", list(by_step.values()), list(by_step), config=params(i), run_id=f"r{i}")
        trackio, started = serve(sys.executable, "-c", "import trackio; trackio.show(open_browser=False, block_thread=True, server_port=PORT)")
        print(f"trackio answers after {started:.2f} s")

        def dashboard():
            runs = json.loads(ask(f"{trackio}/api/get_project_summary", {"project": "e"}))["data"]["runs"]
            for run in runs[: RUNS // 20]:  # a twentieth of what its page asks for
                name = run["name"] if isinstance(run, dict) else run
                json.loads(ask(f"{trackio}/api/get_run_summary", {"project": "e", "run": name}))["data"]

        pages["trackio, a twentieth"] = dashboard
    took = {name: [] for name in pages}
    for turn in range(11):
        for name, page in pages.items():
            began = time.time()
            page()
            if turn:  # the first warms up
                took[name].append(1000 * (time.time() - began))
    base = statistics.median(took["hrlab"])
    for name, list_ in took.items():
        print(f"{name:22} {statistics.median(list_):9.1f} ms ({min(list_):.1f} to {max(list_):.1f}), {statistics.median(list_) / base:.1f} times hrlab's")
finally:
    for server in servers:
        server.send_signal(signal.SIGTERM)
        server.wait()
    folder.cleanup()
