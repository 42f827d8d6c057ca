package pipeline

import (
	"fmt"
	"io"
	"strings"

	"immiscible/datasets/rng"
	"immiscible/models/engine"
	"immiscible/models/safetensors"
)

// State is everything that training changes, in arenas on the device that
// computes: parameters, their gradients, AdamW's two moments and the moving
// average. Each arena has the layout's order.
type State struct {
	Layout   Layout
	Params   *engine.Arena // Layout.Total elements
	Grads    *engine.Arena // this and the others: Layout.Trained elements
	Sum      *engine.Arena // gradients summed over micro-batches; nil where one is a batch
	ExpAvg   *engine.Arena
	ExpAvgSq *engine.Arena
	EMA      *engine.Arena
}

// NewState allocates zeroed arenas; accumulate asks for the sum over
// micro-batches.
func NewState(e *engine.Engine, l Layout, accumulate bool) (*State, error) {
	s := &State{Layout: l}
	arenas := []struct {
		to       **engine.Arena
		elements int
	}{{&s.Params, l.Total}, {&s.Grads, l.Trained}, {&s.ExpAvg, l.Trained}, {&s.ExpAvgSq, l.Trained}, {&s.EMA, l.Trained}, {&s.Sum, l.Trained}}
	if !accumulate {
		arenas = arenas[:5]
	}
	for _, a := range arenas {
		arena, err := e.NewArena(4 * int64(a.elements))
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("allocating the training state: %w", err)
		}
		*a.to = arena
	}
	return s, nil
}

// Close frees the arenas.
func (s *State) Close() {
	for _, a := range []*engine.Arena{s.Params, s.Grads, s.Sum, s.ExpAvg, s.ExpAvgSq, s.EMA} {
		if a != nil {
			a.Close()
		}
	}
}

// Bytes is the memory of the arenas.
func (s *State) Bytes() int64 {
	var total int64
	for _, a := range []*engine.Arena{s.Params, s.Grads, s.Sum, s.ExpAvg, s.ExpAvgSq, s.EMA} {
		if a != nil {
			total += a.Bytes()
		}
	}
	return total
}

// View is a parameter's tensor in one of the arenas.
func (p Param) View(a *engine.Arena) (*engine.Tensor, error) {
	shape := make([]int64, len(p.Shape))
	for i, d := range p.Shape {
		shape[i] = int64(d)
	}
	return a.View(4*int64(p.Offset), engine.Float32, shape...)
}

// Draw gives each parameter its initial value from the seed: a parameter's
// numbers depend on the seed and its key alone.
func (s *State) Draw(seed uint64) error {
	for _, p := range s.Layout.Params {
		values := make([]float32, p.Numel())
		if r := rng.New(seed, "init/"+p.Key, 0); p.Init.Normal != 0 {
			r.FillNormal(values)
			for i := range values {
				values[i] *= float32(p.Init.Normal)
			}
		} else if p.Init.Uniform != 0 {
			for i := range values {
				values[i] = float32((2*r.Float64() - 1) * p.Init.Uniform)
			}
		}
		for i := range values {
			values[i] += float32(p.Init.Mean)
		}
		if err := p.write(s.Params, values); err != nil {
			return err
		}
	}
	return s.copyEMA()
}

// copyEMA starts the moving average at the parameters.
func (s *State) copyEMA() error {
	for _, p := range s.Layout.Params {
		if !p.Trained {
			continue
		}
		values, err := p.Read(s.Params)
		if err == nil {
			err = p.write(s.EMA, values)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Read copies a parameter's values out of an arena.
func (p Param) Read(a *engine.Arena) ([]float32, error) {
	t, err := p.View(a)
	if err != nil {
		return nil, err
	}
	values := make([]float32, p.Numel())
	return values, t.ReadFloat32(values)
}

func (p Param) write(a *engine.Arena, values []float32) error {
	t, err := p.View(a)
	if err != nil {
		return err
	}
	return t.SetFloat32(values)
}

// oldAttention is how folders saved before diffusers 0.15 name attention's
// layers, and today's names.
var oldAttention = strings.NewReplacer(".query.", ".to_q.", ".key.", ".to_k.", ".value.", ".to_v.", ".proj_attn.", ".to_out.0.")

// todaysKey maps a state-dict key of an older folder to today's. It leaves none
// out, as ok says.
func todaysKey(key string) (today string, ok bool) {
	if !strings.Contains(key, "attentions.") {
		return key, true
	}
	return oldAttention.Replace(key), true
}

// matchWeights finds each parameter of the layout in a weights file, whose names
// key maps to the layout's: todaysKey, or clip.Key for a text encoder. Every one
// must be there with its shape, and nothing else but what key leaves out: a file
// that does not fit its config.json is refused by name.
func matchWeights(f *safetensors.File, l Layout, key func(name string) (string, bool)) ([]safetensors.Tensor, error) {
	byKey := map[string]safetensors.Tensor{}
	for _, t := range f.Tensors {
		if k, ok := key(t.Name); ok {
			byKey[k] = t
		}
	}
	tensors := make([]safetensors.Tensor, len(l.Params))
	for i, p := range l.Params {
		t, ok := byKey[p.Key]
		switch {
		case !ok:
			return nil, fmt.Errorf("%s: tensor %q is missing: the weights do not belong to this config.json", f.Path, p.Key)
		case !sameButOnes(t.Shape, p.Shape):
			return nil, fmt.Errorf("%s: tensor %q has shape %v, want %v: the weights do not belong to this config.json", f.Path, t.Name, t.Shape, p.Shape)
		}
		tensors[i] = t
		delete(byKey, p.Key)
	}
	for _, t := range f.Tensors {
		k, ok := key(t.Name)
		if _, left := byKey[k]; left && ok {
			return nil, fmt.Errorf("%s: tensor %q has no place in the model that config.json describes", f.Path, t.Name)
		}
	}
	return tensors, nil
}

// LoadParams fills parameters of an arena from a weights file that fits. only
// limits the load to the parameters it accepts; nil loads all.
func (s *State) LoadParams(f *safetensors.File, a *engine.Arena, only func(Param) bool) error {
	return s.Layout.load(f, a, todaysKey, only)
}

// load is LoadParams for a file whose names key maps.
func (l Layout) load(f *safetensors.File, a *engine.Arena, key func(name string) (string, bool), only func(Param) bool) error {
	tensors, err := matchWeights(f, l, key)
	if err != nil {
		return err
	}
	for i, p := range l.Params {
		if only != nil && !only(p) {
			continue
		}
		values := make([]float32, p.Numel())
		if err := readWeights(f, tensors[i], values); err != nil {
			return err
		}
		if err := p.write(a, values); err != nil {
			return err
		}
	}
	return nil
}

// readWeights reads a tensor and refuses what is not finite, such as what a
// conversion to float16 leaves of numbers beyond its range.
func readWeights(f *safetensors.File, t safetensors.Tensor, values []float32) error {
	if err := f.Float32(t, values); err != nil {
		return err
	}
	for i, x := range values {
		if x-x != 0 {
			return fmt.Errorf("%s: tensor %q (%s) is %g at element %d, want finite numbers: fetch or convert the weights again", t.Path, t.Name, t.DType, x, i)
		}
	}
	return nil
}

// Entries lists parameters of an arena for a weights file, under today's keys.
// Frozen parameters, which only the parameter arena has, are read from there.
func (s *State) Entries(a *engine.Arena) []safetensors.Entry {
	var entries []safetensors.Entry
	for _, p := range s.Layout.Params {
		from := a
		if !p.Trained {
			from = s.Params
		}
		entries = append(entries, p.entry(p.Key, from))
	}
	return entries
}

func (p Param) entry(name string, a *engine.Arena) safetensors.Entry {
	shape := make([]int64, len(p.Shape))
	for i, d := range p.Shape {
		shape[i] = int64(d)
	}
	return safetensors.Entry{Name: name, DType: "F32", Shape: shape, Write: func(w io.Writer) error {
		t, err := p.View(a)
		if err != nil {
			return err
		}
		raw := make([]byte, t.Bytes())
		if err := t.Download(raw); err != nil {
			return err
		}
		_, err = w.Write(raw)
		return err
	}}
}

func numel64(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}

// sameButOnes accepts shapes that differ in trailing ones only: older attention
// weights are 1×1 convolutions, the same numbers.
func sameButOnes(got []int64, want []int) bool {
	for i := range max(len(got), len(want)) {
		g, w := int64(1), int64(1)
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = int64(want[i])
		}
		if g != w {
			return false
		}
	}
	return true
}
