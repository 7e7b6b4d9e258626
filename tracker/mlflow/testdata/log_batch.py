"""Logs metrics by MLflow's client to the server of MLFLOW_TRACKING_URI; prints metrics a second: 5 a call, and 1000 a call."""

import time

import mlflow
from mlflow.entities import Metric

client = mlflow.MlflowClient()
run = client.create_run(client.create_experiment(f"e{time.time()}")).info.run_id


def rate(steps, first, seconds=5):
    began, n = time.time(), 0
    while time.time() - began < seconds:
        now = int(time.time() * 1000)
        client.log_batch(run, [Metric(name, 1.0, now, first + steps * n + s) for s in range(steps) for name in "abcde"])
        n += 1
    return 5 * steps * n / (time.time() - began)


rate(1, 0, 0.2)  # the first call takes longer
print(rate(1, 1_000), rate(200, 1_000_000))
