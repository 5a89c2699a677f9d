"""Media of exactly a run's size for the oracles, which do not resize: crops of the example pictures, and a lossless clip.

usage: oracle_media.py SOURCE_IMAGES SOURCE_VIDEO OUT SIZE FRAMES FPS
"""
import pathlib
import sys

import av
import numpy as np
from PIL import Image

images, video, out = (pathlib.Path(p) for p in sys.argv[1:4])
size, frames, fps = (int(n) for n in sys.argv[4:7])
(out / "images").mkdir(parents=True), (out / "videos").mkdir()
for number, path in enumerate(sorted(images.glob("*.jpg"))[:3]):
    picture = Image.open(path).convert("RGB")
    side = min(picture.size)
    picture.crop((0, 0, side, side)).resize((size, size)).save(out / "images" / f"{number}.png")
    (out / "images" / f"{number}.txt").write_text(f"a photo of a cat, number {number}")
with av.open(str(video)) as source, av.open(str(out / "videos/clip.mkv"), "w") as target:
    stream = target.add_stream("ffv1", rate=fps)
    stream.width = stream.height = size
    stream.pix_fmt = "bgr0"
    for number, frame in enumerate(source.decode(video=0)):
        if number == 2 * frames:
            break
        side = min(frame.width, frame.height)
        picture = np.asarray(frame.to_image().crop((0, 0, side, side)).resize((size, size)))
        for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="bgr0")):
            target.mux(packet)
    for packet in stream.encode():
        target.mux(packet)
(out / "videos/clip.txt").write_text("a rabbit is walking")
