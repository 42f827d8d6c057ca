package pipeline

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"immiscible/models/graph"
	"immiscible/models/graph/importer"
	"immiscible/models/safetensors"
)

// DifferentiateOptions say what Differentiate makes of which file.
type DifferentiateOptions struct {
	File     string         // forward graph, ONNX
	Out      string         // folder for the artifacts; must not exist, or be empty
	Loss     string         // mse, cross-entropy or diffusion
	Wrt      []string       // globs of parameters to train; * crosses dots, slashes and colons
	Dims     map[string]int // numbers of symbolic dimensions
	Messages io.Writer
}

// Losses are the losses that Differentiate knows.
func Losses() []string { return []string{"mse", "diffusion", "cross-entropy"} }

// Differentiate imports somebody's forward graph and writes the artifacts that
// Export writes of a model of this module. Parameters have their names in the
// file. The loss is of the first output y:
//
//	mse            mean over all elements of (y − target)²
//	cross-entropy  mean over the labels of −ln softmax(y)[label], the classes along dimension 1;
//	               target is int64 of y's other dimensions, −100 is left out (PyTorch's meaning)
//	diffusion      the contract of TrainingGraph
//
// The training model of the first two has the file's inputs, target and
// loss_scale, which counts 1 where it is not fed.
func Differentiate(o DifferentiateOptions) error {
	if !slices.Contains(Losses(), o.Loss) {
		return fmt.Errorf("-loss %q, want one of: %s", o.Loss, strings.Join(Losses(), ", "))
	}
	for _, glob := range o.Wrt {
		if _, err := path.Match(glob, ""); err != nil {
			return fmt.Errorf("-wrt %q is no pattern: %w", glob, err)
		}
	}
	f, err := importer.Open(o.File)
	if err != nil {
		return err
	}
	im, err := f.Import(importer.Options{Dims: o.Dims, Param: o.param, InputParam: o.inputParam})
	if err != nil {
		return err
	}
	forward, _, err := graph.Recognize(im.Graph)
	if err != nil {
		return err
	}
	trained, err := o.trained(forward)
	if err != nil {
		return err
	}
	made := artifacts{}
	if o.Loss == "diffusion" {
		made, err = diffusionArtifacts(o, forward, trained)
	} else {
		made, err = plainArtifacts(o.Loss, forward, trained)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.File, err)
	}
	made.layout = NewLayout(made.training.Params(), trained)
	made.weights = importedWeights(im.Weights)
	if len(im.Weights) < len(forward.Params()) {
		fmt.Fprintf(o.Messages, "%s: %d parameters are inputs without a value: model.safetensors lacks them\n", o.File, len(forward.Params())-len(im.Weights))
	}
	return made.write(o.Out)
}

// param says which tensors of the file are parameters: the usual ones, and those
// that a pattern names in so many letters.
func (o DifferentiateOptions) param(name string, usual bool) bool {
	return usual || slices.Contains(o.Wrt, name)
}

// inputParam says which inputs without a value are weights: those that a pattern
// names that is not stars alone, and that have a key of a state dict (a dot), or
// that it names in so many letters.
func (o DifferentiateOptions) inputParam(name string) bool {
	return slices.ContainsFunc(o.Wrt, func(glob string) bool {
		return glob == name || strings.Trim(glob, "*?") != "" && strings.Contains(name, ".") && matchKey(glob, name)
	})
}

// trained are the parameters that the patterns name and a gradient reaches.
func (o DifferentiateOptions) trained(forward *graph.Graph) (func(key string) bool, error) {
	keys := map[string]bool{}
	var all []string
	for _, p := range forward.Params() {
		all = append(all, p.Node.Name)
	}
	for _, glob := range o.Wrt {
		found := false
		for _, key := range all {
			if matchKey(glob, key) {
				keys[key], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("-wrt %q names none of the %d parameters of %s, the first of which is %s", glob, len(all), o.File, strings.Join(all[:min(1, len(all))], ""))
		}
	}
	if len(forward.Outputs) == 0 || len(keys) == 0 {
		return nil, fmt.Errorf("%s has no parameters to train", o.File)
	}
	for _, p := range forward.Unreached(forward.Outputs[0].Value) {
		if keys[p.Node.Name] {
			fmt.Fprintf(o.Messages, "%s: no gradient reaches %s: it is not trained\n", o.File, p.Node.Name)
			delete(keys, p.Node.Name)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: no gradient of the first output %q reaches a parameter that -wrt names", o.File, forward.Outputs[0].Name)
	}
	return func(key string) bool { return keys[key] }, nil
}

// plainArtifacts are the graphs of the losses that compare with a target.
func plainArtifacts(loss string, forward *graph.Graph, trained func(key string) bool) (artifacts, error) {
	training, err := graph.Build("training", func(b *graph.Builder) {
		y := b.Inline(forward, nil)[0]
		if y.DType != graph.Float32 {
			b.Fail("loss", "the first output %q is %v, want floats", forward.Outputs[0].Name, y.DType)
		}
		var l *graph.Value
		if loss == "mse" {
			d := b.Sub(y, b.Input("target", graph.Float32, y.Shape...))
			l = b.ReduceMean(b.Mul(d, d), false)
		} else {
			l = crossEntropy(b, y)
		}
		lossScale := b.Input("loss_scale", graph.Float32)
		b.Output("loss", l)
		outputGrads(b, b.Mul(l, lossScale), trained)
	})
	if err != nil {
		return artifacts{}, err
	}
	eval, err := graph.Build("eval", func(b *graph.Builder) {
		for i, v := range b.Inline(forward, nil) {
			b.Output(forward.Outputs[i].Name, v)
		}
	})
	return artifacts{training: training, eval: eval, defaults: map[string]float64{"loss_scale": 1}}, err
}

// crossEntropy is torch's cross_entropy with its default ignore_index.
func crossEntropy(b *graph.Builder, y *graph.Value) *graph.Value {
	if y.Rank() < 2 {
		b.Fail("loss", "the first output has shape %v, want [N, classes, ...]", y.Shape)
	}
	n, classes, rest := y.Dim(0), y.Dim(1), y.Numel()/y.Dim(0)/y.Dim(1)
	target := b.Input("target", graph.Int64, append([]int{n}, y.Shape[2:]...)...)
	if rest > 1 {
		y = b.Transpose(b.Reshape(y, n, classes, rest), 0, 2, 1)
	}
	logits, labels := b.Reshape(y, n*rest, classes), b.Reshape(target, n*rest, 1)
	positions := make([]int, classes)
	for i := range positions {
		positions[i] = i
	}
	hit := b.Cast(b.Equal(labels, b.Int64s(positions, 1, classes)), graph.Float32)
	counted := b.Sub(b.Scalar(float64(n*rest)), b.ReduceSum(b.Cast(b.Equal(labels, b.Int64s([]int{-100})), graph.Float32), false))
	return b.Neg(b.Div(b.ReduceSum(b.Mul(hit, b.LogSoftmax(logits)), false), counted))
}

// outputGrads declares <key>.grad for each trained parameter.
func outputGrads(b *graph.Builder, loss *graph.Value, trained func(key string) bool) {
	params := slices.DeleteFunc(b.Params(), func(p *graph.Value) bool { return !trained(p.Node.Name) })
	for i, d := range b.Grad(loss, params) {
		b.Output(params[i].Node.Name+".grad", d)
	}
}

// importedWeights are a file's weights as float32; one at a time is in memory
// while they are written.
func importedWeights(list []importer.Weight) []safetensors.Entry {
	var entries []safetensors.Entry
	for _, w := range list {
		shape := make([]int64, len(w.Shape))
		for i, d := range w.Shape {
			shape[i] = int64(d)
		}
		entries = append(entries, safetensors.Entry{Name: w.Name, DType: "F32", Shape: shape, Write: func(out io.Writer) error {
			values, err := w.Float32()
			if err != nil {
				return err
			}
			return safetensors.Float32Entry(w.Name, shape, values).Write(out)
		}})
	}
	return entries
}
