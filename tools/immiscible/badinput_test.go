package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"immiscible/models/safetensors"
)

// copyModel copies a checkpoint's model into a new folder that a test may spoil.
func copyModel(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS(trainedModel(t))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// weightsOf is the path of a model folder's weights; part is unet or unet_ema.
func weightsOf(model, part string) string {
	return filepath.Join(model, part, "diffusion_pytorch_model.safetensors")
}

// editConfig changes a key of both config.json of a model folder.
func editConfig(t *testing.T, model, key string, value any) {
	t.Helper()
	for _, part := range []string{"unet", "unet_ema"} {
		path := filepath.Join(model, part, "config.json")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var config map[string]any
		if err := json.Unmarshal(text, &config); err != nil {
			t.Fatal(err)
		}
		config[key] = value
		if text, err = json.Marshal(config); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// A badCall is a command that must fail without a trace: below is the folder
// whose content it must not change. want is a part of its one line; OUT and
// MODEL in it stand for the paths.
type badCall struct {
	name   string
	args   []string
	status int
	want   string
}

func (b badCall) check(t *testing.T, below string) {
	t.Helper()
	before := tree(t, below)
	status, stdout, stderr := call(t.Context(), b.args...)
	lines := 1
	if b.status == 2 {
		lines = 3 // what is wrong, the usage, where there is more
	}
	if status != b.status || stdout != "" || !strings.Contains(stderr, b.want) || strings.Count(stderr, "\n") != lines {
		t.Errorf("%s: status %d, stdout %q, stderr %q\nwant %d and one line with %q", b.name, status, stdout, stderr, b.status, b.want)
	}
	if after := tree(t, below); !maps.Equal(before, after) {
		for path := range after {
			if old, ok := before[path]; !ok || old != after[path] {
				t.Errorf("%s: %s was written", b.name, path)
			}
		}
		for path := range before {
			if _, ok := after[path]; !ok {
				t.Errorf("%s: %s is gone", b.name, path)
			}
		}
	}
}

// Settings, models, data and folders that cannot be trained with: one line that
// names the place, status 1, and no file is written.
func TestTrainRefuses(t *testing.T) {
	below := t.TempDir()
	out := filepath.Join(below, "run")
	file := write(t, filepath.Join(below, "file"), "x")
	model := func(spoil func(dir string)) string {
		dir := copyModel(t)
		spoil(dir)
		return "model.path=" + dir
	}
	// Without [model.unet], which a model's folder replaces.
	from := func(model string) []string {
		args := []string{"train", "-out", out, "-set", model}
		for _, set := range []string{"data.resolution=8", "data.pad=0", "noise.pool_size=32", "train.batch_size=8", "train.max_steps=2", "sample.steps=2"} {
			args = append(args, "-set", set)
		}
		return args
	}
	cut := func(dir string) {
		info, err := os.Stat(weightsOf(dir, "unet"))
		if err == nil {
			err = os.Truncate(weightsOf(dir, "unet"), info.Size()-100)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	garbage := func(name, text string) string { return write(t, filepath.Join(t.TempDir(), name), text) }
	empty := t.TempDir()

	tests := []badCall{
		{"unknown key", tinyTrain(out, "train.batchsize=8"), 1, "-set: [train] unknown key batchsize: did you mean batch_size?"},
		{"unknown table", tinyTrain(out, "training.batch_size=8"), 1, "-set: unknown table [training]: did you mean [train]?"},
		{"unknown model key", tinyTrain(out, "model.unet.blockout_channels=[8]"), 1, "did you mean block_out_channels?"},
		{"wrong type", tinyTrain(out, "train.batch_size=many"), 1, `[train] batch_size = "many": want an integer from 1 to 1048576`},
		{"impossible value", tinyTrain(out, "train.max_grad_norm=-1"), 1, "[train] max_grad_norm = -1: want a number from 0 up"},
		{"impossible word", tinyTrain(out, "noise.pairing=liner"), 1, `did you mean "linear"?`},
		{"no TOML", tinyTrain(out, "train.seed=[1"), 1, `-set "train.seed=[1": the value is not TOML`},
		{"micro_batch", tinyTrain(out, "train.micro_batch=5"), 1, "micro_batch = 5 does not divide batch_size = 8"},
		{"pool_size", tinyTrain(out, "noise.pool_size=12"), 1, "pool_size = 12 is no multiple of [train] batch_size = 8"},
		{"channels", tinyTrain(out, "data.channels=3"), 1, "[model.unet] in_channels = 1, but [data] channels = 3"},
		{"too few classes", tinyTrain(out, "model.unet.num_class_embeds=9"), 1, "num_class_embeds = 9, but [data] num_classes = 10"},
		{"a model that cannot be", tinyTrain(out, "model.unet.norm_num_groups=3"), 1, "[model.unet]: norm_num_groups 3 does not divide block_out_channels[0] = 8"},
		{"resolution above all", tinyTrain(out, "data.resolution=1000000"), 1, "[data] resolution = 1000000: want an integer from 1 to 16384"},
		{"odd resolution", tinyTrain(out, "data.resolution=7", "model.unet.sample_size=7"), 1, "a 7×7 image cannot be halved 1 times"},
		{"no parameter", tinyTrain(out, "train.parameters=to_q"), 1, `[train] parameters = ["to_q"] matches no parameter`},
		{"preset", append(tinyTrain(out), "-preset", "mnist"), 1, `-preset "mnist": want one of`},
		{"config missing", append(tinyTrain(out), "-config", filepath.Join(below, "none.toml")), 1, "none.toml: no such file"},
		{"config broken", append(tinyTrain(out), "-config", garbage("c.toml", "[train\nseed = 1\n")), 1, "c.toml: "},
		{"config key", append(tinyTrain(out), "-config", garbage("c.toml", "[train]\nsteps = 1\n")), 1, "c.toml: [train] unknown key steps"},
		{"data missing", tinyTrain(out, "data.source="+filepath.Join(below, "none")), 1, "none"},
		{"data empty", tinyTrain(out, "data.source="+empty), 1, "no image in it"},
		{"data no tar", tinyTrain(out, "data.source="+garbage("x.tar", strings.Repeat("x", 2000))), 1, "x.tar"},
		{"model missing", from("model.path=" + filepath.Join(below, "none")), 1, "neither model_index.json nor config.json is here"},
		{"model cut", from(model(cut)), 1, "unet/diffusion_pytorch_model.safetensors"},
		{"model without weights", from(model(func(dir string) { os.Remove(weightsOf(dir, "unet")) })), 1, "diffusion_pytorch_model.safetensors"},
		{"model class", from(model(func(dir string) { editConfig(t, dir, "_class_name", "UNet3DModel") })), 1, `unet/config.json: _class_name is "UNet3DModel", want one of ["UNet2DConditionModel" "UNet2DModel"]`},
		{"model key", from(model(func(dir string) { editConfig(t, dir, "use_magic", true) })), 1, `unet/config.json: unknown key "use_magic"`},
		{"model head", from(model(func(dir string) { editConfig(t, dir, "attention_head_dim", 7) })), 1, "unet/config.json: attention_head_dim 7 does not divide 16 channels (down_blocks.1)"},
		{"model block", from(model(func(dir string) { editConfig(t, dir, "down_block_types", []string{"DownBlock2D", "SkipDownBlock2D"}) })), 1, `down_block_types[1] = "SkipDownBlock2D" is not supported`},
		{"model of other weights", from(model(func(dir string) { editConfig(t, dir, "layers_per_block", 2) })), 1, "is missing: the weights do not belong to this config.json"},
		{"model no JSON", from(model(func(dir string) { write(t, filepath.Join(dir, "unet", "config.json"), "{") })), 1, "unet/config.json: "},
		{"model no UNet settings", append(from("model.path="+copyModel(t)), "-set", "model.unet.dropout=0.1"), 1, "remove one of them"},
		{"out below a file", tinyTrain(filepath.Join(file, "run")), 1, "file/run"},
		{"out is a file", tinyTrain(file), 1, "file"},
		{"resume of nothing", append(tinyTrain(out), "-resume", filepath.Join(below, "checkpoint-9")), 1, "is no whole checkpoint"},
		{"an argument", append(tinyTrain(out), "now"), 2, `unexpected argument "now"`},
		{"an unknown flag", append(tinyTrain(out), "-steps", "3"), 2, "flag provided but not defined: -steps"},
		{"threads", append(tinyTrain(out), "-threads", "-1"), 2, "-threads -1, want 0 to 4096"},
		{"threads beyond reason", append(tinyTrain(out), "-threads", "1000000000000"), 2, "-threads 1000000000000, want 0 to 4096"},
		{"resume of no name", append(tinyTrain(out), "-resume", ""), 2, "-resume is empty"},
	}
	for _, test := range tests {
		test.check(t, below)
	}
	// Nobody, not even root, makes a folder there.
	badCall{"out that cannot be made", tinyTrain("/proc/immiscible"), 1, "-out /proc/immiscible: "}.check(t, below)

	// A folder that has a run keeps it.
	mustCall(t, tinyTrain(out, "train.max_steps=2")...)
	checkpoint := filepath.Join(out, "checkpoint-2")
	for _, test := range []badCall{
		{"another run", tinyTrain(out, "train.max_steps=4", "train.batch_size=16"), 1, "[train] batch_size is 16 now and was 8"},
		{"another model", tinyTrain(out, "train.max_steps=4", "model.unet.dropout=0.1"), 1, "[model.unet] dropout is 0.1 now and was 0.0"},
		{"another run by path", append(tinyTrain(filepath.Join(below, "new"), "train.max_steps=4", "train.seed=3"), "-resume", checkpoint), 1, "[train] seed is 3 now and was 0"},
		{"resume of no step", append(tinyTrain(out, "train.max_steps=4"), "-resume", filepath.Join(out, "checkpoint-9")), 1, "checkpoint-9 is no whole checkpoint"},
		{"never", append(tinyTrain(out, "train.max_steps=4"), "-resume", "never"), 1, "is not empty and -resume is never"},
		{"data gone", tinyTrain(out, "train.max_steps=4", "data.source=/none"), 1, "/none"},
	} {
		test.check(t, below)
	}
	// A checkpoint whose weights were torn later, at full length, is refused
	// before the run is touched: here its header is no longer JSON.
	data, err := os.ReadFile(weightsOf(checkpoint, "unet"))
	if err != nil {
		t.Fatal(err)
	}
	data[8] = 'x'
	write(t, weightsOf(checkpoint, "unet"), string(data))
	badCall{"torn checkpoint", tinyTrain(out, "train.max_steps=4"), 1, "unet/diffusion_pytorch_model.safetensors"}.check(t, below)
}

// A label beyond the model's classes shows when it is read: one line, status 1.
func TestTrainRefusesALabel(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	status, _, stderr := call(t.Context(), tinyTrain(out, "data.num_classes=5", "train.max_steps=2")...)
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if last := lines[len(lines)-1]; status != 1 || len(lines) > 3 || !strings.Contains(last, "want 0 to 4 (the model's num_class_embeds is 5)") {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
}

// A library that is not there, or is none, ends every command that computes
// with one line, before anything is written; doctor says what to do about it.
func TestLibraryThatCannotBeUsed(t *testing.T) {
	below := t.TempDir()
	model := trainedModel(t)
	text := write(t, filepath.Join(below, "libonnxruntime.so"), "not a library")
	for _, library := range []string{filepath.Join(below, "none.so"), text} {
		for _, args := range [][]string{
			tinyTrain(filepath.Join(below, "run")),
			{"generate", "-model", model, "-out", filepath.Join(below, "images"), "-steps", "2"},
			{"doctor"},
		} {
			before := tree(t, below)
			cmd, stderr := program(t, "ONNXRUNTIME_LIB="+library, args...)
			var stdout bytes.Buffer
			cmd.Stdout = &stdout
			var exit *exec.ExitError
			if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("%s: ended with %v, want status 1", args[0], err)
			}
			if args[0] == "doctor" {
				if !strings.Contains(stdout.String(), "problem ") || !strings.Contains(stdout.String(), library) || !strings.Contains(stdout.String(), "\n  do ") {
					t.Errorf("doctor says %q of %s", stdout.String(), library)
				}
			} else if got := stderr.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, library) {
				t.Errorf("%s: stderr %q, want one line that names %s", args[0], got, library)
			}
			if !maps.Equal(before, tree(t, below)) {
				t.Errorf("%s wrote something", args[0])
			}
		}
	}
}

// What generate and export cannot do: the same rules.
func TestGenerateAndExportRefuse(t *testing.T) {
	below := t.TempDir()
	out := filepath.Join(below, "images")
	file := write(t, filepath.Join(below, "file"), "x")
	model := trainedModel(t)
	of := func(model string, more ...string) []string {
		return append([]string{"generate", "-model", model, "-out", out, "-steps", "2"}, more...)
	}
	to := func(model string, more ...string) []string {
		return append([]string{"export", "-model", model, "-out", filepath.Join(below, "deep", "artifacts")}, more...)
	}
	notFinite := writeLatents(t, 10, 1, 8, 8)
	if values, err := os.ReadFile(notFinite); err != nil {
		t.Fatal(err)
	} else {
		at := len(values) - 4*(10*64-3*64-5)
		copy(values[at:], "\x00\x00\x80\x7f")
		write(t, notFinite, string(values))
	}
	cut, plain := copyModel(t), copyModel(t)
	for _, part := range []string{"unet", "unet_ema"} {
		if err := os.Truncate(weightsOf(cut, part), 1000); err != nil {
			t.Fatal(err)
		}
		stripNumClasses(t, weightsOf(plain, part))
	}
	other := copyModel(t)
	editConfig(t, other, "layers_per_block", 2)
	for _, test := range []badCall{
		{"no model", []string{"generate", "-out", out}, 2, "no -model"},
		{"no out", []string{"generate", "-model", model}, 2, "no -out"},
		{"argument", of(model, "x"), 2, `unexpected argument "x"`},
		{"n", of(model, "-n", "0"), 2, "-n 0, want 1 to 1048576"},
		{"n beyond reason", of(model, "-n", "1000000000000"), 2, "-n 1000000000000, want 1 to 1048576"},
		{"n no number", of(model, "-n", "x"), 2, "-n"},
		{"batch", of(model, "-batch", "0"), 2, "-batch 0, want at least 1"},
		{"steps", of(model, "-steps", "0"), 2, "-steps 0, want at least 1"},
		{"classes", of(model, "-classes", "3-"), 2, `-classes "3-": "3-" is no number`},
		{"classes twice", of(model, "-classes", "1,0-3"), 2, "names 1 twice"},
		{"sampler", of(model, "-sampler", "heun"), 2, `-sampler "heun", want one of ddim, ddpm, pndm, euler`},
		{"indices", of(model, "-indices", "0,x"), 2, `-indices "0,x": "x" is no number`},
		{"indices and n", of(model, "-indices", "0", "-n", "2"), 2, "-n and -indices, want one of them"},
		{"resolution", of(model, "-resolution", "8x"), 2, `-resolution "8x", want pixels: R or HxW`},
		{"odd resolution", of(model, "-resolution", "9"), 1, "a 9×9 image cannot be halved"},
		{"prompts of a model without text", of(model, "-prompt", "a cat"), 1, "takes no text"},
		{"negative prompt of a model without text", of(model, "-negative", "a cat"), 1, "a negative prompt needs a model that takes text"},
		{"weights", of(model, "-weights", "new"), 2, `-weights "new", want ema or raw`},
		{"eta", of(model, "-eta", "2"), 2, "-eta 2, want 0 to 1"},
		{"provider", of(model, "-provider", "tpu"), 2, `-provider "tpu", want auto, cpu or cuda`},
		{"guidance", of(model, "-guidance", "NaN"), 2, "-guidance NaN, want a number"},
		{"class out of range", of(model, "-classes", "8-10"), 1, "class 10: " + model + " has classes 0…9"},
		{"too many steps", of(model, "-steps", "2000"), 1, "2000"},
		{"guidance without null class", of(plain, "-guidance", "3"), 1, "guidance 3 needs a model that was trained with conditioning_dropout"},
		{"model missing", of(filepath.Join(below, "none")), 1, "name a diffusers folder"},
		{"model cut", of(cut), 1, "unet_ema/diffusion_pytorch_model.safetensors"},
		{"model of other weights", of(other), 1, "the weights do not belong to this config.json"},
		{"latents missing", of(model, "-latents", filepath.Join(below, "none.npy")), 1, "none.npy"},
		{"latents no npy", of(model, "-latents", file), 1, "file"},
		{"latents of another shape", of(model, "-latents", writeLatents(t, 10, 1, 8, 9)), 1, "shape [10 1 8 9], want [10 1 8 8]: a row an image"},
		{"latents that are not finite", of(model, "-latents", notFinite), 1, "element 5 of image 3 is +Inf, want finite numbers"},
		{"too few latents", of(model, "-n", "2", "-latents", writeLatents(t, 10, 1, 8, 8)), 1, "shape [10 1 8 8], want [20 1 8 8]"},
		{"out below a file", append(of(model), "-out", filepath.Join(file, "x")), 1, "file/x"},

		{"export: no model", []string{"export", "-out", out}, 2, "no -model"},
		{"export: no out", []string{"export", "-model", model}, 2, "no -out"},
		{"export: batch", to(model, "-batch", "0"), 2, "-batch 0, want at least 1"},
		{"export: batch beyond reason", to(model, "-batch", "1000000000000"), 1, "-batch 1000000000000 images of 8x8: want at most 4294967296 of them"},
		{"export: resolution", to(model, "-resolution", "8x"), 2, `-resolution "8x", want pixels: R or HxW`},
		{"export: resolution above all", to(model, "-resolution", "1000000"), 2, `-resolution "1000000", want at most 16384`},
		{"export: out is the working directory", []string{"export", "-model", model, "-out", "."}, 1, "-out . is "},
		{"export: out is a file", []string{"export", "-model", model, "-out", file}, 1, "file is a file, want a folder: name another"},
		{"export: resolution 0", to(model, "-resolution", "0"), 2, `-resolution "0", want at least 1`},
		{"export: odd resolution", to(model, "-resolution", "8x9"), 1, "a 8×9 image cannot be halved 1 times"},
		{"export: model missing", to(filepath.Join(below, "none")), 1, "name a diffusers folder"},
		{"export: model cut", to(cut), 1, "unet/diffusion_pytorch_model.safetensors"},
		{"export: model of other weights", to(other), 1, "the weights do not belong to this config.json"},
		{"export: out not empty", append(to(model), "-out", below), 1, "is not empty: name another folder"},
		{"export: out below a file", append(to(model), "-out", filepath.Join(file, "x", "y")), 1, "file/x/y"},
	} {
		test.check(t, below)
	}
}

// stripNumClasses rewrites a weights file without metadata, as diffusers writes
// it: nothing says that the last class means "no class".
func stripNumClasses(t *testing.T, path string) {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var entries []safetensors.Entry
	for _, tensor := range f.Tensors {
		values := make([]float32, tensor.Size/4)
		if err := f.Float32(tensor, values); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, safetensors.Float32Entry(tensor.Name, tensor.Shape, values))
	}
	if err := errors.Join(f.Close(), safetensors.Write(path, nil, entries)); err != nil {
		t.Fatal(err)
	}
}
