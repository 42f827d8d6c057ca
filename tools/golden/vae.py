"""Reference vectors for models/vae and pipeline/latents.go: tiny random AutoencoderKLs in full structure.

    python3 tools/golden/vae.py          (needs torch, diffusers, safetensors)

rewrites, for each configuration below, models/vae/testdata/<name>/: config.json and the weights as diffusers saves
them, and vectors.safetensors with

  sample, moments, draw, posterior        images, the encoder's output, a standard normal draw, and diffusers' sample
                                          of the posterior with that draw
  latents                                 posterior as a UNet takes it: shifted and scaled
  latent_sample, decoded                  the decoder's input (unscaled) and output
  tiled_sample, tiled_moments,            where the case asks for it: an image and latents larger than a tile, and
  tiled_latent_sample, tiled_decoded      what diffusers makes of them with tiling enabled

The reference is diffusers in float32. The same is computed in float64, and must agree to 3e-6 (max|difference| /
max|reference| of any tensor): the metadata's made_by says how well it does.
"""

import copy
import json
import pathlib
import shutil
from unittest import mock

import diffusers
import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders import vae as diffusers_vae
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]


def blocks(channels, **settings):
    return dict(down_block_types=["DownEncoderBlock2D"] * len(channels), up_block_types=["UpDecoderBlock2D"] * len(channels),
                block_out_channels=channels, **settings)


# name: (seed, image height and width, tiled image or None, model).
CASES = {
    # As Stable Diffusion has it, narrower: four levels, two layers; saved as 2022's folders were.
    "sd": (1, (16, 24), None, blocks([4, 4, 6, 8], layers_per_block=2, norm_num_groups=2, sample_size=32)),
    # Two levels and small tiles, so that every kind of tile occurs: whole, cut right, cut below, one latent wide.
    "tiles": (2, (8, 8), (14, 18), blocks([4, 6], layers_per_block=1, norm_num_groups=2, sample_size=8, act_fn="gelu")),
    # As later models have it: no quant_conv, a shift; no attention; one image channel; saved in half precision.
    "half": (3, (8, 12), None, blocks([4, 8, 8], layers_per_block=1, norm_num_groups=4, sample_size=16, in_channels=1,
                                     out_channels=1, latent_channels=3, use_quant_conv=False, use_post_quant_conv=False,
                                     mid_block_add_attention=False, scaling_factor=1.5305, shift_factor=0.0609, act_fn="mish")),
    # A mean and a deviation for each latent channel; one level, which makes latents as large as the image.
    "single": (4, (5, 7), None, blocks([6], layers_per_block=1, norm_num_groups=3, sample_size=8, latent_channels=2,
                                      latents_mean=[0.5, -0.25], latents_std=[1.5, 0.75], scaling_factor=0.5, force_upcast=False)),
}


def randomise(model, g):
    """Draws every parameter anew, so that no bias is zero and no norm the identity."""
    for name, p in model.named_parameters():
        draw = torch.randn(p.shape, generator=g)
        with torch.no_grad():
            if p.dim() > 1:
                p.copy_(draw * (1.4 / p[0].numel()) ** 0.5)
            else:
                p.copy_(0.2 * draw + ("norm" in name and name.endswith("weight")))


def inputs(config, size, tiled, g):
    factor = 2 ** (len(config.block_out_channels) - 1)
    (h, w), n = size, 2
    x = {
        "sample": torch.rand(n, config.in_channels, h, w, generator=g) * 2 - 1,
        "draw": torch.randn(n, config.latent_channels, h // factor, w // factor, generator=g),
        "latent_sample": torch.randn(n, config.latent_channels, h // factor, w // factor, generator=g),
    }
    if tiled:
        h, w = tiled
        x["tiled_sample"] = torch.rand(1, config.in_channels, h, w, generator=g) * 2 - 1
        x["tiled_latent_sample"] = torch.randn(1, config.latent_channels, h // factor, w // factor, generator=g)
    return x


@torch.no_grad()
def vectors(model, x):
    """All that vectors.safetensors holds beside the inputs, in the model's dtype."""
    dtype = next(model.parameters()).dtype
    x = {k: v.to(dtype) for k, v in x.items()}
    distribution = model.encode(x["sample"]).latent_dist
    with mock.patch.object(diffusers_vae, "randn_tensor", lambda *_, **__: x["draw"]):
        posterior = distribution.sample()
    c = model.config
    if c.latents_mean is not None:
        mean, std = (torch.tensor(v, dtype=dtype).view(1, -1, 1, 1) for v in (c.latents_mean, c.latents_std))
        latents = (posterior - mean) * c.scaling_factor / std
    else:
        latents = (posterior - (c.shift_factor or 0)) * c.scaling_factor
    result = {"moments": distribution.parameters, "posterior": posterior, "latents": latents,
              "decoded": model.decode(x["latent_sample"]).sample}
    if "tiled_sample" in x:
        model.enable_tiling()
        result["tiled_moments"] = model.encode(x["tiled_sample"]).latent_dist.parameters
        result["tiled_decoded"] = model.decode(x["tiled_latent_sample"]).sample
        model.disable_tiling()
    return result


def old_attention(path):
    """Renames attention's tensors to what diffusers wrote before 0.15."""
    names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    tensors = {}
    for k, v in load_file(path).items():
        for new, old in names.items():
            k = k.replace(new, old)
        tensors[k] = v
    save_file(tensors, path, metadata={"format": "pt"})


def main():
    torch.set_num_threads(1)
    for name, (seed, size, tiled, settings) in CASES.items():
        g = torch.Generator().manual_seed(seed)
        model = AutoencoderKL(**settings)
        randomise(model, g)
        folder = ROOT / "models/vae/testdata" / name
        shutil.rmtree(folder, ignore_errors=True)
        if name == "half":
            model.half().save_pretrained(folder, variant="fp16")
            model.float()
        else:
            model.save_pretrained(folder)
        x = inputs(model.config, size, tiled, g)
        result, double = vectors(model, x), vectors(copy.deepcopy(model).double(), x)
        worst, where = max((float((result[k] - ref).abs().max() / ref.abs().max()), k) for k, ref in double.items())
        made_by = {"torch": torch.__version__, "diffusers": diffusers.__version__, "script": "tools/golden/vae.py",
                   "from_float64": f"{worst:.1e} ({where})"}
        path = folder / "vectors.safetensors"
        # One metadata key: safetensors writes several in random order.
        save_file({k: v.contiguous() for k, v in (x | result).items()}, path, metadata={"made_by": json.dumps(made_by)})
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes, from float64 {made_by['from_float64']}")
        if worst > 3e-6:
            raise SystemExit(f"{path}: float32 and float64 differ by {worst:.1e}, want at most 3e-6: try another seed")
        if name == "sd":
            old_attention(folder / "diffusion_pytorch_model.safetensors")
        for file in folder.glob("*.safetensors"):
            file.chmod(0o644)


if __name__ == "__main__":
    main()
