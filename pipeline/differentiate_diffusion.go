package pipeline

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"immiscible/models/graph"
	"immiscible/models/unet"
	"immiscible/pipeline/diffusion"
)

// importedNet is an imported denoiser where training wants a U-Net: it has an
// image, timesteps, and what else the file declares under the file's names
// (encoder_hidden_states, text_embeds, time_ids, class_labels, …).
type importedNet struct {
	forward          *graph.Graph
	sample, timestep *graph.Value
	trained          func(key string) bool
}

// newImportedNet finds the inputs, by the names of optimum and diffusers.
func newImportedNet(forward *graph.Graph, trained func(key string) bool) (*importedNet, error) {
	n := &importedNet{forward: forward, trained: trained}
	find := func(names ...string) *graph.Value {
		for _, name := range names {
			i := slices.IndexFunc(forward.Inputs, func(v *graph.Value) bool { return v.Node.Name == name && !v.Node.Param })
			if i >= 0 {
				return forward.Inputs[i]
			}
		}
		return nil
	}
	if n.sample = find("sample", "latent_sample", "hidden_states", "x"); n.sample == nil || n.sample.Rank() != 4 || n.sample.DType != graph.Float32 {
		return nil, fmt.Errorf("-loss diffusion: no input sample [N, C, H, W] of floats")
	}
	if n.timestep = find("timestep", "timesteps", "t"); n.timestep == nil || n.timestep.DType == graph.Bool {
		return nil, fmt.Errorf("-loss diffusion: no input timestep")
	}
	batch := n.sample.Dim(0)
	if size := n.timestep.Numel(); n.timestep.Rank() > 1 || size != 1 && size != batch {
		return nil, fmt.Errorf("-loss diffusion: input %s is %v, want a number or one an image, [%d]", n.timestep.Node.Name, n.timestep.Shape, batch)
	}
	if y := forward.Outputs[0].Value; !slices.Equal(y.Shape, n.sample.Shape) {
		return nil, fmt.Errorf("-loss diffusion: the first output %q is %v and the sample %v: a learned variance cannot be trained", forward.Outputs[0].Name, y.Shape, n.sample.Shape)
	}
	return n, nil
}

// Forward copies the imported graph with the noisy image and the timesteps in
// the places of its inputs.
func (n *importedNet) Forward(b *graph.Builder, in unet.Inputs, _ bool) *graph.Value {
	times := b.Cast(in.Timesteps, n.timestep.DType)
	known := map[*graph.Value]*graph.Value{n.sample: in.Sample}
	switch {
	case n.timestep.Numel() == times.Numel():
		known[n.timestep] = b.Reshape(times, n.timestep.Shape...)
	default:
		// A scalar that the model spreads over the batch: the spread value is
		// where each image gets its own.
		spread, rest := n.spread(times.Dim(0))
		if len(spread) == 0 || rest {
			b.Fail("timestep", "the model takes one timestep for all %d images: bind the batch to 1, or export the model with a vector of timesteps", times.Dim(0))
		}
		for _, v := range spread {
			known[v] = b.Cast(in.Timesteps, v.DType)
		}
		known[n.timestep] = b.Reshape(b.SliceAxis(times, 0, 0, 1), n.timestep.Shape...)
	}
	return b.Inline(n.forward, known)[0]
}

// spread finds the values [batch] that hold the timestep once an image, and
// whether anything else reads it.
func (n *importedNet) spread(batch int) (values []*graph.Value, rest bool) {
	same := map[*graph.Value]bool{n.timestep: true} // the timestep, in any shape and type
	for _, node := range n.forward.Live() {
		var reads, others int
		for _, in := range node.Inputs {
			switch {
			case in == nil:
			case same[in]:
				reads++
			case node.Op == "Mul" && ones(in), (node.Op == "Expand" || node.Op == "Reshape") && in.Node.Op == "Constant":
			default:
				others++
			}
		}
		if reads == 0 {
			continue
		}
		moves := slices.Contains([]string{"Expand", "Reshape", "Cast", "Identity", "Mul"}, node.Op) && others == 0
		switch y := node.Outputs[0]; {
		case moves && y.Numel() == 1:
			same[y] = true
		case moves && slices.Equal(y.Shape, []int{batch}):
			values = append(values, y)
		default:
			rest = true
		}
	}
	return values, rest
}

// ones tells whether a value is a constant of ones.
func ones(v *graph.Value) bool {
	if list, ok := v.Float32s(); ok {
		return !slices.ContainsFunc(list, func(x float32) bool { return x != 1 })
	}
	list, ok := v.Ints()
	return ok && !slices.ContainsFunc(list, func(x int) bool { return x != 1 })
}

// What TrainingGraph asks of a net beyond its forward pass. Conditioning is
// declared by the imported graph itself.

func (n *importedNet) Class() string           { return "" }
func (n *importedNet) Channels() (in, out int) { return n.sample.Dim(1), n.sample.Dim(1) }
func (n *importedNet) Sample() unet.Size       { return unet.Size{H: n.sample.Dim(2), W: n.sample.Dim(3)} }
func (n *importedNet) Conditioning() string    { return "" }
func (n *importedNet) LabelDim() int           { return 0 }
func (n *importedNet) ClassEmbeds() int        { return 0 }
func (n *importedNet) CrossAttentionDim() int  { return 0 }
func (n *importedNet) Trained(key string) bool { return n.trained(key) }
func (n *importedNet) DropoutRate() float64    { return 0 }
func (n *importedNet) JSON() ([]byte, error) {
	return nil, errors.New("an imported graph has no config.json")
}

// diffusionArtifacts are the graphs of Export, of an imported denoiser.
func diffusionArtifacts(o DifferentiateOptions, forward *graph.Graph, trained func(key string) bool) (artifacts, error) {
	net, err := newImportedNet(forward, trained)
	if err != nil {
		return artifacts{}, err
	}
	scheduler := diffusion.DefaultConfig()
	if file := schedulerNear(o.File); file == "" {
		fmt.Fprintf(o.Messages, "%s has no scheduler_config.json beside it: DDPM's defaults are assumed\n", o.File)
	} else if scheduler, err = diffusion.LoadConfig(file); err != nil {
		return artifacts{}, err
	}
	schedule, err := diffusion.New(scheduler)
	if err != nil {
		return artifacts{}, err
	}
	size := net.Sample()
	options := GraphOptions{Batch: net.sample.Dim(0), Height: size.H, Width: size.W}
	training, err := TrainingGraph(net, schedule, options)
	if err != nil {
		return artifacts{}, err
	}
	eval, err := EvalGraph(net, options)
	return artifacts{training: training, eval: eval}, err
}

// schedulerNear is the scheduler_config.json of a file: beside it, or in the
// folder scheduler of a pipeline whose part it is.
func schedulerNear(file string) string {
	dir := filepath.Dir(file)
	for _, path := range []string{
		filepath.Join(dir, "scheduler_config.json"), filepath.Join(dir, "scheduler", "scheduler_config.json"),
		filepath.Join(dir, "..", "scheduler", "scheduler_config.json"),
	} {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	return ""
}
