"""A Stable Diffusion pipeline small enough to be in the tree, and pictures that diffusers makes with it.

    python3 tools/golden/sd_pipeline.py          (needs torch, diffusers, transformers)

rewrites pipeline/testdata/sd-tiny/, a StableDiffusionPipeline in full structure with random weights (PNDM as Stable
Diffusion 1.4's folder has it, a tokenizer of 200 merges), and pipeline/testdata/sd-tiny-images.safetensors: latents
[3, 4, 8, 8] (initial noise), and for each case below images [3, 3, 16, 16] uint8 and prompt_embeds. Pictures are diffusers'
in float32, and within 0.3/255 of those in float64. The metadata holds the versions, the prompts and the cases.
"""

import collections
import json
import pathlib
import shutil

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2] / "pipeline/testdata"
FOLDER = ROOT / "sd-tiny"

# What the tokenizer's merges are made of.
CORPUS = """a photo of a drawing of the crane goldfish, Carassius auratus tench, Tinca tinca great white shark, white shark,
man-eater, man-eating shark, Carcharodon carcharias tiger shark hammerhead electric ray stingray cock hen ostrich
brambling goldfinch house finch junco indigo bunting robin bulbul jay magpie chickadee water ouzel kite bald eagle vulture
great grey owl European fire salamander common newt eft spotted salamander axolotl mud puppy t-shirt trouser pullover dress
coat sandal shirt sneaker bag ankle boot sunglasses teapot teddy toaster volcano"""
MERGES = 200

PROMPTS = ["a photo of a great white shark", "", "Crane, 42 t-shirts & a drawing of the café — don't!"]
NEGATIVE = "a volcano"
BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")

# name: (class, what from_config changes, steps, guidance, negative prompt)
CASES = {
    "pndm": ("PNDMScheduler", {}, 10, 7.5, None),
    "pndm_unguided": ("PNDMScheduler", {}, 10, 1.0, None),
    "pndm_negative": ("PNDMScheduler", {}, 5, 4.0, NEGATIVE),
    "ddim": ("DDIMScheduler", {}, 10, 7.5, None),
    "euler": ("EulerDiscreteScheduler", {}, 10, 7.5, None),
    "dpm++_2m": ("DPMSolverMultistepScheduler", {}, 10, 7.5, None),
    "dpm++_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}, 10, 7.5, None),
}


def letters():
    """The 256 letters that stand for bytes, in CLIP's order."""
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    rest = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(len(rest))]


def merges():
    """Byte-pair merges of the corpus, the commonest pair first and, of equals, the first in order."""
    words = collections.Counter(tuple(w[:-1]) + (w[-1] + "</w>",) for w in CORPUS.lower().replace(",", " ,").split())
    done = []
    while len(done) < MERGES:
        pairs = collections.Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        best = min(pairs, key=lambda p: (-pairs[p], p))
        done.append(best)
        merged = collections.Counter()
        for word, n in words.items():
            out, i = [], 0
            while i < len(word):
                if word[i:i + 2] == best:
                    out.append("".join(best))
                    i += 2
                else:
                    out.append(word[i])
                    i += 1
            merged[tuple(out)] += n
        words = merged
    return done


def tokenizer(folder):
    folder.mkdir(parents=True)
    pairs = merges()
    tokens = letters() + [c + "</w>" for c in letters()] + ["".join(p) for p in pairs] + ["<|startoftext|>", "<|endoftext|>"]
    assert len(set(tokens)) == len(tokens)
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in pairs))
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    settings = {"add_prefix_space": False, "do_lower_case": True, "errors": "replace", "model_max_length": 77,
                "tokenizer_class": "CLIPTokenizer", **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    return CLIPTokenizer.from_pretrained(folder), len(tokens)


def randomise(model, g, gain):
    """Draws every parameter anew, so that no bias is zero and no norm the identity."""
    for name, p in model.named_parameters():
        draw = torch.randn(p.shape, generator=g)
        with torch.no_grad():
            if "embedding.weight" in name:
                p.copy_(draw)
            elif p.dim() > 1:
                p.copy_(draw * (gain / p[0].numel()) ** 0.5 * (2 if "attn2" in name else 1))  # so that captions show
            else:
                p.copy_(0.1 * draw + ("norm" in name and name.endswith("weight")))


def main():
    torch.set_num_threads(1)
    shutil.rmtree(FOLDER, ignore_errors=True)
    words, size = tokenizer(FOLDER / "tokenizer")
    g = torch.Generator().manual_seed(7)
    text = CLIPTextModel(CLIPTextConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=size, max_position_embeddings=77,
        hidden_act="quick_gelu", projection_dim=16, bos_token_id=size - 2, eos_token_id=size - 1, pad_token_id=size - 1))
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 12), layers_per_block=1, norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16, attention_head_dim=2)
    vae = AutoencoderKL(
        sample_size=16, in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, scaling_factor=0.18215)
    for model, gain in ((text, 1.4), (unet, 1.0), (vae, 1.0)):
        randomise(model.eval(), g, gain)
    scheduler = PNDMScheduler(num_train_timesteps=1000, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1, **BETAS)
    pipe = StableDiffusionPipeline(vae=vae, text_encoder=text, tokenizer=words, unet=unet, scheduler=scheduler,
                                   safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(FOLDER)
    shutil.rmtree(FOLDER / "tokenizer")
    tokenizer(FOLDER / "tokenizer")  # the files of 2022, not those of transformers 5
    path = FOLDER / "scheduler/scheduler_config.json"  # as well: without keys that came later
    keys = {k: v for k, v in json.loads(path.read_text()).items() if k not in ("timestep_spacing", "prediction_type")}
    keys["clip_sample"] = False
    path.write_text(json.dumps(dict(sorted(keys.items())), indent=2) + "\n")
    pipe = StableDiffusionPipeline.from_pretrained(FOLDER, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)

    config = pipe.scheduler.config
    latents = torch.randn(len(PROMPTS), 4, 8, 8, generator=g)
    tensors, worst = {"latents": latents}, 0.0
    for name, (cls, change, steps, guidance, negative) in CASES.items():
        images = {}
        for dtype in (torch.float64, torch.float32):
            pipe.to(dtype)
            pipe.scheduler = getattr(diffusers, cls).from_config(config, **change)
            images[dtype] = pipe(PROMPTS, negative_prompt=[negative] * len(PROMPTS) if negative else None, latents=latents.to(dtype),
                                 num_inference_steps=steps, guidance_scale=guidance, output_type="np").images
        off = 255 * float(abs(images[torch.float64] - images[torch.float32]).max())
        worst = max(worst, off)
        print(f"{name}: mean {images[torch.float32].mean():.3f}, float32 is {off:.2g}/255 from float64")
        tensors[name] = torch.tensor((images[torch.float32] * 255).round().astype("uint8")).permute(0, 3, 1, 2).contiguous()
    if worst > 0.3:
        raise SystemExit(f"float32 is {worst:.2g}/255 from float64, want at most 0.3: try another seed")
    tensors["prompt_embeds"] = torch.cat([pipe.encode_prompt(p, "cpu", 1, False)[0] for p in PROMPTS])
    metadata = {"made_by": "tools/golden/sd_pipeline.py", "torch": torch.__version__, "diffusers": diffusers.__version__,
                "transformers": transformers.__version__, "prompts": PROMPTS, "from_float64": f"{worst:.2g}/255",
                "cases": {name: {"sampler": name.split("_unguided")[0].split("_negative")[0], "steps": c[2], "guidance": c[3], "negative": c[4] or ""}
                          for name, c in CASES.items()}}
    # One metadata key: safetensors writes several in random order.
    save_file({k: v.contiguous() for k, v in tensors.items()}, ROOT / "sd-tiny-images.safetensors", metadata={"made_by": json.dumps(metadata)})
    for file in sorted(ROOT.glob("sd-tiny*/**/*")) + [ROOT / "sd-tiny-images.safetensors"]:
        if file.is_file():
            file.chmod(0o644)
    files = sorted(f for f in FOLDER.rglob("*") if f.is_file())
    for f in files:
        print(f.relative_to(ROOT), f.stat().st_size)
    print("in all", sum(f.stat().st_size for f in files))


if __name__ == "__main__":
    main()
