"""The peer of `immiscible bench data`: torchvision's transforms behind PyTorch's DataLoader.

    python3 tools/peers/dataloader.py --resolution R --batch N --batches N --workers N SHARD.tar…

The shards are indexed once, so that an image is one seek, as in a folder of files. A worker process opens the image
with Pillow, converts it to RGB, and applies Resize(R), CenterCrop(R), ToTensor and Normalize(0.5, 0.5), as the training
scripts of diffusers do. It prints {"ready": true, "version": …} and, for each line on its stdin, hands out --batches
batches of a shuffled order and prints {"seconds": …}. Workers live on between turns.

Needs torch, torchvision and pillow.
"""

import argparse
import io
import json
import sys
import tarfile
import time

import PIL
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import transforms


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("shards", nargs="+")
    p.add_argument("--resolution", type=int, required=True)
    p.add_argument("--batch", type=int, required=True)
    p.add_argument("--batches", type=int, required=True)
    p.add_argument("--workers", type=int, required=True)
    return p.parse_args()


class Shards(Dataset):
    def __init__(self, paths, resolution):
        self.files = {}
        self.records = []
        for path in paths:
            labels, images = {}, {}
            with tarfile.open(path) as tar:
                for member in tar:
                    key, _, extension = member.name.partition(".")
                    if extension == "cls":
                        labels[key] = int(tar.extractfile(member).read())
                    elif extension in ("jpg", "jpeg", "png", "webp"):
                        images[key] = (path, member.offset_data, member.size)
            self.records += [(*where, labels.get(key, -1)) for key, where in images.items()]
        self.transform = transforms.Compose([
            transforms.Resize(resolution, interpolation=transforms.InterpolationMode.BILINEAR),
            transforms.CenterCrop(resolution),
            transforms.ToTensor(),
            transforms.Normalize([0.5], [0.5]),
        ])

    def __len__(self):
        return len(self.records)

    def __getitem__(self, i):
        path, offset, size, label = self.records[i]
        if path not in self.files:  # each worker opens its own
            self.files[path] = open(path, "rb")
        file = self.files[path]
        file.seek(offset)
        return self.transform(Image.open(io.BytesIO(file.read(size))).convert("RGB")), label


class Turn(Sampler):
    """As many indices as a turn has images, from an order that is shuffled anew for each."""

    def __init__(self, records, images):
        self.records, self.images = records, images

    def __len__(self):
        return self.images

    def __iter__(self):
        order = torch.randperm(self.records).tolist()
        return iter([order[i % self.records] for i in range(self.images)])


def main():
    a = arguments()
    data = Shards(a.shards, a.resolution)
    loader = DataLoader(data, batch_size=a.batch, sampler=Turn(len(data), a.batch * a.batches), num_workers=a.workers, persistent_workers=True)
    version = f"torchvision {torchvision.__version__}, torch {torch.__version__}, Pillow {PIL.__version__}"
    print(json.dumps({"ready": True, "version": version}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        for images, labels in loader:
            assert images.shape == (a.batch, 3, a.resolution, a.resolution) and len(labels) == a.batch
        print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)


if __name__ == "__main__":
    main()
