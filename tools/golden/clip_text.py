"""Reference vectors for models/clip's text models: tiny random CLIPTextModels in full structure.

    python3 tools/golden/clip_text.py          (needs torch, transformers, safetensors)

rewrites, for each configuration below, models/clip/testdata/<name>/: config.json and the weights as transformers saves
them, and vectors.safetensors with input_ids, last_hidden_state, output_grad (the derivative of some loss with respect
to last_hidden_state, drawn at random) and <key>.grad, that loss's derivative with respect to every parameter.

The reference is transformers in float32. The same is computed in float64, and must agree to 3e-6 (max|difference| /
max|reference| of any tensor; of a k_proj.bias, whose true gradient is 0, of the model's largest gradient): the
metadata's made_by says how well it does.
"""

import copy
import json
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

ROOT = pathlib.Path(__file__).resolve().parents[2]

# name: (seed, tokens of the vectors, configuration).
CASES = {
    # As Stable Diffusion 1.x has it, narrower, its table of positions all used; saved as folders of 2022 were.
    "sd1": (1, 11, dict(hidden_size=12, intermediate_size=48, num_hidden_layers=3, num_attention_heads=3, vocab_size=40,
                        max_position_embeddings=11, hidden_act="quick_gelu", projection_dim=12, bos_token_id=0, eos_token_id=2)),
    # As Stable Diffusion 2.x has it; fewer tokens than positions; saved in half precision, in shards.
    "sd2": (2, 7, dict(hidden_size=16, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, vocab_size=30,
                       max_position_embeddings=10, hidden_act="gelu", projection_dim=8, bos_token_id=0, eos_token_id=2,
                       layer_norm_eps=1e-4)),
}


def randomise(model, g):
    """Draws every parameter anew, so that no bias is zero and no norm the identity."""
    for name, p in model.named_parameters():
        draw = torch.randn(p.shape, generator=g)
        with torch.no_grad():
            if "embedding" in name:
                p.copy_(draw)
            elif p.dim() > 1:
                p.copy_(draw * (1.4 / p[0].numel()) ** 0.5)
            else:
                p.copy_(0.2 * draw + ("norm" in name and name.endswith("weight")))


def vectors(model, ids, output_grad):
    model.zero_grad()
    out = model(input_ids=ids).last_hidden_state
    out.backward(output_grad.to(out.dtype))
    return {"last_hidden_state": out.detach()} | {f"{k}.grad": p.grad.clone() for k, p in model.named_parameters()}


def old_names(path):
    """Writes the tensors as transformers did before version 5."""
    tensors = {"text_model." + k: v for k, v in load_file(path).items()}
    positions = tensors["text_model.embeddings.position_embedding.weight"].shape[0]
    tensors["text_model.embeddings.position_ids"] = torch.arange(positions).unsqueeze(0)
    save_file(tensors, path, metadata={"format": "pt"})


def main():
    torch.set_num_threads(1)
    for name, (seed, tokens, settings) in CASES.items():
        g = torch.Generator().manual_seed(seed)
        model = CLIPTextModel(CLIPTextConfig(**settings)).eval()
        randomise(model, g)
        folder = ROOT / "models/clip/testdata" / name
        shutil.rmtree(folder, ignore_errors=True)
        if name == "sd2":
            model.half().save_pretrained(folder, max_shard_size="6KB")
            model.float()
        else:
            model.save_pretrained(folder)
        ids = torch.randint(0, model.config.vocab_size, (2, tokens), generator=g)
        output_grad = torch.randn(2, tokens, model.config.hidden_size, generator=g)
        result, double = vectors(model, ids, output_grad), vectors(copy.deepcopy(model).double(), ids, output_grad)
        largest = max(float(v.abs().max()) for k, v in double.items() if k.endswith(".grad"))
        scale = {k: largest if k.endswith("k_proj.bias.grad") else float(v.abs().max()) for k, v in double.items()}
        worst, where = max((float((result[k] - ref).abs().max()) / scale[k], k) for k, ref in double.items())
        made_by = {"torch": torch.__version__, "transformers": transformers.__version__, "script": "tools/golden/clip_text.py",
                   "from_float64": f"{worst:.1e} ({where})"}
        path = folder / "vectors.safetensors"
        # One metadata key: safetensors writes several in random order.
        save_file({"input_ids": ids, "output_grad": output_grad} | {k: v.contiguous() for k, v in result.items()}, path,
                  metadata={"made_by": json.dumps(made_by)})
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes, from float64 {made_by['from_float64']}")
        if worst > 3e-6:
            raise SystemExit(f"{path}: float32 and float64 differ by {worst:.1e}, want at most 3e-6: try another seed")
        if name == "sd1":
            old_names(folder / "model.safetensors")
        for file in folder.glob("*.safetensors"):
            file.chmod(0o644)


if __name__ == "__main__":
    main()
