package graph_test

import (
	"testing"

	"immiscible/models/graph"
)

// A chain of values, each of which takes the place of the one before the last,
// and what the arena makes of it by hand: the sizes are in units of 256 bytes.
func TestArena(t *testing.T) {
	for _, test := range []struct {
		name     string
		sizes    []int // a value's, which is made of the one before
		doubling bool
		want     graph.Arena
	}{
		{"two at a time", []int{4, 4, 4, 4}, false, graph.Arena{Peak: 8, Held: 8}},
		{"less than twice as large is used whole", []int{7, 1, 4, 1}, false, graph.Arena{Peak: 8, Held: 8}},
		{"twice as large is cut", []int{8, 1, 4, 4}, false, graph.Arena{Peak: 9, Held: 9}},
		{"free neighbours join", []int{8, 1, 4, 4, 1, 8}, false, graph.Arena{Peak: 9, Held: 9}},
		{"regions do not", []int{4, 4, 1, 8}, false, graph.Arena{Peak: 9, Held: 16}},
		{"doubling", []int{4096, 4096, 4096}, true, graph.Arena{Peak: 8192, Held: 3 * 4096}},
		{"doubling to fit", []int{1, 5 * 4096}, true, graph.Arena{Peak: 1 + 8*4096, Held: 9 * 4096}},
	} {
		g, err := graph.Build("test", func(b *graph.Builder) {
			v := b.Input("x", graph.Float32, 1)
			for _, size := range test.sizes {
				v = b.Raw("Resized", "", []*graph.Value{v}, 1, 64*size)
			}
			b.Output("y", b.ReduceSum(v, false))
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := g.Arena(test.doubling); got != (graph.Arena{Peak: 256 * test.want.Peak, Held: 256 * test.want.Held}) {
			t.Errorf("%s: got %d and %d units, want %d and %d", test.name, got.Peak/256, got.Held/256, test.want.Peak, test.want.Held)
		}
	}
}
