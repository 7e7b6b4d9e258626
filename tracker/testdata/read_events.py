"""Prints what TensorBoard shows of a directory of event files: scalars and pictures, by run and tag."""

import sys

from tensorboard import context
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

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
