"""Holds `immiscible data dump` to Pillow on a folder of photographs, and prints a table.

Reference: Image.open(photo).convert("RGB"), torchvision's Resize (short side) and
CenterCrop, whose arithmetic is written out here; upright first with -exif.
Run: python3 tools/golden/datasets/parity.py [-exif] IMMISCIBLE PHOTOS [RESOLUTION]
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import PIL
from PIL import Image, ImageOps, features

exif = "-exif" in sys.argv
program, photos, *rest = [a for a in sys.argv[1:] if a != "-exif"]
size = int(rest[0]) if rest else 256
FILTERS = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}


def reference(path, f):
    image = Image.open(path)
    if exif:
        image = ImageOps.exif_transpose(image)
    image = image.convert("RGB")
    w, h = image.size
    if min(w, h) != size:  # torchvision returns the image itself where the short side fits
        image = image.resize((size, int(size * h / w)) if w <= h else (int(size * w / h), size), f)
    left, top = int(round((image.width - size) / 2.0)), int(round((image.height - size) / 2.0))
    return image.crop((left, top, left + size, top + size))


def level(image):
    return np.asarray(image.convert("RGB"), dtype=np.int16)


count = sum(len(files) for _, _, files in os.walk(photos))
print(f"Pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}; {size}×{size} of 255 levels")
print(f"{'filter':9} {'photos':>6} {'differ':>6} {'largest':>7} {'mean':>8}")
for name, f in FILTERS.items():
    with tempfile.TemporaryDirectory() as out:
        command = [program, "data", "dump", photos, "-resolution", str(size), "-channels", "3", "-filter", name, "-n", str(count), "-out", out]
        lines = subprocess.run(command + ["-exif_transpose"] * exif, check=True, capture_output=True, text=True).stdout.splitlines()
        rows = {row["key"]: row["file"] for row in map(json.loads, lines)}
        largest, mean, differ, worst = 0, 0.0, 0, ""
        for key, file in rows.items():
            d = np.abs(level(Image.open(file)) - level(reference(os.path.join(photos, key), f)))
            if d.max() > largest:
                largest, worst = d.max(), key
            differ, mean = differ + bool(d.max()), mean + d.mean() / len(rows)
        print(f"{name:9} {len(rows):6} {differ:6} {largest:7} {mean:8.5f} {worst}")
