"""Writes tests/goldens/media: tiny media files of the kinds that go wrong, and what an independent reader makes of
them.

    python -m tests.goldens.make.media

Needs av, opencv, pillow, scikit-image, safetensors, and the ffmpeg command.

Files are encoded by PyAV or ffmpeg 5.1 from scikit-image's chelsea (CC0). expected.safetensors holds, for each clip
NAME and request "start/fps/frames", NAME.times (seconds after the first frame, fp64) and, for up to 20 frames,
NAME.frames (uint8 [F,16,24,3], the picked frames through PyAV's rgb24 and OpenCV's resize), and for each picture NAME
its pixels through PIL. Picking here is a plain loop over all decoded frames: the last one whose time is <= t + 1 ms.
"""

import struct
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import save_file
from skimage import data

OUT = Path("tests/goldens/media")
HEIGHT, WIDTH = 32, 48


def picture(i, height=HEIGHT, width=WIDTH):
    """Frame i: the cat, drifting; the block at the top left has the grey level 16 + 8 i, the bottom left corner is
    red."""
    cat = cv2.resize(data.chelsea(), (width + 40, height + 20), interpolation=cv2.INTER_AREA)
    frame = cat[i % 20 : i % 20 + height, i % 40 : i % 40 + width].copy()
    frame[: height // 2, : width // 3] = 16 + 8 * i
    frame[height - height // 4 :, : width // 6] = (220, 20, 20)
    return frame


def encode(path, stamps, time_base, codec="libx264", options=None, container_options=None, setup=None):
    """Frames picture(0), picture(1), ... at the given stamps (in time_base)."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(
            codec, rate=Fraction(1) / time_base if time_base.numerator == 1 and time_base.denominator <= 60 else 25
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p" if setup is set_bt709 else "yuv420p"
        stream.codec_context.time_base = time_base
        stream.options = options or {"crf": "12", "threads": "1", "bf": "2", "g": "12"}
        if setup:
            setup(stream.codec_context)
        for i, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
            if setup is set_bt709:
                frame = frame.reformat(format="yuvj420p", dst_colorspace="ITU709", dst_color_range="JPEG")
            frame.pts, frame.time_base = stamp, time_base
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-y", "-v", "error", "-fflags", "+bitexact", *map(str, arguments)], check=True)


def turn_mp4(source, target, matrix):
    """Replaces the matrix of the track header (tkhd, version 0)."""
    content = bytearray(source.read_bytes())
    at = content.index(b"tkhd") + 4 + 4 + 20 + 16
    assert struct.unpack(">9i", content[at : at + 36])[0] == 65536
    content[at : at + 36] = struct.pack(">9i", *matrix)
    target.write_bytes(content)


def make_videos():
    ms = Fraction(1, 1000)
    # Variable rate: bursts and a hole of almost half a second.
    encode(OUT / "vfr.mp4", [0, 40, 80, 120, 500, 520, 560, 1000, 1040, 1080, 1500, 1750, 2000], ms)
    # 25 fps with B frames, index first, so that cutting it off leaves the header.
    encode(OUT / "plain.mp4", range(24), Fraction(1, 25), container_options={"movflags": "faststart"})
    one = 65536
    turn_mp4(OUT / "plain.mp4", OUT / "turned_90.mp4", (0, one, 0, -one, 0, 0, HEIGHT * one, 0, 1 << 30))
    turn_mp4(OUT / "plain.mp4", OUT / "mirrored.mp4", (-one, 0, 0, 0, one, 0, WIDTH * one, 0, 1 << 30))
    # An edit list that begins inside a group of pictures: the decoder needs frames that must not be shown.
    ffmpeg("-ss", "0.2", "-i", OUT / "plain.mp4", "-c", "copy", OUT / "edit_list.mp4")
    ffmpeg("-i", OUT / "plain.mp4", "-c", "copy", OUT / "late_start.ts")
    ffmpeg("-i", OUT / "plain.mp4", "-c", "copy", "-bsf:v", "h264_mp4toannexb", OUT / "raw.h264")
    encode(
        OUT / "no_stamps.avi", range(24), Fraction(1, 25), codec="mpeg4", options={"bf": "2", "g": "12", "qscale": "2"}
    )
    encode(OUT / "thirty.mkv", range(30), Fraction(1, 30))  # Matroska counts in milliseconds: 0, 33, 67, 100, ...
    encode(OUT / "bt709_full.mp4", range(4), Fraction(1, 4), setup=set_bt709)
    ffmpeg(
        "-i",
        OUT / "plain.mp4",
        "-vf",
        "setsar=4/3",
        "-c:v",
        "libx264",
        "-crf",
        "12",
        "-threads",
        "1",
        OUT / "wide_pixels.mp4",
    )
    ffmpeg("-f", "lavfi", "-i", "sine=frequency=440:duration=0.5", "-c:a", "aac", "-b:a", "16k", OUT / "audio_only.mp4")


def set_bt709(context):
    context.colorspace, context.color_range = 1, 2


REQUESTS = {
    "vfr.mp4": [(0, 8, 16), (0.5, 8, 8), (0, 50, 60)],
    "plain.mp4": [(0, 8, 8), (0.28, 25, 17), (0, 60, 50)],
    "turned_90.mp4": [(0, 5, 4)],
    "mirrored.mp4": [(0, 5, 4)],
    "edit_list.mp4": [(0, 8, 6)],
    "late_start.ts": [(0, 8, 8), (0.5, 8, 3)],
    "raw.h264": [(0, 8, 8)],
    "no_stamps.avi": [(0, 8, 8)],
    "thirty.mkv": [(0, 10, 10), (0, 8, 8)],
    "wide_pixels.mp4": [(0, 5, 4)],
    "bt709_full.mp4": [(0, 4, 4)],
}
TURNS = {"turned_90.mp4": lambda x: np.rot90(x, -1), "mirrored.mp4": lambda x: x[:, ::-1]}


def decoded(path):
    """All frames (as shown) and their seconds after the first."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    if path.name == "raw.h264":  # no stamps: the stated rate
        times = [i / 25 for i in range(len(frames))]
    else:
        times = [float((f.pts - frames[0].pts) * f.time_base) for f in frames]
    pictures = []
    for frame in frames:
        if path.name == "bt709_full.mp4":
            rgb = frame.reformat(
                format="rgb24", src_colorspace="ITU709", src_color_range="JPEG", dst_color_range="JPEG"
            ).to_ndarray()
        else:
            rgb = frame.to_ndarray(format="rgb24")
        rgb = np.ascontiguousarray(TURNS.get(path.name, lambda x: x)(rgb))
        if path.name == "wide_pixels.mp4":
            rgb = cv2.resize(rgb, (WIDTH * 4 // 3, HEIGHT), interpolation=cv2.INTER_CUBIC)
        pictures.append(rgb)
    return times, pictures


def cover(rgb, height=16, width=24):
    """Independent of crop_of: grow a rectangle of the target's aspect as far as the picture allows."""
    h, w = rgb.shape[:2]
    scale = min(h / height, w / width)
    ch, cw = round(height * scale), round(width * scale)
    top, left = (h - ch) // 2, (w - cw) // 2
    return cv2.resize(rgb[top : top + ch, left : left + cw], (width, height), interpolation=cv2.INTER_AREA)


def make_pictures(expected):
    cat = cv2.resize(data.chelsea(), (24, 16), interpolation=cv2.INTER_AREA)
    cat[:5, :8] = (220, 20, 20)
    for orientation in range(1, 9):
        image = Image.fromarray(cat)
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(OUT / f"exif_{orientation}.jpg", quality=95, exif=exif)
        with Image.open(OUT / f"exif_{orientation}.jpg") as stored:
            expected[f"exif_{orientation}.jpg"] = np.array(ImageOps.exif_transpose(stored).convert("RGB"))
    grey16 = (np.arange(8 * 12, dtype=np.uint32).reshape(8, 12) * 677).clip(0, 65535).astype(np.uint16)
    cv2.imwrite(str(OUT / "grey16.png"), grey16)
    expected["grey16.png"] = np.repeat(np.rint(grey16 / 257.0).astype(np.uint8)[..., None], 3, axis=2)
    Image.fromarray(cat).convert("L").save(OUT / "grey.png")
    expected["grey.png"] = np.array(Image.open(OUT / "grey.png").convert("RGB"))
    alpha = np.linspace(0, 255, 24).astype(np.uint8)[None].repeat(16, 0)
    Image.fromarray(np.dstack([cat, alpha])).save(OUT / "alpha.png")
    white = Image.new("RGBA", (24, 16), (255, 255, 255, 255))
    expected["alpha.png"] = np.array(Image.alpha_composite(white, Image.open(OUT / "alpha.png")).convert("RGB"))
    Image.fromarray(cat).quantize(16).save(OUT / "palette.png", transparency=3)
    expected["palette.png"] = np.array(
        Image.alpha_composite(white, Image.open(OUT / "palette.png").convert("RGBA")).convert("RGB")
    )
    Image.fromarray(cat).save(OUT / "picture.webp", lossless=True)
    Image.fromarray(cat).save(OUT / "picture.bmp")
    Image.fromarray(cat).save(OUT / "picture.tiff")
    for name in ("picture.webp", "picture.bmp", "picture.tiff"):
        expected[name] = cat.copy()


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    make_videos()
    expected = {}
    make_pictures(expected)
    for name, requests in REQUESTS.items():
        times, pictures = decoded(OUT / name)
        print(name, len(times), [round(t, 3) for t in times[:6]], times[-1])
        for start, fps, count in requests:
            picks = [max(i for i, t in enumerate(times) if t <= start + k / fps + 0.001) for k in range(count)]
            key = f"{name}:{start:g}/{fps:g}/{count}"
            expected[key + ".times"] = np.array([times[i] for i in picks])
            if count <= 20:  # the file stays small
                expected[key + ".frames"] = np.stack([cover(pictures[i]) for i in picks])
    save_file({k: np.ascontiguousarray(v) for k, v in expected.items()}, OUT / "expected.safetensors")


if __name__ == "__main__":
    main()
