"""Writes datasets/testdata/jpegs: JPEGs of unusual make, and what Pillow reads in them.

<name>.jpg is written by cjpeg or jpegtran (Debian's libjpeg-turbo-progs) or by Pillow,
<name>.png is Image.open(<name>.jpg), in grey or RGB.
Run: python3 tools/golden/datasets/jpegs.py datasets/testdata/jpegs
"""
import io
import os
import subprocess
import sys

import numpy as np
import PIL
from PIL import Image, features

out = sys.argv[1]
os.makedirs(out, exist_ok=True)


def scene(w, h, seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    img = np.stack([127 + 125 * np.sin(x / 7 + 2 * c) * np.cos(y / (5 + c)) for c in range(3)], -1)
    for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)):
        cx, cy, r = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(2, 6)
        img[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = color
    return Image.fromarray(np.clip(img + rng.normal(0, 8, img.shape), 0, 255).astype(np.uint8))


def run(command, data):
    return subprocess.run(command.split(), input=data, capture_output=True, check=True).stdout


def keep(name, data):
    with open(os.path.join(out, name + ".jpg"), "wb") as f:
        f.write(data)
    image = Image.open(io.BytesIO(data))
    image.load()
    image.convert("L" if image.mode == "L" else "RGB").save(os.path.join(out, name + ".png"))


image = scene(53, 37, 1)
ppm = io.BytesIO()
image.save(ppm, "ppm")
ppm = ppm.getvalue()
for name, options in {
    "sample_1x2": "-sample 1x2", "sample_4x1": "-sample 4x1", "sample_4x2": "-sample 4x2", "sample_1x1": "-sample 1x1",
    "sample_chroma": "-sample 2x2,2x1,1x2", "restart": "-restart 2B", "restart_progressive": "-progressive -restart 1",
    "quality_3": "-quality 3", "quality_100": "-quality 100", "optimized": "-optimize", "grey": "-grayscale -sample 2x2", "rgb": "-rgb",
    "progressive_grey": "-progressive -grayscale", "arithmetic": "-arithmetic", "quality_3_wide": "-quality 1 -progressive",
}.items():
    keep(name, run(f"cjpeg {options}" if "-quality" in options else f"cjpeg -quality 80 {options}", ppm))
scans = os.path.join(out, "scans.txt")
with open(scans, "w") as f:
    f.write("0;\n1;\n2;\n")
keep("scans", run(f"cjpeg -quality 80 -scans {scans}", ppm))  # baseline, a component a scan
os.remove(scans)
for w, h in ((1, 1), (8, 8), (9, 17), (16, 16), (17, 1), (2, 33)):
    buf = io.BytesIO()
    scene(w, h, w + h).save(buf, "ppm")
    keep(f"size_{w}x{h}", run("cjpeg -quality 85 -sample 2x2", buf.getvalue()))
full = io.BytesIO()
image.save(full, "jpeg", quality=85)
keep("garbage", full.getvalue()[:2] + b"\xff\xe5\x00\x04ab" + b"\x00\x12\xff\xff" + full.getvalue()[2:] + b"tail")

with open(os.path.join(out, "VERSIONS"), "w") as f:
    cjpeg = subprocess.run(["cjpeg", "-version"], input=b"", capture_output=True).stderr.decode().split("\n")[0]
    f.write(f"made by tools/golden/datasets/jpegs.py with Pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}, "
            f"NumPy {np.__version__}, {cjpeg}\n")
