"""The items of a run, read by PIL and PyAV (no resizing: files must have the run's size), or as the run itself encoded
them."""

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

IMAGES, VIDEOS = (
    (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"),
    (".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif"),
)


@dataclass
class Item:
    kind: str
    path: Path
    caption: str
    start_s: float


def items(data):
    """Images first, then videos, each sorted by path."""
    found = []
    for kind, endings in (("image", IMAGES), ("video", VIDEOS)):
        group = []
        for source in data[kind + "s"]:
            path = Path(source["path"])
            for file in (
                sorted(p for p in path.iterdir() if p.suffix.lower() in endings and not p.name.startswith("."))
                if path.is_dir()
                else [path]
            ):
                text = source.get("caption") or file.with_suffix(".txt").read_text(encoding="utf-8")
                group.append(Item(kind, file, text.strip().replace("\n", " "), source.get("start_s", 0.0)))
        found += sorted(group, key=lambda i: (i.path.as_posix().encode(), i.start_s))
    return found


def read_frames(item, data, start_s):
    """uint8 [F,H,W,3], the frame on the screen at start_s + i / fps."""
    if item.kind == "image":
        from PIL import Image, ImageOps

        frames = np.asarray(ImageOps.exif_transpose(Image.open(item.path)).convert("RGB"))[None]
    else:
        import av

        with av.open(str(item.path)) as container:
            decoded = [(float(f.pts * f.time_base), f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
        first = decoded[0][0]
        times = [start_s + i / data["fps"] for i in range(data["frames"])]
        frames = np.stack([[image for stamp, image in decoded if stamp - first <= t + 1e-3][-1] for t in times])
    if frames.shape[1:3] != (data["height"], data["width"]):
        raise SystemExit(
            f"{item.path} is {frames.shape[2]}x{frames.shape[1]}: the oracle does not resize, give it media of the "
            f"run's {data['width']}x{data['height']}"
        )
    return frames


def clip_starts(item, data):
    """clips_per_video starts, evenly spaced from start_s to the last that fits."""
    if item.kind == "image" or data["clips_per_video"] == 1:
        return [item.start_s if item.kind == "video" else 0.0]
    import av

    with av.open(str(item.path)) as container:
        decoded = [
            (float(f.pts * f.time_base), float((f.duration or 0) * f.time_base)) for f in container.decode(video=0)
        ]
    end = decoded[-1][0] + (decoded[-1][1] or 1 / data["fps"]) - decoded[0][0]
    # the last frame has to begin 1 ms before the end
    last, count = max(item.start_s, end - 0.001 - (data["frames"] - 1) / data["fps"]), data["clips_per_video"]
    return [item.start_s + (last - item.start_s) * i / (count - 1) for i in range(count)]


def header_of(path):
    with open(path, "rb") as stream:
        return json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0])).get("__metadata__", {})


class CachedPosteriors:
    """The run's own cache, found by what its headers say."""

    def __init__(self, folder, device="cpu"):
        self.headers = {p: header_of(p) for p in sorted(Path(folder).rglob("*.safetensors"))}
        self.device = device

    def __call__(self, item, data, flip, start_s):
        from safetensors.torch import load_file

        want = {
            "what": "posterior",
            "kind": item.kind,
            "content": hashlib.sha256(item.path.read_bytes()).hexdigest(),
            "flip": str(int(flip)),
            "device": self.device,
            "resize": data["resize"],
        }
        numbers = {"height": data["height"], "width": data["width"]}
        if item.kind == "video":
            numbers |= {"frames": data["frames"], "fps": data["fps"], "start_s": start_s}
        hits = [
            p
            for p, h in self.headers.items()
            if all(h.get(k) == v for k, v in want.items())
            and all(k in h and abs(float(h[k]) - v) < 1e-6 for k, v in numbers.items())
        ]
        if len(hits) != 1:
            raise SystemExit(
                f"the cache holds {len(hits)} posteriors for {item.path} (flip {flip}, start {start_s} s), expected one"
            )
        tensors = load_file(hits[0])
        return tensors["mean"].float(), tensors["std"].float()


class ComputedPosteriors:
    """From the media files, by the real autoencoder; each once."""

    def __init__(self, family):
        self.family, self.made = family, {}

    def __call__(self, item, data, flip, start_s):
        key = (item.path, flip, start_s)
        if key not in self.made:
            frames = read_frames(item, data, start_s)
            self.made[key] = self.family.posterior(
                torch.from_numpy(np.ascontiguousarray(frames[:, :, ::-1] if flip else frames))
            )
        return self.made[key]
