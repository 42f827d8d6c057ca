"""pipeline/optim/testdata/scaler.json: the loss scale of torch.amp.GradScaler after runs of finite and of infinite gradients.

    python3 tools/golden/scaler.py pipeline/optim/testdata/scaler.json
"""

import json
import random
import sys

import torch


def trace(name, interval, runs):
    scaler = torch.amp.GradScaler("cpu", growth_interval=interval)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    scaler.scale(torch.zeros(1))  # makes the scale
    scales, growth = [], []
    for finite, count in runs:
        for _ in range(count):
            weight.grad = torch.tensor([1.0 if finite else float("inf")])
            scaler.step(optimizer)
            scaler.update()
        scales.append(scaler.get_scale())
        growth.append(scaler._get_growth_tracker())
    return {"name": name, "interval": interval, "finite": runs, "scale": scales, "growth": growth}


def main():
    random.seed(0)
    mixed = [[random.randint(0, 1), random.randint(1, 8)] for _ in range(60)]
    cases = [
        trace("defaults", 2000, [[1, 1999], [1, 1], [0, 1], [1, 1999], [0, 2], [1, 4000], [1, 1]]),
        trace("every third", 3, mixed),
        trace("to both ends of float32", 1, [[1, 1], [1, 110], [1, 1], [1, 1], [0, 1], [0, 200], [0, 77], [0, 1], [1, 1]]),
    ]
    with open(sys.argv[1], "w") as f:
        json.dump({"torch": torch.__version__, "cases": cases}, f)
        f.write("\n")


if __name__ == "__main__":
    main()
