"""Reference vectors for pipeline/diffusion, pipeline/sampler and pipeline/optim.

    python3 tools/golden/schedulers.py          (needs torch and diffusers)

rewrites their testdata/*.json, with the versions that made them in each file.

The schedules' tables are diffusers' own, in float32 as it ships. What is computed
from them comes from diffusers' code run in float64, so that the comparison can
be tight: while `float64()` is open, torch.float32 means float64.
"""

import contextlib
import json
import pathlib
import platform

import diffusers
import numpy
import torch
from diffusers import DDIMScheduler, DDPMScheduler, optimization
from diffusers.schedulers import scheduling_ddpm
from diffusers.training_utils import EMAModel, compute_snr

ROOT = pathlib.Path(__file__).resolve().parents[2] / "pipeline"


@contextlib.contextmanager
def float64():
    single = torch.float32
    torch.float32 = torch.float64
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.float32 = single
        torch.set_default_dtype(single)


def scheduler(cls, config):
    """A scheduler that computes in float64, on the float32 tables that it ships with. Call it outside float64()."""
    shipped = cls(**config)
    with float64():
        s = cls(**config)
    for name in ("betas", "alphas", "alphas_cumprod", "final_alpha_cumprod", "one"):
        if hasattr(shipped, name):
            setattr(s, name, getattr(shipped, name).double())
    return s


def write(path, rows):
    rows = {
        "made_by": "tools/golden/schedulers.py",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "numpy": numpy.__version__,
        },
        **rows,
    }
    # One line an entry keeps the file small and a diff readable.
    parts = []
    for key, value in rows.items():
        if isinstance(value, list):
            body = ",\n  ".join(json.dumps(v) for v in value)
            parts.append(f"{json.dumps(key)}: [\n  {body}\n ]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value)}")
    path = ROOT / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n " + ",\n ".join(parts) + "\n}\n")
    print(path.relative_to(ROOT), path.stat().st_size, "bytes")


# --- diffusion -------------------------------------------------------------

CONFIGS = [
    {},
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    {"beta_schedule": "squaredcos_cap_v2"},
    {"beta_schedule": "sigmoid"},
    {"rescale_betas_zero_snr": True},
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "rescale_betas_zero_snr": True},
    {"num_train_timesteps": 10, "trained_betas": [0.01, 0.02, 0.05, 0.1, 0.2, 0.1, 0.3, 0.3, 0.4, 0.5]},
    {"num_train_timesteps": 1},
    {"num_train_timesteps": 50, "beta_start": 0.001, "beta_end": 0.3},
]


STRIDE = 7  # every seventh entry keeps the file small


def schedules():
    rows = []
    for config in CONFIGS:
        s = DDPMScheduler(**config)
        rows.append({
            "config": config,
            "betas": s.betas.double().tolist()[::STRIDE],
            "alphas_cumprod": s.alphas_cumprod.double().tolist()[::STRIDE],
            "last": s.alphas_cumprod[-1].item(),
        })
    return rows


def mixtures():
    """add_noise, get_velocity and pred_original_sample on scalars, in float64."""
    rows = []
    x0, noise, output = 0.4, -1.3, 0.7
    for kind in ("epsilon", "v_prediction", "sample"):
        for t in (0, 1, 500, 998, 999):
            s = scheduler(DDPMScheduler, dict(prediction_type=kind, clip_sample=False))
            with float64():
                one = lambda v: torch.full((1, 1, 1, 1), v)
                steps = torch.tensor([t])
                noisy = s.add_noise(one(x0), one(noise), steps)
                target = {
                    "epsilon": one(noise),
                    "v_prediction": s.get_velocity(one(x0), one(noise), steps),
                    "sample": one(x0),
                }[kind]
                denoised = s.step(one(output), t, noisy).pred_original_sample
            rows.append({
                "prediction_type": kind, "t": t, "x0": x0, "noise": noise, "model_output": output,
                "noisy": noisy.item(), "target": target.item(), "denoised": denoised.item(),
            })
    return rows


def weights():
    """The Min-SNR weights of examples/text_to_image/train_text_to_image.py, and the paper's for sample."""
    rows = []
    t = torch.tensor([0, 1, 10, 100, 250, 500, 900, 999])
    for kind in ("epsilon", "v_prediction", "sample"):
        for gamma in (1.0, 5.0, 20.0):
            s = DDPMScheduler(prediction_type=kind)
            snr = compute_snr(s, t)
            w = torch.stack([snr, gamma * torch.ones_like(t)], dim=1).min(dim=1)[0]
            if kind == "epsilon":
                w = w / snr
            elif kind == "v_prediction":
                w = w / (snr + 1)
            rows.append({"prediction_type": kind, "snr_gamma": gamma, "t": t.tolist(),
                         "snr": snr.double().tolist(), "weights": w.double().tolist()})
    return rows


# --- sampler ---------------------------------------------------------------

def timestep_sums():
    """sum of (i+1)*timesteps[i] for every number of steps 1…T: one digit out anywhere shows.

    With trailing spacing and some numbers of steps (29 of 50, say) NumPy's arange runs one entry too far, and
    diffusers appends a timestep -1. It is left out here, and counted.
    """
    rows = []
    for spacing in ("leading", "trailing", "linspace"):
        for T in (1000, 999, 50):
            s = DDIMScheduler(num_train_timesteps=T, timestep_spacing=spacing)
            sums, beyond = [], 0
            for n in range(1, T + 1):
                s.set_timesteps(n)
                assert s.timesteps[n:].tolist() in ([], [-1])
                beyond += len(s.timesteps) - n
                sums.append(int((s.timesteps[:n] * torch.arange(1, n + 1)).sum()))
            rows.append({"timestep_spacing": spacing, "num_train_timesteps": T, "sums": sums, "runs_to_minus_1": beyond})
    return rows


def ramp(shape):
    """The fixed sample of diffusers' scheduler tests: a ramp from 0 to 1."""
    n = 1
    for d in shape:
        n *= d
    return (torch.arange(n) / n).reshape(shape)


def step_noise(i, shape):
    n = 1
    for d in shape:
        n *= d
    return (1.4 * torch.sin(1 + 0.61 * torch.arange(n) + 0.37 * i)).reshape(shape)


def trajectory(cls, config, steps, eta=0.0):
    shape = (1, 1, 2, 4)
    drawn = []
    s = scheduler(cls, config)
    with float64():
        s.set_timesteps(steps)
        sample = ramp(shape) * 2 - 1
        states, original = [], scheduling_ddpm.randn_tensor
        try:
            for i, t in enumerate(s.timesteps):
                output = sample * t / (t + 1)  # the toy model of diffusers' scheduler tests
                noise = step_noise(i, shape)
                if cls is DDIMScheduler:
                    sample = s.step(output, t, sample, eta=eta, variance_noise=noise).prev_sample
                else:
                    scheduling_ddpm.randn_tensor = lambda *a, **k: noise
                    sample = s.step(output, t, sample).prev_sample
                states.append(sample.flatten().tolist())
        finally:
            scheduling_ddpm.randn_tensor = original
    return {"sampler": "ddim" if cls is DDIMScheduler else "ddpm", "config": config, "steps": steps, "eta": eta,
            "timesteps": s.timesteps.tolist(), "samples": states}


def trajectories():
    sd = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    zero = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
    rows = []
    for config, steps, eta in [
        ({}, 10, 0.0),
        ({}, 10, 1.0),
        ({}, 7, 0.5),
        ({"clip_sample": False}, 10, 0.0),
        ({"clip_sample_range": 0.3}, 5, 0.0),
        ({"prediction_type": "v_prediction"}, 10, 0.0),
        ({"prediction_type": "sample"}, 10, 0.8),
        ({"set_alpha_to_one": False, "steps_offset": 1, "clip_sample": False, **sd}, 10, 0.3),
        ({"set_alpha_to_one": False}, 10, 0.6),
        ({"timestep_spacing": "trailing"}, 7, 0.0),
        ({"timestep_spacing": "linspace"}, 7, 0.2),
        (zero, 6, 0.0),
        ({**zero, "clip_sample": False}, 6, 1.0),
        ({"beta_schedule": "squaredcos_cap_v2"}, 6, 0.0),
        ({"num_train_timesteps": 20}, 20, 0.0),
        ({}, 1, 0.0),
    ]:
        rows.append(trajectory(DDIMScheduler, config, steps, eta))
    for config, steps in [
        ({}, 10),
        ({"clip_sample": False}, 10),
        ({"variance_type": "fixed_small_log"}, 7),
        ({"variance_type": "fixed_large"}, 7),
        ({"prediction_type": "v_prediction"}, 10),
        ({"prediction_type": "sample"}, 10),
        ({"steps_offset": 1, "clip_sample": False, **sd}, 10),
        ({"timestep_spacing": "trailing", "variance_type": "fixed_large"}, 7),
        ({"timestep_spacing": "linspace"}, 7),
        ({**zero, "clip_sample": False}, 6),
        ({"beta_schedule": "sigmoid"}, 6),
        ({"num_train_timesteps": 20}, 20),
    ]:
        rows.append(trajectory(DDPMScheduler, config, steps))
    return rows


# --- optim -----------------------------------------------------------------

def learning_rates():
    base, rows = 3e-4, []
    get = optimization.get_scheduler
    makers = [({"name": name, "warmup": warmup, "total": 40}, lambda o, name=name, warmup=warmup:
               get(name, o, num_warmup_steps=warmup, num_training_steps=40))
              for name in ("linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup")
              for warmup in (0, 5, 60)]
    makers += [
        ({"name": "cosine", "warmup": 5, "total": 40, "num_cycles": 1.5}, lambda o:
         optimization.get_cosine_schedule_with_warmup(o, 5, 40, num_cycles=1.5)),
        ({"name": "cosine_with_restarts", "warmup": 5, "total": 40, "num_cycles": 3}, lambda o:
         get("cosine_with_restarts", o, num_warmup_steps=5, num_training_steps=40, num_cycles=3)),
        ({"name": "polynomial", "warmup": 5, "total": 40, "power": 2.5, "lr_end": 2e-5}, lambda o:
         optimization.get_polynomial_decay_schedule_with_warmup(o, 5, 40, lr_end=2e-5, power=2.5)),
    ]
    for row, make in makers:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
        scheduler = make(optimizer)
        trace = []
        for _ in range(45):
            trace.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        rows.append({**row, "base": base, "lr": trace})
    return rows


def ema_decays():
    rows = []
    steps = [1, 2, 3, 10, 100, 101, 102, 1000, 5000, 20000, 89992, 1000000]
    for options in [
        {},
        {"decay": 0.999},
        {"min_decay": 0.5},
        {"update_after_step": 100},
        {"use_ema_warmup": True},
        {"use_ema_warmup": True, "inv_gamma": 2.0, "power": 0.75, "decay": 0.99},
    ]:
        ema = EMAModel([torch.nn.Parameter(torch.zeros(1))], **options)
        rows.append({"options": options, "steps": steps, "decay": [ema.get_decay(k) for k in steps]})
    return rows


def adamw():
    """Twelve float64 steps of clip_grad_norm_, AdamW, LambdaLR and EMAModel; the gradient is a formula."""
    with float64():
        start = torch.tensor([0.5, -0.25, 1.5, 0.0, -2.0, 0.125])
        p = torch.nn.Parameter(start.clone())
        optimizer = torch.optim.AdamW([p], lr=0.05, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, foreach=False)
        schedule = optimization.get_scheduler("cosine", optimizer, num_warmup_steps=3, num_training_steps=12)
        ema = EMAModel([p])
        norms, params, averages = [], [], []
        for step in range(1, 13):
            p.grad = 3 * p.detach() + torch.sin(step + torch.arange(6.0)) / step
            norms.append(torch.nn.utils.clip_grad_norm_([p], 1.0).item())
            optimizer.step()
            schedule.step()
            ema.step([p])
            params.append(p.tolist())
            averages.append(ema.shadow_params[0].tolist())
    return {"start": start.tolist(), "norms": norms, "params": params, "ema_params": averages}


write("diffusion/testdata/schedules.json", {"schedules": schedules(), "mixtures": mixtures(), "weights": weights()})
write("sampler/testdata/trajectories.json", {"timestep_sums": timestep_sums(), "trajectories": trajectories()})
write("optim/testdata/traces.json", {"learning_rates": learning_rates(), "ema_decays": ema_decays(), "adamw": adamw()})
