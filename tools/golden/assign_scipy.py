"""Writes assign/testdata/scipy.json: cost matrices of up to 64 x 64 and SciPy's optimum of each.

Run from the repository root: python3 tools/golden/assign_scipy.py
Matrices are float32, little-endian, row-major, in base64; totals are sums of the float32 entries in float64.
Where the optimum is surely unique (continuous entries), the permutation is given too.
"""
import base64
import json
import platform

import numpy
import scipy
from scipy.optimize import linear_sum_assignment


def latents(rng, rows, cols):
    """-x.n of smooth 4 x 16 x 16 images against white noise."""
    f = numpy.fft.fftfreq(16)
    filt = 1 / (0.05 + numpy.hypot(f[:, None], f[None, :]))
    x = numpy.fft.ifft2(numpy.fft.fft2(rng.standard_normal((rows, 4, 16, 16))) * filt).real
    x = (x / x.std()).reshape(rows, -1)
    return -x @ rng.standard_normal((cols, x.shape[1])).T


def clusters(rng, rows, cols):
    """Squared distances of 8 tight clusters to noise."""
    x = 3 * rng.standard_normal((8, 32))[rng.integers(0, 8, rows)] + 0.1 * rng.standard_normal((rows, 32))
    n = rng.standard_normal((cols, 32))
    return ((x[:, None] - n[None]) ** 2).sum(-1)


def geometric(rng, rows, cols):
    return numpy.linalg.norm(rng.random((rows, 1, 2)) - rng.random((1, cols, 2)), axis=-1)


def low_rank(rng, rows, cols):
    return rng.standard_normal((rows, 2)) @ rng.standard_normal((2, cols))


KINDS = {  # name: (maker, is the optimum unique)
    "latents": (latents, True),
    "clusters": (clusters, True),
    "uniform": (lambda g, r, c: g.random((r, c)), True),
    "heavy": (lambda g, r, c: numpy.exp(2 * g.standard_normal((r, 1))) * g.standard_normal((r, c)), True),
    "geometric": (geometric, True),
    "low_rank": (low_rank, False),
    "large_offset": (lambda g, r, c: 1e6 + g.random((r, c)), False),
    "ties": (lambda g, r, c: g.integers(0, 5, (r, c)), False),
    "integer": (lambda g, r, c: g.integers(-1000, 1000, (r, c)), False),
    "half": (lambda g, r, c: latents(g, r, c).astype(numpy.float16), False),
    "machol_wien": (lambda g, r, c: numpy.outer(numpy.arange(1, r + 1), numpy.arange(1, c + 1)), False),
}

cases = []
rng = numpy.random.default_rng(20240617)
for name, (make, unique) in KINDS.items():
    for rows, cols in ((16, 16), (40, 40), (24, 48)) + (((64, 64),) if unique else ()):
        cost = make(rng, rows, cols).astype("<f4")
        r, c = linear_sum_assignment(cost)
        assert (r == numpy.arange(rows)).all()
        case = {"name": name, "rows": rows, "cols": cols, "total": float(cost[r, c].astype("f8").sum())}
        if unique:
            case["perm"] = c.tolist()
        case["cost"] = base64.b64encode(cost.tobytes()).decode()
        cases.append(case)

versions = {"python": platform.python_version(), "numpy": numpy.__version__, "scipy": scipy.__version__}
with open("assign/testdata/scipy.json", "w") as f:
    f.write('{"made_by": "tools/golden/assign_scipy.py",\n"versions": %s,\n"cases": [\n' % json.dumps(versions))
    f.write(",\n".join(json.dumps(case) for case in cases) + "\n]}\n")
