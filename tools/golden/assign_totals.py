"""Writes assign/testdata/totals.json: SciPy's optimal totals of matrices that the test makes again, to 2048 x 2048.

Run from the repository root: python3 tools/golden/assign_totals.py      (a few minutes)
Every entry is an exact float32 made of integers, so that the test's matrices are these to the bit. h(i) is the
SplitMix64 finaliser of i + 1 times its increment, cut to 24 bits.
"""
import json
import pathlib
import platform

import numpy
import scipy
from scipy.optimize import linear_sum_assignment


def h(i):
    with numpy.errstate(over="ignore"):
        z = (numpy.asarray(i).astype(numpy.uint64) + numpy.uint64(1)) * numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        return ((z ^ (z >> numpy.uint64(31))) >> numpy.uint64(40)).astype(numpy.int64)


def grid(rows, cols):
    return h(numpy.arange(rows)[:, None] * cols + numpy.arange(cols)[None])


def vectors(n, dim, stream, span):
    """n vectors of whole numbers in [-span, span]."""
    return h(stream * (1 << 32) + numpy.arange(n)[:, None] * dim + numpy.arange(dim)[None]) % (2 * span + 1) - span


def smooth(x):
    """Sums of eight neighbours: what correlates an image's pixels."""
    return sum(numpy.roll(x, k, axis=1) for k in range(8))


def squared(x, n):
    return (x * x).sum(1)[:, None] + (n * n).sum(1)[None] - 2 * x @ n.T


FAMILIES = {
    "uniform": lambda r, c: grid(r, c) / 2.0**24,
    "tied": lambda r, c: grid(r, c) % 5,
    "integer": lambda r, c: grid(r, c) % 2001 - 1000,
    "constant": lambda r, c: numpy.full((r, c), 3),
    "machol_wien": lambda r, c: numpy.outer(numpy.arange(1, r + 1), numpy.arange(1, c + 1)),
    "low_rank": lambda r, c: vectors(r, 2, 1, 1000) @ vectors(c, 2, 2, 1000).T,
    "geometric": lambda r, c: abs(vectors(r, 2, 3, 1 << 20)[:, None] - vectors(c, 2, 4, 1 << 20)[None]).sum(-1),
    "heavy": lambda r, c: (grid(r, c) / 2.0**24 - 0.5) * 2.0 ** (h(numpy.arange(r) + (5 << 32)) % 13)[:, None],
    "badly_scaled": lambda r, c: (1 << 20) + grid(r, c) % 1024 / 8,
    "clustered": lambda r, c: squared(20 * vectors(8, 32, 6, 3)[h(numpy.arange(r) + (7 << 32)) % 8] + vectors(r, 32, 8, 1), vectors(c, 32, 9, 20)),
    "latents": lambda r, c: -smooth(vectors(r, 256, 10, 8)) @ vectors(c, 256, 11, 8).T,
}
SIZES = [(n, n) for n in (1, 2, 3, 5, 8, 13, 31, 32, 33, 100, 255, 256, 257, 600, 1024, 1500, 2048)] + [(1, 700), (300, 301), (500, 2048), (1000, 1300)]

rows = []
for name, make in FAMILIES.items():
    for r, c in SIZES:
        exact = make(r, c)
        cost = exact.astype(numpy.float32)
        assert (cost == exact).all(), (name, r, c)
        i, j = linear_sum_assignment(cost)
        rows.append({"family": name, "rows": r, "cols": c, "total": float(cost[i, j].astype(numpy.float64).sum())})
    print(name, flush=True)
text = ",\n  ".join(json.dumps(row) for row in rows)
made_by = f"tools/golden/assign_totals.py, python {platform.python_version()}, numpy {numpy.__version__}, scipy {scipy.__version__}"
pathlib.Path("assign/testdata/totals.json").write_text(f'{{\n "made_by": {json.dumps(made_by)},\n "cases": [\n  {text}\n ]\n}}\n')
