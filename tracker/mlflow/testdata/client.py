"""Logs a run by MLflow's client to the server of MLFLOW_TRACKING_URI, reads it back, and prints what it found."""

import tempfile

import mlflow
import numpy
from mlflow.entities import Metric, Param, RunTag

client = mlflow.MlflowClient()
print("experiment 0:", client.get_experiment("0").name)
mlflow.set_experiment("boat")

picture = numpy.zeros((30, 40, 3), numpy.uint8)
picture[:, :, 0] = 200
with mlflow.start_run(run_name="first", tags={"kind": "test"}) as run:
    id = run.info.run_id
    mlflow.log_params({f"p{i}": i / 2 for i in range(19)} | {"text": 'ä "quoted" \\'})
    for step in range(200):
        mlflow.log_metrics({"loss": 1000 / (step + 1), "a b": -step}, step=step)
    client.log_batch(id, [Metric("batch", step / 4, 0, step) for step in range(600)], [], [])
    client.log_batch(id, [Metric("odd", float(v), 0, step) for step, v in enumerate(["nan", "inf", "-inf"])], [Param("last", "1e-05")], [RunTag("more", "yes")])
    mlflow.log_image(picture, key="out/put", step=7)
    mlflow.log_image(picture, "still.png")
    mlflow.log_text("hello", "notes/ä b.txt")
    mlflow.set_tag("gone", "soon")
    mlflow.delete_tag("gone")
    print("meanwhile", client.get_run(id).info.status)

found = client.get_run(id)
print("run", found.info.run_name, found.info.status, found.info.lifecycle_stage, found.info.end_time >= found.info.start_time)
print("params", len(found.data.params), found.data.params["p3"], found.data.params["last"], found.data.params["text"])
print("tags", found.data.tags["kind"], found.data.tags["more"], "gone" in found.data.tags)
print("metrics", sorted(found.data.metrics.items()))
history = client.get_metric_history(id, "loss")
print("history", len(history), history[3].step, history[3].value, [m.value for m in client.get_metric_history(id, "odd")])
print("artifacts", [(f.path, f.is_dir, f.file_size) for f in client.list_artifacts(id)], [f.path for f in client.list_artifacts(id, "notes")])
print("text", mlflow.artifacts.load_text(f"runs:/{id}/notes/ä b.txt"))
with tempfile.TemporaryDirectory() as folder:
    same = (numpy.asarray(mlflow.artifacts.load_image(f"runs:/{id}/still.png")) == picture).all()
    everything = client.download_artifacts(id, "images", folder)
    print("still is the same", same, "| folder", everything.removeprefix(folder))

for i in range(25):
    with mlflow.start_run(run_name=f"more {i}"):
        mlflow.log_param("i", i)
        mlflow.log_metric("i", i)


def names(filter="", **more):
    return [r.info.run_name for r in client.search_runs([run.info.experiment_id], filter, **more)]


print("all", len(names()))
print("by number", names("metrics.i > 20.5 AND metrics.i <= 23", order_by=["metrics.i DESC"]))
print("by text", names("params.i = '3'"), names("tags.kind = 'test' and metrics.`a b` < 0 and attributes.status = 'FINISHED'"))
print("by name", names("run_name ILIKE '%RE 2%'", order_by=["run_name"]), names(f"attributes.run_id IN ('{id}', 'x')"))
print("by time", len(names(f"start_time >= {found.info.start_time}")), len(names(f"end_time < {found.info.start_time}")))
print("by absence", names("params.i IS NULL"), len(names("params.i IS NOT NULL")))
page, token, pages = [], None, 0
while pages == 0 or token:
    part = client.search_runs([run.info.experiment_id], order_by=["metrics.i ASC"], max_results=10, page_token=token)
    page, token, pages = page + [r.info.run_name for r in part], part.token, pages + 1
print("pages", pages, len(set(page)), page[0], page[-1])
print("experiments", [e.name for e in client.search_experiments()], [e.name for e in client.search_experiments(filter_string="name = 'boat'")])

client.delete_run(id)
print("deleted", len(names()), names(run_view_type=mlflow.entities.ViewType.DELETED_ONLY))
client.restore_run(id)
with mlflow.start_run(run_id=id):
    mlflow.log_metric("loss", 1, step=1000)
print("again", client.get_run(id).data.metrics["loss"], client.get_run(id).info.status)


def refused(what, f):
    try:
        print(what, "NOT REFUSED", f())
    except mlflow.MlflowException as e:
        print(what, e.error_code, "|", e.message)


refused("ended", lambda: client.log_metric(id, "loss", 1))
refused("no run", lambda: client.get_run("77777"))
refused("step", lambda: client.log_metric(client.create_run("0").info.run_id, "loss", 1, step=-1))
refused("like", lambda: names("tags.kind LIKE 'a%'"))
refused("filter", lambda: names("metrics.loss >"))
refused("experiment tag", lambda: client.set_experiment_tag(run.info.experiment_id, "a", "b"))
try:
    with mlflow.start_run(run_name="bad"):
        raise ValueError
except ValueError:
    print("failed", names("attributes.status = 'FAILED'"))
