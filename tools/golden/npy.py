"""Writes pipeline/npy/testdata: arrays as numpy.save writes them.

    python tools/golden/npy.py

Entry [i, j, …] of each array is its C-order position, minus 1, times 1.5
(int64: times 3), so that the test knows every number without reading a golden.
"""

import pathlib
import numpy as np
from numpy.lib import format

OUT = pathlib.Path(__file__).parents[2] / "pipeline" / "npy" / "testdata"


def array(dtype, *shape):
    n = int(np.prod(shape, dtype=int))
    factor = 3 if dtype == "int64" else 1.5
    return ((np.arange(n) - 1) * factor).astype(dtype).reshape(shape)


def versioned(name, version):
    with open(OUT / name, "wb") as f:
        format.write_array(f, array("float32", 2, 3), version=version)


OUT.mkdir(exist_ok=True)
for dtype in ("float32", "float64", "int64"):
    np.save(OUT / f"{dtype}-2x3.npy", array(dtype, 2, 3))
np.save(OUT / "float64-2x3-fortran.npy", np.asfortranarray(array("float64", 2, 3)))
np.save(OUT / "float32-2x3x4x5-fortran.npy", np.asfortranarray(array("float32", 2, 3, 4, 5)))
np.save(OUT / "int64-7.npy", array("int64", 7))
np.save(OUT / "float64-scalar.npy", array("float64"))
np.save(OUT / "float32-0x3.npy", array("float32", 0, 3))
versioned("float32-2x3-version2.npy", (2, 0))
versioned("float32-2x3-version3.npy", (3, 0))

# What must be refused by name.
np.save(OUT / "refused-big-endian.npy", array("float64", 2, 3).astype(">f8"))
np.save(OUT / "refused-float16.npy", array("float32", 2, 3).astype("float16"))
np.save(OUT / "refused-structured.npy", np.zeros(2, dtype=[("a", "<f4"), ("b", "<i8")]))
(OUT / "README").write_text(f"Written by tools/golden/npy.py with NumPy {np.__version__}.\n")
