package pipeline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// configLoadText loads a config file with the given text, and -sets.
func configLoadText(t *testing.T, text string, sets ...string) (Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig("", path, sets)
	if err != nil && strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %q", err)
	}
	return c, err
}

// The repository's config.toml is the documentation of every key: it is made
// from the defaults, by this command in pipeline/:
//
//	UPDATE_CONFIG=1 go test -run TestConfigFile .
func TestConfigFile(t *testing.T) {
	path := filepath.Join("..", "config.toml")
	if os.Getenv("UPDATE_CONFIG") != "" {
		if err := Default().Save(path); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Default().Text() {
		t.Errorf("config.toml is not the text of the defaults; in pipeline/: UPDATE_CONFIG=1 go test -run TestConfigFile .")
	}
}

// Others script against these names: one that is missing or new here is a
// change of the surface, and made on purpose.
const configFrozenKeys = `
model: path init unet
data: source resolution channels crop crop_size flip filter pad workers prefetch window cache_dir cache_gib bad_records bad_limit num_classes exif_transpose image_key label_key captions caption_key caption_template class_names
noise: pairing pool_size cost cost_dtype per_class knn_k knn_score center whiten statistics_examples knn_k_end anneal_steps flip scale
scheduler: num_train_timesteps beta_start beta_end beta_schedule rescale_betas_zero_snr clip_sample clip_sample_range timestep_spacing steps_offset set_alpha_to_one variance_type
train: batch_size micro_batch max_steps* seed prediction_type snr_gamma noise_offset input_perturbation conditioning_dropout max_grad_norm max_bad_steps mixed_precision gradient_checkpointing parameters
optimizer: name beta1 beta2 eps weight_decay
lr: schedule learning_rate warmup_steps num_cycles power
ema: enabled decay
checkpoint: every_steps* keep*
sample: every_steps* steps sampler eta per_class prompts guidance_scale
log: tensorboard
runtime: provider* operators* device_id* threads* library* deterministic*
runtime.cuda: gpu_mem_limit* arena_extend_strategy* cudnn_conv_algo_search* cudnn_conv_use_max_workspace* do_copy_in_default_stream* use_tf32* prefer_nhwc* enable_cuda_graph*
`

// TestConfigFrozenKeys also holds which keys may change on resume (*), and that
// each key has a comment, and each number a range.
func TestConfigFrozenKeys(t *testing.T) {
	var b strings.Builder
	b.WriteString("\n")
	tables := reflect.TypeFor[Config]()
	for i := range tables.NumField() {
		b.WriteString(tables.Field(i).Tag.Get("toml") + ":")
		for j := range tables.Field(i).Type.NumField() {
			key := tables.Field(i).Type.Field(j)
			b.WriteString(" " + key.Tag.Get("toml"))
			if key.Tag.Get("resume") == "free" {
				b.WriteString("*")
			}
			if key.Tag.Get("doc") == "" {
				t.Errorf("%s has no doc", key.Name)
			}
			switch key.Type.Kind() {
			case reflect.Int, reflect.Int64, reflect.Float64:
				if key.Tag.Get("range") == "" {
					t.Errorf("%s has no range", key.Name)
				}
			}
		}
		b.WriteString("\n")
	}
	if b.String() != configFrozenKeys {
		t.Errorf("keys are\n%s", b.String())
	}
}

func TestConfigTextReadsBack(t *testing.T) {
	for _, p := range Presets() {
		want, err := LoadConfig(p.Name, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if want.Model.Path == "" {
			want.Model.UNet["dropout"] = 0.25
		}
		want.Data.Source = []string{"a", `b"\`}
		want.Runtime.Library = "ünï\tcode"
		// Read over the default preset, of which nothing may shine through.
		got, err := configLoadText(t, want.Text())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s reads back as\n%s", p.Name, got.Text())
		}
	}
}

func TestConfigLayers(t *testing.T) {
	c, err := configLoadText(t, "[train]\nmax_steps = 7\nbatch_size = 32\n[ema]\ndecay = 0\n",
		"train.batch_size=128", "noise.pairing=knn", "noise.knn_k = 2.5", "data.source=[\"a\", \"b\"]",
		"model.unet.block_out_channels=[8, 16, 24]", "runtime.library=/opt/lib x.so", "train={seed=3}")
	if err != nil {
		t.Fatal(err)
	}
	if c.Train.MaxSteps != 7 || c.Train.BatchSize != 128 || c.Train.MicroBatch != 128 || c.Train.Seed != 3 {
		t.Errorf("train is %+v", c.Train)
	}
	if c.EMA.Decay != 0 || c.Noise.Pairing != "knn" || c.Noise.KNNK != 2.5 || c.Runtime.Library != "/opt/lib x.so" {
		t.Errorf("ema %+v, noise %+v, runtime %+v", c.EMA, c.Noise, c.Runtime)
	}
	if !reflect.DeepEqual(c.Data.Source, []string{"a", "b"}) {
		t.Errorf("source is %q", c.Data.Source)
	}
	if got := c.Model.UNet["block_out_channels"]; !reflect.DeepEqual(got, []any{int64(8), int64(16), int64(24)}) {
		t.Errorf("block_out_channels is %v", got)
	}
	if d := Default(); reflect.DeepEqual(d.Model.UNet, c.Model.UNet) || d.Data.Source[0] != "fashion-mnist" {
		t.Errorf("a loaded configuration changed the defaults")
	}
}

func TestConfigModelPath(t *testing.T) {
	c, err := LoadConfig("", "", []string{"model.path=runs/a"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Model.UNet != nil || strings.Contains(c.Text(), "\n[model.unet]") {
		t.Errorf("[model.unet] stands beside a path")
	}
	again, err := configLoadText(t, c.Text())
	if err != nil || !reflect.DeepEqual(again, c) {
		t.Errorf("reads back as %v, %v", again, err)
	}
	if _, err := configLoadText(t, c.Text(), "model.path=\"\""); err != nil {
		t.Errorf("without the path again: %v", err)
	}
	if err := SameRun(Default(), c); err == nil {
		t.Errorf("another model is the same run")
	}
}

func TestConfigRefusals(t *testing.T) {
	cases := []struct{ text, want string }{
		{"[noise]\npairing = \"linar\"", `config.toml: [noise] pairing = "linar": want one of "linear", "knn", "independent"; did you mean "linear"?`},
		{"[noise]\npairing = \"qqqqqqqq\"", `config.toml: [noise] pairing = "qqqqqqqq": want one of "linear", "knn", "independent"`},
		{"[noise]\npair = \"knn\"", `config.toml: [noise] unknown key pair: did you mean pairing?`},
		{"[train]\nresolution = 8", `config.toml: [train] unknown key resolution: did you mean resolution in [data]?`},
		{"[sample]\nevery = 8", `config.toml: [sample] unknown key every: did you mean every_steps?`},
		{"[nois]\npairing = \"knn\"", `config.toml: unknown table [nois]: did you mean [noise]?`},
		{"poolsize = 3", `config.toml: unknown key poolsize outside any table: did you mean pool_size in [noise]?`},
		{"noise = 3", `config.toml: noise = 3: want a table [noise]`},
		{"[train]\nbatch_size = \"big\"", `config.toml: [train] batch_size = "big": want an integer from 1 to 1048576`},
		{"[train]\nbatch_size = 1.5", `config.toml: [train] batch_size = 1.5: want an integer from 1 to 1048576`},
		{"[train]\nbatch_size = 0", `config.toml: [train] batch_size = 0: want an integer from 1 to 1048576`},
		{"[train]\nbatch_size = 1000000000000", `config.toml: [train] batch_size = 1000000000000: want an integer from 1 to 1048576`},
		{"[noise]\npool_size = 1000000000000", `config.toml: [noise] pool_size = 1000000000000: want an integer from 1 to 1048576`},
		{"[sample]\nper_class = 1000000000000", `config.toml: [sample] per_class = 1000000000000: want an integer from 1 to 1024`},
		{"[scheduler]\nnum_train_timesteps = 1000000000000", `config.toml: [scheduler] num_train_timesteps = 1000000000000: want an integer from 1 to 1048576`},
		{"[train]\nbatch_size = [1,\n2]", `config.toml: [train] batch_size = [1, 2]: want an integer from 1 to 1048576`},
		{"[train]\nnoise_offset = inf", `config.toml: [train] noise_offset = inf: want a number from 0 up`},
		{"[train]\nnoise_offset = nan", `config.toml: [train] noise_offset = nan: want a number from 0 up`},
		{"[data]\nflip = 1", `config.toml: [data] flip = 1: want true or false`},
		{"[data]\nsource = []", `config.toml: [data] source = []: want a string or an array of strings`},
		{"[data]\nsource = [\"a\", 2]", `config.toml: [data] source = ["a", 2]: want a string or an array of strings`},
		{"[optimizer]\nbeta1 = 1", `config.toml: [optimizer] beta1 = 1: want a number from 0 to below 1`},
		{"[optimizer]\neps = 0", `config.toml: [optimizer] eps = 0: want a number above 0`},
		{"[sample]\neta = 1.1", `config.toml: [sample] eta = 1.1: want a number from 0 to 1`},
		{"[model]\nunet = 3", `config.toml: [model] unet = 3: want a table [model.unet]`},
		{"[model.unet]\nblock_out_channel = [8]", `config.toml: [model.unet] unknown key block_out_channel: did you mean block_out_channels?`},
		{"[model.unet]\nlayers_per_block = \"two\"", `config.toml: [model.unet] layers_per_block = "two": want a value such as 2`},
		{"[model]\npath = \"a\"\n[model.unet]\ndropout = 0", `config.toml: [model.unet] is set, and so is [model] path = "a", whose config.json describes the model: remove one of them`},
		{"[train]\nseed = 1\nseed = 2", `config.toml: line 3 (last key "train.seed"): Key 'train.seed' has already been defined.`},
		{"[train", `config.toml: line 1: `},

		{"[train]\nbatch_size = 2048\n[data]\nresolution = 16384", `[train] batch_size = 2048 images of [data] resolution = 16384: want at most 1024 of them`},
		{"[sample]\nper_class = 1024\n[data]\nresolution = 16384", `[sample] per_class = 1024 makes a grid of 10240 images of [data] resolution = 16384: want at most 1024 of them`},
		{"[train]\nmicro_batch = 48", `[train] micro_batch = 48 does not divide batch_size = 64: want one of its divisors, or 0`},
		{"[noise]\npool_size = 100", `[noise] pool_size = 100 is no multiple of [train] batch_size = 64: want 64`},
		{"[noise]\npool_size = 10", `[noise] pool_size = 10 is no multiple of [train] batch_size = 64: want 64`},
		{"[data]\nnum_classes = 0", `[noise] per_class = true, but [data] num_classes = 0: want per_class = false for an unconditional model`},
		{"[data]\nnum_classes = 0\n[noise]\nper_class = false\npairing = \"knn\"\ncenter = \"class\"", `[noise] center = "class", but [data] num_classes = 0: want "global" or "none" for an unconditional model`},
		{"[data]\nnum_classes = 0\n[noise]\nper_class = false", `[model.unet] num_class_embeds = 10, but [data] num_classes = 0: want "none" for an unconditional model`},
		{"[data]\nnum_classes = 11", `[model.unet] num_class_embeds = 10, but [data] num_classes = 11 and [train] conditioning_dropout = 0: want at least 11`},
		{"[train]\nconditioning_dropout = 0.1", `[model.unet] num_class_embeds = 10, but [data] num_classes = 10 and [train] conditioning_dropout = 0.1: want at least 11`},
		{"[train]\nconditioning_dropout = 0.1\n[data]\nnum_classes = 0\n[noise]\nper_class = false", `[train] conditioning_dropout = 0.1, but [data] num_classes = 0: there is no label to drop; want 0`},
		{"[data]\nresolution = 16", `[model.unet] sample_size = 32, but [data] resolution = 16: want the same`},
		{"[data]\nchannels = 3", `[model.unet] in_channels = 1, but [data] channels = 3: want the same`},
		{"[data]\nchannels = 2", `[data] channels = 2: want 1 (grey) or 3 (RGB)`},
		{"[data]\npad = 16", `[data] pad = 16 on both sides leaves nothing of resolution = 32: want less than half of it`},
		{"[scheduler]\nbeta_start = 0.5", `[scheduler] beta_start = 0.5 is above beta_end = 0.02: noise must grow`},
		{"[scheduler]\nrescale_betas_zero_snr = true", `[scheduler] rescale_betas_zero_snr = true, but [train] prediction_type = "epsilon", which says nothing of the image in pure noise: want "v_prediction" or "sample"`},
		{"[scheduler]\nnum_train_timesteps = 10", `[sample] steps = 20, but [scheduler] num_train_timesteps = 10: want at most as many`},
		{"[lr]\nschedule = \"constant\"", `[lr] warmup_steps = 50, but schedule = "constant" has no warm-up: want 0, or "constant_with_warmup"`},
	}
	for _, c := range cases {
		_, err := configLoadText(t, c.text)
		switch {
		case err == nil:
			t.Errorf("%q was accepted", c.text)
		case !strings.HasPrefix(err.Error()[max(0, strings.Index(err.Error(), "config.toml: ")):], c.want):
			t.Errorf("%q:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestConfigSetRefusals(t *testing.T) {
	cases := []struct{ set, want string }{
		{"noise.pairing=linar", `-set: [noise] pairing = "linar": want one of "linear", "knn", "independent"; did you mean "linear"?`},
		{"noise.pairing", `-set "noise.pairing": want table.key=value, such as -set noise.pairing=knn`},
		{"a\nb=3", `-set "a\nb=3": want table.key=value, such as -set noise.pairing=knn`},
		{"data.source=[\"a\"", `-set "data.source=[\"a\"": the value is not TOML: line 1`},
		{"data.source=", `-set "data.source=": the value is not TOML: line 1`},
		{"train.seed=1x", `-set: [train] seed = "1x": want an integer from 0 up`},
		{"train.seed=-1", `-set: [train] seed = -1: want an integer from 0 up`},
	}
	for _, c := range cases {
		if _, err := LoadConfig("", "", []string{c.set}); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q:\n got %v\nwant %s", c.set, err, c.want)
		}
	}
	if _, err := LoadConfig("cifar10", "", nil); err == nil || err.Error() !=
		`-preset "cifar10": want one of "fashion-mnist", "cifar10-ddim", "celeba-ddim", "sd-imagenet-finetune", "sd-imagenet-scratch"; did you mean "cifar10-ddim"?` {
		t.Errorf("preset: %v", err)
	}
	if _, err := LoadConfig("", filepath.Join(t.TempDir(), "none.toml"), nil); err == nil || !strings.Contains(err.Error(), "none.toml") {
		t.Errorf("missing file: %v", err)
	}
}

// A key that would make another run is refused by name; the rest is not. Every
// key is changed once, in a Go value, so that a new key is covered as it comes.
func TestConfigSameRun(t *testing.T) {
	free := map[string]bool{}
	base := Default()
	err := base.eachKey(func(table string, tags reflect.StructField, _ reflect.Value) error {
		now := Default()
		part, _ := configField(reflect.ValueOf(&now).Elem(), table)
		field, _ := configField(part.value, tags.Tag.Get("toml"))
		switch v := field.value; v.Kind() {
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Int, reflect.Int64:
			v.SetInt(v.Int() + 1)
		case reflect.Float64:
			v.SetFloat(v.Float() + 0.001)
		default:
			v.Set(reflect.ValueOf([]string{"x", "y"}))
		}
		name := "[" + table + "] " + tags.Tag.Get("toml")
		err := SameRun(base, now)
		if err == nil {
			free[name] = true
		} else if !strings.HasPrefix(err.Error(), name+" is ") {
			t.Errorf("%s: %v", name, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"[train] max_steps": true, "[checkpoint] every_steps": true, "[checkpoint] keep": true, "[sample] every_steps": true,
		"[runtime] provider": true, "[runtime] operators": true, "[runtime] device_id": true, "[runtime] threads": true, "[runtime] library": true, "[runtime] deterministic": true}
	for i := range reflect.TypeFor[ConfigCUDA]().NumField() {
		want["[runtime.cuda] "+reflect.TypeFor[ConfigCUDA]().Field(i).Tag.Get("toml")] = true
	}
	if !reflect.DeepEqual(free, want) {
		t.Errorf("free to change: %v", free)
	}
	now := Default()
	now.Model.UNet["dropout"] = 0.5
	if err := SameRun(base, now); err == nil || !strings.HasPrefix(err.Error(), "[model.unet] dropout is 0.5 now and was 0.0 in ") {
		t.Errorf("unet: %v", err)
	}
}

func TestConfigUNetJSON(t *testing.T) {
	c := Default()
	text, err := c.Model.UNetJSON()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got["_class_name"] != "UNet2DModel" || got["num_class_embeds"] != 10.0 || got["act_fn"] != "silu" {
		t.Errorf("config.json is %s", text)
	}
	if v, ok := got["class_embed_type"]; !ok || v != nil {
		t.Errorf("class_embed_type is %v, want null", v)
	}
	if c.Model.UNet["class_embed_type"] != "none" {
		t.Errorf("UNetJSON changed the configuration")
	}
}

func TestConfigDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"linear", "linear", 0}} {
		if got := configDistance(c.a, c.b); got != c.want || got != configDistance(c.b, c.a) {
			t.Errorf("%q to %q is %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
