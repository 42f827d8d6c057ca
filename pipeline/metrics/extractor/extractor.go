// Package extractor turns images into features with any ONNX network: pixels to
// the network's size and range, one session, the wanted output to rows.
package extractor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"immiscible/models/engine"
	"immiscible/models/onnx"
	"immiscible/pipeline/metrics/fashion"
)

// Options say which network gives the features, and what it wants to see.
type Options struct {
	Model      string // path of an ONNX file, or fashion.Name
	InputRange string // a key of Ranges: what the network's input is
	Resize     string // ResizeClean or ResizePyTorch, where the network's size is fixed
	Output     string // name of the output; "": the first
	// Spatial takes the first seven channels of an output [N, C, H, W], one
	// number a position: sFID's features (arXiv 2103.03841, §4.1). Otherwise such
	// an output is averaged over its positions.
	Spatial bool
}

// spatialChannels is how many channels sFID takes of the layer.
const spatialChannels = 7

// normalisation maps a pixel of 0…255: x/255 less Mean, over Std, by channel.
type normalisation struct{ mean, std [3]float64 }

// ranges are what networks want. imagenet and clip are the means and deviations
// of torchvision's and OpenAI CLIP's preprocessing.
var ranges = map[string]normalisation{
	"0..1":     {std: [3]float64{1, 1, 1}},
	"-1..1":    {[3]float64{0.5, 0.5, 0.5}, [3]float64{0.5, 0.5, 0.5}},
	"0..255":   {std: [3]float64{1 / 255., 1 / 255., 1 / 255.}},
	"imagenet": {[3]float64{0.485, 0.456, 0.406}, [3]float64{0.229, 0.224, 0.225}},
	"clip":     {[3]float64{0.48145466, 0.4578275, 0.40821073}, [3]float64{0.26862954, 0.26130258, 0.27577711}},
}

// Ranges lists the input ranges by name.
func Ranges() []string { return []string{"0..1", "-1..1", "0..255", "imagenet", "clip"} }

// Extractor is a network, open once Start has been called. Close it after use.
type Extractor struct {
	Name     string // base name of the file, or fashion.Name
	Digest   string // SHA-256 of the file
	Channels int    // of the images: 1 or 3
	D        int    // features of an image, from Start on

	options       Options
	model         *onnx.ModelProto
	dims          [4]int64 // of the network's input as it came, 0 where any will do
	dir           string   // of external data
	side          int      // of the images that come in
	batch         int
	height, width int // of the network's input
	output        []int64
	session       *engine.Session
	input, result *engine.Tensor
}

// defaultBatch is the batch of a network that takes any.
const defaultBatch = 32

// Load reads the network and checks its input.
func Load(o Options) (*Extractor, error) {
	raw, dir := fashion.Model, ""
	if o.Model == fashion.Name {
		o.InputRange = "-1..1"
	} else {
		var err error
		if raw, err = os.ReadFile(o.Model); err != nil {
			return nil, fmt.Errorf("features: %w", err)
		}
		dir = filepath.Dir(o.Model)
	}
	if _, ok := ranges[o.InputRange]; !ok {
		return nil, fmt.Errorf("input range %q, want one of %s", o.InputRange, strings.Join(Ranges(), ", "))
	}
	if o.Resize != ResizeClean && o.Resize != ResizePyTorch {
		return nil, fmt.Errorf("resize %q, want %s or %s", o.Resize, ResizeClean, ResizePyTorch)
	}
	m, err := onnx.Unmarshal(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Model, err)
	}
	dims, err := inputDims(m, o.Model)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	x := &Extractor{Name: filepath.Base(o.Model), Digest: hex.EncodeToString(sum[:]), options: o, model: m, dims: dims, dir: dir, Channels: int(dims[1])}
	return x, nil
}

// Start opens the session for square images of the given side in pixels, in
// place of an earlier one.
func (x *Extractor) Start(e *engine.Engine, side int) error {
	x.Close()
	x.side = side
	or := func(size int64, fallback int) int {
		if size == 0 {
			return fallback
		}
		return int(size)
	}
	x.batch, x.height, x.width = or(x.dims[0], defaultBatch), or(x.dims[2], side), or(x.dims[3], side)
	raw, input, output, err := x.fix()
	if err != nil {
		return err
	}
	if err := x.start(e, raw, input, output); err != nil {
		x.Close()
		return fmt.Errorf("%s: %w", x.options.Model, err)
	}
	return nil
}

func (x *Extractor) start(e *engine.Engine, raw []byte, input, output string) (err error) {
	if x.session, err = e.NewSession(raw, engine.SessionOptions{Name: x.Name, ExternalDir: x.dir}); err != nil {
		return err
	}
	out := x.session.Outputs[0]
	if slices.Contains(out.Shape, -1) {
		return fmt.Errorf("output %s has shape %v even for a fixed input: export the network with static shapes", output, out.Shape)
	}
	if x.D, err = x.features(out); err != nil {
		return err
	}
	x.output = out.Shape
	if x.input, err = e.NewTensor(engine.Float32, int64(x.batch), int64(x.Channels), int64(x.height), int64(x.width)); err != nil {
		return err
	}
	if x.result, err = e.NewTensor(engine.Float32, out.Shape...); err != nil {
		return err
	}
	if err := x.session.Bind(input, x.input); err != nil {
		return err
	}
	return x.session.Bind(output, x.result)
}

// Close frees the session.
func (x *Extractor) Close() {
	if x.session != nil {
		x.session.Close()
		x.session = nil
	}
}

// inputs are a graph's inputs that no initializer fills.
func inputs(m *onnx.ModelProto) []*onnx.ValueInfoProto {
	filled := map[string]bool{}
	for _, t := range m.GetGraph().GetInitializer() {
		filled[t.GetName()] = true
	}
	return slices.DeleteFunc(slices.Clone(m.GetGraph().GetInput()), func(v *onnx.ValueInfoProto) bool { return filled[v.GetName()] })
}

// inputDims returns the image input's dimensions, 0 for those that are open.
func inputDims(m *onnx.ModelProto, name string) (dims [4]int64, err error) {
	in := inputs(m)
	if len(in) != 1 {
		return dims, fmt.Errorf("%s: %d inputs, want one, of images [N, C, H, W]", name, len(in))
	}
	t := in[0].GetType().GetTensorType()
	shape := t.GetShape().GetDim()
	if t.GetElemType() != int32(onnx.TensorProto_FLOAT) || len(shape) != 4 {
		return dims, fmt.Errorf("%s: input %q has %d dimensions of type %v, want float images [N, C, H, W]", name, in[0].GetName(), len(shape), onnx.DataType(t.GetElemType()))
	}
	for i, d := range shape {
		dims[i] = max(0, d.GetDimValue())
	}
	if dims[1] == 0 {
		dims[1] = 3
	}
	if dims[1] != 1 && dims[1] != 3 {
		return dims, fmt.Errorf("%s: input %q has %d channels, want 1 or 3", name, in[0].GetName(), dims[1])
	}
	return dims, nil
}

// fix gives the input its size and keeps one output, whose shape ONNX Runtime
// is to find out: what other outputs need is then not computed.
func (x *Extractor) fix() (raw []byte, input, output string, err error) {
	m := x.model
	in := inputs(m)[0]
	for i, d := range []int{x.batch, x.Channels, x.height, x.width} {
		in.GetType().GetTensorType().Shape.Dim[i].Value = &onnx.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
	}
	var names []string
	for _, v := range m.GetGraph().GetOutput() {
		names = append(names, v.GetName())
	}
	at := 0
	if x.options.Output != "" {
		at = slices.Index(names, x.options.Output)
	}
	if at < 0 || len(names) == 0 {
		return nil, "", "", fmt.Errorf("%s: no output %q, want one of %s", x.options.Model, x.options.Output, strings.Join(names, ", "))
	}
	out := m.Graph.Output[at]
	if t := out.GetType().GetTensorType(); t != nil {
		t.Shape = nil
	}
	m.Graph.Output = []*onnx.ValueInfoProto{out}
	raw, err = onnx.Marshal(m)
	return raw, in.GetName(), out.GetName(), err
}

// features is the number of features that an output gives an image.
func (x *Extractor) features(out engine.Info) (int, error) {
	s := out.Shape
	switch {
	case out.DType != engine.Float32 || len(s) < 2 || s[0] != int64(x.batch):
	case x.options.Spatial && len(s) == 4 && s[1] >= spatialChannels:
		return int(spatialChannels * s[2] * s[3]), nil
	case x.options.Spatial:
		return 0, fmt.Errorf("output %s is %s %v, want float32 [N, C, H, W] with 7 channels or more for spatial features", out.Name, out.DType, s)
	case len(s) == 2, len(s) == 4:
		return int(s[1]), nil
	}
	return 0, fmt.Errorf("output %s is %s %v, want float32 [N, D] or [N, C, H, W] for %d images: name another output", out.Name, out.DType, s, x.batch)
}

// Extract returns the features [n, D] of images [n, C, side, side] in [−1, 1].
func (x *Extractor) Extract(ctx context.Context, images []float32) ([]float32, error) {
	dim := x.Channels * x.side * x.side
	n := len(images) / dim
	if len(images) != n*dim {
		return nil, fmt.Errorf("features: %d numbers, want whole images of %d", len(images), dim)
	}
	out := make([]float32, 0, n*x.D)
	input := make([]float32, x.batch*x.Channels*x.height*x.width)
	result := make([]float32, x.result.Len())
	rows := newResizer(x)
	for at := 0; at < n; at += x.batch {
		here := min(x.batch, n-at)
		clear(input)
		rows.fill(input, images[at*dim:(at+here)*dim], here)
		if err := x.input.SetFloat32(input); err != nil {
			return nil, err
		}
		if err := x.session.Run(ctx); err != nil {
			return nil, err
		}
		if err := x.result.ReadFloat32(result); err != nil {
			return nil, err
		}
		out = x.gather(out, result, here)
	}
	return out, nil
}

// gather appends the rows of the first images of a result.
func (x *Extractor) gather(out, result []float32, images int) []float32 {
	each := len(result) / x.batch
	for i := range images {
		row := result[i*each : (i+1)*each]
		if len(x.output) == 2 || x.options.Spatial {
			out = append(out, row[:x.D]...)
			continue
		}
		positions := each / x.D
		for c := range x.D {
			sum := 0.0
			for _, v := range row[c*positions : (c+1)*positions] {
				sum += float64(v)
			}
			out = append(out, float32(sum/float64(positions)))
		}
	}
	return out
}
