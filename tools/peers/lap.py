"""Solves cost matrices by the linear assignment solvers of PyPI, for `immiscible assign bench -peer`.

Reads a path of a float32 .npy matrix a line and prints, for each solver that is installed, a line of JSON:
{"solver": "lapjv 1.3.29", "solve_ms": 23.1, "total": -1234.5}. The first line is {"ready": true, "solvers": [...]}.
One thread. Times are of the solver's call alone, in the dtype that the solver is fastest with: lapjv float32, the
others float64, converted before the clock starts.

    python3 tools/peers/lap.py [--solvers lapjv,scipy,lap]
"""
import argparse
import importlib.metadata
import json
import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.pop(0)  # this folder, in which this file would be taken for the package lap
import numpy  # noqa: E402  after the variable that it reads


def scipy_solver():
    from scipy.optimize import linear_sum_assignment
    return numpy.float64, lambda cost: linear_sum_assignment(cost)[1]


def lap_solver():
    from lap import lapjv
    return numpy.float64, lambda cost: lapjv(cost, return_cost=False)[0]


def lapjv_solver():
    from lapjv import lapjv
    return numpy.float32, lambda cost: lapjv(cost)[0]


SOLVERS = {"lapjv": lapjv_solver, "scipy": scipy_solver, "lap": lap_solver}

parser = argparse.ArgumentParser()
parser.add_argument("--solvers", default=",".join(SOLVERS))
found = {}
for name in parser.parse_args().solvers.split(","):
    try:
        found[f"{name} {importlib.metadata.version(name)}"] = SOLVERS[name]()
    except ImportError as missing:
        print(f"{name} is not installed ({missing}): pip install {name}", file=sys.stderr)
if not found:
    sys.exit("none of the solvers is installed")
print(json.dumps({"ready": True, "solvers": list(found)}), flush=True)
for line in sys.stdin:
    cost = numpy.load(line.strip())
    for name, (dtype, solve) in found.items():
        own = numpy.ascontiguousarray(cost, dtype=dtype)
        start = time.perf_counter()
        columns = solve(own)
        took = time.perf_counter() - start
        total = cost[numpy.arange(len(cost)), columns].astype(numpy.float64).sum()
        print(json.dumps({"solver": name, "solve_ms": 1e3 * took, "total": float(total)}), flush=True)
