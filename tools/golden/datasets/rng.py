"""Prints the frozen bits of datasets/rng/normal_test.go (TestNormalBits).

An evaluation of the same definition by NumPy, where every elementwise operation
rounds on its own: it cannot fuse a product and a sum, and shares no code with Go.
Run: python3 tools/golden/datasets/rng.py
"""
import numpy as np

U32 = np.uint64(0xFFFFFFFF)


def philox(c, k0, k1):
    """Philox4x32-10 over arrays of counters (Salmon et al. 2011)."""
    c0, c1, c2, c3 = (np.asarray(x, dtype=np.uint64) for x in c)
    for r in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        ka = np.uint64((k0 + r * 0x9E3779B9) & 0xFFFFFFFF)
        kb = np.uint64((k1 + r * 0xBB67AE85) & 0xFFFFFFFF)
        c0, c1, c2, c3 = (p1 >> np.uint64(32)) ^ c1 ^ ka, p1 & U32, (p0 >> np.uint64(32)) ^ c3 ^ kb, p0 & U32
    return c0, c1, c2, c3


def fnv(data, h=0xCBF29CE484222325):
    for b in data:
        h = (h ^ int(b)) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def log_unit(x):
    """ln x by fdlibm's e_log.c."""
    b = x.view(np.uint64) - np.uint64(0x3FE6A09E667F3BCD)
    k = (b.view(np.int64) >> 52).astype(np.float64)
    f = ((b & np.uint64((1 << 52) - 1)) + np.uint64(0x3FE6A09E667F3BCD)).view(np.float64) - 1
    s = f / (2 + f)
    z = s * s
    w = z * z
    odd = z * (6.666666666666735130e-01 + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)))
    even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    h = 0.5 * (f * f)
    return k * 6.93147180369123816490e-01 - ((h - (s * (h + (odd + even)) + k * 1.90821492927058770002e-10)) - f)


def sin_cos_quarter(x):
    t = x * (np.pi / 2)
    y = t * t
    p = np.full_like(y, -1 / 1307674368000)
    for c in (1 / 6227020800, -1 / 39916800, 1 / 362880, -1 / 5040, 1 / 120, -1 / 6):
        p = c + y * p
    q = np.full_like(y, 1 / 20922789888000)
    for c in (-1 / 87178291200, 1 / 479001600, -1 / 3628800, 1 / 40320, -1 / 720, 1 / 24, -1 / 2):
        q = c + y * q
    return t + (t * y) * p, 1 + y * q


def normals(seed, name, position, n):
    """The first n numbers (n even) of the stream (seed, name, position)."""
    h = fnv(name.encode())
    k = philox([[h & 0xFFFFFFFF], [h >> 32], [len(name)], [0]], seed & 0xFFFFFFFF, seed >> 32)
    block = np.arange(n // 2, dtype=np.uint64)
    zero = np.zeros_like(block)
    x0, x1, x2, x3 = philox([block & U32, block >> np.uint64(32), zero + np.uint64(position & 0xFFFFFFFF),
                             zero + np.uint64(position >> 32)], int(k[0][0]), int(k[1][0]))
    radial, angle = x1 << np.uint64(32) | x0, x3 << np.uint64(32) | x2
    half = lambda v: (v >> np.uint64(12) << np.uint64(1) | np.uint64(1)).astype(np.float64)
    r = np.sqrt(-2 * log_unit(half(radial) * 2.0 ** -53))
    sin, cos = sin_cos_quarter(half(angle) * 2.0 ** -54)
    swap = (angle & np.uint64(1)) == 1
    a, b = np.where(swap, sin, cos), np.where(swap, cos, sin)
    a = np.where(angle >> np.uint64(1) & np.uint64(1), -a, a)
    b = np.where(angle >> np.uint64(2) & np.uint64(1), -b, b)
    return np.stack([r * a, r * b], 1).reshape(-1)


print("made by NumPy", np.__version__)
head = normals(1234, "noise", 42, 8 + (1 << 20))
print("first draws of (1234, noise, 42):", ", ".join(f"{v:#018x}" for v in head[:8].view(np.uint64)))
h = fnv(normals(1234, "noise", 43, 1 << 20).astype(np.float32).view(np.uint32))
print(f"hash {fnv(head[8:].view(np.uint64), h):#018x}")
