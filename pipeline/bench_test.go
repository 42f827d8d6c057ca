package pipeline

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"immiscible/models/unet"
)

// Percentiles of NumPy: np.percentile([4, 1, 3, 2], [25, 50, 75]) and so on.
func TestQuartiles(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   Quartiles
	}{
		{[]float64{7}, Quartiles{7, 7, 7}},
		{[]float64{4, 1, 3, 2}, Quartiles{1.75, 2.5, 3.25}},
		{[]float64{50, 10, 40, 20, 30}, Quartiles{20, 30, 40}},
	} {
		if got := QuartilesOf(test.values); got != test.want {
			t.Errorf("%v: got %v, want %v", test.values, got, test.want)
		}
	}
}

// The high-water mark does not sink, and counts memory that is touched.
func TestPeakRSS(t *testing.T) {
	if runtime.GOOS != "linux" {
		if got := PeakRSS(); got != 0 {
			t.Errorf("got %d, want 0 where the system does not say", got)
		}
		return
	}
	const more = 256 << 20
	before := PeakRSS()
	touched := make([]byte, before+more)
	for i := 0; i < len(touched); i += os.Getpagesize() {
		touched[i] = 1
	}
	if after := PeakRSS(); before <= 0 || after < before+more {
		t.Errorf("peak %d after touching %d bytes, %d before", after, len(touched), before)
	}
	runtime.KeepAlive(touched)
}

// A folder is timed at its own size and channels; its config is handed on.
func TestStepBench(t *testing.T) {
	b, err := OpenStepBench(t.Context(), BenchOptions{Model: goldenModels + "/classes", Batch: 2, Threads: 1, Messages: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for range 2 {
		if took, err := b.Step(t.Context()); err != nil || took.Gradients <= 0 || took.Update <= 0 {
			t.Fatalf("a step took %v, %v", took, err)
		}
	}
	c, err := unet.ParseConfig("config.json", b.ModelConfig)
	if err != nil || c.InChannels != 1 || b.Resolution != 8 || b.Batch != 2 || b.Threads != 1 || b.Parameters != 36037 {
		t.Errorf("resolution %d, batch %d, %d threads, %d parameters, config %+v, %v", b.Resolution, b.Batch, b.Threads, b.Parameters, c, err)
	}
}

func TestStepBenchErrors(t *testing.T) {
	for _, test := range []struct {
		options BenchOptions
		want    string
	}{
		{BenchOptions{Preset: "cifar11"}, "cifar11"},
		{BenchOptions{Model: goldenModels + "/nothing"}, "neither model_index.json nor config.json is here"},
		{BenchOptions{Model: goldenModels + "/scale-shift"}, "names no square sample_size: want a resolution"},
		{BenchOptions{Model: goldenModels + "/attention"}, `class_embed_type "identity" takes embeddings`},
		{BenchOptions{Model: goldenModels + "/classes", Resolution: 10}, "cannot be halved"},
	} {
		test.options.Messages = t.Output()
		b, err := OpenStepBench(t.Context(), test.options)
		if err == nil {
			b.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got %v, want %q", test.options, err, test.want)
		}
	}
}
