"""Opens a model folder, such as a checkpoint of a run, in diffusers, generates there what `immiscible generate` generates
from the same starting noise, and compares the pixels. By hand, after a change of what a checkpoint holds:

    python3 tools/peers/open_in_diffusers.py MODEL [--program 'go run ./tools/immiscible'] [--classes 0,1,2] [--prompt TEXT]...
        [-n 2] [--sampler ddim|pndm|euler|dpm++_2m|dpm++_2m_karras] [--steps 20] [--guidance G] [--weights ema|raw]

for example, from the root of the repository:

    go run ./tools/immiscible train -out /tmp/run -set train.max_steps=100
    python3 tools/peers/open_in_diffusers.py /tmp/run/checkpoint-100 --classes 0,3,9

It prints a JSON line: the images, the largest and the mean difference of a pixel (of 255), the versions; it exits with 1
where a pixel differs by more than 1. Only samplers that draw no noise of their own can be compared.

Needs numpy, pillow, torch, diffusers and, for text, transformers.
"""

import argparse
import json
import pathlib
import shlex
import subprocess
import sys
import tempfile

import diffusers
import numpy as np
import torch
from PIL import Image

from diffusers_generate import CLASSES


def scheduler_of(config, sampler):
    name, change = CLASSES[sampler]
    return getattr(diffusers, name).from_config(config, **change)


def unconditional(model, unet, noise, labels, a):
    """The loop of DDIMPipeline, which cannot pass labels. labels: a list, or None."""
    scheduler = scheduler_of(diffusers.DDPMScheduler.load_config(model, subfolder="scheduler"), a.sampler)
    scheduler.set_timesteps(a.steps)
    sample = noise * scheduler.init_noise_sigma
    label = {} if labels is None else {"class_labels": torch.tensor(labels)}
    null = {} if labels is None else {"class_labels": torch.full([len(labels)], unet.config.num_class_embeds - 1)}
    for t in scheduler.timesteps:
        x = scheduler.scale_model_input(sample, t)
        out = unet(x, t, **label).sample
        if a.guidance > 1:
            without = unet(x, t, **null).sample
            out = without + a.guidance * (out - without)
        sample = scheduler.step(out, t, sample).prev_sample
    return (sample / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()


def text(model, unet, noise, prompts, a):
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(model, unet=unet, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = scheduler_of(pipe.scheduler.config, a.sampler)
    return pipe(prompts, num_inference_steps=a.steps, guidance_scale=a.guidance, latents=noise, output_type="np").images


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model")
    p.add_argument("--program", default="go run ./tools/immiscible")
    p.add_argument("--classes")
    p.add_argument("--prompt", action="append", default=[])
    p.add_argument("-n", type=int, default=2)
    p.add_argument("--sampler", default="ddim", choices=[s for s in CLASSES if s not in ("ddpm", "euler_a")])
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--guidance", type=float, default=1)
    p.add_argument("--weights", default="ema", choices=["ema", "raw"])
    a = p.parse_args()
    kind = json.loads((pathlib.Path(a.model) / "unet" / "config.json").read_text())["_class_name"]
    folder = "unet_ema" if a.weights == "ema" and (pathlib.Path(a.model) / "unet_ema").is_dir() else "unet"
    unet = getattr(diffusers, kind).from_pretrained(a.model, subfolder=folder).eval()
    rows = len(a.prompt) if a.prompt else len(a.classes.split(",")) if a.classes else 1
    size = unet.config.sample_size
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    noise = np.random.default_rng(0).standard_normal((rows * a.n, unet.config.in_channels, height, width), dtype=np.float32)

    with tempfile.TemporaryDirectory() as temp, torch.inference_mode():
        out = pathlib.Path(temp) / "images"
        np.save(out.with_suffix(".npy"), noise)
        command = [*shlex.split(a.program), "generate", "-model", a.model, "-out", str(out), "-latents", str(out.with_suffix(".npy")),
                   "-n", str(a.n), "-sampler", a.sampler, "-steps", str(a.steps), "-guidance", str(a.guidance), "-weights", a.weights]
        if a.classes:
            command += ["-classes", a.classes]
        for prompt in a.prompt:
            command += ["-prompt", prompt]
        subprocess.run(command, check=True)
        records = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
        ours = np.stack([np.asarray(Image.open(out / r["file"])) for r in records]).astype(int)
        if a.prompt:
            theirs = text(a.model, unet, torch.from_numpy(noise), [r["prompt"] for r in records], a)
        else:
            labels = [r["class"] for r in records] if "class" in records[0] else None
            theirs = unconditional(a.model, unet, torch.from_numpy(noise), labels, a)
    theirs = (theirs * 255).round().astype(int).reshape(ours.shape)
    apart = np.abs(ours - theirs)
    print(json.dumps({"images": len(records), "largest": int(apart.max()), "mean": float(apart.mean()),
                      "different_pixels": int((apart > 0).sum()), "of": apart.size,
                      "versions": f"diffusers {diffusers.__version__}, PyTorch {torch.__version__}"}))
    return int(apart.max() > 1)


if __name__ == "__main__":
    sys.exit(main())
