"""A folder with Stable Diffusion 1.5's U-Net and no weights of its own: a sparse file of zeros in their place.

    python3 tools/gpu/sd15.py DIR [--tiny]

`immiscible bench step` draws its weights, and the peer reads config.json only. --tiny is the same structure at a
thousandth of the size, for a dry run. Needs torch and diffusers.
"""

import json
import pathlib
import struct
import sys

import torch
from diffusers import UNet2DConditionModel


def main():
    out = pathlib.Path(sys.argv[1]) / "unet"
    sizes = {"block_out_channels": (32, 64, 64, 64), "cross_attention_dim": 32} if "--tiny" in sys.argv else {"cross_attention_dim": 768}
    with torch.device("meta"):
        model = UNet2DConditionModel(sample_size=8 if "--tiny" in sys.argv else 64, **sizes)
    out.mkdir(parents=True, exist_ok=True)
    model.save_config(out)
    (out.parent / "model_index.json").write_text(json.dumps(
        {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}))
    header, at = {}, 0
    for key, value in sorted(model.state_dict().items()):
        header[key] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [at, at + 4 * value.numel()]}
        at += 4 * value.numel()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(out / "diffusion_pytorch_model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.truncate(8 + len(text) + at)


if __name__ == "__main__":
    main()
