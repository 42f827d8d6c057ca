"""Writes datasets/testdata/cifar: batches in the opcodes of Python 2's cPickle.

Byte j of record i is (i*31 + j*7 + j//1024) % 256, its label is i*3 % 10.
Run: python3 tools/golden/datasets/cifar.py datasets/testdata/cifar
"""
import os
import pickle
import struct
import sys

import numpy as np

out = sys.argv[1]
os.makedirs(out, exist_ok=True)


class Python2(pickle._Pickler):
    """Protocol 2 as Python 2 wrote it: strings and bytes are one type."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_string(self, s):
        b = s.encode("latin1") if isinstance(s, str) else s
        head = b"U" + bytes([len(b)]) if len(b) < 256 else b"T" + struct.pack("<i", len(b))
        self.write(head + b)
        self.memoize(s)

    dispatch[str] = dispatch[bytes] = save_string


def dump(name, value):
    with open(os.path.join(out, name), "wb") as f:
        Python2(f, 2).dump(value)


N = 4
i, j = np.mgrid[0:N, 0:3072]
data = ((i * 31 + j * 7 + j // 1024) % 256).astype(np.uint8)
labels = [int(k * 3 % 10) for k in range(N)]
dump("data_batch_1", {"batch_label": "training batch 1 of 5", "labels": labels, "data": data, "filenames": [f"{k}_s.png" for k in range(N)]})
dump("batches.meta", {"num_cases_per_batch": N, "label_names": [f"class {c}" for c in range(10)], "num_vis": 3072})
os.makedirs(os.path.join(out, "100"), exist_ok=True)
dump("100/train", {"filenames": ["x.png"], "batch_label": "training batch 1 of 1", "fine_labels": [99], "coarse_labels": [19], "data": data[:1]})
dump("calls", {"data": os.system, "labels": labels})

with open(os.path.join(out, "VERSIONS"), "w") as f:
    f.write(f"made by tools/golden/datasets/cifar.py with Python {sys.version.split()[0]}, NumPy {np.__version__}\n")
