package vae

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
	"immiscible/models/graph"
	"immiscible/models/graph/refeval"
	"immiscible/models/onnx"
	"immiscible/models/safetensors"
)

// folders lists the models that tools/golden/vae.py made with diffusers.
func folders(t *testing.T) []string {
	configs, err := filepath.Glob("testdata/*/config.json")
	if err != nil || len(configs) != 4 {
		t.Fatalf("%d models in testdata (%v), want 4: run tools/golden/vae.py", len(configs), err)
	}
	var dirs []string
	for _, path := range configs {
		dirs = append(dirs, filepath.Dir(path))
	}
	return dirs
}

// golden is one of diffusers' models: its weights under today's keys, and what
// PyTorch computed.
type golden struct {
	Config
	weights, vectors map[string]Image // of fewer dimensions: ones in front
	shapes           map[string]string
}

func openGolden(t *testing.T, dir string) golden {
	c, err := LoadConfig(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	base := "diffusion_pytorch_model"
	if strings.HasSuffix(dir, "half") {
		base += ".fp16"
	}
	g := golden{Config: c, weights: map[string]Image{}, shapes: map[string]string{}}
	today := strings.NewReplacer(".query.", ".to_q.", ".key.", ".to_k.", ".value.", ".to_v.", ".proj_attn.", ".to_out.0.")
	for name, x := range readAll(t, filepath.Join(dir, base+".safetensors"), g.shapes) {
		g.weights[today.Replace(name)] = x
	}
	for name, shape := range maps.Clone(g.shapes) {
		g.shapes[today.Replace(name)] = shape
		if today.Replace(name) != name {
			delete(g.shapes, name)
		}
	}
	g.vectors = readAll(t, filepath.Join(dir, "vectors.safetensors"), map[string]string{})
	return g
}

func readAll(t *testing.T, path string, shapes map[string]string) map[string]Image {
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]Image{}
	for _, tensor := range f.Tensors {
		shapes[tensor.Name] = fmt.Sprint(tensor.Shape)
		s := append([]int64{1, 1, 1}, tensor.Shape...)
		s = s[len(s)-4:]
		x := Image{N: int(s[0]), C: int(s[1]), H: int(s[2]), W: int(s[3])}
		x.Data = make([]float32, x.N*x.C*x.H*x.W)
		if err := f.Float32(tensor, x.Data); err != nil {
			t.Fatal(err)
		}
		all[tensor.Name] = x
	}
	return all
}

// build makes the graph of the encoder, or of the decoder, for x.
func (g golden) build(t *testing.T, decode bool, x Image) *graph.Graph {
	t.Helper()
	built, err := graph.Build("test", func(b *graph.Builder) {
		in, forward := b.Input("in", graph.Float32, x.N, x.C, x.H, x.W), Encoder
		if decode {
			forward = Decoder
		}
		b.Output("out", forward(b, g.Config, in))
	})
	if err != nil {
		t.Fatal(err)
	}
	return built
}

// run computes the encoder or the decoder in ONNX Runtime: native says whether
// with our own kernels.
func (g golden) run(t *testing.T, decode bool, x Image, native bool) Image {
	t.Helper()
	e, built := enginetest.Open(t), g.build(t, decode, x)
	provider := ""
	if native {
		provider = "cpu"
	}
	m, err := built.NativeModel(provider)
	if err != nil {
		t.Fatal(err)
	}
	if err := onnx.Check(m); err != nil {
		t.Fatal(err)
	}
	raw, err := onnx.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	inputs := map[string]*engine.Tensor{}
	for _, v := range built.Inputs {
		shape := make([]int64, v.Rank())
		for i, d := range v.Shape {
			shape[i] = int64(d)
		}
		tensor, err := e.NewTensor(engine.Float32, shape...)
		if err != nil {
			t.Fatal(err)
		}
		data := x.Data
		if v.Node.Param {
			data = g.weights[v.Node.Name].Data
		}
		if err := tensor.SetFloat32(data); err != nil {
			t.Fatalf("%s: %v", v.Node.Name, err)
		}
		inputs[v.Node.Name] = tensor
	}
	outputs, err := engine.RunOnce(e, raw, inputs)
	if err != nil {
		t.Fatal(err)
	}
	s := built.Outputs[0].Value.Shape
	return Image{Data: outputs["out"].GetFloat32(), N: s[0], C: s[1], H: s[2], W: s[3]}
}

// refeval computes the same in float64.
func (g golden) refeval(t *testing.T, decode bool, x Image) []float32 {
	t.Helper()
	inputs := map[string][]float64{"in": wide(x.Data)}
	for name, w := range g.weights {
		inputs[name] = wide(w.Data)
	}
	outputs, err := refeval.Eval(g.build(t, decode, x), inputs)
	if err != nil {
		t.Fatal(err)
	}
	narrow := make([]float32, len(outputs["out"]))
	for i, v := range outputs["out"] {
		narrow[i] = float32(v)
	}
	return narrow
}

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// within holds max|got − ref| / max|ref| to a tolerance.
func within(t *testing.T, what string, got, ref []float32, tolerance float64) {
	t.Helper()
	if len(got) != len(ref) || len(ref) == 0 {
		t.Errorf("%s: %d numbers, want %d", what, len(got), len(ref))
		return
	}
	diff, largest := 0.0, 0.0
	for i, r := range ref {
		d := math.Abs(float64(got[i]) - float64(r))
		if math.IsNaN(d) {
			d = math.Inf(1)
		}
		diff, largest = max(diff, d), max(largest, math.Abs(float64(r)))
	}
	if !(diff <= tolerance*largest) {
		t.Errorf("%s: max|Δ|/max|ref| is %.2g, want at most %g", what, diff/largest, tolerance)
	}
}

// The encoder's moments and the decoder's images are diffusers', in float64, in
// ONNX Runtime's own operators, and with our kernels. 1e-5 is issue 5's bound.
func TestGolden(t *testing.T) {
	for _, dir := range folders(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			g := openGolden(t, dir)
			for _, part := range []struct {
				decode  bool
				in, out string
			}{{false, "sample", "moments"}, {true, "latent_sample", "decoded"}} {
				in, want := g.vectors[part.in], g.vectors[part.out].Data
				within(t, part.out+" in refeval", g.refeval(t, part.decode, in), want, 1e-5)
				within(t, part.out+" in ONNX Runtime", g.run(t, part.decode, in, false).Data, want, 1e-5)
				within(t, part.out+" with native kernels", g.run(t, part.decode, in, true).Data, want, 1e-5)
			}
		})
	}
}

// The parameters of both graphs together are the state dict, shape by shape.
func TestStateDict(t *testing.T) {
	for _, dir := range folders(t) {
		g, got := openGolden(t, dir), map[string]string{}
		f := g.Factor()
		for _, built := range []*graph.Graph{
			g.build(t, false, Image{N: 1, C: g.InChannels, H: f, W: f}),
			g.build(t, true, Image{N: 1, C: g.LatentChannels, H: 1, W: 1}),
		} {
			for _, p := range built.Params() {
				got[p.Node.Name] = fmt.Sprint(p.Shape)
			}
		}
		if !maps.Equal(got, g.shapes) {
			for _, key := range slices.Sorted(maps.Keys(g.shapes)) {
				if got[key] != g.shapes[key] {
					t.Errorf("%s: %s has shape %q, want %s", dir, key, got[key], g.shapes[key])
				}
				delete(got, key)
			}
			t.Errorf("%s: no keys of the state dict: %v", dir, got)
		}
	}
}

// Nothing in the decoder or the encoder lacks a derivative: a perceptual loss,
// or guidance by an image, goes through them. The gradient with respect to the
// input agrees with a central difference in float64 (its error is O(ε²), and
// ε = 1e-5 leaves about 1e-9).
func TestDifferentiable(t *testing.T) {
	g := openGolden(t, "testdata/single")
	for name, forward := range map[string]func(*graph.Builder, Config, *graph.Value) *graph.Value{"Encoder": Encoder, "Decoder": Decoder} {
		channels := map[string]int{"Encoder": g.InChannels, "Decoder": g.LatentChannels}[name]
		built, err := graph.Build("gradient", func(b *graph.Builder) {
			in := b.Input("in", graph.Float32, 1, channels, 3, 4)
			out := forward(b, g.Config, in)
			loss := b.ReduceSumSquare(out, false, 0, 1, 2, 3)
			b.Output("loss", loss)
			for i, dx := range b.Grad(loss, append(b.Params(), in)) {
				b.Output(fmt.Sprint("grad", i), dx)
			}
			b.Output("gradient", b.Grad(loss, []*graph.Value{in})[0])
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		inputs := map[string][]float64{}
		for key, w := range g.weights {
			inputs[key] = wide(w.Data)
		}
		at := func(along float64) map[string][]float64 {
			x := make([]float64, channels*12)
			for i := range x {
				x[i] = math.Sin(float64(3*i)) + along*math.Cos(float64(7*i*i))
			}
			inputs["in"] = x
			out, err := refeval.Eval(built, inputs)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		const eps = 1e-5
		want := (at(eps)["loss"][0] - at(-eps)["loss"][0]) / (2 * eps)
		got := 0.0
		for i, d := range at(0)["gradient"] {
			got += d * math.Cos(float64(7*i*i))
		}
		if math.Abs(got-want) > 1e-6*math.Abs(want) {
			t.Errorf("%s: directional derivative %g, want %g", name, got, want)
		}
	}
}

// A size or a number of channels that cannot be encoded is refused.
func TestImageSize(t *testing.T) {
	g := openGolden(t, "testdata/sd")
	build := func(c, h, w int) error {
		_, err := graph.Build("test", func(b *graph.Builder) {
			b.Output("out", Encoder(b, g.Config, b.Input("in", graph.Float32, 1, c, h, w)))
		})
		return err
	}
	if err := build(3, 8, 7); err == nil || !strings.Contains(err.Error(), "a 8×7 image is smaller than one latent: want at least 8×8 pixels") {
		t.Errorf("8×7: got %v", err)
	}
	if err := build(4, 8, 8); err == nil {
		t.Error("an image of 4 channels was accepted, want 3")
	}
}
