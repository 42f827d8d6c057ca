"""Reference vectors for every sampler of pipeline/sampler.

    python3 tools/golden/samplers.py          (needs torch and diffusers)

rewrites pipeline/sampler/testdata/samplers.json, with the versions that made it.

Each row is a scheduler_config.json as a folder might hold it, the sampler that is
made of it as diffusers makes it (from_pretrained, then the class's from_config),
and where a fixed sample of eight numbers ends under a model that is a formula:

    output = tanh(input)·(0.6 + 0.4·cos(t/137)) + 0.2·label

with guidance g as output(0) + g·(output(1) − output(0)), and noise
1.4·sin(1 + 0.61·k + 0.37·step) where a step wants some. Samples, model and steps
are float64 (torch.float32 means that meanwhile), on the float32 tables that
diffusers ships with.
"""

import contextlib
import json
import math
import pathlib
import platform
import tempfile

import diffusers
import numpy
import torch
from diffusers.schedulers import scheduling_ddim, scheduling_ddpm, scheduling_euler_ancestral_discrete

OUT = pathlib.Path(__file__).resolve().parents[2] / "pipeline/sampler/testdata/samplers.json"

CLASSES = {
    "ddim": diffusers.DDIMScheduler,
    "ddpm": diffusers.DDPMScheduler,
    "pndm": diffusers.PNDMScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "euler_a": diffusers.EulerAncestralDiscreteScheduler,
    "dpm++_2m": diffusers.DPMSolverMultistepScheduler,
    "dpm++_2m_karras": diffusers.DPMSolverMultistepScheduler,
}
SIZE = 8


@contextlib.contextmanager
def float64():
    """torch.float32 means float64 meanwhile, so that nothing is rounded between steps."""
    single = torch.float32
    torch.float32 = torch.float64
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.float32 = single
        torch.set_default_dtype(single)


def make(file, sampler):
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "scheduler_config.json").write_text(json.dumps(file))
        source = getattr(diffusers, file["_class_name"]).from_pretrained(folder)
    more = {"use_karras_sigmas": sampler.endswith("_karras")} if sampler.startswith("dpm") else {}
    shipped = CLASSES[sampler].from_config(source.config, **more)
    with float64():
        s = CLASSES[sampler].from_config(source.config, **more)
    for name in ("betas", "alphas", "alphas_cumprod", "final_alpha_cumprod", "lambda_t"):
        if hasattr(shipped, name):
            setattr(s, name, getattr(shipped, name).double())
    return s


def model(x, t, label):
    return torch.tanh(x) * (0.6 + 0.4 * math.cos(t / 137)) + 0.2 * label


def row(file, sampler, steps, guidance=1.0, eta=0.0):
    k = torch.arange(SIZE, dtype=torch.float64)
    step = 0

    def draw(*args, **kwargs):
        return (1.4 * torch.sin(1 + 0.61 * k + 0.37 * step)).reshape(1, 1, 2, 4)

    modules = (scheduling_ddim, scheduling_ddpm, scheduling_euler_ancestral_discrete)
    originals = [m.randn_tensor for m in modules]
    s = make(file, sampler)
    with float64():
        s.set_timesteps(steps)
        if sampler != "pndm":
            s._begin_index = 0
        sample = (k / 4 - 1).reshape(1, 1, 2, 4) * s.init_noise_sigma
        for m in modules:
            m.randn_tensor = draw
        try:
            for step, t in enumerate(s.timesteps):
                seen = s.scale_model_input(sample, t)
                output = model(seen, float(t), 0)
                if guidance != 1:
                    output = output + guidance * (model(seen, float(t), 1) - output)
                more = {"eta": eta} if sampler == "ddim" else {}
                sample = s.step(output, t, sample, **more).prev_sample
        finally:
            for m, original in zip(modules, originals):
                m.randn_tensor = original
    assert torch.isfinite(sample).all(), (file, sampler, steps)
    return {"file": file, "sampler": sampler, "steps": steps, "guidance": guidance, "eta": eta,
            "timesteps": [round(float(t), 4) for t in s.timesteps], "init_noise_sigma": float(s.init_noise_sigma),
            "final": [float(f"{v:.9g}") for v in sample.flatten().tolist()]}


def rows():
    betas = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    # As Stable Diffusion 1.4's and 2.1's folders have it.
    sd = {"_class_name": "PNDMScheduler", **betas, "clip_sample": False, "num_train_timesteps": 1000,
          "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None}
    out = []
    for sampler in CLASSES:
        for prediction in ("epsilon", "v_prediction"):
            for steps in (20, 50):
                for guidance in (1.0, 7.5):
                    out.append(row({**sd, "prediction_type": prediction}, sampler, steps, guidance))
    v = {"prediction_type": "v_prediction"}
    for sampler, steps, change, eta in [
        ("ddim", 20, {}, 1.0), ("ddim", 20, v, 0.5), ("ddim", 13, {"prediction_type": "sample", "clip_sample": True}, 0.3),
        ("pndm", 1, {}, 0), ("pndm", 2, {}, 0), ("pndm", 3, {}, 0), ("pndm", 4, {}, 0), ("pndm", 10, {"set_alpha_to_one": True}, 0),
        ("pndm", 10, {"timestep_spacing": "linspace"}, 0), ("pndm", 10, {"timestep_spacing": "trailing"}, 0),
        ("pndm", 20, {"skip_prk_steps": False}, 0), ("pndm", 20, {"skip_prk_steps": None, **v}, 0), ("pndm", 50, {"skip_prk_steps": False}, 0),
        ("pndm", 4, {"skip_prk_steps": False, "steps_offset": 0}, 0), ("pndm", 7, {"skip_prk_steps": False, "timestep_spacing": "trailing"}, 0),
        *[(name, 10, {"timestep_spacing": spacing}, 0) for name in ("euler", "euler_a", "dpm++_2m") for spacing in ("leading", "trailing", "linspace")],
        *[(name, 6, {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", **v}, 0) for name in ("euler", "euler_a", "dpm++_2m", "ddim")],
        ("euler", 1, {}, 0), ("euler", 10, {"prediction_type": "sample"}, 0), ("euler", 10, {"final_sigmas_type": "sigma_min"}, 0),
        ("euler", 10, {"use_karras_sigmas": True}, 0), ("euler", 10, {"use_karras_sigmas": True, "timestep_spacing": "leading", **v}, 0),
        ("euler", 10, {"use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 10.0}, 0),
        ("euler_a", 1, {}, 0), ("euler_a", 10, {"use_karras_sigmas": True}, 0),
        ("dpm++_2m", 1, {}, 0), ("dpm++_2m", 2, {}, 0), ("dpm++_2m", 14, {}, 0), ("dpm++_2m", 15, {}, 0),
        ("dpm++_2m", 10, {"prediction_type": "sample"}, 0), ("dpm++_2m", 10, {"final_sigmas_type": "sigma_min"}, 0),
        ("dpm++_2m", 20, {"final_sigmas_type": "sigma_min"}, 0), ("dpm++_2m", 20, {"final_sigmas_type": "sigma_min", "euler_at_final": True}, 0),
        ("dpm++_2m", 10, {"final_sigmas_type": "sigma_min", "lower_order_final": False}, 0),
        ("dpm++_2m", 10, {"solver_order": 1}, 0), ("dpm++_2m", 20, {"solver_type": "heun"}, 0), ("dpm++_2m", 20, {"solver_type": "bh2"}, 0),
        ("dpm++_2m", 10, {"lambda_min_clipped": -2.0}, 0), ("dpm++_2m", 10, {"lambda_min_clipped": -2.0, "timestep_spacing": "trailing"}, 0),
        ("dpm++_2m", 20, {"beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1}, 0),
        ("dpm++_2m_karras", 10, {"beta_schedule": "squaredcos_cap_v2"}, 0), ("dpm++_2m_karras", 30, {"_class_name": "DPMSolverMultistepScheduler"}, 0),
        ("dpm++_2m", 10, {"_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": True}, 0),
        ("ddim", 10, {"_class_name": "EulerDiscreteScheduler"}, 0), ("pndm", 10, {"_class_name": "DDIMScheduler", "set_alpha_to_one": None}, 0),
    ]:
        file = {key: value for key, value in {**sd, **change}.items() if value is not None}
        out.append(row(file, sampler, steps, eta=eta))
    return out


table = rows()
versions = {"python": platform.python_version(), "torch": torch.__version__, "diffusers": diffusers.__version__, "numpy": numpy.__version__}
OUT.write_text('{\n "made_by": "tools/golden/samplers.py",\n "versions": ' + json.dumps(versions) + ',\n "rows": [\n  ' +
               ",\n  ".join(json.dumps(r) for r in table) + "\n ]\n}\n")
print(OUT.name, len(table), "rows,", OUT.stat().st_size, "bytes")
