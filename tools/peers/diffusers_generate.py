"""The peer of `immiscible bench generate`: diffusers' StableDiffusionPipeline on the CPU.

    python3 tools/peers/diffusers_generate.py --model DIR --prompt TEXT --images N --batch N --steps N --sampler S
        --guidance G --height H --width W --threads T

It prints {"ready": true, "version": …} and, for each line on its stdin, makes --images images in batches, saves them as
PNG files in a temporary folder and prints {"seconds": …}. A turn before the first line is for warming up.

Needs torch, diffusers and transformers.
"""

import argparse
import json
import pathlib
import sys
import tempfile
import time

import diffusers
import torch

CLASSES = {
    "ddim": ("DDIMScheduler", {}), "ddpm": ("DDPMScheduler", {}), "pndm": ("PNDMScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}), "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "dpm++_2m": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": False}),
    "dpm++_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
}


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("model", "prompt", "sampler"):
        p.add_argument("--" + name, required=True)
    for name in ("images", "batch", "steps", "height", "width", "threads"):
        p.add_argument("--" + name, type=int, required=True)
    p.add_argument("--guidance", type=float, required=True)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(a.model, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    cls, change = CLASSES[a.sampler]
    pipe.scheduler = getattr(diffusers, cls).from_config(pipe.scheduler.config, **change)

    def turn(folder):
        start = time.perf_counter()
        for at in range(0, a.images, a.batch):
            n = min(a.batch, a.images - at)
            images = pipe([a.prompt] * n, num_inference_steps=a.steps, guidance_scale=a.guidance, height=a.height, width=a.width,
                          generator=torch.Generator().manual_seed(at)).images
            for i, image in enumerate(images):
                image.save(folder / f"{at + i:05d}.png")
        return time.perf_counter() - start

    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        folder = pathlib.Path(folder)
        turn(folder)
        print(json.dumps({"ready": True, "version": f"diffusers {diffusers.__version__}, PyTorch {torch.__version__}"}), flush=True)
        for _ in sys.stdin:
            print(json.dumps({"seconds": turn(folder)}), flush=True)


if __name__ == "__main__":
    main()
