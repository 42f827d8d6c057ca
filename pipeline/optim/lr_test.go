package optim

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// Whole traces of LambdaLR. Both sides are float64; the tolerance is a few
// roundings and the two libraries' cos and pow.
func TestLRMatchesDiffusers(t *testing.T) {
	for _, row := range readGolden(t).LearningRates {
		l := DefaultLR(row.Name, row.Base, row.Warmup, row.Total)
		if row.NumCycles != nil {
			l.NumCycles = *row.NumCycles
		}
		if row.Power != nil {
			l.Power, l.End = *row.Power, *row.LREnd
		}
		if err := l.Validate(); err != nil {
			t.Fatal(err)
		}
		for i, want := range row.LR {
			within(t, fmt.Sprintf("%+v at step %d", l, i+1), l.At(i+1), want, 1e-14*row.Base)
		}
	}
}

// Closed forms at the corners that people reason about.
func TestLRCorners(t *testing.T) {
	for _, row := range []struct {
		name string
		step int
		want float64
	}{
		{"constant", 1, 2}, // no warm-up, though one is set
		{"constant_with_warmup", 1, 0},
		{"constant_with_warmup", 6, 1},
		{"constant_with_warmup", 11, 2},
		{"constant_with_warmup", 1_000_000, 2},
		{"linear", 11, 2},
		{"linear", 56, 1},
		{"linear", 101, 0},
		{"linear", 500, 0},
		{"cosine", 56, 1},
		{"cosine", 101, 0},
		{"cosine_with_restarts", 101, 0},
		{"polynomial", 101, 1e-7},
		{"polynomial", 500, 1e-7},
	} {
		l := DefaultLR(row.name, 2, 10, 100)
		within(t, fmt.Sprintf("%s at step %d", row.name, row.step), l.At(row.step), row.want, 1e-15)
	}
}

func TestLRRefuses(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*LR)
		want   string
	}{
		{"cosin", func(*LR) {}, `"cosin" does not exist; use one of linear, cosine, cosine_with_restarts, polynomial, constant, constant_with_warmup`},
		{"constant", func(l *LR) { l.Base = -1 }, "learning rate is -1"},
		{"constant", func(l *LR) { l.Base = math.Inf(1) }, "learning rate is +Inf"},
		{"constant", func(l *LR) { l.Base = math.NaN() }, "learning rate is NaN"},
		{"linear", func(l *LR) { l.WarmupSteps = -1 }, "warm-up takes -1 steps"},
		{"linear", func(l *LR) { l.TotalSteps = 0 }, "decays over 0 steps"},
		{"cosine", func(l *LR) { l.NumCycles = 0 }, "num_cycles is 0"},
		{"polynomial", func(l *LR) { l.Power = 0 }, "power is 0"},
		{"polynomial", func(l *LR) { l.End = 1 }, "lr_end is 1"},
	} {
		l := DefaultLR(row.name, 1e-3, 10, 100)
		row.change(&l)
		if err := l.Validate(); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("error %v, want it to say %q", err, row.want)
		}
	}
	for _, name := range LRNames() {
		if err := DefaultLR(name, 1e-3, 500, 100).Validate(); err != nil {
			t.Errorf("%s with a warm-up that outlasts training: %v", name, err)
		}
	}
}
