"""The peer of `immiscible bench step`: a training step of a UNet2DModel or UNet2DConditionModel in PyTorch, on the CPU or a GPU.

    python3 tools/peers/torch_step.py --model DIR_OR_config.json --batch N --resolution R --steps N --threads T

The step is what diffusers' training scripts do: draw timesteps and noise, add noise, forward (on random
encoder_hidden_states of 77 tokens, where the model takes them), mean squared error, backward, clip_grad_norm_ 1.0, AdamW
(foreach, or --fused), diffusers' EMAModel (foreach). --device cuda with --amp fp16 is autocast with GradScaler, with --amp
bf16 autocast alone; --channels-last and --compile are PyTorch's; --tf32 allows it. It prints a JSON line a step,
{"step_ms": …}, and at the end {"peak_rss_mb": …, "peak_device_mb": …, "torch": …, "threads": …}: peak_device_mb, on a GPU
only, is what PyTorch's allocator had reserved. With --turns it prints {"ready": true} and
runs a step for each line on its stdin, until that ends: so two programs can take turns on one machine.

Needs torch and diffusers.
"""

import argparse
import json
import pathlib
import re
import sys
import time

import diffusers
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import EMAModel


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--model", required=True, help="a diffusers folder, or a config.json (random weights)")
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--resolution", type=int, help="pixels; default: the model's sample_size")
    p.add_argument("--steps", type=int, default=10, help="ignored with --turns")
    p.add_argument("--threads", type=int, default=torch.get_num_threads())
    p.add_argument("--fused", action="store_true", help="AdamW's fused kernel instead of foreach")
    p.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    p.add_argument("--amp", choices=["no", "fp16", "bf16"], default="no", help="autocast to this type")
    p.add_argument("--channels-last", action="store_true", help="weights and images in channels-last layout")
    p.add_argument("--compile", action="store_true", help="torch.compile the model")
    p.add_argument("--tf32", action="store_true", help="float32 products in TF32")
    p.add_argument("--turns", action="store_true", help="run a step for each line on stdin")
    return p.parse_args()


def open_model(path):
    path = pathlib.Path(path)
    if (path / "unet" / "config.json").exists():
        path = path / "unet"
    config = json.loads((path / "config.json" if path.is_dir() else path).read_text())
    model = getattr(diffusers, config.get("_class_name", "UNet2DModel"))
    if path.is_dir() and any(path.glob("diffusion_pytorch_model*")):
        return model.from_pretrained(path, low_cpu_mem_usage=False)
    return model(**{k: v for k, v in config.items() if not k.startswith("_")})


def conditioning(config, n, dim):
    """What the model takes beside a sample and timesteps, on the CPU."""
    given = {}
    if config.class_embed_type in ("identity", "projection", "simple_projection"):
        given["class_labels"] = torch.randn(n, dim if config.class_embed_type == "identity" else config.projection_class_embeddings_input_dim)
    elif config.class_embed_type == "timestep" or config.num_class_embeds:
        given["class_labels"] = torch.randint(config.num_class_embeds or 1000, (n,))
    width = config.get("cross_attention_dim")
    if width:
        given["encoder_hidden_states"] = torch.randn(n, 77, width if isinstance(width, int) else width[-1])
    return given


def peak_rss_mb():
    """The high-water mark of this program alone; getrusage's includes that of whoever started it."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.tf32
    torch.backends.cudnn.benchmark = True  # as ONNX Runtime's EXHAUSTIVE search
    device = torch.device(args.device)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    model = open_model(args.model).train().to(device, memory_format=layout)
    config, schedule = model.config, DDPMScheduler()
    size = args.resolution or config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    shape = (args.batch, config.in_channels, height, width)
    sample = (torch.rand(shape) * 2 - 1).to(device, memory_format=layout)
    given = conditioning(config, args.batch, model.time_embedding.linear_2.out_features)
    given = {name: x.to(device) for name, x in given.items()}
    steps = config.get("num_train_timesteps") or schedule.config.num_train_timesteps
    parameters = [p for p in model.parameters() if p.requires_grad]
    kind = {"fused": True} if args.fused else {"foreach": True}
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, **kind)
    ema = EMAModel(model.parameters(), decay=0.9999, foreach=True)
    ema.to(device)
    half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(args.amp)
    scaler = torch.amp.GradScaler(device.type, enabled=args.amp == "fp16")
    forward = torch.compile(model) if args.compile else model

    def step():
        noise = torch.randn(shape, device=device).to(memory_format=layout)
        timesteps = torch.randint(1, steps, (args.batch,), device=device)
        with torch.autocast(device.type, dtype=half or torch.bfloat16, enabled=half is not None):
            output = forward(schedule.add_noise(sample, noise, timesteps), timesteps, **given).sample
        loss = torch.nn.functional.mse_loss(output.float(), noise)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        scaler.step(optimizer)
        scaler.update()
        ema.step(model.parameters())
        optimizer.zero_grad()
        loss.item()

    def say(line):
        print(json.dumps(line), flush=True)

    if args.turns:
        say({"ready": True})
    for _ in sys.stdin if args.turns else range(args.steps):
        start = time.perf_counter()
        step()
        say({"step_ms": (time.perf_counter() - start) * 1e3})
    on_device = {"peak_device_mb": torch.cuda.max_memory_reserved(device) / 2**20} if device.type == "cuda" else {}
    say({"peak_rss_mb": peak_rss_mb(), **on_device, "torch": torch.__version__, "threads": torch.get_num_threads(),
         "parameters": sum(p.numel() for p in model.parameters())})


if __name__ == "__main__":
    main()
