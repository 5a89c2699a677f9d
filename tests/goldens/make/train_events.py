"""Golden of the TensorBoard writer: the bytes that the tensorboard package itself writes for four events.

    python -m tests.goldens.make.train_events [OUT_DIR]   (default tests/goldens/train)

Needs `pip install tensorboard==2.21.0`."""

import pathlib
import struct
import sys
import zlib

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/goldens/train")
out.mkdir(parents=True, exist_ok=True)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# 2 x 1 pixels, red and green.
png = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0\0\xff\0"))
    + chunk(b"IEND", b"")
)
(out / "two_pixels.png").write_bytes(png)

Value, Image = summary_pb2.Summary.Value, summary_pb2.Summary.Image
events = [
    event_pb2.Event(wall_time=1700000000.25, file_version="brain.Event:2"),
    event_pb2.Event(
        wall_time=1700000000.5, step=301, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    ),
    event_pb2.Event(
        wall_time=1700000001.0,
        step=301,
        summary=summary_pb2.Summary(
            value=[Value(tag="loss/total", simple_value=0.3), Value(tag="grösse", simple_value=-2.0)]
        ),
    ),
    event_pb2.Event(
        wall_time=1700000002.0,
        step=302,
        summary=summary_pb2.Summary(
            value=[Value(tag="preview/sheet", image=Image(height=1, width=2, colorspace=3, encoded_image_string=png))]
        ),
    ),
]
with open(out / "events.tfevents", "wb") as file:
    writer = RecordWriter(file)
    for event in events:
        writer.write(event.SerializeToString())
    writer.flush()
