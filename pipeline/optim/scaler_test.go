package optim

import (
	"encoding/json"
	"os"
	"testing"
)

// The scale and the count of torch.amp.GradScaler, step by step; made by
// tools/golden/scaler.py.
func TestLossScaler(t *testing.T) {
	text, err := os.ReadFile("testdata/scaler.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Name     string
			Interval int
			Finite   [][2]int // runs of equal steps: 1 finite or 0 not, and how many
			Scale    []float64
			Growth   []int
		}
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) != 3 {
		t.Fatalf("%d cases, want 3", len(golden.Cases))
	}
	for _, c := range golden.Cases {
		s := NewLossScaler()
		for i, run := range c.Finite {
			for range run[1] {
				if c.Interval == scaleInterval {
					s = s.Update(run[0] == 1)
				} else {
					s = s.update(run[0] == 1, c.Interval)
				}
			}
			if s.Scale != c.Scale[i] || s.Growth != c.Growth[i] {
				t.Errorf("%s, run %d: got %g after %d finite steps, want %g after %d", c.Name, i, s.Scale, s.Growth, c.Scale[i], c.Growth[i])
			}
		}
	}
	if s := (LossScaler{Scale: 1}); !s.Overflow() || s.Update(false).Overflow() {
		t.Error("an overflow is the scale's fault down to 1")
	}
}
