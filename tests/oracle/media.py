"""Media of exactly a run's size for the oracles, which do not resize: crops of the example pictures, and a lossless
clip.

usage: python -m tests.oracle.media SOURCE_IMAGES SOURCE_VIDEO OUT HEIGHT WIDTH FRAMES FPS
"""

import pathlib
import sys

import av
import numpy as np
from PIL import Image, ImageOps

images, video, out = (pathlib.Path(p) for p in sys.argv[1:4])
height, width, frames, fps = (int(n) for n in sys.argv[4:8])
(out / "images").mkdir(parents=True), (out / "videos").mkdir()
for number, path in enumerate(sorted(images.glob("*.jpg"))[:3]):
    ImageOps.fit(Image.open(path).convert("RGB"), (width, height)).save(out / "images" / f"{number}.png")
    (out / "images" / f"{number}.txt").write_text(f"cat {number}")
with av.open(str(video)) as source, av.open(str(out / "videos/clip.mkv"), "w") as target:
    stream = target.add_stream("ffv1", rate=fps)
    stream.width, stream.height = width, height
    stream.pix_fmt = "bgr0"
    for number, frame in enumerate(source.decode(video=0)):
        if number == 2 * frames:
            break
        picture = np.asarray(ImageOps.fit(frame.to_image(), (width, height)))
        for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="bgr0")):
            target.mux(packet)
    for packet in stream.encode():
        target.mux(packet)
(out / "videos/clip.txt").write_text("a man")
