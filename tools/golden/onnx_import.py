"""Reference vectors for models/graph/importer: exports of tiny random models by both of torch.onnx's exporters.

    python3 tools/golden/onnx_import.py          (needs torch, onnx, onnxscript, diffusers, transformers, safetensors)

writes models/graph/importer/testdata/exports.zip with, for each family below,
  <family>/vectors.safetensors   inputs in.<name>, output, target, loss, and grad.<state-dict key>, by autograd;
  <family>/<exporter>/model.onnx (and model.onnx_data beside one of them), and names.json: which initializer holds which
                                 key, as it is or transposed, found by comparing values.
The loss is the mean squared error of the first output, or the cross-entropy of a classifier. What exporters write for
people (stack traces, the traced program) is taken out of the files; scopes and the notes on initializers stay.
And pipeline/testdata/denoisers.zip: the same of models/unet/testdata's folders, whose vectors.safetensors hold diffusion
losses and gradients.

All that is compared in Go is float32; the same model in float64 must agree to 1e-4 here (max|difference| / max|reference|).
"""

import contextlib
import copy
import io
import json
import pathlib
import tempfile
import warnings
import zipfile

import diffusers
import numpy
import onnx
import torch
import transformers
from onnx import numpy_helper
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

warnings.filterwarnings("ignore")
ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "models/graph/importer/testdata/exports.zip"
KEPT = ("pkg.torch.onnx.name_scopes", "pkg.torch.export.graph_signature.InputSpec.kind", "pkg.onnxscript.optimizer.folded_from")
VERSIONS = {"torch": torch.__version__, "onnx": onnx.__version__, "diffusers": diffusers.__version__,
            "transformers": transformers.__version__, "script": "tools/golden/onnx_import.py"}


class First(torch.nn.Module):
    """The first output of a model that gives a tuple, under the model's own parameter names."""

    def __init__(self, model, call=None):
        super().__init__()
        self.__dict__["model"] = model
        for name, child in model.named_children():
            self.add_module(name, child)
        for name, p in model.named_parameters(recurse=False):
            self.register_parameter(name, p)
        self.call = call or (lambda m, *x: m(*x, return_dict=False)[0])

    def forward(self, *x):
        return self.call(self.model, *x)


def mlp(g):
    model = torch.nn.Sequential(torch.nn.Linear(6, 10), torch.nn.GELU(), torch.nn.LayerNorm(10), torch.nn.Linear(10, 3), torch.nn.Tanh())
    return model, {"x": torch.randn(5, 6, generator=g)}


def blocks(down, up):
    return dict(down_block_types=down, up_block_types=up, block_out_channels=[4, 8], layers_per_block=1, norm_num_groups=2)


def unet2d(g):
    model = diffusers.UNet2DModel(sample_size=8, in_channels=2, out_channels=2, attention_head_dim=4,
                                  **blocks(["DownBlock2D", "AttnDownBlock2D"], ["AttnUpBlock2D", "UpBlock2D"]))
    return First(model), {"sample": torch.randn(2, 2, 8, 8, generator=g), "timestep": torch.tensor([3, 500])}


CROSS = blocks(["CrossAttnDownBlock2D", "DownBlock2D"], ["UpBlock2D", "CrossAttnUpBlock2D"])


def sd1(g):
    model = diffusers.UNet2DConditionModel(sample_size=8, in_channels=2, out_channels=2, attention_head_dim=2, cross_attention_dim=6, **CROSS)
    return First(model), {"sample": torch.randn(2, 2, 8, 8, generator=g), "timestep": torch.tensor(7),
                          "encoder_hidden_states": torch.randn(2, 3, 6, generator=g)}


def sd2(g):
    model = diffusers.UNet2DConditionModel(sample_size=8, in_channels=2, out_channels=2, attention_head_dim=[1, 2], cross_attention_dim=6,
                                           use_linear_projection=True, **CROSS)
    return First(model), {"sample": torch.randn(2, 2, 8, 8, generator=g), "timestep": torch.tensor([7]),
                          "encoder_hidden_states": torch.randn(2, 3, 6, generator=g)}


def sdxl(g):
    model = diffusers.UNet2DConditionModel(sample_size=8, in_channels=2, out_channels=2, attention_head_dim=[1, 2], cross_attention_dim=6,
                                           use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=2,
                                           projection_class_embeddings_input_dim=17, transformer_layers_per_block=[1, 1],
                                           **blocks(["DownBlock2D", "CrossAttnDownBlock2D"], ["CrossAttnUpBlock2D", "UpBlock2D"]))
    call = lambda m, s, t, e, x, y: m(s, t, e, added_cond_kwargs={"text_embeds": x, "time_ids": y}, return_dict=False)[0]
    return First(model, call), {"sample": torch.randn(2, 2, 8, 8, generator=g), "timestep": torch.tensor(7),
                                "encoder_hidden_states": torch.randn(2, 3, 6, generator=g),
                                "text_embeds": torch.randn(2, 5, generator=g), "time_ids": torch.rand(2, 6, generator=g) * 8}


def autoencoder():
    return diffusers.AutoencoderKL(in_channels=2, out_channels=2, latent_channels=2, block_out_channels=[4, 8], layers_per_block=1, norm_num_groups=2,
                                   down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2)


def vae_encoder(g):
    return First(autoencoder().encoder, lambda m, x: m(x)), {"sample": torch.randn(1, 2, 8, 8, generator=g)}


def vae_decoder(g):
    return First(autoencoder().decoder, lambda m, x: m(x)), {"latent_sample": torch.randn(1, 2, 4, 4, generator=g)}


def clip_text(g):
    config = transformers.CLIPTextConfig(vocab_size=40, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2,
                                         max_position_embeddings=7, bos_token_id=0, eos_token_id=39, pad_token_id=1)
    return First(transformers.CLIPTextModel(config)), {"input_ids": torch.randint(0, 40, (2, 7), generator=g)}


def vit(g):
    config = transformers.ViTConfig(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12, image_size=8, patch_size=4, num_channels=2)
    return First(transformers.ViTModel(config, add_pooling_layer=False)), {"pixel_values": torch.randn(1, 2, 8, 8, generator=g)}


def dit(g):
    model = diffusers.DiTTransformer2DModel(num_attention_heads=2, attention_head_dim=4, in_channels=2, out_channels=2, num_layers=2, sample_size=4,
                                            patch_size=2, num_embeds_ada_norm=5)
    call = lambda m, s, t, c: m(s, timestep=t, class_labels=c, return_dict=False)[0]
    return First(model, call), {"sample": torch.randn(2, 2, 4, 4, generator=g), "timestep": torch.tensor([3, 500]), "class_labels": torch.tensor([1, 4])}


def resnet(g):
    config = transformers.ResNetConfig(num_channels=2, embedding_size=4, hidden_sizes=[8, 12], depths=[1, 2], layer_type="bottleneck", num_labels=5)
    model = transformers.ResNetForImageClassification(config)
    return First(model, lambda m, x: m(x, return_dict=False)[0]), {"pixel_values": torch.randn(3, 2, 32, 32, generator=g)}


class Zoo(torch.nn.Module):
    """What the families do not have: grouped and dilated convolutions, pools, resizing, padding, indexing, activations."""

    def __init__(self):
        super().__init__()
        self.depthwise = torch.nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.dilated = torch.nn.Conv2d(4, 6, 3, padding=2, dilation=2, stride=(1, 2))
        self.up = torch.nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1)
        self.row = torch.nn.Conv1d(4, 4, 3, padding=1)
        self.norm = torch.nn.InstanceNorm2d(4, affine=True)
        self.prelu = torch.nn.PReLU(4)
        self.scale = torch.nn.Parameter(torch.zeros(4, 1, 1))
        self.table = torch.nn.Embedding(9, 4)

    def forward(self, x, index):
        f = torch.nn.functional
        x = f.hardswish(self.depthwise(x)) + f.leaky_relu(x, 0.1) + self.scale * x.clamp(-1.05, 0.55)
        y = f.elu(self.up(f.softsign(self.dilated(f.pad(x, (1, 1, 1, 1), mode="reflect")))))
        y = self.prelu(self.norm(y))
        y = f.avg_pool2d(y, 3, stride=2, padding=1) + f.max_pool2d(y, 3, stride=2, padding=1)
        y = y + f.interpolate(x, size=y.shape[-2:], mode="bilinear", align_corners=False) + f.interpolate(x, size=y.shape[-2:], mode="nearest")
        z = f.gelu(y.mean(3), approximate="tanh") + self.row(y.amax(3))
        z = torch.cat([z, z.flip(2).tril()], dim=2) * torch.sigmoid(self.table(index)).transpose(1, 2)
        z = torch.einsum("bcl,bdl->bcd", z, z.abs().sqrt()) / (1 + z.norm(dim=2, keepdim=True))
        z = torch.where(z > 0.1, z, torch.atan(z)) + torch.logsumexp(z, 1, keepdim=True) + z.log_softmax(1)
        return f.mish(z) * f.softplus(z).cumsum(2) + z.gather(2, index[:, None, :4].clamp(max=3).expand(-1, 4, -1)) + torch.min(z, z.transpose(1, 2))


def zoo(g):
    return Zoo(), {"x": torch.randn(2, 4, 7, 9, generator=g), "index": torch.randint(0, 9, (2, 18), generator=g)}


# name: (seed, builder, loss, opset of the TorchScript export, symbolic dimensions of that export)
FAMILIES = {
    "mlp": (1, mlp, "mse", 11, {"x": {0: "batch"}}),
    "unet2d": (2, unet2d, "mse", 17, {"sample": {0: "batch", 2: "height", 3: "width"}, "timestep": {0: "steps"}}),
    "sd1": (3, sd1, "mse", 14, {"sample": {0: "batch", 2: "height", 3: "width"}, "encoder_hidden_states": {0: "batch", 1: "sequence"}}),
    "sd2": (4, sd2, "mse", 16, {"sample": {0: "batch"}, "encoder_hidden_states": {0: "batch"}, "timestep": {0: "steps"}}),
    "sdxl": (5, sdxl, "mse", 18, {"sample": {0: "batch"}, "encoder_hidden_states": {0: "batch"}, "text_embeds": {0: "batch"}, "time_ids": {0: "batch"}}),
    "vae-encoder": (6, vae_encoder, "mse", 14, {}),
    "vae-decoder": (7, vae_decoder, "mse", 15, {"latent_sample": {2: "height", 3: "width"}}),
    "clip-text": (8, clip_text, "mse", 14, {"input_ids": {0: "batch", 1: "sequence"}}),
    "vit": (9, vit, "mse", 17, {"pixel_values": {0: "batch"}}),
    "dit": (10, dit, "mse", 17, {"sample": {0: "batch"}, "timestep": {0: "batch"}, "class_labels": {0: "batch"}}),
    "resnet": (11, resnet, "cross-entropy", 12, {"pixel_values": {0: "batch"}}),
    "zoo": (12, zoo, "mse", 18, {}),
}


def randomise(model, g):
    """Draws every parameter and statistic anew, so that no two tensors are equal."""
    with torch.no_grad():
        for name, p in list(model.named_parameters()) + list(model.named_buffers()):
            if not p.is_floating_point() or "inv_freq" in name or name.endswith("pos_embed") and not isinstance(p, torch.nn.Parameter):
                continue
            draw = torch.randn(p.shape, generator=g)
            if name.endswith("running_var"):
                p.copy_(0.5 + draw.abs())
            elif p.dim() > 1:
                p.copy_(draw * (1.2 / p[0].numel()) ** 0.5)
            else:
                p.copy_(0.2 * draw + ("norm" in name and name.endswith("weight")))


def vectors(model, inputs, kind, target):
    dtype = next(model.parameters()).dtype
    x = {k: v.to(dtype) if v.is_floating_point() else v for k, v in inputs.items()}
    output = model(*x.values())
    if kind == "mse":
        loss = torch.nn.functional.mse_loss(output, target.to(dtype))
    else:
        loss = torch.nn.functional.cross_entropy(output, target)
    loss.backward()
    result = {"output": output, "loss": loss}
    result |= {"grad." + name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {k: v.detach() for k, v in result.items()}


def export(model, inputs, exporter, opset, axes, folder):
    path = folder / "model.onnx"
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        if exporter == "torchscript":
            torch.onnx.export(model, tuple(inputs.values()), path, input_names=list(inputs), output_names=["output"], dynamo=False,
                              opset_version=opset, dynamic_axes=axes, training=torch.onnx.TrainingMode.PRESERVE)
        else:
            torch.onnx.export(model, tuple(inputs.values()), path, input_names=list(inputs), output_names=["output"], dynamo=True, external_data=False)
    return onnx.load(path)


def slim(model):
    """Without what is written for people, which is most of a small file."""
    def keep(props):
        kept = [p for p in props if p.key in KEPT]
        del props[:]
        props.extend(kept)

    for item in [model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        keep(item.metadata_props)
        item.doc_string = ""
    for item in model.graph.value_info:
        if item.metadata_props:
            item.ClearField("type")
    told = [v for v in model.graph.value_info if v.metadata_props]
    del model.graph.value_info[:]
    model.graph.value_info.extend(told)


def names(model, parameters):
    """initializer → [key, transposed], by value; and the keys that no initializer holds."""
    found = {}
    for t in model.graph.initializer:
        a = numpy_helper.to_array(t)
        for key, p in parameters.items():
            v = p.detach().numpy()
            if a.dtype != numpy.float32 or a.size != v.size or a.size == 0:
                continue
            if numpy.array_equal(a.ravel(), v.ravel()):
                found[t.name] = [key, False]
            elif v.ndim == 2 and a.shape == v.T.shape and numpy.array_equal(a, v.T):
                found[t.name] = [key, True]
    return found, sorted(set(parameters) - {key for key, _ in found.values()})


def put(archive, name, data):
    archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED, 9)


# folder of models/unet/testdata, exporter, shape of the timestep (None: scalar), symbolic dimensions
DENOISERS = {
    "single-scalar": ("single", "torchscript", None, {"sample": {0: "batch", 2: "height", 3: "width"}, "class_labels": {0: "batch"}}),
    "single-vector": ("single", "dynamo", 3, {}),
    "sd1-scalar": ("sd1", "torchscript", None, {"sample": {0: "batch"}, "encoder_hidden_states": {0: "batch", 1: "sequence"}}),
    "sd1-vector": ("sd1", "torchscript", 3, {"timestep": {0: "steps"}}),
}


def denoisers():
    """Exports of the folders' models, with their inputs' names as optimum has them."""
    with zipfile.ZipFile(ROOT / "pipeline/testdata/denoisers.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, (folder, exporter, steps, axes) in DENOISERS.items():
            source = ROOT / "models/unet/testdata" / folder
            config = json.loads((source / "config.json").read_text())
            model = getattr(diffusers, config["_class_name"]).from_pretrained(source).eval()
            given = load_file(source / "vectors.safetensors")
            inputs = {"sample": given["sample"], "timestep": given["timesteps"] if steps else torch.tensor(7)}
            if "encoder_hidden_states" in given:
                inputs["encoder_hidden_states"] = given["encoder_hidden_states"]
                call = lambda m, s, t, e: m(s, t, e, return_dict=False)[0]
            else:
                inputs["class_labels"] = given["class_labels"]
                call = lambda m, s, t, c: m(s, t, c, return_dict=False)[0]
            with tempfile.TemporaryDirectory() as folder:
                file = export(First(model, call), inputs, exporter, 17, axes, pathlib.Path(folder))
            slim(file)
            held, missing = names(file, dict(model.named_parameters()))
            put(archive, f"{name}/model.onnx", file.SerializeToString())
            put(archive, f"{name}/names.json", json.dumps({"held": held, "missing": missing, "made_by": VERSIONS}))
            print(f"{name}: {len(file.graph.node)} nodes, not held: {missing}")


def main():
    torch.set_num_threads(1)
    denoisers()
    OUT.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(OUT, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for family, (seed, build, kind, opset, axes) in FAMILIES.items():
            torch.manual_seed(seed)
            g = torch.Generator().manual_seed(seed)
            model, inputs = build(g)
            model.eval()
            randomise(model, g)
            with torch.no_grad():
                output = model(*inputs.values())
            target = torch.randn(output.shape, generator=g) if kind == "mse" else torch.randint(0, output.shape[1], output.shape[:1], generator=g)
            wide = copy.deepcopy(model).double()
            if isinstance(wide, First):
                wide.__dict__["model"] = copy.deepcopy(model.__dict__["model"]).double()
                wide = First(wide.__dict__["model"], model.call)
            single, double = vectors(model, inputs, kind, target), vectors(wide, inputs, kind, target)
            worst, where = 0.0, ""
            largest = max(float(v.abs().max()) for k, v in double.items() if k.startswith("grad."))
            for k, ref in double.items():
                scale = max(float(ref.abs().max()), 1e-2 * largest if k.startswith("grad.") else 0)
                off = float((single[k] - ref).abs().max()) / scale
                if off > worst:
                    worst, where = off, k
            made_by = VERSIONS | {"from_float64": f"{worst:.1e} ({where})", "loss": kind}
            given = {"in." + k: v for k, v in inputs.items()} | {"target": target}
            data = to_bytes({k: v.contiguous() for k, v in (given | single).items()}, metadata={"made_by": json.dumps(made_by)})
            put(archive, f"{family}/vectors.safetensors", data)
            for exporter in ("torchscript", "dynamo"):
                with tempfile.TemporaryDirectory() as folder:
                    folder = pathlib.Path(folder)
                    file = export(model, inputs, exporter, opset, axes, folder)
                    slim(file)
                    held, missing = names(file, dict(model.named_parameters()))
                    external = family == "sd1" and exporter == "dynamo"
                    onnx.save(file, folder / "slim.onnx", save_as_external_data=external, location="model.onnx_data", size_threshold=256)
                    put(archive, f"{family}/{exporter}/model.onnx", (folder / "slim.onnx").read_bytes())
                    if external:
                        put(archive, f"{family}/{exporter}/model.onnx_data", (folder / "model.onnx_data").read_bytes())
                    put(archive, f"{family}/{exporter}/names.json", json.dumps({"held": held, "missing": missing}))
                    sets = {o.domain: o.version for o in file.opset_import}
                    print(f"{family}/{exporter}: opset {sets.get('')}, {len(file.graph.node)} nodes, {len(held)} weights, not held: {missing}")
            print(f"{family}: from float64 {made_by['from_float64']}")
            if worst > 1e-4:
                raise SystemExit(f"{family}: float32 and float64 differ by {worst:.1e}")
    print(OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
