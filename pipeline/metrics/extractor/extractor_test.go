package extractor

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"immiscible/datasets"
	"immiscible/models/engine/enginetest"
	"immiscible/models/graph"
	"immiscible/models/onnx"
	"immiscible/pipeline/metrics/fashion"
)

// Pillow's bicubic in mode F and torch's bilinear (tools/golden/metrics.py):
// equal but for float32's last digits.
func TestResizeGoldens(t *testing.T) {
	raw, err := os.ReadFile("testdata/resize.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Image [][]float32
		Sizes map[string]map[string][][]float32
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Sizes) != 3 {
		t.Fatalf("%d sizes, want 3", len(golden.Sizes))
	}
	src := slices.Concat(golden.Image...)
	h, w := len(golden.Image), len(golden.Image[0])
	for size, by := range golden.Sizes {
		var outH, outW int
		fmt.Sscanf(size, "%dx%d", &outH, &outW)
		for name, kind := range map[string]func(in, out int) []taps{ResizeClean: cleanTaps, ResizePyTorch: pytorchTaps} {
			got := resize(src, h, w, kind(w, outW), kind(h, outH))
			want := slices.Concat(by[name]...)
			if len(got) != len(want) {
				t.Fatalf("%s %s: %d values, want %d", size, name, len(got), len(want))
			}
			for i := range want {
				if math.Abs(float64(got[i]-want[i])) > 1e-4 { // of 255
					t.Errorf("%s %s: value %d is %g, want %g", size, name, i, got[i], want[i])
				}
			}
		}
	}
}

// write saves a network whose parameters are constants and whose dimensions may
// be left open.
func write(t *testing.T, open map[int]bool, build func(b *graph.Builder)) string {
	t.Helper()
	g, err := graph.Build("test", build)
	if err != nil {
		t.Fatal(err)
	}
	m, err := g.Model()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range append(m.Graph.Input, m.Graph.Output...) {
		for i, d := range v.GetType().GetTensorType().GetShape().GetDim() {
			if open[i] {
				d.Value = &onnx.TensorShapeProto_Dimension_DimParam{DimParam: "d" + strconv.Itoa(i)}
			}
		}
	}
	path := filepath.Join(t.TempDir(), "net.onnx")
	if err := onnx.Save(path, m); err != nil {
		t.Fatal(err)
	}
	return path
}

// start opens a network for images of a side.
func start(t *testing.T, o Options, side int) (*Extractor, error) {
	t.Helper()
	x, err := Load(o)
	if err == nil {
		err = x.Start(enginetest.Open(t), side)
	}
	if err == nil {
		t.Cleanup(x.Close)
	}
	return x, err
}

// A network that hands its input on shows what it is given: pixels in each
// range, averaged over positions, for any number of images and a batch that is
// open or fixed.
func TestRangesAndPooling(t *testing.T) {
	const side = 3
	images := make([]float32, 7*3*side*side)
	for i := range images {
		images[i] = float32(i%256)/127.5 - 1
	}
	for _, batch := range []map[int]bool{{}, {0: true}, {0: true, 2: true, 3: true}} {
		path := write(t, batch, func(b *graph.Builder) {
			x := b.Input("pixels", graph.Float32, 4, 3, side, side)
			b.Output("same", b.Mul(x, b.Scalar(1)))
			b.Output("half", b.Mul(x, b.Scalar(0.5)))
		})
		for name, norm := range ranges {
			for output, factor := range map[string]float64{"": 1, "half": 0.5} {
				x, err := start(t, Options{Model: path, InputRange: name, Resize: ResizeClean, Output: output}, side)
				if err != nil {
					t.Fatal(err)
				}
				got, err := x.Extract(context.Background(), images)
				if err != nil {
					t.Fatal(err)
				}
				if x.D != 3 || len(got) != 7*3 {
					t.Fatalf("%d features, %d numbers, want 3 and 21", x.D, len(got))
				}
				for i, v := range got {
					want := 0.0
					for k := range side * side {
						pixel := float64((i*side*side + k) % 256)
						want += factor * (pixel/255 - norm.mean[i%3]) / norm.std[i%3] / (side * side)
					}
					if math.Abs(float64(v)-want) > 1e-5*max(1, math.Abs(want)) {
						t.Errorf("%v %s: feature %d is %g, want %g", batch, name, i, v, want)
					}
				}
			}
		}
	}
}

func TestSpatialAndResize(t *testing.T) {
	path := write(t, nil, func(b *graph.Builder) {
		x := b.Input("pixels", graph.Float32, 2, 1, 4, 4)
		parts := make([]*graph.Value, 9)
		for i := range parts {
			parts[i] = b.Mul(x, b.Scalar(float64(i+1)))
		}
		b.Output("features", b.Concat(1, parts...))
	})
	o := Options{Model: path, InputRange: "-1..1", Resize: ResizePyTorch, Spatial: true}
	x, err := start(t, o, 2)
	if err != nil {
		t.Fatal(err)
	}
	got, err := x.Extract(context.Background(), []float32{-1, 1, -1, 1})
	if err != nil {
		t.Fatal(err)
	}
	// Columns of −1 and 1, enlarged: −1, −½, ½, 1; seven of nine channels.
	row := []float32{-1, -0.5, 0.5, 1}
	for i, v := range got {
		if want := row[i%4] * float32(i/16+1); math.Abs(float64(v-want)) > 1e-5 {
			t.Errorf("feature %d is %g, want %g", i, v, want)
		}
	}
	if x.D != 7*16 || len(got) != x.D {
		t.Errorf("%d features, %d numbers, want 112", x.D, len(got))
	}
}

// A network that takes any size takes two, one after the other.
func TestStartsAgain(t *testing.T) {
	path := write(t, map[int]bool{0: true, 2: true, 3: true}, func(b *graph.Builder) {
		b.Output("same", b.Neg(b.Neg(b.Input("pixels", graph.Float32, 1, 1, 2, 2))))
	})
	x, err := start(t, Options{Model: path, InputRange: "-1..1", Resize: ResizeClean}, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, side := range []int{2, 5} {
		if err := x.Start(enginetest.Open(t), side); err != nil {
			t.Fatal(err)
		}
		images := make([]float32, 3*side*side)
		for i := range images {
			images[i] = float32(i/(side*side)) / 4
		}
		got, err := x.Extract(context.Background(), images)
		if err != nil {
			t.Fatal(err)
		}
		if want := []float32{0, 0.25, 0.5}; !slices.EqualFunc(got, want, func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-6 }) {
			t.Errorf("side %d: features %v, want %v", side, got, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	flat := write(t, nil, func(b *graph.Builder) { b.Output("y", b.Neg(b.Input("x", graph.Float32, 2, 8))) })
	two := write(t, nil, func(b *graph.Builder) {
		b.Output("y", b.Add(b.Input("x", graph.Float32, 1, 3, 4, 4), b.Input("z", graph.Float32, 1, 3, 4, 4)))
	})
	many := write(t, nil, func(b *graph.Builder) { b.Output("y", b.Neg(b.Input("x", graph.Float32, 1, 4, 4, 4))) })
	shape := write(t, nil, func(b *graph.Builder) {
		b.Output("y", b.Reshape(b.Input("x", graph.Float32, 2, 3, 4, 4), 6, 16))
	})
	good := write(t, nil, func(b *graph.Builder) { b.Output("y", b.Neg(b.Input("x", graph.Float32, 1, 3, 4, 4))) })
	text := filepath.Join(t.TempDir(), "text.onnx")
	if err := os.WriteFile(text, []byte("no model"), 0o666); err != nil {
		t.Fatal(err)
	}
	base := Options{InputRange: "0..1", Resize: ResizeClean}
	for _, test := range []struct {
		change func(o *Options)
		want   string
	}{
		{func(o *Options) { o.Model = filepath.Join(t.TempDir(), "none.onnx") }, "none.onnx: no such file"},
		{func(o *Options) { o.Model = text }, "do not parse as an ONNX ModelProto"},
		{func(o *Options) { o.Model = flat }, `input "x" has 2 dimensions`},
		{func(o *Options) { o.Model = two }, "2 inputs, want one"},
		{func(o *Options) { o.Model = many }, "has 4 channels, want 1 or 3"},
		{func(o *Options) { o.Model = shape }, "output y is float32 [6 16], want float32 [N, D]"},
		{func(o *Options) { o.Model, o.Output = good, "z" }, `no output "z", want one of y`},
		{func(o *Options) { o.Model, o.Spatial = good, true }, "with 7 channels or more"},
		{func(o *Options) { o.Model, o.InputRange = good, "0..2" }, `input range "0..2"`},
		{func(o *Options) { o.Model, o.Resize = good, "nearest" }, `resize "nearest"`},
	} {
		o := base
		test.change(&o)
		_, err := start(t, o, 4)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got error %v, want one line with %q", err, test.want)
		}
	}
	if x, err := start(t, Options{Model: good, InputRange: "0..1", Resize: ResizeClean}, 4); err != nil {
		t.Error(err)
	} else if _, err := x.Extract(context.Background(), make([]float32, 47)); err == nil || !strings.Contains(err.Error(), "want whole images of 48") {
		t.Errorf("half an image: %v", err)
	}
}

// The classifier that is shipped reads the images that it was not trained on as
// well as its file says.
func TestFashionClassifier(t *testing.T) {
	m, err := onnx.Unmarshal(fashion.Model)
	if err != nil {
		t.Fatal(err)
	}
	claimed := 0.0
	for _, p := range m.GetMetadataProps() {
		if p.GetKey() == "accuracy_held_out" {
			claimed, _ = strconv.ParseFloat(p.GetValue(), 64)
		}
	}
	if len(fashion.Model) > 400_000 || claimed < 0.85 {
		t.Errorf("the classifier has %d bytes and claims %v: want at most 400,000, and 0.85", len(fashion.Model), claimed)
	}
	x, err := start(t, Options{Model: fashion.Name, Resize: ResizeClean, Output: "logits"}, fashion.Side)
	if err != nil {
		t.Fatal(err)
	}
	data, err := datasets.Open(context.Background(), datasets.Options{Channels: 1, Resolution: fashion.Side, Pad: fashion.Pad})
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	loader := data.Loader(0, data.Len())
	defer loader.Close()
	b, err := loader.Next(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	logits, err := x.Extract(context.Background(), b.Pixels)
	if err != nil {
		t.Fatal(err)
	}
	right, held := 0, 0
	for i, key := range b.Keys {
		if key < "08000" {
			continue
		}
		held++
		best := 0
		for c := range 10 {
			if logits[i*10+c] > logits[i*10+best] {
				best = c
			}
		}
		if int64(best) == b.Labels[i] {
			right++
		}
	}
	// Two images of 2,000: other processors round otherwise.
	if got := float64(right) / float64(held); held != 2000 || math.Abs(got-claimed) > 0.001 {
		t.Errorf("accuracy on %d images is %.4f, the file says %.4f", held, got, claimed)
	}
}
