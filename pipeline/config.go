package pipeline

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"
)

// Config is every setting of a training run, one field a table of config.toml.
// A field's tags are the one place where a key is described:
//
//	toml    the key
//	doc     meaning and unit, printed as the key's comment
//	is      the words a string may be, separated by "|"
//	list    "any" where a list may be empty, and its entries too
//	range   the interval a number must lie in; an empty bound is infinite
//	resume  "free" where a resumed run may differ from the run it continues
type Config struct {
	Model      ConfigModel      `toml:"model" doc:"What is trained."`
	Data       ConfigData       `toml:"data" doc:"What it is trained on."`
	Noise      ConfigNoise      `toml:"noise" doc:"Which noise an image is mixed with."`
	Scheduler  ConfigScheduler  `toml:"scheduler" doc:"The noise schedule, in the keys of diffusers' scheduler_config.json; prediction_type is in [train]."`
	Train      ConfigTrain      `toml:"train" doc:"One optimizer step, and how many of them."`
	Optimizer  ConfigOptimizer  `toml:"optimizer" doc:"The update rule."`
	LR         ConfigLR         `toml:"lr" doc:"The learning rate over the run; schedules by diffusers' names."`
	EMA        ConfigEMA        `toml:"ema" doc:"The moving average of the weights, which is what generates images."`
	Checkpoint ConfigCheckpoint `toml:"checkpoint" doc:"What is kept of the run. The last step always writes a checkpoint."`
	Sample     ConfigSample     `toml:"sample" doc:"Sample grids, from the EMA weights and always the same noise. The last step always writes one."`
	Log        ConfigLog        `toml:"log" doc:"log.jsonl always has one line a step; this is what is written beside it."`
	Runtime    ConfigRuntime    `toml:"runtime" doc:"Where it runs. A resumed run may change all of it."`
	CUDA       ConfigCUDA       `toml:"runtime.cuda" doc:"ONNX Runtime's CUDA provider, under its own names. Results to the bit need the same values after a resume."`
}

// ConfigModel is the [model] table.
type ConfigModel struct {
	Path string         `toml:"path" doc:"diffusers folder to start from; empty: a new model as [model.unet] describes it"`
	Init string         `toml:"init" is:"pretrained|random" doc:"with a path: start from its weights, or use its config.json only"`
	UNet map[string]any `toml:"unet" doc:"UNet2DModel's config.json; \"none\" stands for JSON's null. Not used, and refused, where path is set."`
}

// ConfigData is the [data] table.
type ConfigData struct {
	Source        []string `toml:"source" doc:"WebDataset tar, parquet file, .csv or .jsonl table of images, CIFAR batch, IDX file or folder of any of these or of images; http(s):// or s3:// URL of a tar or parquet file; a latent cache that data cache wrote; a glob or {000..009}, or an array of them; \"fashion-mnist\" is the embedded set"`
	Resolution    int      `toml:"resolution" range:"[1,16384]" doc:"height and width that the model sees, in pixels, pad included"`
	Channels      int      `toml:"channels" range:"[1,4]" doc:"colour channels: 1 grey, 3 RGB"`
	Crop          string   `toml:"crop" is:"center|random" doc:"which square of an image that is not square"`
	CropSize      int      `toml:"crop_size" range:"[0,]" doc:"side of that square in the image's own pixels, before the resize (140 or 148 for CelebA); 0: the short side"`
	Flip          bool     `toml:"flip" doc:"mirror half of the images left to right"`
	Filter        string   `toml:"filter" is:"bilinear|bicubic|lanczos" doc:"resampling filter, as PIL names and computes it"`
	Pad           int      `toml:"pad" range:"[0,8191]" doc:"pixels of black added to each side, after the resize to resolution − 2·pad"`
	Workers       int      `toml:"workers" range:"[1,4096]" doc:"decoding goroutines; changes no bit of the result"`
	Prefetch      int      `toml:"prefetch" range:"[1,65536]" doc:"batches decoded ahead; changes no bit of the result"`
	Window        int      `toml:"window" range:"[0,]" doc:"0: the whole epoch is shuffled exactly; n: shards come in a drawn order and n records are shuffled together, for storage that is slow to seek (a network, a spinning disk)"`
	CacheDir      string   `toml:"cache_dir" doc:"folder for what is read from servers, and for indices of tars; \"none\": no folder; empty: immiscible/shards in the user's cache folder, for remote sources only"`
	CacheGiB      int      `toml:"cache_gib" range:"[1,1048576]" doc:"bound on what cache_dir keeps of remote shards, in GiB; processes may share it"`
	BadRecords    string   `toml:"bad_records" is:"skip|error" doc:"a record that cannot be read: the next good one of its shard takes its place, or the run stops"`
	BadLimit      int      `toml:"bad_limit" range:"[0,]" doc:"different bad records after which the run stops; 0: no limit"`
	NumClasses    int      `toml:"num_classes" range:"[0,1048576]" doc:"classes that condition the model; 0: unconditional, labels are ignored"`
	ExifTranspose bool     `toml:"exif_transpose" doc:"turn photographs upright by their EXIF orientation (torchvision does not, Hugging Face does)"`
	ImageKey      string   `toml:"image_key" doc:"column of a parquet file that holds the image, or of a table that holds its file's name; empty: \"image\", \"img\" …, \"file_name\" …"`
	LabelKey      string   `toml:"label_key" doc:"column, field of a .json member or attribute of CelebA that holds the label; empty: .cls, the class folder, \"label\""`

	Captions        string `toml:"captions" is:"none|stored|class" doc:"the text of an image, for models that take one: none is empty (unconditional), stored is the record's own, class is its class's name in caption_template"`
	CaptionKey      string `toml:"caption_key" doc:"captions = \"stored\": column, or field of a .json member that holds it; empty: .txt, \"caption\", \"text\""`
	CaptionTemplate string `toml:"caption_template" doc:"captions = \"class\": text around {class} (the whole line of class_names), {first} (its first synonym) or {synonym} (one of them, drawn)"`
	ClassNames      string `toml:"class_names" doc:"file of class names, a class a line, synonyms with commas between; num_classes lines, where that is not 0; empty: the names that the data stores"`
}

// ConfigNoise is the [noise] table.
type ConfigNoise struct {
	Pairing   string  `toml:"pairing" is:"linear|knn|independent" doc:"linear: exact assignment over a pool; knn: the nearest of knn_k draws, per image; independent: plain diffusion"`
	PoolSize  int     `toml:"pool_size" range:"[1,1048576]" doc:"images that one linear assignment sees; a multiple of batch_size"`
	Cost      string  `toml:"cost" is:"l2sq|dot|l2|l1" doc:"distance that the assignment minimises; l2sq and dot choose alike and are fastest"`
	CostDtype string  `toml:"cost_dtype" is:"float32|float16" doc:"digits that costs are rounded to; float16 is the papers' quantized assignment"`
	PerClass  bool    `toml:"per_class" doc:"assign within each class, so that noise does not tell the class; needs num_classes"`
	KNNK      float64 `toml:"knn_k" range:"[1,]" doc:"candidates that each image chooses from, any real number; 1: independent"`
	KNNScore  string  `toml:"knn_score" is:"l2|dot" doc:"nearest by distance (favours short noise) or by inner product (does not)"`
	Center    string  `toml:"center" is:"none|global|class" doc:"knn: choose along the image less this mean, so that noise tells neither the mean image nor (class) the class"`
	Whiten    int     `toml:"whiten" range:"[0,1048576]" doc:"knn: leading principal directions in which images are divided by their deviation before they choose, so that noise is not stretched along them; 0: off"`

	StatisticsExamples int `toml:"statistics_examples" range:"[2,]" doc:"center and whiten: examples of the first epoch that are read before the first step; at most all are"`

	KNNKEnd     float64 `toml:"knn_k_end" range:"[1,]" doc:"knn: k after anneal_steps, to which it goes log-linearly"`
	AnnealSteps int     `toml:"anneal_steps" range:"[0,]" doc:"steps in which knn_k goes to knn_k_end, or all images of linear pools become independent one by one; 0: nothing changes"`
	Flip        bool    `toml:"flip" doc:"turn the sign of the chosen noise: the ablation \"immiscible, but not nearest\" of the papers"`
	Scale       float64 `toml:"scale" range:"(0,]" doc:"images are multiplied by this, and generated ones divided again: the ablation \"image scaling\" of the papers"`
}

// ConfigScheduler is the [scheduler] table.
type ConfigScheduler struct {
	NumTrainTimesteps   int     `toml:"num_train_timesteps" range:"[1,1048576]" doc:"noise levels"`
	BetaStart           float64 `toml:"beta_start" range:"(0,1)" doc:"beta of the first timestep"`
	BetaEnd             float64 `toml:"beta_end" range:"(0,1)" doc:"beta of the last timestep; at least beta_start"`
	BetaSchedule        string  `toml:"beta_schedule" is:"linear|scaled_linear|squaredcos_cap_v2|sigmoid" doc:"how beta grows between them; squaredcos_cap_v2 uses neither"`
	RescaleBetasZeroSNR bool    `toml:"rescale_betas_zero_snr" doc:"make the last timestep pure noise; needs prediction_type v_prediction or sample"`
	ClipSample          bool    `toml:"clip_sample" doc:"sampling: clip the predicted image"`
	ClipSampleRange     float64 `toml:"clip_sample_range" range:"(0,]" doc:"sampling: clip to [−range, range]; images lie in [−1, 1]"`
	TimestepSpacing     string  `toml:"timestep_spacing" is:"leading|trailing|linspace" doc:"sampling: which timesteps a shorter run visits"`
	StepsOffset         int     `toml:"steps_offset" range:"[0,]" doc:"sampling: added to each timestep of leading spacing"`
	SetAlphaToOne       bool    `toml:"set_alpha_to_one" doc:"DDIM: the step after the last one is the clean image, not timestep 0"`
	VarianceType        string  `toml:"variance_type" is:"fixed_small|fixed_small_log|fixed_large" doc:"DDPM: variance of the reverse step"`
}

// ConfigTrain is the [train] table.
type ConfigTrain struct {
	BatchSize             int     `toml:"batch_size" range:"[1,1048576]" doc:"images that one optimizer step sees"`
	MicroBatch            int     `toml:"micro_batch" range:"[0,1048576]" doc:"images that are in memory at once; divides batch_size; 0: batch_size"`
	MaxSteps              int     `toml:"max_steps" range:"[1,]" resume:"free" doc:"optimizer steps of the whole run"`
	Seed                  int64   `toml:"seed" range:"[0,]" doc:"decides order, crops, timesteps, noise, dropout and new weights"`
	PredictionType        string  `toml:"prediction_type" is:"epsilon|v_prediction|sample" doc:"what the model predicts; written into scheduler_config.json"`
	SNRGamma              float64 `toml:"snr_gamma" range:"[0,]" doc:"min-SNR loss weights (arXiv 2303.09556), 5 is usual; 0: off"`
	NoiseOffset           float64 `toml:"noise_offset" range:"[0,]" doc:"standard deviation of one more draw a channel, added after pairing; 0: off"`
	InputPerturbation     float64 `toml:"input_perturbation" range:"[0,]" doc:"extra noise in the model's input, not in its target (arXiv 2301.11706), 0.1 is usual; 0: off"`
	ConditioningDropout   float64 `toml:"conditioning_dropout" range:"[0,1)" doc:"share of labels replaced by label num_classes, for guidance; num_class_embeds must exceed num_classes"`
	MaxGradNorm           float64 `toml:"max_grad_norm" range:"[0,]" doc:"gradients of a larger global norm are scaled down to it; 0: off"`
	MaxBadSteps           int     `toml:"max_bad_steps" range:"[1,]" doc:"steps in a row that may be skipped for a gradient that is not finite"`
	MixedPrecision        string  `toml:"mixed_precision" is:"no|fp16|bf16" doc:"type of convolutions and matrix products; weights, norms' statistics, loss and gradients stay float32. fp16 scales the loss as PyTorch's GradScaler does; bf16 needs a GPU, and leaves convolutions in float32"`
	GradientCheckpointing bool    `toml:"gradient_checkpointing" doc:"keep a block's input only and compute its inside again for its gradients: less memory, more time; the same bits in float32, up to half precision's rounding in fp16 and bf16"`

	Parameters []string `toml:"parameters" doc:"glob, or an array of globs, over state-dict keys: which weights are trained; * crosses dots"`
}

// ConfigOptimizer is the [optimizer] table.
type ConfigOptimizer struct {
	Name        string  `toml:"name" is:"adamw" doc:"AdamW, as PyTorch computes it"`
	Beta1       float64 `toml:"beta1" range:"[0,1)" doc:"decay of the first moment"`
	Beta2       float64 `toml:"beta2" range:"[0,1)" doc:"decay of the second moment"`
	Eps         float64 `toml:"eps" range:"(0,]" doc:"added to the root of the second moment"`
	WeightDecay float64 `toml:"weight_decay" range:"[0,]" doc:"decoupled, × learning rate; 0 makes it Adam"`
}

// ConfigLR is the [lr] table.
type ConfigLR struct {
	Schedule     string  `toml:"schedule" is:"constant|constant_with_warmup|linear|cosine|cosine_with_restarts|polynomial" doc:"what happens to the rate after the warm-up"`
	LearningRate float64 `toml:"learning_rate" range:"(0,]" doc:"the highest rate"`
	WarmupSteps  int     `toml:"warmup_steps" range:"[0,]" doc:"optimizer steps of linear growth from 0; constant has none"`
	NumCycles    int     `toml:"num_cycles" range:"[1,]" doc:"cosine_with_restarts: how many falls"`
	Power        float64 `toml:"power" range:"(0,]" doc:"polynomial: the exponent"`
}

// ConfigEMA is the [ema] table.
type ConfigEMA struct {
	Enabled bool    `toml:"enabled" doc:"keep the average"`
	Decay   float64 `toml:"decay" range:"[0,1)" doc:"highest decay; it is 0 at step 1, then step/(step+9) until it gets here"`
}

// ConfigCheckpoint is the [checkpoint] table.
type ConfigCheckpoint struct {
	EverySteps int `toml:"every_steps" range:"[0,]" resume:"free" doc:"steps between checkpoints; 0: only the last"`
	Keep       int `toml:"keep" range:"[0,]" resume:"free" doc:"newest checkpoints that are kept; 0: all"`
}

// ConfigSample is the [sample] table.
type ConfigSample struct {
	EverySteps int     `toml:"every_steps" range:"[0,]" resume:"free" doc:"steps between grids; 0: only the last"`
	Steps      int     `toml:"steps" range:"[1,]" doc:"denoising steps of a sample; at most num_train_timesteps"`
	Sampler    string  `toml:"sampler" is:"ddim|ddpm|pndm|euler|euler_a|dpm++_2m|dpm++_2m_karras" doc:"how a sample is denoised"`
	Eta        float64 `toml:"eta" range:"[0,1]" doc:"DDIM: noise that is put back; 0 is deterministic, 1 has DDPM's variance"`
	PerClass   int     `toml:"per_class" range:"[1,1024]" doc:"images a class or prompt, a row each; of an unconditional model, rows and images a row"`

	Prompts       []string `toml:"prompts" list:"any" doc:"of a text-conditioned model: prompts, a row each; empty: the captions of the first 8 classes, or the empty prompt"`
	GuidanceScale float64  `toml:"guidance_scale" range:"[1,]" doc:"classifier-free guidance; 1: off; more needs an unconditional half (conditioning_dropout, or pretrained Stable Diffusion)"`
}

// ConfigLog is the [log] table.
type ConfigLog struct {
	TensorBoard bool `toml:"tensorboard" doc:"write TensorBoard events too"`
}

// ConfigRuntime is the [runtime] table.
type ConfigRuntime struct {
	Provider  string `toml:"provider" is:"auto|cpu|cuda" resume:"free" doc:"auto: cuda where it works, else cpu"`
	Operators string `toml:"operators" is:"auto|standard|native" resume:"free" doc:"standard: ONNX's, which every provider has; native: those with kernels of this program too, on a GPU through cuDNN and NVRTC; auto: native on a CPU, standard on a GPU"`
	DeviceID  int    `toml:"device_id" range:"[0,]" resume:"free" doc:"which GPU"`
	Threads   int    `toml:"threads" range:"[0,4096]" resume:"free" doc:"CPU threads; 0: one a core"`
	Library   string `toml:"library" resume:"free" doc:"path of the ONNX Runtime library; empty: as doctor finds it"`

	Deterministic bool `toml:"deterministic" resume:"free" doc:"kernels whose sums do not depend on timing: a resumed run has the same bits on a GPU too, more slowly; on the CPU it always has"`
}

// ConfigCUDA is the [runtime.cuda] table: provider options by the names that
// ONNX Runtime documents them under.
// https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html
type ConfigCUDA struct {
	GPUMemLimit              int    `toml:"gpu_mem_limit" range:"[0,]" resume:"free" doc:"bytes that a session's arena may take, training state apart; 0: what there is"`
	ArenaExtendStrategy      string `toml:"arena_extend_strategy" is:"kNextPowerOfTwo|kSameAsRequested" resume:"free" doc:"how the arena grows: in doubling blocks, or by what is asked for"`
	CudnnConvAlgoSearch      string `toml:"cudnn_conv_algo_search" is:"EXHAUSTIVE|HEURISTIC|DEFAULT" resume:"free" doc:"how cuDNN chooses a convolution: by trying all at the first step, by rules, or the default one"`
	CudnnConvUseMaxWorkspace bool   `toml:"cudnn_conv_use_max_workspace" resume:"free" doc:"let a convolution take as much scratch memory as its fastest algorithm wants"`
	DoCopyInDefaultStream    bool   `toml:"do_copy_in_default_stream" resume:"free" doc:"copy between host and device in the stream that computes"`
	UseTF32                  bool   `toml:"use_tf32" resume:"free" doc:"float32 products with 10 bits of mantissa on tensor cores"`
	PreferNHWC               bool   `toml:"prefer_nhwc" resume:"free" doc:"convolutions in channels-last layout, with transpositions around them"`
	EnableCudaGraph          bool   `toml:"enable_cuda_graph" resume:"free" doc:"record the training step once and replay it, where all of it runs on the GPU"`
}

// Default returns the settings of a run with no flag: the fashion-mnist preset.
func Default() Config {
	c, _ := PresetConfig("") // cannot fail: the default preset stands in the table of presets.go
	return c
}

// LoadConfig puts the settings of a run together: the preset's (the default one
// where preset is ""), then those of the TOML file at path (none where path is
// ""), then each of sets, which is "table.key=value" in TOML, a bare word being
// a string. The result is validated, and micro_batch is never 0 in it.
//
// Errors are one line and name the place (path or -set), the key, what stood
// there and what may stand there.
func LoadConfig(preset, path string, sets []string) (Config, error) {
	c, err := PresetConfig(preset)
	if err != nil {
		return Config{}, err
	}
	type layer struct {
		source string
		tree   map[string]any
	}
	var layers []layer
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return Config{}, fmt.Errorf("read configuration: %w", err)
		}
		tree, err := configParse(string(text))
		if err != nil {
			return Config{}, fmt.Errorf("%s: %w", path, err)
		}
		layers = append(layers, layer{path, tree})
	}
	for _, set := range sets {
		tree, err := configParseSet(set)
		if err != nil {
			return Config{}, err
		}
		layers = append(layers, layer{"-set", tree})
	}
	unetFrom := "" // the layer that asked for [model.unet], if any
	for _, l := range layers {
		if err := configApply(&c, l.source, l.tree); err != nil {
			return Config{}, err
		}
		if model, ok := l.tree["model"].(map[string]any); ok && model["unet"] != nil {
			unetFrom = l.source
		}
	}
	if c.Model.Path != "" {
		if unetFrom != "" {
			return Config{}, fmt.Errorf("%s: [model.unet] is set, and so is [model] path = %q, whose config.json describes the model: remove one of them", unetFrom, c.Model.Path)
		}
		c.Model.UNet = nil
	}
	if c.Train.MicroBatch == 0 {
		c.Train.MicroBatch = c.Train.BatchSize
	}
	return c, c.Validate()
}

// configSetKey is what may stand before the "=" of a -set.
var configSetKey = regexp.MustCompile(`^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$`)

// configParseSet reads one "table.key=value". Where the value is not TOML and
// does not start like a TOML string, array or table, it is taken as a string.
func configParseSet(set string) (map[string]any, error) {
	key, value, ok := strings.Cut(set, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if !ok || !configSetKey.MatchString(key) {
		return nil, fmt.Errorf("-set %q: want table.key=value, such as -set noise.pairing=knn", set)
	}
	tree, err := configParse(key + " = " + value)
	if err == nil {
		return tree, nil
	}
	if value == "" || strings.ContainsAny(value[:1], "\"'[{") || strings.ContainsAny(value, "\n\r") {
		return nil, fmt.Errorf("-set %q: the value is not TOML: %w", set, err)
	}
	return configParse(key + " = " + configValue(value))
}

// configParse reads TOML into nested maps; its errors are one line.
func configParse(text string) (map[string]any, error) {
	tree := map[string]any{}
	if _, err := toml.Decode(text, &tree); err != nil {
		return nil, fmt.Errorf("%s", strings.ReplaceAll(strings.TrimPrefix(err.Error(), "toml: "), "\n", " "))
	}
	return tree, nil
}

// configValue writes one value as TOML. A list of one string is written as the
// string, which reads back as the same list.
func configValue(v any) string {
	if list, ok := v.([]string); ok && len(list) == 1 {
		v = list[0]
	}
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(map[string]any{"v": v}); err != nil {
		return fmt.Sprintf("%v", v) // a kind that TOML lacks can come from Go code only; Validate names it
	}
	return strings.TrimSuffix(strings.TrimPrefix(b.String(), "v = "), "\n")
}
