"""Writes pipeline/runlog/testdata/tensorboard.events with TensorBoard's own
protocol buffers and record writer, and reads events back as TensorBoard does.

    python3 tools/golden/tensorboard_check.py              the golden file
    python3 tools/golden/tensorboard_check.py DIR          what TensorBoard sees of a run

The golden file holds what pipeline/runlog/tensorboard_test.go writes; the two
are equal byte by byte. Then both a first and a resumed file are put in one
folder, and the steps that TensorBoard shows of them are checked.
"""

import base64
import os
import sys
import tempfile

from tensorboard import version
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

WALL = 1700000000.25
FIELDS = "loss lr grad_norm distance_before distance_after pair_ms step_ms images_per_second".split()
# A PNG of 2 × 1 grey pixels, made with Pillow: Image.new("L", (2, 1), 77).
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAAAAADRSSBWAAAAC0lEQVR4nGP0ZQAAAKAATwsFIGEAAAAASUVORK5CYII="
)


def scalars(step, values):
    summary = Summary(value=[Summary.Value(tag="train/" + f, simple_value=v) for f, v in zip(FIELDS, values)])
    return Event(wall_time=WALL, step=step, summary=summary)


def run(first, steps):
    """The events of a run that begins with step first."""
    yield Event(wall_time=WALL, file_version="brain.Event:2")
    yield Event(wall_time=WALL, step=first, session_log=SessionLog(status=SessionLog.START))
    for step in steps:
        yield scalars(step, [1 / step, 1e-3, 0.0, 100.5, 98.25, 3.5, 250.0, 256.0])


def write(path, events):
    with open(path, "wb") as f:
        writer = RecordWriter(f)
        for event in events:
            writer.write(event.SerializeToString())


def show(folder):
    a = EventAccumulator(folder, size_guidance={"scalars": 0, "images": 0})
    a.Reload()
    for tag in sorted(a.Tags()["scalars"]):
        print(tag, [(e.step, round(e.value, 6)) for e in a.Scalars(tag)])
    for tag in a.Tags()["images"]:
        print(tag, [(e.step, e.width, e.height, len(e.encoded_image_string)) for e in a.Images(tag)])
    return a


if len(sys.argv) > 1:
    show(sys.argv[1])
    sys.exit()

image = Summary.Image(height=1, width=2, colorspace=3, encoded_image_string=PNG)
golden = [*run(3, [3, 200]), Event(wall_time=WALL, step=200, summary=Summary(value=[Summary.Value(tag="samples", image=image)]))]
here = os.path.join(os.path.dirname(__file__), "..", "..", "pipeline", "runlog", "testdata")
write(os.path.join(here, "tensorboard.events"), golden)
with open(os.path.join(here, "pixels.png"), "wb") as f:
    f.write(PNG)
with open(os.path.join(here, "tensorboard.txt"), "w") as f:
    f.write(f"tensorboard.events: tools/golden/tensorboard_check.py with tensorboard {version.VERSION}\n")

with tempfile.TemporaryDirectory() as folder:
    write(os.path.join(folder, "events.out.tfevents.1700000000.1"), run(1, range(1, 8)))
    write(os.path.join(folder, "events.out.tfevents.1700000001.1"), run(5, range(5, 11)))
    seen = [e.step for e in show(folder).Scalars("train/loss")]
    assert seen == list(range(1, 11)), seen
print("ok")
