package pipeline

import (
	"fmt"
	"maps"
)

// Preset is a named, complete starting point for a run.
type Preset struct {
	Name      string // as -preset takes it
	About     string // one line for a listing
	Published string // numbers that others printed for this setting, and where
	change    func(*Config)
}

// Presets lists the presets, the default one first.
func Presets() []Preset {
	return []Preset{
		{
			Name:      "fashion-mnist",
			About:     "class-conditional 32×32 garments from the embedded set, minutes on two cores",
			Published: "none: this is the preset that shows the program at work.",
			change:    presetFashionMNIST,
		},
		{
			Name:  "cifar10-ddim",
			About: "unconditional CIFAR-10, the U-Net and settings of ddpm-torch",
			Published: "FID, converged (Improved Immiscible Diffusion, arXiv 2505.18521, Tables 3 and 8): independent 6.63, linear 5.14, " +
				"knn with l2 and k = 2/4/8/16/32: 4.94/4.77/4.45/4.85/5.19. Distance change (Table 2): linear over 256 images −2.16 %, knn k = 8 −1.58 %.",
			change: presetCIFAR10,
		},
		{
			Name:  "celeba-ddim",
			About: "unconditional CelebA at 64×64, the U-Net and settings of ddpm-torch",
			Published: "none for DDIM with immiscible noise: the papers train a consistency model on CelebA " +
				"(arXiv 2406.12303, Figure 4: about 1.3 × faster at batch 1024).",
			change: presetCelebA,
		},
		{
			Name:  "sd-imagenet-finetune",
			About: "Stable Diffusion v1.4 fine-tuned on ImageNet's classes at 256 px, from a folder that model.path names",
			Published: "FID after 5,000 steps (repository of arXiv 2406.12303): independent 11.45, linear over 512 images 10.28, knn with l2 and k = 64 10.38; " +
				"batch 512 on 4 A6000, lr 1e-5, fp16, class-blind. This preset chooses within classes instead; " +
				"-set noise.pairing=linear -set noise.pool_size=512 is theirs.",
			change: presetSDFinetune,
		},
		{
			Name:  "sd-imagenet-scratch",
			About: "the same U-Net trained on ImageNet's classes from random weights",
			Published: "FID after 20,000 steps (repository of arXiv 2406.12303): independent 17.92, linear over 2,048 images 16.43, knn with l2 and k = 64 16.84; " +
				"batch 2,048 on 8 A800, lr 1e-4, fp16, class-blind. This preset chooses within classes instead; " +
				"-set noise.pairing=linear -set noise.pool_size=2048 is theirs.",
			change: presetSDScratch,
		},
	}
}

// PresetConfig returns the settings of a preset; "" is the default one.
func PresetConfig(name string) (Config, error) {
	presets := Presets()
	if name == "" {
		name = presets[0].Name
	}
	var names []string
	for _, p := range presets {
		if p.Name == name {
			c := presetBase()
			p.change(&c)
			return c, nil
		}
		names = append(names, p.Name)
	}
	return Config{}, fmt.Errorf("-preset %q: want one of %s%s", name, configQuoted(names), configDidYouMean(name, names))
}

// presetBase holds what the presets have in common: the habits of diffusers and
// of the papers. Sizes are left to each preset.
func presetBase() Config {
	unet := make(map[string]any, len(configUNetKeys))
	for _, k := range configUNetKeys {
		unet[k.name] = k.value
	}
	return Config{
		Model: ConfigModel{Init: "pretrained", UNet: unet},
		Data: ConfigData{
			Crop: "center", Filter: "bilinear", Workers: 2, Prefetch: 4, CacheGiB: 16,
			BadRecords: "skip", BadLimit: 100, Captions: "none", CaptionTemplate: "{class}",
		},
		Noise: ConfigNoise{
			Pairing: "linear", Cost: "l2sq", CostDtype: "float32", KNNK: 8, KNNScore: "l2", Center: "none",
			StatisticsExamples: 50_000, KNNKEnd: 1, Scale: 1,
		},
		Scheduler: ConfigScheduler{
			NumTrainTimesteps: 1000, BetaStart: 0.0001, BetaEnd: 0.02, BetaSchedule: "linear",
			ClipSample: true, ClipSampleRange: 1, TimestepSpacing: "leading", SetAlphaToOne: true,
			VarianceType: "fixed_small",
		},
		Train: ConfigTrain{
			PredictionType: "epsilon", MaxGradNorm: 1, MaxBadSteps: 10, MixedPrecision: "no", Parameters: []string{"*"},
		},
		Optimizer:  ConfigOptimizer{Name: "adamw", Beta1: 0.9, Beta2: 0.999, Eps: 1e-8},
		LR:         ConfigLR{Schedule: "constant_with_warmup", NumCycles: 1, Power: 1},
		EMA:        ConfigEMA{Enabled: true, Decay: 0.9999},
		Checkpoint: ConfigCheckpoint{Keep: 3},
		Sample:     ConfigSample{Steps: 50, Sampler: "ddim", PerClass: 8, Prompts: []string{}, GuidanceScale: 1},
		Log:        ConfigLog{TensorBoard: true},
		Runtime:    ConfigRuntime{Provider: "auto", Operators: "auto"},
		CUDA: ConfigCUDA{ArenaExtendStrategy: "kSameAsRequested", CudnnConvAlgoSearch: "EXHAUSTIVE", CudnnConvUseMaxWorkspace: true,
			DoCopyInDefaultStream: true, UseTF32: true},
	}
}

// presetFashionMNIST is small enough to be worth watching on two cores. Pairing
// is within each class: class-blind pairing lets noise predict the class, which
// sampling then draws independently (C²OT, arXiv 2503.10636).
func presetFashionMNIST(c *Config) {
	c.Data.Source = []string{"fashion-mnist"}
	c.Data.Resolution, c.Data.Channels, c.Data.Pad = 32, 1, 2
	c.Data.NumClasses = 10
	c.Noise.PoolSize, c.Noise.PerClass = 512, true
	c.Train.BatchSize, c.Train.MaxSteps = 64, 1000
	c.Optimizer.WeightDecay = 0.01
	c.LR.Schedule, c.LR.LearningRate, c.LR.WarmupSteps = "cosine", 2e-3, 50
	c.Checkpoint.EverySteps, c.Sample.EverySteps = 250, 250
	c.Sample.Steps = 20
	maps.Copy(c.Model.UNet, map[string]any{
		"sample_size": int64(32), "in_channels": int64(1), "out_channels": int64(1),
		"block_out_channels": []any{int64(16), int64(32), int64(64)},
		"down_block_types":   presetBlocks("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
		"up_block_types":     presetBlocks("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
		"layers_per_block":   int64(1), "norm_num_groups": int64(8),
		"attention_head_dim": int64(32), "num_class_embeds": int64(10),
	})
}

// presetDDPMTorch is what ddpm-torch's two settings share: the U-Net of DDPM
// (arXiv 2006.11239, appendix B), its warm-up and its Adam.
// https://github.com/tqch/ddpm-torch/blob/9a8ecb57cf1ab2dca04ba1135b09992d456108a8/configs
func presetDDPMTorch(c *Config) {
	c.Data.Channels, c.Data.Flip = 3, true
	c.LR.WarmupSteps = 5000
	c.Checkpoint.EverySteps, c.Sample.EverySteps = 5000, 5000
	maps.Copy(c.Model.UNet, map[string]any{
		"in_channels": int64(3), "out_channels": int64(3),
		"block_out_channels": []any{int64(128), int64(256), int64(256), int64(256)},
		"layers_per_block":   int64(2), "norm_num_groups": int64(32),
		// As in the original TensorFlow code: sine before cosine, stride-2
		// convolutions that pad right and bottom, one attention head, eps 1e-6.
		"flip_sin_to_cos": false, "freq_shift": int64(1), "downsample_padding": int64(0),
		"attention_head_dim": "none", "norm_eps": 1e-6,
	})
}

// presetCIFAR10 takes the papers' batch of 256 where ddpm-torch has 128, and as
// many images in all: 2,040 epochs of 50,000.
func presetCIFAR10(c *Config) {
	presetDDPMTorch(c)
	c.Data.Source = []string{"cifar10"}
	c.Data.Resolution = 32
	c.Noise.PoolSize = 256
	c.Train.BatchSize, c.Train.MaxSteps = 256, 400_000
	c.LR.LearningRate = 2e-4
	c.Scheduler.VarianceType = "fixed_large"
	maps.Copy(c.Model.UNet, map[string]any{
		"sample_size":      int64(32),
		"down_block_types": presetBlocks("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
		"up_block_types":   presetBlocks("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
		"dropout":          0.1,
	})
}

// presetCelebA is 600 epochs of all 202,599 images at batch 128. ddpm-torch cuts 148×148 pixels
// at (40, 15) of the aligned pictures; here they are the middle ones, at (35, 15).
func presetCelebA(c *Config) {
	presetDDPMTorch(c)
	c.Data.Source = []string{"celeba"}
	c.Data.Resolution, c.Data.CropSize = 64, 148
	c.Noise.PoolSize = 256
	c.Train.BatchSize, c.Train.MaxSteps = 128, 950_000
	c.LR.LearningRate = 2e-5
	maps.Copy(c.Model.UNet, map[string]any{
		"sample_size":      int64(64),
		"down_block_types": presetBlocks("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
		"up_block_types":   presetBlocks("UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
	})
}

// presetSDImageNet is what the official scripts' two settings share: train_ft.sh
// and train_scratch.sh of https://github.com/yhli123/Immiscible-Diffusion. Theirs
// pair without regard to class, which lets noise tell the class; here KNN chooses
// along the image less its class's mean, whitened, which does not, needs no pool,
// and is as strong (the table that assign analyze prints).
func presetSDImageNet(c *Config) {
	c.Model.Path = "stable-diffusion-v1-4"
	c.Data.Source = []string{"imagenet"}
	c.Data.Resolution, c.Data.Channels, c.Data.NumClasses = 256, 3, 1000
	c.Data.Flip, c.Data.Captions, c.Data.Workers = true, "class", 8
	c.Noise.Pairing, c.Noise.KNNK, c.Noise.KNNScore, c.Noise.Center, c.Noise.Whiten = "knn", 64, "dot", "class", 32
	c.Train.Seed, c.Train.MicroBatch, c.Train.GradientCheckpointing = 42, 16, true
	c.Optimizer.WeightDecay = 0.01
	c.LR.Schedule = "constant"
	c.Checkpoint.EverySteps, c.Sample.EverySteps = 2500, 500
	c.Sample.Steps, c.Sample.PerClass, c.Sample.GuidanceScale = 20, 4, 7.5
}

func presetSDFinetune(c *Config) {
	presetSDImageNet(c)
	c.Train.BatchSize, c.Train.MaxSteps = 512, 5000
	c.Noise.PoolSize = 512
	c.LR.LearningRate = 1e-5
}

func presetSDScratch(c *Config) {
	presetSDImageNet(c)
	c.Model.Init = "random"
	c.Train.BatchSize, c.Train.MaxSteps = 2048, 20_000
	c.Noise.PoolSize = 2048
	c.LR.LearningRate = 1e-4
	c.Train.ConditioningDropout = 0.1 // theirs drops no caption, and guidance then has no other half
}

// presetBlocks is a list of block types in the form that TOML is read into.
func presetBlocks(names ...string) []any {
	list := make([]any, len(names))
	for i, name := range names {
		list[i] = name
	}
	return list
}
