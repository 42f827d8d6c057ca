"""Reference vectors for models/unet and pipeline: tiny random UNet2DModels in full structure.

    python3 tools/golden/unet.py          (needs torch, diffusers, safetensors)

rewrites, for each configuration below,
  models/unet/testdata/<name>/       config.json, diffusion_pytorch_model.safetensors, scheduler_config.json as
                                     diffusers saves them, and vectors.safetensors;
  pipeline/testdata/ddim-<name>.safetensors   initial noise, labels, and DDIM's final samples.

vectors.safetensors: the inputs sample, noise, timesteps, class_labels, loss_weights; noisy and out_sample; loss,
loss_per_sample and <key>.grad; losses and grad_norms of ten AdamW steps on the same inputs, and the weights they end
in, final.<key> and ema.<key>. The "attention" configuration also has frozen_losses and frozen_grad_norms: the same
ten steps with nothing but attention trained.

The reference is diffusers in float32. The same is computed in float64, and must agree to 1e-5 (max|difference| /
max|reference| of any tensor, true zeros apart): the metadata's made_by says how well it does. AdamW divides a gradient
by its own size, so an element whose gradient is as small as its rounding error moves either way; the seeds below are
such that none is: ten steps whose gradients got errors of 1e-6 of their root mean square end within 4e-5 of the same
weights. (relu is in none of them: a unit that rounding switches off moves its weights by more. DDIM amplifies the first
steps' errors; there the figure is for information.)
"""

import copy
import json
import pathlib
import shutil

import diffusers
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 10
DOWN, UP = {"D": "DownBlock2D", "A": "AttnDownBlock2D"}, {"U": "UpBlock2D", "A": "AttnUpBlock2D"}


def unet(down, up, **settings):
    return dict(down_block_types=[DOWN[x] for x in down], up_block_types=[UP[x] for x in up], **settings)


# name: (seed, model, scheduler). Between them they cover what a config.json may say.
CASES = {
    # As the DDPM checkpoints of 2022 have it, attention saved under its old names.
    "ddpm": (
        11,
        unet("DA", "AU", sample_size=8, block_out_channels=[8, 16], layers_per_block=2, norm_num_groups=4, norm_eps=1e-6,
             attention_head_dim=None, freq_shift=1, flip_sin_to_cos=False, downsample_padding=0),
        dict(beta_schedule="linear", prediction_type="epsilon"),
    ),
    # Class labels, several heads, three levels, the default model's kind.
    "classes": (
        74,
        unet("DAD", "UAU", sample_size=8, in_channels=1, out_channels=1, block_out_channels=[8, 8, 12], layers_per_block=1,
             norm_num_groups=4, attention_head_dim=4, num_class_embeds=5),
        dict(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"),
    ),
    # Nothing but attention blocks; a rectangle; resampling in residual blocks.
    "scale-shift": (
        12,
        unet("AA", "AA", sample_size=[4, 8], block_out_channels=[8, 12], layers_per_block=1, norm_num_groups=4,
             attention_head_dim=2, resnet_time_scale_shift="scale_shift", downsample_type="resnet", upsample_type="resnet",
             act_fn="gelu", class_embed_type="timestep"),
        dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="sample", clip_sample=False),
    ),
    # An odd timestep embedding; embeddings for labels; a group norm of its own in the mid block's attention.
    "attention": (
        7,
        unet("DA", "UU", sample_size=8, in_channels=2, out_channels=2, block_out_channels=[9, 12], layers_per_block=1,
             norm_num_groups=3, attention_head_dim=6, resnet_time_scale_shift="scale_shift", attn_norm_num_groups=2,
             mid_block_scale_factor=2**0.5, act_fn="mish", class_embed_type="identity", freq_shift=1),
        dict(beta_schedule="linear", prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"),
    ),
    # Fixed random frequencies of log t; a mid block without attention.
    "fourier": (
        39,
        unet("DD", "UA", sample_size=8, block_out_channels=[8, 8], layers_per_block=1, norm_num_groups=2,
             time_embedding_type="fourier", add_attention=False, center_input_sample=True, attention_head_dim=8),
        dict(beta_schedule="linear", prediction_type="epsilon", steps_offset=1),
    ),
    # A table of timesteps; no mid block; a width of its own for the embeddings.
    "learned": (
        11,
        unet("AD", "UA", sample_size=8, in_channels=1, out_channels=1, block_out_channels=[8, 16], layers_per_block=1,
             norm_num_groups=4, attention_head_dim=None, time_embedding_type="learned", num_train_timesteps=40,
             time_embedding_dim=24, mid_block_type=None, downsample_padding=0),
        dict(beta_schedule="linear", prediction_type="epsilon", num_train_timesteps=40, beta_end=0.2),
    ),
    # One block: no way down, no way up.
    "single": (
        6,
        unet("A", "U", sample_size=4, block_out_channels=[6], layers_per_block=2, norm_num_groups=3, norm_eps=1e-4,
             attention_head_dim=3, num_class_embeds=3, act_fn="swish", mid_block_scale_factor=2),
        dict(beta_schedule="linear", prediction_type="epsilon"),
    ),
}


def randomise(model, g):
    """Draws every parameter anew, so that no bias is zero and no norm the identity."""
    for name, p in model.named_parameters():
        draw = torch.randn(p.shape, generator=g)
        with torch.no_grad():
            if name == "time_proj.weight":
                p.copy_(16 * draw if p.dim() == 1 else draw)  # Fourier frequencies, or the learned table
            elif p.dim() > 1:
                p.copy_(draw * (1.4 / p[0].numel()) ** 0.5)
            else:
                p.copy_(0.2 * draw + ("norm" in name and name.endswith("weight")))


def inputs(config, schedule, g):
    n, (h, w) = 3, config.sample_size if isinstance(config.sample_size, (list, tuple)) else (config.sample_size,) * 2
    last = schedule.config.num_train_timesteps - 1
    first = 3 if config.time_embedding_type == "fourier" else 0  # log 0 is none, and log 1 = 0 leaves weights no gradient
    x = {
        "sample": torch.rand(n, config.in_channels, h, w, generator=g) * 2 - 1,
        "noise": torch.randn(n, config.in_channels, h, w, generator=g),
        "timesteps": torch.tensor([first, int(torch.randint(first, last, (), generator=g)), last]),
        "loss_weights": torch.rand(n, generator=g) + 0.5,
    }
    labels = draw_labels(config, n, g)
    return x if labels is None else x | {"class_labels": labels}


def draw_labels(config, n, g):
    if config.class_embed_type == "identity":
        return torch.randn(n, 4 * config.block_out_channels[0], generator=g)
    if config.class_embed_type == "timestep" or config.num_class_embeds:
        return torch.randint(config.num_class_embeds or 100, (n,), generator=g)


def objective(model, schedule, x):
    """The contract of training_model.onnx: loss and loss_per_sample, and what led there."""
    noisy = schedule.add_noise(x["sample"], x["noise"], x["timesteps"])
    given = {k: x[k] for k in ("class_labels", "encoder_hidden_states") if k in x}
    out = model(noisy, x["timesteps"], **given).sample
    target = {
        "epsilon": lambda: x["noise"],
        "sample": lambda: x["sample"],
        "v_prediction": lambda: schedule.get_velocity(x["sample"], x["noise"], x["timesteps"]),
    }[schedule.config.prediction_type]()
    per_sample = ((target - out) ** 2).mean(dim=(1, 2, 3))
    return noisy, out, (x["loss_weights"] * per_sample).mean(), per_sample


def train(model, schedule, x):
    """Ten AdamW steps with clipping and diffusers' moving average: losses, gradient norms, the average."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2)
    ema = EMAModel(model.parameters(), decay=0.9999)
    losses, norms = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = objective(model, schedule, x)[2]
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(trained, 1.0))
        optimizer.step()
        ema.step(model.parameters())
        losses.append(loss.detach())
    return torch.stack(losses), torch.stack(norms), ema


def vectors(model, schedule, x):
    """All that vectors.safetensors holds beside the inputs, in the model's dtype."""
    dtype = next(model.parameters()).dtype
    x = {k: v.to(dtype) if v.is_floating_point() else v for k, v in x.items()}
    noisy, out, loss, per_sample = objective(model, schedule, x)
    loss.backward()
    result = {"noisy": noisy, "out_sample": out, "loss": loss, "loss_per_sample": per_sample}
    result |= {name + ".grad": p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    frozen = copy.deepcopy(model)
    result["losses"], result["grad_norms"], ema = train(model, schedule, x)
    for (name, p), average in zip(model.named_parameters(), ema.shadow_params):
        if p.requires_grad:
            result |= {"final." + name: p, "ema." + name: average}
    if model.config.class_embed_type == "identity":
        for name, p in frozen.named_parameters():
            p.requires_grad_("attentions" in name)
            p.grad = None
        result["frozen_losses"], result["frozen_grad_norms"], _ = train(frozen, schedule, x)
    return {k: v.detach() for k, v in result.items()}


@torch.no_grad()
def ddim(model, schedule, noise, labels):
    dtype = next(model.parameters()).dtype
    sampler = DDIMScheduler.from_config(schedule.config)
    sampler.set_timesteps(10)
    sample = noise.to(dtype)
    for t in sampler.timesteps:
        out = model(sample, t.expand(len(sample)), labels).sample
        sample = sampler.step(out, t, sample, eta=0.0).prev_sample
    return sample


def disagreement(single, double):
    """The largest max|difference| / max|reference| of any tensor, and which."""
    worst, where = 0.0, ""
    for k, ref in double.items():
        if "to_k.bias" in k:  # its true gradient is zero: softmax does not see a shift of all keys
            continue
        off = float((single[k] - ref).abs().max() / ref.abs().max())
        if off > worst:
            worst, where = off, k
    return worst, where


def write(path, given, result, double, bound, script="tools/golden/unet.py"):
    worst, where = disagreement(result, double)
    made_by = {"torch": torch.__version__, "diffusers": diffusers.__version__, "script": script,
               "from_float64": f"{worst:.1e} ({where})"}
    # One metadata key: safetensors writes several in random order.
    save_file({k: v.contiguous() for k, v in (given | result).items()}, path, metadata={"made_by": json.dumps(made_by)})
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes, from float64 {made_by['from_float64']}")
    if worst > bound:
        raise SystemExit(f"{path}: float32 and float64 differ by {worst:.1e}, want at most {bound}: try another seed")


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
    for name, (seed, settings, scheduler) in CASES.items():
        g = torch.Generator().manual_seed(seed)
        model = UNet2DModel(**settings)
        schedule = DDPMScheduler(**scheduler)
        randomise(model, g)
        folder = ROOT / "models/unet/testdata" / name
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        schedule.save_config(folder)
        x = inputs(model.config, schedule, g)
        noise = torch.randn(4, *x["sample"].shape[1:], generator=g)
        labels = draw_labels(model.config, 4, g)

        wide = copy.deepcopy(model).double()
        if wide.config.class_embed_type == "timestep":  # diffusers casts the timesteps' embedding, not the labels'
            wide.class_embedding.register_forward_pre_hook(lambda _, args: (args[0].double(),))
        if model.config.class_embed_type != "identity":
            given = {"noise": noise} if labels is None else {"noise": noise, "class_labels": labels}
            write(ROOT / f"pipeline/testdata/ddim-{name}.safetensors", given, {"samples": ddim(model, schedule, noise, labels)},
                  {"samples": ddim(wide, schedule, noise, labels)}, 1e-3)
        write(folder / "vectors.safetensors", x, vectors(model, schedule, x), vectors(wide, schedule, x), 1e-5)
        if name == "ddpm":
            old_attention(folder / "diffusion_pytorch_model.safetensors")
        for path in folder.glob("*.safetensors"):
            path.chmod(0o644)


if __name__ == "__main__":
    main()
