package optim

import (
	"fmt"
	"strings"
	"testing"
)

// EMAModel.get_decay; float64 on both sides, pow from two libraries.
func TestEMADecayMatchesDiffusers(t *testing.T) {
	for _, row := range readGolden(t).EMADecays {
		e := DefaultEMA()
		for key, value := range row.Options {
			switch key {
			case "decay":
				e.Decay = value.(float64)
			case "min_decay":
				e.MinDecay = value.(float64)
			case "update_after_step":
				e.UpdateAfterStep = int(value.(float64))
			case "use_ema_warmup":
				e.UseEMAWarmup = value.(bool)
			case "inv_gamma":
				e.InvGamma = value.(float64)
			case "power":
				e.Power = value.(float64)
			default:
				t.Fatalf("testdata names the option %s", key)
			}
		}
		if err := e.Validate(); err != nil {
			t.Fatal(err)
		}
		for i, step := range row.Steps {
			within(t, fmt.Sprintf("%+v at step %d", e, step), EMADecay(e, step), row.Decay[i], 1e-15)
		}
	}
}

// step/(step+9), so 0, 2/11, .9982 and .99955 where the papers' recipes end,
// and the cap of .9999 not before step 89,991.
func TestEMADecayClosedForm(t *testing.T) {
	e := DefaultEMA()
	for _, row := range []struct {
		step            int
		want, tolerance float64
	}{
		{1, 0, 0},
		{2, 2.0 / 11, 0},
		{5000, 5000.0 / 5009, 0},
		{5000, 0.9982, 5e-6},
		{20000, 0.99955, 5e-7},
		{89990, 89990.0 / 89999, 0},
		{89992, 0.9999, 0},
	} {
		within(t, fmt.Sprintf("decay at step %d", row.step), EMADecay(e, row.step), row.want, row.tolerance)
	}
}

func TestEMARefuses(t *testing.T) {
	for _, row := range []struct {
		change func(*EMA)
		want   string
	}{
		{func(e *EMA) { e.Decay = 1 }, "decay is 1"},
		{func(e *EMA) { e.Decay = -0.1 }, "decay is -0.1"},
		{func(e *EMA) { e.MinDecay = 2 }, "min_decay is 2"},
		{func(e *EMA) { e.UpdateAfterStep = -1 }, "update_after_step is -1"},
		{func(e *EMA) { e.UseEMAWarmup, e.Power = true, 0 }, "power 0"},
	} {
		e := DefaultEMA()
		row.change(&e)
		if err := e.Validate(); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("error %v, want it to say %q", err, row.want)
		}
	}
}
