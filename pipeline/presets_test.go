package pipeline

import (
	"reflect"
	"testing"
)

// Each preset is a run that may start as it stands; the first is the default.
func TestPresets(t *testing.T) {
	for i, p := range Presets() {
		c, err := LoadConfig(p.Name, "", nil)
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if p.About == "" || p.Published == "" {
			t.Errorf("%s says nothing of itself", p.Name)
		}
		d, err := LoadConfig("", "", nil)
		if err != nil || (i == 0) != reflect.DeepEqual(c, d) {
			t.Errorf("%s and the default: equal %v, %v", p.Name, i != 0, err)
		}
	}
}

// The settings of ddpm-torch, written down from its configs/*.json at 9a8ecb5;
// batch 256 is the papers' (arXiv 2505.18521, Table 9).
func TestPresetDDPMTorch(t *testing.T) {
	type facts struct {
		batch, warmup, resolution, timesteps int
		rate, decay, clip, betaEnd           float64
		dropout                              any
		attention                            []any
	}
	down, attn := any("DownBlock2D"), any("AttnDownBlock2D")
	want := map[string]facts{
		"cifar10-ddim": {256, 5000, 32, 1000, 2e-4, 0.9999, 1, 0.02, 0.1, []any{down, attn, down, down}},
		"celeba-ddim":  {128, 5000, 64, 1000, 2e-5, 0.9999, 1, 0.02, 0.0, []any{down, down, attn, down}},
	}
	for name, w := range want {
		c, err := PresetConfig(name)
		if err != nil {
			t.Fatal(err)
		}
		got := facts{c.Train.BatchSize, c.LR.WarmupSteps, c.Data.Resolution, c.Scheduler.NumTrainTimesteps,
			c.LR.LearningRate, c.EMA.Decay, c.Train.MaxGradNorm, c.Scheduler.BetaEnd,
			c.Model.UNet["dropout"], c.Model.UNet["down_block_types"].([]any)}
		if !reflect.DeepEqual(got, w) {
			t.Errorf("%s is %+v, want %+v", name, got, w)
		}
		if channels := c.Model.UNet["block_out_channels"]; !reflect.DeepEqual(channels, []any{int64(128), int64(256), int64(256), int64(256)}) {
			t.Errorf("%s has channels %v", name, channels)
		}
	}
}
