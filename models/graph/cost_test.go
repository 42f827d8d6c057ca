package graph_test

import (
	"testing"

	"immiscible/models/graph"
)

func TestFLOPs(t *testing.T) {
	for _, c := range []struct {
		name string
		f    func(b *graph.Builder)
		want int64
	}{
		{"nothing", func(b *graph.Builder) { b.Output("y", b.Sin(b.Full(1, 9))) }, 0},
		{"Gemm [3, 4]·[5, 4]ᵀ", func(b *graph.Builder) { b.Output("y", b.Gemm(b.Full(1, 3, 4), b.Full(1, 5, 4), nil)) }, 2 * 3 * 4 * 5},
		{"batched product", func(b *graph.Builder) { b.Output("y", b.MatMul(b.Full(1, 7, 3, 4), b.Full(1, 4, 5))) }, 2 * 7 * 3 * 4 * 5},
		{"transposed product", func(b *graph.Builder) {
			b.Output("y", b.FusedMatMul(b.Full(1, 4, 3), b.Full(1, 5, 4), true, true, 1))
		}, 2 * 3 * 4 * 5},
		{"convolution", func(b *graph.Builder) {
			b.Output("y", b.Conv(b.Full(1, 2, 3, 8, 6), b.Full(1, 5, 3, 3, 3), nil, graph.ConvAttrs{Stride: 2, Pads: [4]int{1, 1, 1, 1}}))
		}, 2 * (2 * 5 * 4 * 3) * (3 * 3 * 3)},
		{"transposed convolution", func(b *graph.Builder) {
			b.Output("y", b.ConvTranspose(b.Full(1, 2, 5, 4, 3), b.Full(1, 5, 3, 4, 4), graph.ConvAttrs{Stride: 2, Pads: [4]int{1, 1, 1, 1}}, 8, 6))
		}, 2 * (2 * 5 * 4 * 3) * (3 * 4 * 4)},
	} {
		g, err := graph.Build("test", c.f)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.FLOPs(); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

func TestPeakBytes(t *testing.T) {
	g, err := graph.Build("test", func(b *graph.Builder) {
		x := b.Input("x", graph.Float32, 100)
		h := b.Exp(b.Sin(x))                        // Sin's result ends where Exp's begins
		b.Output("y", b.Add(b.Mul(h, h), b.Cos(h))) // h, h·h and cos h at once
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := g.PeakBytes(), int64(3*400); got != want {
		t.Errorf("got %d, want %d: three values of 100 float32", got, want)
	}
}

// A reshape is a view: it takes no memory, and what it is a view of stays for its
// readers. One that is a graph output is a copy, into memory that is not counted.
func TestPeakOfViews(t *testing.T) {
	var h *graph.Value
	g, err := graph.Build("test", func(b *graph.Builder) {
		x := b.Input("x", graph.Float32, 100)
		h = b.Sin(x)
		flat := b.Reshape(b.Reshape(h, 10, 10), 5, 20)
		b.Output("copy", b.Reshape(h, 20, 5))
		b.Output("y", b.Add(b.Reshape(b.Exp(b.Reshape(x, 5, 20)), 5, 20), flat))
	})
	if err != nil {
		t.Fatal(err)
	}
	bytes, alive := g.Peak()
	if bytes != 2*400 || len(alive) != 2 || alive[0] != h && alive[1] != h {
		t.Errorf("got %d bytes of %v, want those of sin x and exp x", bytes, alive)
	}
}

// Gradients declared in layer order let each layer's activations go as soon as
// its gradient is there. Declared in the reverse order, the first layer's
// gradient runs first, and by then the whole backward pass is alive beside the
// activations: about twice as much.
func TestLayerOrderHalvesThePeak(t *testing.T) {
	const layers = 32
	peak := func(order func(i int) int) float64 {
		g, err := graph.Build("chain", func(b *graph.Builder) { chain(b, layers, order) })
		if err != nil {
			t.Fatal(err)
		}
		lowered, err := graph.Lower(g)
		if err != nil {
			t.Fatal(err)
		}
		return float64(lowered.PeakBytes())
	}
	forward, reverse := peak(func(i int) int { return i }), peak(func(i int) int { return layers - 1 - i })
	if ratio := forward / reverse; !(ratio > 0.4 && ratio < 0.6) {
		t.Errorf("peak %.0f bytes in layer order and %.0f in reverse: ratio %.2f, want about a half", forward, reverse, ratio)
	}
}
