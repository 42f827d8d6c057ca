"""Writes pipeline/metrics/testdata and pipeline/metrics/extractor/testdata: features, and what published Python
implementations make of them.

    python3 tools/golden/metrics.py      (needs numpy, torch, pillow, pytorch-fid, clean-fid, torch-fidelity, prdc)

features.npz          generated [200, 16] and reference [240, 16], float32, correlated and shifted; few [12, 24] and
                      fewer [10, 24], sets with fewer rows than numbers; numpy.savez_compressed
statistics.npz        mu and sigma of reference, as `pytorch-fid --save-stats` writes them
goldens.json          values by implementation; kid is of the first 200 rows of each, one subset
resize.json           an image of 7 by 5 pixels, and the same enlarged and shrunk
"""

import importlib.metadata
import io
import contextlib
import json
import pathlib

import numpy as np
import torch
from PIL import Image

import cleanfid.fid
import prdc
import pytorch_fid.fid_score
import torch_fidelity.metric_fid
import torch_fidelity.metric_kid
import torch_fidelity.metric_prc

ROOT = pathlib.Path(__file__).resolve().parents[2] / "pipeline" / "metrics"
OUT = ROOT / "testdata"
OUT.mkdir(exist_ok=True)
rng = np.random.default_rng(7)


def correlated(n, d, shift, scale):
    mix = rng.standard_normal((d, d)) / d**0.5
    return ((rng.standard_normal((n, d)) @ mix) * scale + shift).astype(np.float32)


generated, reference = correlated(200, 16, 0.1, 1.0), correlated(240, 16, 0.0, 1.1)
# The two mixtures differ; half of the rows are drawn from the other one, so that balls overlap.
generated[::2] = reference[:100] + 0.3 * rng.standard_normal((100, 16)).astype(np.float32)
few, fewer = correlated(12, 24, 0.0, 1.0), correlated(10, 24, 0.2, 1.0)
np.savez_compressed(OUT / "features.npz", generated=generated, reference=reference, few=few, fewer=fewer)


def moments(x):
    x = x.astype(np.float64)
    return x.mean(axis=0), np.cov(x, rowvar=False)


np.savez_compressed(OUT / "statistics.npz", mu=moments(reference)[0], sigma=moments(reference)[1])

values = {}
g64, r64 = generated.astype(np.float64), reference.astype(np.float64)
for name, a, b in (("full_rank", generated, reference), ("rank_deficient", few, fewer)):
    ma, mb = moments(a), moments(b)
    of = values["fid_" + name] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        of["pytorch-fid"] = float(pytorch_fid.fid_score.calculate_frechet_distance(*ma, *mb))
        of["clean-fid"] = float(cleanfid.fid.frechet_distance(*ma, *mb))
    of["torch-fidelity"] = torch_fidelity.metric_fid.fid_statistics_to_metric(
        {"mu": ma[0], "sigma": ma[1]}, {"mu": mb[0], "sigma": mb[1]}, verbose=False)["frechet_inception_distance"]
    of["torch-fidelity"] = float(of["torch-fidelity"])

settings = dict(kid_subsets=1, kid_subset_size=200, kid_kernel="poly", kid_kernel_poly_degree=3,
                kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1, rng_seed=0, verbose=False, kid_degenerate_warning=False)
values["kid"] = {
    "clean-fid": cleanfid.fid.kernel_distance(g64, r64[:200], num_subsets=1),
    "torch-fidelity": torch_fidelity.metric_kid.kid_features_to_metric(
        torch.from_numpy(g64), torch.from_numpy(r64[:200]), **settings)["kernel_inception_distance_mean"],
}
with contextlib.redirect_stdout(io.StringIO()):
    values["prdc"] = {f"{name}_{k}": float(v) for k in (3, 5) for name, v in prdc.compute_prdc(r64, g64, k).items()}
prc = torch_fidelity.metric_prc.prc_features_to_metric(
    torch.from_numpy(g64), torch.from_numpy(r64), prc_neighborhood=5, prc_batch_size=1000, save_cpu_ram=False, verbose=False)
values["torch-fidelity"] = {"precision_5": prc["precision"], "recall_5": prc["recall"]}
k = [torch_fidelity.metric_kid.kernel_rbf(a, b, kid_kernel_rbf_sigma=10) for a, b in ((g64, g64), (g64, r64), (r64, r64))]
values["cmmd"] = {"mean of torch-fidelity's kernel_rbf": float(1000 * (k[0].mean() + k[2].mean() - 2 * k[1].mean()))}
a, b = torch.from_numpy(g64), torch.from_numpy(r64[:200])
values["clipscore"] = {"torch": float(100 * torch.nn.functional.cosine_similarity(a, b).mean().clamp(min=0))}

packages = "numpy scipy torch pillow pytorch-fid clean-fid torch-fidelity prdc".split()
made_by = "tools/golden/metrics.py with " + ", ".join(f"{p} {importlib.metadata.version(p)}" for p in packages)
(OUT / "goldens.json").write_text(json.dumps({"made_by": made_by, **values}, indent=1) + "\n")

image = rng.integers(0, 256, (5, 7)).astype(np.float32)
sizes = {}
for h, w in ((11, 13), (5, 9), (3, 4)):
    clean = np.asarray(Image.fromarray(image).resize((w, h), Image.BICUBIC))
    plain = torch.nn.functional.interpolate(torch.from_numpy(image)[None, None], size=(h, w), mode="bilinear", align_corners=False)
    sizes[f"{h}x{w}"] = {"clean": clean.tolist(), "pytorch": plain[0, 0].tolist()}
folder = ROOT / "extractor" / "testdata"
folder.mkdir(exist_ok=True)
(folder / "resize.json").write_text(json.dumps({"made_by": made_by, "image": image.tolist(), "sizes": sizes}) + "\n")
