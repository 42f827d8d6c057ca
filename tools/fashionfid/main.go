// Fashionfid trains the small classifier whose penultimate layer gives the
// features of Fashion-FID, with this repository's own graphs and optimizer, and
// writes it as ONNX:
//
//	go run ./tools/fashionfid          (about five minutes on two cores)
//
// It learns from the first 8,000 of the embedded images; the last 2,000 are held
// out, and its accuracy on them goes into the file. Everything is drawn from a
// fixed seed: the same machine and library give the same bytes, whose SHA-256 is
// printed.
package main

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"immiscible/datasets"
	"immiscible/datasets/rng"
	"immiscible/models/engine"
	"immiscible/models/graph"
	"immiscible/models/onnx"
	"immiscible/pipeline"
	"immiscible/pipeline/optim"
)

const (
	side, classes = 32, 10
	images        = 10_000
	training      = 8_000 // images 0 … 7,999; the others are held out
	batch         = 64
	seed          = 0
)

func main() {
	out := flag.String("out", filepath.Join("pipeline", "metrics", "fashion", "classifier.onnx"), "file to write")
	steps := flag.Int("steps", 5000, "optimizer steps")
	flag.Parse()
	if err := run(context.Background(), *out, *steps); err != nil {
		fmt.Fprintln(os.Stderr, "fashionfid:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out string, steps int) error {
	pixels, labels, err := load(ctx)
	if err != nil {
		return err
	}
	e, err := engine.Open(ctx, engine.Options{Provider: "cpu"})
	if err != nil {
		return err
	}
	defer e.Close()
	weights, err := train(ctx, e, pixels, labels, steps)
	if err != nil {
		return err
	}
	model, err := export(weights, nil)
	if err != nil {
		return err
	}
	fit, err := accuracy(ctx, e, model, pixels[:training*side*side], labels[:training])
	if err != nil {
		return err
	}
	held, err := accuracy(ctx, e, model, pixels[training*side*side:], labels[training:])
	if err != nil {
		return err
	}
	about := map[string]string{
		"data":              "Fashion-MNIST test images 0 … 7,999 (github.com/zalandoresearch/fashion-mnist, MIT)",
		"accuracy_held_out": fmt.Sprintf("%.4f", held),
		"held_out":          "Fashion-MNIST test images 8,000 … 9,999",
		"accuracy_training": fmt.Sprintf("%.4f", fit),
		"input":             "sample [N, 1, 32, 32] in [-1, 1], the image of 28 pixels with 2 of black around it",
		"made_by":           fmt.Sprintf("tools/fashionfid, %d steps of %d images, ONNX Runtime %s", steps, batch, e.Version),
	}
	if model, err = export(weights, about); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(out, model, 0o644); err != nil {
		return err
	}
	fmt.Printf("%s: %d bytes, accuracy %.2f %% on the %d images held out, %.2f %% on the others, sha256 %x\n",
		out, len(model), 100*held, images-training, 100*fit, sha256.Sum256(model))
	return nil
}

// load returns the embedded images [N, 1, 32, 32] and labels in file order.
func load(ctx context.Context) (pixels []float32, labels []int64, err error) {
	data, err := datasets.Open(ctx, datasets.Options{Channels: 1, Resolution: side, Pad: 2, NumClasses: classes})
	if err != nil {
		return nil, nil, err
	}
	defer data.Close()
	loader := data.Loader(0, images)
	defer loader.Close()
	b, err := loader.Next(ctx)
	if err != nil {
		return nil, nil, err
	}
	pixels, labels = make([]float32, images*side*side), make([]int64, images)
	for i, key := range b.Keys {
		var n int
		if _, err := fmt.Sscanf(key, "%05d", &n); err != nil {
			return nil, nil, fmt.Errorf("key %q: %w", key, err)
		}
		copy(pixels[n*side*side:(n+1)*side*side], b.Pixels[i*side*side:])
		labels[n] = b.Labels[i]
	}
	return pixels, labels, nil
}

// width is the number of features.
const width = 64

// network declares the classifier: x [N, 1, 32, 32] to features [N, 64] and
// logits [N, 10]. Five convolutions, two of them of stride 2, and no
// normalisation, so that the batch can be of any size in the file.
func network(b *graph.Builder, x *graph.Value) (features, logits *graph.Value) {
	layer := func(name string, x *graph.Value, out, stride int) *graph.Value {
		in := x.Dim(1)
		at := b.At(name)
		w := at.Param("weight", graph.Init{Normal: math.Sqrt(2 / float64(9*in))}, out, in, 3, 3) // He et al. 2015, Eq. 10
		return at.Relu(at.Conv(x, w, at.Param("bias", graph.Init{}, out), graph.ConvAttrs{Stride: stride, Pads: [4]int{1, 1, 1, 1}}))
	}
	x = layer("conv1", x, 24, 1)
	x = layer("conv2", x, 32, 2)
	x = layer("conv3", x, 32, 1)
	x = layer("conv4", x, 64, 2)
	x = layer("conv5", x, width, 1)
	features = b.ReduceMean(x, false, 2, 3)
	at := b.At("classifier")
	w := at.Param("weight", graph.Init{Normal: 1 / math.Sqrt(width)}, classes, width)
	return features, at.Gemm(features, w, at.Param("bias", graph.Init{}, classes))
}

// trainingGraph is cross-entropy with targets smoothed by 5 %, and its gradients.
func trainingGraph() (*graph.Graph, error) {
	return graph.Build("fashionfid", func(b *graph.Builder) {
		x := b.Input("sample", graph.Float32, batch, 1, side, side)
		labels := b.Input("labels", graph.Int64, batch)
		_, logits := network(b, x)
		targets := make([]float32, classes*classes)
		for i := range targets {
			targets[i] = 0.05 / classes
			if i%(classes+1) == 0 {
				targets[i] += 0.95
			}
		}
		p := b.Softmax(logits)
		entropy := b.Mul(b.Gather(b.Const(targets, classes, classes), labels, 0), b.Log(b.Add(p, b.Scalar(1e-7))))
		perSample := b.Neg(b.ReduceSum(entropy, false, 1))
		loss := b.ReduceMean(perSample, false, 0)
		b.Output("loss", loss)
		b.Output("loss_per_sample", perSample)
		params := b.Params()
		for i, g := range b.Grad(loss, params) {
			b.Output(params[i].Node.Name+".grad", g)
		}
	})
}

// train returns the moving average of the weights by key.
func train(ctx context.Context, e *engine.Engine, pixels []float32, labels []int64, steps int) (map[string][]float32, error) {
	g, err := trainingGraph()
	if err != nil {
		return nil, err
	}
	layout := pipeline.NewLayout(g.Params(), func(string) bool { return true })
	state, err := pipeline.NewState(e, layout, false)
	if err != nil {
		return nil, err
	}
	defer state.Close()
	if err := state.Draw(seed); err != nil {
		return nil, err
	}
	step, err := pipeline.NewStepper(e, g, state)
	if err != nil {
		return nil, err
	}
	defer step.Close()
	lr := optim.DefaultLR("cosine", 2e-3, 100, steps)
	ema := optim.DefaultEMA()
	ema.Decay = 0.995
	x, y := make([]float32, batch*side*side), make([]int64, batch)
	recent := 0.0
	for n := 1; n <= steps; n++ {
		for i := range batch {
			r := rng.New(seed, "fashionfid", uint64((n-1)*batch+i))
			k := r.Intn(training)
			augment(x[i*side*side:(i+1)*side*side], pixels[k*side*side:(k+1)*side*side], r)
			y[i] = labels[k]
		}
		if err := step.Input("sample").SetFloat32(x); err != nil {
			return nil, err
		}
		if err := step.Input("labels").SetInt64(y); err != nil {
			return nil, err
		}
		loss, _, err := step.Gradients(ctx, true)
		if err != nil {
			return nil, err
		}
		norm, err := step.Norm(ctx, 1)
		if err != nil {
			return nil, err
		}
		err = step.Update(ctx, map[string]float64{
			"lr": lr.At(n), "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.05,
			"bias_correction1": optim.BiasCorrection(0.9, n), "bias_correction2": optim.BiasCorrection(0.999, n),
			"clip_coef": optim.ClipCoef(norm, 1), "ema_decay": optim.EMADecay(ema, n),
		})
		if err != nil {
			return nil, err
		}
		if recent += loss; n%250 == 0 {
			fmt.Printf("step %d: mean loss of the last 250 steps %.4f\n", n, recent/250)
			recent = 0
		}
	}
	weights := map[string][]float32{}
	for _, p := range layout.Params {
		if weights[p.Key], err = p.Read(state.EMA); err != nil {
			return nil, err
		}
	}
	return weights, nil
}

// augment mirrors half of the images and shifts all by up to 2 pixels, which
// the black border allows.
func augment(dst, src []float32, r *rng.Stream) {
	flip, dx, dy := r.Intn(2) == 1, r.Intn(5)-2, r.Intn(5)-2
	for i := range side {
		for j := range side {
			y, x := i+dy, j+dx
			if flip {
				x = side - 1 - x
			}
			dst[i*side+j] = -1
			if 0 <= y && y < side && 0 <= x && x < side {
				dst[i*side+j] = src[y*side+x]
			}
		}
	}
}

// export is the network as ONNX with its weights inside and a batch of any size.
func export(weights map[string][]float32, about map[string]string) ([]byte, error) {
	g, err := graph.Build("fashion-mnist", func(b *graph.Builder) {
		features, logits := network(b, b.Input("sample", graph.Float32, 1, 1, side, side))
		b.Output("features", features)
		b.Output("logits", logits)
	})
	if err != nil {
		return nil, err
	}
	m, err := g.Model()
	if err != nil {
		return nil, err
	}
	inputs := m.Graph.Input
	m.Graph.Input = nil
	for _, v := range append(inputs, m.Graph.Output...) {
		shape := v.GetType().GetTensorType().GetShape()
		values, parameter := weights[v.GetName()]
		if !parameter {
			shape.Dim[0].Value = &onnx.TensorShapeProto_Dimension_DimParam{DimParam: "N"}
			if v.GetName() == "sample" {
				m.Graph.Input = append(m.Graph.Input, v)
			}
			continue
		}
		dims := make([]int64, len(shape.Dim))
		for i, d := range shape.Dim {
			dims[i] = d.GetDimValue()
		}
		raw := make([]byte, 0, 4*len(values))
		for _, x := range values {
			u := math.Float32bits(x)
			raw = append(raw, byte(u), byte(u>>8), byte(u>>16), byte(u>>24))
		}
		m.Graph.Initializer = append(m.Graph.Initializer, onnx.NewTensor(v.GetName(), onnx.TensorProto_FLOAT, dims, raw))
	}
	for _, key := range []string{"data", "input", "made_by", "held_out", "accuracy_held_out", "accuracy_training"} {
		if value, ok := about[key]; ok {
			m.MetadataProps = append(m.MetadataProps, &onnx.StringStringEntryProto{Key: &key, Value: &value})
		}
	}
	if err := onnx.Check(m); err != nil {
		return nil, err
	}
	return onnx.Marshal(m)
}

// accuracy is the share of images whose largest logit is their label's.
func accuracy(ctx context.Context, e *engine.Engine, model []byte, pixels []float32, labels []int64) (float64, error) {
	s, err := e.NewSession(model, engine.SessionOptions{Name: "classifier"})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	const many = 100
	tensors := map[string]*engine.Tensor{}
	for name, shape := range map[string][]int64{"sample": {many, 1, side, side}, "features": {many, width}, "logits": {many, classes}} {
		if tensors[name], err = e.NewTensor(engine.Float32, shape...); err != nil {
			return 0, err
		}
		if err := s.Bind(name, tensors[name]); err != nil {
			return 0, err
		}
	}
	right := 0
	for at := 0; at < len(labels); at += many {
		if err := tensors["sample"].SetFloat32(pixels[at*side*side : (at+many)*side*side]); err != nil {
			return 0, err
		}
		if err := s.Run(ctx); err != nil {
			return 0, err
		}
		logits := tensors["logits"].GetFloat32()
		for i := range many {
			best := 0
			for c := range classes {
				if logits[i*classes+c] > logits[i*classes+best] {
					best = c
				}
			}
			if int64(best) == labels[at+i] {
				right++
			}
		}
	}
	return float64(right) / float64(len(labels)), nil
}
