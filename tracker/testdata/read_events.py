"""Prints what TensorBoard shows of a directory of event files: scalars, pictures and hyperparameters, by run."""

import sys

from tensorboard import context
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

multiplexer = EventMultiplexer(tensor_size_guidance={"scalars": 0, "images": 0}).AddRunsFromDirectory(sys.argv[1])
multiplexer.Reload()
provider = MultiplexerDataProvider(multiplexer, sys.argv[1])
where = {"experiment_id": "", "downsample": 1000}
for run, tags in provider.read_scalars(context.RequestContext(), plugin_name="scalars", **where).items():
    for tag, points in sorted(tags.items()):
        print(run, tag, *((p.step, p.value) for p in points))
for run, tags in provider.read_blob_sequences(context.RequestContext(), plugin_name="images", **where).items():
    for tag, points in sorted(tags.items()):
        for p in points:  # width, height, pictures
            blobs = [provider.read_blob(context.RequestContext(), blob_key=v.blob_key) for v in p.values]
            print(run, tag, p.step, f"{blobs[0].decode()}x{blobs[1].decode()}", *(b[:3].hex() for b in blobs[2:]))

hparams = backend_context.Context(TBContext(logdir=sys.argv[1], data_provider=provider))
experiment = get_experiment.Handler(context.RequestContext(), hparams, "", api_pb2.GetExperimentRequest(include_metrics=True)).run()
print("hparams", *sorted(f"{h.name}:{api_pb2.DataType.Name(h.type)}" for h in experiment.hparam_infos))
every = api_pb2.ListSessionGroupsRequest(allowed_statuses=api_pb2.Status.values(), slice_size=100, include_metrics=True)
for group in list_session_groups.Handler(context.RequestContext(), hparams, "", every).run().session_groups:
    for session in group.sessions:
        values = (v.string_value if v.HasField("string_value") else v.number_value for _, v in sorted(group.hparams.items()))
        measured = sorted((m.name.tag, m.value, m.training_step) for m in session.metric_values)
        print(session.name, *values, api_pb2.Status.Name(session.status), session.end_time_secs - session.start_time_secs, *measured)
