"""Writes datasets/testdata/webp: WebP images, and what Pillow makes of them.

<name>.webp are inputs, <name>.png are Image.open(input).convert("RGB"); of
exif_6.webp, ImageOps.exif_transpose of it. animated.webp has no PNG.
Run: python3 tools/golden/datasets/webp.py datasets/testdata/webp
"""
import os
import sys

import numpy as np
import PIL
from PIL import Image, ImageOps, features

out = sys.argv[1]
os.makedirs(out, exist_ok=True)


def scene(w, h, seed):
    """Soft shapes, hard edges and saturated colours: [h, w, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    img = np.stack([127 + 125 * np.sin(x / 7 + 2 * c) * np.cos(y / (5 + c)) for c in range(3)], -1)
    for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)):
        cx, cy, r = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(2, 6)
        img[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = color
    return Image.fromarray(np.clip(img, 0, 255).astype(np.uint8))


def save(name, image, convert=lambda image: image, **options):
    file = os.path.join(out, name)
    image.save(file + ".webp", **options)
    decoded = convert(Image.open(file + ".webp")).convert("RGB")
    decoded.info.clear()
    decoded.save(file + ".png")


image = scene(38, 26, 1)
alpha = image.copy()
alpha.putalpha(Image.fromarray((np.arange(38 * 26).reshape(26, 38) % 256).astype(np.uint8)))
save("lossy", image, quality=80)
save("lossy_odd", scene(31, 25, 2), quality=60)
save("lossy_tiny", scene(2, 1, 3), quality=90)
save("lossy_dot", scene(1, 1, 4), quality=90)
save("lossy_alpha", alpha, quality=80)
save("lossless", image, lossless=True)
save("lossless_alpha", alpha, lossless=True, exact=True)
exif = Image.Exif()
exif[0x0112] = 6
save("exif_6", scene(20, 12, 5), ImageOps.exif_transpose, quality=95, exif=exif)
image.save(os.path.join(out, "animated.webp"), save_all=True, append_images=[scene(38, 26, 6)])

with open(os.path.join(out, "VERSIONS"), "w") as f:
    f.write(f"made by tools/golden/datasets/webp.py with Pillow {PIL.__version__}, libwebp {features.version('webp')}, NumPy {np.__version__}\n")
