"""Logs metrics to MLflow's SQLite store as BenchmarkLog5 and BenchmarkLogBatch1000 do; prints metrics a second."""

import pathlib
import tempfile
import time

import mlflow
from mlflow.entities import Metric

with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "mlflow.db"
    mlflow.set_tracking_uri(f"sqlite:///{path}")
    client = mlflow.MlflowClient()
    run = client.create_run(client.create_experiment("e")).info.run_id

    def log(steps, first, per):
        now = int(time.time() * 1000)
        client.log_batch(run, [Metric(name, 1.0, now, first + s) for s in range(steps) for name in "abcde"][:per])

    log(1, 0, 5)
    began, n = time.time(), 0
    while time.time() - began < 5:
        log(1, 1 + n, 5)
        n += 1
    print(f"MLflow, 5 a step            {5 * n / (time.time() - began):10.0f} metrics/s")
    began, n = time.time(), 0
    while time.time() - began < 5:
        log(200, 100_000 + 200 * n, 1000)
        n += 1
    print(f"MLflow, batches of 1000     {1000 * n / (time.time() - began):10.0f} metrics/s")
