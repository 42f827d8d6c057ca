package pipeline

import (
	"fmt"
	"math"
	"strings"
	"sync"

	"immiscible/datasets/rng"
	"immiscible/models/graph"
)

// The law of dropout: element by element kept with probability 1−p, an example's
// mask a function of the layer's name and the example's position. Where the provider
// has a kernel for it, the training graph draws the masks from the positions itself,
// and they neither take memory nor cross the bus; else they are inputs, as in what
// `export` writes.

// stayOf is how many of 2³² words keep an element.
func stayOf(dropout float64) uint64 { return uint64(math.Round((1 - dropout) * (1 << 32))) }

// streamOf names a mask's draws.
func streamOf(mask string) string { return "dropout/" + mask }

// isMask tells a mask from a training graph's other inputs (see nn.Dropout).
func isMask(input string) bool { return strings.HasSuffix(input, ".mask") }

// drawMasks makes a training graph draw its masks, with those kernels of our own
// (see engine.KernelsOf).
func drawMasks(g *graph.Graph, kernels string, seed int64, dropout float64) (*graph.Graph, error) {
	return graph.DrawMasks(g, kernels, func(mask string) (graph.Draw, bool) {
		d := graph.Draw{Key: rng.Key(uint64(seed), streamOf(mask)), Keep: stayOf(dropout)}
		return d, isMask(mask) && d.Keep > 0
	})
}

// masks draws the masks that are inputs, for the examples from position first on.
func (f *feeder) masks(t *Stepper, seed, first uint64, n int) error {
	keep := stayOf(f.dropout)
	for name, tensor := range t.inputs {
		if !isMask(name) {
			continue
		}
		mask, err := t.feed.Bytes(tensor)
		if err != nil {
			return fmt.Errorf("input %s: %w", name, err)
		}
		dim := len(mask) / n
		var drawn sync.WaitGroup // an example a goroutine: each has its own stream
		for i := range n {
			drawn.Go(func() {
				r := rng.New(seed, streamOf(name), first+uint64(i))
				row := mask[i*dim : (i+1)*dim]
				for k := range row {
					row[k] = 0
					if uint64(r.Uint32()) < keep {
						row[k] = 1
					}
				}
			})
		}
		drawn.Wait()
	}
	return nil
}

// positions tells the graph which examples it has, where it draws their masks.
func (f *feeder) positions(t *Stepper, first uint64, n int) error {
	input := t.Input("positions")
	if input == nil {
		return nil
	}
	positions := make([]int64, n)
	for i := range positions {
		positions[i] = int64(first + uint64(i))
	}
	if err := t.feed.SetInt64(input, positions); err != nil {
		return fmt.Errorf("input positions: %w", err)
	}
	return nil
}
