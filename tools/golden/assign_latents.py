"""Holds `immiscible assign solve` to SciPy's optimum on the costs of one's own latents.

python3 tools/golden/assign_latents.py IMMISCIBLE X.npy

IMMISCIBLE is the built program, X.npy holds N >= 256 latents of any shape [N, ...], float. They are brought to mean 0 and
variance 1 and paired with Gaussian noise, in pools of 256, 1,024 and 2,048 where there are as many. Prints the excess over
the optimum as a share of the sum of |chosen entries|, which is to stay below 1e-6, and the change of the mean distance.
Nothing is kept: latents of other people's photographs are not ours to ship. Needs numpy and scipy.
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy
from scipy.optimize import linear_sum_assignment

program, name = sys.argv[1:]
latents = numpy.load(name).astype(numpy.float32)
latents = latents.reshape(len(latents), -1)
latents = (latents - latents.mean()) / latents.std()
rng = numpy.random.default_rng(0)
worst = 0.0
with tempfile.TemporaryDirectory() as folder:
    cost_file, perm_file = (str(pathlib.Path(folder, f)) for f in ("cost.npy", "perm.npy"))
    for n in (256, 1024, 2048):
        if n > len(latents):
            continue
        x = latents[rng.permutation(len(latents))[:n]]
        noise = rng.standard_normal(x.shape).astype(numpy.float32)
        product = x @ noise.T
        for cost, matrix in {
            "dot": -product,
            "l2sq": (x**2).sum(1)[:, None] - 2 * product + (noise**2).sum(1)[None],
        }.items():
            numpy.save(cost_file, matrix)
            subprocess.run([program, "assign", "solve", cost_file, "-out", perm_file], check=True, capture_output=True)
            perm = numpy.load(perm_file)
            assert sorted(perm) == list(range(n)), "not a permutation"
            matrix = matrix.astype(numpy.float64)
            rows, columns = linear_sum_assignment(matrix)
            chosen = matrix[numpy.arange(n), perm]
            excess = (chosen.sum() - matrix[rows, columns].sum()) / numpy.abs(chosen).sum()
            before, after = (numpy.linalg.norm(x - z, axis=1).mean() for z in (noise, noise[perm]))
            print(f"{name}: {x.shape[1]} numbers, n = {n}, {cost}: excess {excess:.1e}, distance {100 * (after / before - 1):+.2f} %")
            worst = max(worst, excess)
sys.exit(worst > 1e-6)
