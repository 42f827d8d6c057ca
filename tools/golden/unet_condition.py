"""Reference vectors for models/unet and pipeline: tiny random UNet2DConditionModels in full structure.

    python3 tools/golden/unet_condition.py [NAME…]          (needs torch, diffusers, safetensors)

rewrites models/unet/testdata/<name>/ for each configuration below, or for those that are named: the files and tensors
are those of tools/golden/unet.py, whose code makes them, with encoder_hidden_states [3, 5, D] among the inputs. Normalising
over few channels amplifies rounding: the seeds are such that float32 is within 7e-6 of float64, and that weights off by
1e-7 of themselves move no gradient by more than 2e-5.
"""

import copy
import shutil
import sys

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel

import unet

DOWN = {"D": "DownBlock2D", "C": "CrossAttnDownBlock2D"}
UP = {"U": "UpBlock2D", "C": "CrossAttnUpBlock2D"}
TOKENS = 5


def condition(down, up, **settings):
    return dict(down_block_types=[DOWN[x] for x in down], up_block_types=[UP[x] for x in up], **settings)


STABLE_DIFFUSION = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1, clip_sample=False)

# name: (seed, model, scheduler). Between them they cover what a config.json may say.
CASES = {
    # Stable Diffusion 1.x: projections are convolutions, one number of heads.
    "sd1": (
        10,
        condition("CD", "UC", sample_size=4, block_out_channels=[8, 8], layers_per_block=1, norm_num_groups=2,
                  attention_head_dim=2, cross_attention_dim=6),
        dict(prediction_type="epsilon", **STABLE_DIFFUSION),
    ),
    # Stable Diffusion 2.x: linear projections, heads block by block.
    "sd2": (
        55,
        condition("CD", "UC", sample_size=4, block_out_channels=[8, 8], layers_per_block=1, norm_num_groups=2,
                  attention_head_dim=[2, 4], cross_attention_dim=6, use_linear_projection=True, upcast_attention=True),
        dict(prediction_type="v_prediction", **STABLE_DIFFUSION),
    ),
    # As the upscaler has it, attention to the text only; labels; a setting for each block; a rectangle.
    "upscaler": (
        15,
        condition("CC", "CU", sample_size=[4, 8], in_channels=3, out_channels=3, block_out_channels=[8, 8],
                  layers_per_block=[1, 2], transformer_layers_per_block=[2, 1], norm_num_groups=2, norm_eps=1e-6,
                  attention_head_dim=[4, 2], cross_attention_dim=5, use_linear_projection=True,
                  only_cross_attention=[True, False], num_class_embeds=7, downsample_padding=0),
        dict(prediction_type="v_prediction", **STABLE_DIFFUSION),
    ),
    # Labels that are vectors, beside the time embedding; a mid block of one residual block; widths by block.
    "projection": (
        3,
        condition("DC", "CU", sample_size=4, in_channels=2, out_channels=2, block_out_channels=[6, 6], layers_per_block=1,
                  norm_num_groups=3, attention_head_dim=3, cross_attention_dim=[9, 7], mid_block_type="UNetMidBlock2D",
                  class_embed_type="projection", projection_class_embeddings_input_dim=5, class_embeddings_concat=True,
                  time_embedding_dim=14, center_input_sample=True, act_fn="mish", conv_out_kernel=1, freq_shift=1,
                  mid_block_scale_factor=2**0.5),
        dict(beta_schedule="linear", prediction_type="sample"),
    ),
    # One block, which attends to the text twice; numbers for labels as for timesteps.
    "timestep": (
        1,
        condition("C", "C", sample_size=4, in_channels=2, out_channels=2, block_out_channels=[8], layers_per_block=1,
                  norm_num_groups=2, attention_head_dim=1, cross_attention_dim=4, only_cross_attention=True,
                  class_embed_type="timestep", resnet_time_scale_shift="scale_shift", act_fn="gelu", flip_sin_to_cos=False,
                  mid_block_scale_factor=2, conv_in_kernel=5),
        dict(beta_schedule="linear", prediction_type="epsilon"),
    ),
    # No mid block.
    "simple-projection": (
        0,
        condition("C", "U", sample_size=4, in_channels=1, out_channels=1, block_out_channels=[6], layers_per_block=1,
                  norm_num_groups=2, attention_head_dim=3, cross_attention_dim=3, mid_block_type=None, act_fn="relu",
                  class_embed_type="simple_projection", projection_class_embeddings_input_dim=4),
        dict(beta_schedule="squaredcos_cap_v2", prediction_type="epsilon"),
    ),
}


def inputs(config, schedule, g):
    x = unet.inputs(config, schedule, g)
    n, width = len(x["sample"]), config.cross_attention_dim
    x["encoder_hidden_states"] = torch.randn(n, TOKENS, width if isinstance(width, int) else width[-1], generator=g)
    if config.projection_class_embeddings_input_dim:
        x["class_labels"] = torch.randn(n, config.projection_class_embeddings_input_dim, generator=g)
    return x


def main():
    torch.set_num_threads(1)
    for name in sys.argv[1:] or CASES:
        seed, settings, scheduler = CASES[name]
        g = torch.Generator().manual_seed(seed)
        model, schedule = UNet2DConditionModel(**settings), DDPMScheduler(**scheduler)
        unet.randomise(model, g)
        folder = unet.ROOT / "models/unet/testdata" / name
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        schedule.save_config(folder)
        x = inputs(model.config, schedule, g)
        double = unet.vectors(copy.deepcopy(model).double(), schedule, x)
        unet.write(folder / "vectors.safetensors", x, unet.vectors(model, schedule, x), double, 1e-5,
                   "tools/golden/unet_condition.py")
        for path in folder.glob("*.safetensors"):
            path.chmod(0o644)


if __name__ == "__main__":
    main()
