"""Where a training step of PyTorch's would go on an H100, operator by operator: the peer of tools/roofline.

    python3 tools/gpu/torch_roofline.py --model DIR_OR_config.json --batch N --resolution R [--json]

An estimate from shapes on the meta device, not a measurement, with the assumptions of tools/roofline. Counted is what
the eager step of tools/peers/torch_step.py calls with --device cuda --amp fp16 --channels-last --fused: autocast's casts
(each weight once a step), at::group_norm's copies of channels-last images, copies of operands that are not dense,
scaled_dot_product_attention as one kernel, GradScaler, clipping, fused AdamW and diffusers' EMA by foreach. Views are
free. Not counted: what cuDNN does inside. Needs torch and diffusers.
"""

import argparse
import collections
import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

sys.path[0] = str(pathlib.Path(__file__).parent.parent / "peers")
import diffusers  # noqa: E402
from torch_step import open_model  # noqa: E402

BANDWIDTH, HALF, SINGLE, LAUNCH = 0.8 * 3.35e12, 0.575 * 989e12, 0.575 * 495e12, 4e-6
ASSUMES = f"""H100 SXM, an estimate: 0.8 of 3.35 TB/s, 0.575 of 989 TFLOP/s in float16 and 495 in TF32, at least 4 µs an operator;
every operator reads and writes its operands once, one after another; views are free. PyTorch {torch.__version__}, diffusers
{diffusers.__version__}: autocast fp16, channels_last, GradScaler, clip_grad_norm_, fused AdamW, EMAModel(foreach).
"""


class Costs:
    """Sums by kind of operator."""

    def __init__(self):
        self.kinds = collections.defaultdict(lambda: [0, 0, 0, 0.0])

    def add(self, kind, bytes, flops=0, rate=HALF, kernels=1):
        sums = self.kinds[kind]
        sums[0] += kernels
        sums[1] += bytes
        sums[2] += flops
        sums[3] += max(LAUNCH * kernels, bytes / BANDWIDTH, flops / rate)


def size(x):
    return x.numel() * x.element_size()


class Attention(torch.autograd.Function):
    """scaled_dot_product_attention as cuDNN's and FlashAttention's kernels have it: the weights are never stored."""

    costs = None

    @staticmethod
    def count(kind, q, k, products, images):
        flops = products * 2 * q.numel() * k.shape[-2]
        stored = images[0] * size(q) + images[1] * size(k) + 4 * q.numel() // q.shape[-1]
        Attention.costs.add(f"{kind} {q.dtype}", stored, flops)

    @staticmethod
    def forward(ctx, q, k, v):
        ctx.save_for_backward(q, k)
        Attention.count("attention", q, k, 2, (2, 2))
        return torch.empty_like(q)

    @staticmethod
    def backward(ctx, dy):
        q, k = ctx.saved_tensors
        Attention.count("attention'", q, k, 5, (4, 4))
        return torch.empty_like(q), torch.empty_like(k), torch.empty_like(k)


class Dropout(torch.autograd.Function):
    """native_dropout, a kernel each way, of which meta tensors have the parts."""

    costs = None

    @staticmethod
    def forward(ctx, x):
        Dropout.costs.add(f"dropout {x.dtype}", 2 * size(x) + x.numel())
        return torch.empty_like(x)

    @staticmethod
    def backward(ctx, dy):
        Dropout.costs.add(f"dropout' {dy.dtype}", 2 * size(dy) + dy.numel())
        return torch.empty_like(dy)


class Autocast(TorchFunctionMode):
    """torch.autocast("cuda", torch.float16) for the functions that these models call; meta tensors pass the real one by.
    https://docs.pytorch.org/docs/stable/amp.html#autocast-op-reference"""

    half = {F.conv2d, F.linear, torch.matmul, torch.bmm, torch.baddbmm, F.scaled_dot_product_attention}
    wide = {F.group_norm, F.layer_norm, F.softmax, F.mse_loss, torch.exp, torch.log, torch.pow}

    def __init__(self):
        super().__init__()
        self.weights = {}

    def cast(self, x, dtype):
        if not isinstance(x, torch.Tensor) or not x.is_floating_point() or x.dtype == dtype:
            return x
        if not isinstance(x, torch.nn.Parameter):
            return x.to(dtype)
        if x not in self.weights:
            self.weights[x] = x.to(dtype)
        return self.weights[x]

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        to = torch.float16 if function in self.half else torch.float32 if function in self.wide else None
        if to:
            args = [self.cast(x, to) for x in args]
            kwargs = {name: self.cast(x, to) for name, x in kwargs.items()}
        if function is F.scaled_dot_product_attention:
            return Attention.apply(*[x for x in list(args) + [kwargs.get(n) for n in ("query", "key", "value")] if isinstance(x, torch.Tensor)][:3])
        if function is F.dropout:
            return Dropout.apply(args[0]) if kwargs.get("p", args[1:2] != [0.0] and args[1:2] != (0.0,)) else args[0]
        return function(*args, **kwargs)


FREE = {"view", "_unsafe_view", "t", "transpose", "permute", "expand", "slice", "select", "unsqueeze", "squeeze", "split", "split_with_sizes",
        "chunk", "detach", "alias", "as_strided", "empty_like", "empty", "empty_strided", "new_empty", "new_empty_strided", "unbind", "_reshape_alias",
        "lift_fresh"}


class Count(TorchDispatchMode):
    """Adds up what ATen's operators read and write."""

    def __init__(self, costs):
        super().__init__()
        self.costs, self.backward = costs, False

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        name = function._schema.name.split("::")[1]
        if name in FREE or out is NotImplemented:
            return out
        kind = name + ("'" if self.backward else "")
        inputs = {id(x): x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}.values()
        results = [x for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
        if name in ("embedding", "index"):  # reads only what it picks
            inputs = results
        flops, rate = self.products(name, args, out)
        if results:
            kind += f" {results[0].dtype}"
        bytes = sum(self.stored(x) for x in inputs) + sum(self.stored(x) for x in results)
        self.costs.add(kind, bytes, flops, rate)
        if name.startswith("convolution"):
            images = [x for x in args[:3 if self.backward else 1] if x.dim() == 4]
            for x in images[:2 if self.backward else 1]:
                if not x.is_contiguous(memory_format=torch.channels_last):
                    self.costs.add(f"copy before {kind}", 2 * size(x))
            # As on a GPU, where the weights are channels-last; meta tensors forget it.
            out = tree_map(lambda x: x.to(memory_format=torch.channels_last) if isinstance(x, torch.Tensor) and x.dim() == 4 else x, out)
        return out

    @staticmethod
    def stored(x):
        """What is in memory of a value that may be expanded."""
        n = x.element_size()
        for length, stride in zip(x.shape, x.stride()):
            n *= length if stride else 1
        return n

    @staticmethod
    def products(name, args, out):
        if name == "convolution":
            x, w = args[0], args[1]
            return 2 * out.numel() * w[0].numel(), HALF if x.dtype == torch.float16 else SINGLE
        if name == "convolution_backward":
            dy, _, w = args[:3]
            return 2 * dy.numel() * w[0].numel() * sum(args[-1][:2]), HALF if w.dtype == torch.float16 else SINGLE
        if name in ("mm", "bmm"):
            return 2 * out.numel() * args[0].shape[-1], HALF if out.dtype == torch.float16 else SINGLE
        if name in ("addmm", "baddbmm"):
            return 2 * out.numel() * args[1].shape[-1], HALF if out.dtype == torch.float16 else SINGLE
        return 0, HALF


def gradients(model, batch, resolution):
    config, costs = model.config, Costs()
    Attention.costs = Dropout.costs = costs
    shape = (batch, config.in_channels, resolution, resolution)
    sample, noise, a = (torch.empty(s, device="meta") for s in (shape, shape, (batch, 1, 1, 1)))
    sample = sample.to(memory_format=torch.channels_last)
    given = {}
    if config.get("cross_attention_dim"):
        given["encoder_hidden_states"] = torch.empty(batch, 77, config.cross_attention_dim, device="meta")
    with Count(costs) as count:
        noisy = sample * a + noise * a
        with Autocast():
            output = model(noisy, torch.empty(batch, dtype=torch.int64, device="meta"), **given).sample
        loss = F.mse_loss(output.float(), noise)
        count.backward = True
        loss.backward()
    return costs


def update(model):
    """GradScaler.unscale_, clip_grad_norm_ (foreach), AdamW (fused), EMAModel (foreach: e − (1 − d)·(e − p) in two kernels)."""
    n, costs = sum(p.numel() for p in model.parameters()), Costs()
    launches = -(-len(list(model.parameters())) // 48)  # a multi-tensor kernel takes some dozens of tensors
    for kind, reads_and_writes in (("unscale_", 2), ("norm", 1), ("clip", 2), ("AdamW fused", 7), ("EMA sub", 3), ("EMA sub_", 3)):
        costs.add(kind, 4 * n * reads_and_writes, kernels=launches)
    return costs


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--model", required=True, help="a diffusers folder, or a config.json")
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--resolution", type=int, required=True, help="of what the model sees")
    p.add_argument("--json", action="store_true", help="one JSON object")
    args = p.parse_args()
    path = pathlib.Path(args.model)
    path = next(f for f in (path / "unet" / "config.json", path / "config.json", path) if f.is_file())
    with torch.device("meta"):
        model = open_model(path).train().to(memory_format=torch.channels_last)
    parts = [("gradients", gradients(model, args.batch, args.resolution)), ("update", update(model))]
    if args.json:
        keys = ("nodes", "bytes", "flops", "seconds")
        print(json.dumps([{"name": name, "kinds": [dict(zip(keys, sums), kind=kind) for kind, sums in costs.kinds.items()]} for name, costs in parts]))
        return
    print(ASSUMES)
    for name, costs in parts:
        rows = sorted(costs.kinds.items(), key=lambda row: -row[1][3])
        rows.append(("together", [sum(column) for column in zip(*costs.kinds.values())]))
        print(f"{name:<48} {'ops':>6} {'GB':>10} {'TFLOP':>10} {'ms':>9}")
        for kind, (ops, bytes, flops, seconds) in rows:
            print(f"{kind.replace('torch.', ''):<48} {ops:6d} {bytes / 1e9:10.3f} {flops / 1e12:10.3f} {seconds * 1e3:9.3f}")
        print()


if __name__ == "__main__":
    main()
