package optim

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// golden is testdata/traces.json, made by tools/golden/schedulers.py.
type golden struct {
	LearningRates []struct {
		Name      string
		Warmup    int
		Total     int
		NumCycles *float64 `json:"num_cycles"`
		Power     *float64
		LREnd     *float64 `json:"lr_end"`
		Base      float64
		LR        []float64
	} `json:"learning_rates"`
	EMADecays []struct {
		Options map[string]any
		Steps   []int
		Decay   []float64
	} `json:"ema_decays"`
	AdamW struct {
		Start, Norms []float64
		Params       [][]float64
		EMAParams    [][]float64 `json:"ema_params"`
	}
}

func readGolden(t *testing.T) golden {
	t.Helper()
	data, err := os.ReadFile("testdata/traces.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.LearningRates) == 0 || len(g.EMADecays) == 0 || len(g.AdamW.Params) == 0 {
		t.Fatal("testdata/traces.json lacks a table")
	}
	return g
}

func within(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %.17g, want %.17g ± %.3g", what, got, want, tolerance)
	}
}
