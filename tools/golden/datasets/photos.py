"""Writes datasets/testdata/photos: parts of two photographs, and what Pillow makes of them.

The photographs are those of scikit-learn's wheel (sklearn/datasets/images, licence
and authors in its README.txt and in datasets/testdata/photos/ATTRIBUTION).
<name>.jpg is the part, <name>_<filter>_<w>x<h>.png is Image.resize of it.
Run: python3 tools/golden/datasets/photos.py sklearn/datasets/images datasets/testdata/photos
"""
import os
import sys

import numpy as np
import PIL
from PIL import Image, features

images, out = sys.argv[1:]
os.makedirs(out, exist_ok=True)
FILTERS = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
PARTS = {"china": (170, 60, 458, 276), "flower": (200, 110, 488, 326)}

for name, box in PARTS.items():
    file = os.path.join(out, name + ".jpg")
    Image.open(os.path.join(images, name + ".jpg")).crop(box).save(file, quality=85)
    photo = Image.open(file).convert("RGB")
    for kind, f in FILTERS.items():
        photo.resize((96, 72), f).save(os.path.join(out, f"{name}_{kind}_96x72.png"))

with open(os.path.join(out, "VERSIONS"), "w") as f:
    f.write(f"made by tools/golden/datasets/photos.py with Pillow {PIL.__version__}, "
            f"libjpeg-turbo {features.version('libjpeg_turbo')}, NumPy {np.__version__}\n")
