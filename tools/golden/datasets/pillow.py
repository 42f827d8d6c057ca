"""Writes datasets/testdata/pillow: images, and what Pillow makes of them.

decode_<name>.<png|jpg> are inputs; decode_<name>.rgb.png and .l.png are
Image.open(input).convert("RGB") and .convert("L").
resize_<mode>_<filter>_<w>x<h>.png are resize_<mode>.png through Image.resize.
transform_<mode>_<filter>_<size>.png are the same through torchvision's Resize
(short side) and CenterCrop, whose arithmetic is written out here.
exif_<orientation>.<png|jpg>.png are ImageOps.exif_transpose of the same without .png.
Run: python3 tools/golden/datasets/pillow.py datasets/testdata/pillow
"""
import os
import sys

import numpy as np
import PIL
from PIL import Image, ImageOps, features

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
FILTERS = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}


def scene(w, h, seed):
    """Soft shapes, hard edges, saturated colours and noise: [h, w, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    img = np.stack([127 + 120 * np.sin(x / 9 + c) * np.cos(y / (7 + c)) for c in range(3)], -1)
    for _ in range(8):
        cx, cy, r = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(3, 12)
        img[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = rng.uniform(0, 255, 3)
    img += rng.normal(0, 6, img.shape)
    return np.clip(img, 0, 255).astype(np.uint8)


def path(name):
    return os.path.join(out, name)


rgb = Image.fromarray(scene(61, 47, 1))
gray = rgb.convert("L")
for mode, image in (("rgb", rgb), ("l", gray)):
    image.save(path(f"resize_{mode}.png"))
    for name, f in FILTERS.items():
        # (55, 12): the height loses more than twice what the width does, where Pillow 13 goes over columns first.
        for size in ((24, 31), (61, 20), (100, 90), (13, 47), (5, 5), (55, 12)):
            if mode == "l" and size not in ((24, 31), (55, 12)):
                continue
            image.resize(size, f).save(path(f"resize_{mode}_{name}_{size[0]}x{size[1]}.png"))

for w, h, size in ((61, 47, 32), (47, 62, 20), (40, 31, 31), (30, 33, 40)):
    image = Image.fromarray(scene(w, h, w))
    image.save(path(f"transform_{w}x{h}.png"))
    short, long = min(w, h), max(w, h)
    new = (size, int(size * long / short)) if w <= h else (int(size * long / short), size)
    if short != size:  # torchvision returns the image itself where the short side fits
        image = image.resize(new, Image.BILINEAR)
    left, top = int(round((image.width - size) / 2.0)), int(round((image.height - size) / 2.0))
    image.crop((left, top, left + size, top + size)).save(path(f"transform_{w}x{h}_{size}.png"))


def decoded(name, suffix, image, **options):
    file = path(f"decode_{name}.{suffix}")
    image.save(file, **options)
    for mode in ("RGB", "L"):
        converted = Image.open(file).convert(mode)
        converted.info.clear()  # or a transparent colour would be written again
        converted.save(path(f"decode_{name}.{mode.lower()}.png"))


small = Image.fromarray(scene(33, 26, 2))
alpha = Image.fromarray((np.arange(33 * 26).reshape(26, 33) % 256).astype(np.uint8))
rgba = small.copy()
rgba.putalpha(alpha)
la = small.convert("L")
la.putalpha(alpha)
palette = small.quantize(37)
decoded("rgb", "png", small)
decoded("rgba", "png", rgba)
decoded("l", "png", small.convert("L"))
decoded("la", "png", la)
decoded("1", "png", small.convert("1"))
decoded("p", "png", palette)
decoded("p_transparent", "png", palette, transparency=bytes(range(37)))
decoded("rgb_transparent", "png", small, transparency=small.getpixel((3, 3)))
for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
    decoded("jpeg" + name, "jpg", small, quality=85, subsampling=subsampling)
decoded("jpeg420_odd", "jpg", small.crop((0, 0, 31, 25)), quality=60, subsampling=2)
decoded("jpeg420_tiny", "jpg", small.crop((0, 0, 4, 3)), quality=90, subsampling=2)
decoded("jpeg_progressive", "jpg", small, quality=75, progressive=True)
decoded("jpeg_l", "jpg", small.convert("L"), quality=85)
decoded("jpeg_cmyk", "jpg", small.convert("CMYK"), quality=90)

for o in range(1, 9):
    for suffix, order in (("jpg", b"II"), ("png", b"MM")):
        exif = Image.Exif()
        exif.endian = "<" if order == b"II" else ">"
        exif[0x010F], exif[0x0112] = "maker", o
        file = path(f"exif_{o}.{suffix}")
        small.crop((0, 0, 21, 16)).save(file, exif=exif, **({"quality": 95, "subsampling": 0} if suffix == "jpg" else {}))
        upright = ImageOps.exif_transpose(Image.open(file))
        upright.info.clear()
        upright.save(path(f"exif_{o}.{suffix}.png"))

with open(path("VERSIONS"), "w") as f:
    f.write(f"made by tools/golden/datasets/pillow.py with Pillow {PIL.__version__}, "
            f"libjpeg-turbo {features.version('libjpeg_turbo')}, NumPy {np.__version__}\n")
