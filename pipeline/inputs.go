package pipeline

import (
	"immiscible/models/engine"
	"immiscible/models/graph"
)

// bindInputs gives the training graph's inputs their memory: loss_scale a tensor
// of its own, because the step before decides it; the others, which are
// functions of the position, views of one arena that a feed brings the next
// micro-batch to. Their addresses are those of the whole run, so that a GPU may
// record the step.
func (t *Stepper) bindInputs(e *engine.Engine, g *graph.Graph) error {
	bytes := int64(0)
	offsets := map[*graph.Value]int64{}
	for _, v := range g.Inputs {
		if v.Node.Param || v.Node.Name == "loss_scale" {
			continue
		}
		offsets[v] = bytes
		bytes += engine.Align(v.Bytes())
	}
	var err error
	if t.batch, err = e.NewArena(bytes); err != nil {
		return err
	}
	if t.feed, err = e.NewFeed(t.batch, t.ahead); err != nil {
		return err
	}
	for _, v := range g.Inputs {
		if v.Node.Param {
			continue
		}
		var tensor *engine.Tensor
		if offset, ok := offsets[v]; ok {
			tensor, err = t.batch.View(offset, engineType(v.DType), engineShape(v.Shape)...)
		} else {
			tensor, err = newTensor(e, v)
		}
		if err == nil {
			err = t.training.Bind(v.Node.Name, tensor)
		}
		if err != nil {
			return err
		}
		t.inputs[v.Node.Name] = tensor
	}
	return nil
}

// bindScalars gives the optimizer graph's scalars one tensor, so that they cross
// the bus together.
func (t *Stepper) bindScalars(e *engine.Engine, g *graph.Graph) (err error) {
	for _, v := range g.Inputs {
		if len(v.Shape) == 0 {
			t.scalarNames = append(t.scalarNames, v.Node.Name)
		}
	}
	if t.scalars, err = e.NewTensor(engine.Float32, int64(len(t.scalarNames))); err != nil {
		return err
	}
	for i, name := range t.scalarNames {
		scalar, err := t.scalars.Element(i)
		if err == nil {
			err = t.optimizer.Bind(name, scalar)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Input is the tensor of a training graph's input, as Gradients reads it.
func (t *Stepper) Input(name string) *engine.Tensor { return t.inputs[name] }

// SetLossScale is what Gradients multiplies the loss by from now on. It crosses
// the bus when it changes.
func (t *Stepper) SetLossScale(scale float64) error {
	x := float32(scale)
	if x == t.lossScale {
		return nil
	}
	if err := t.inputs["loss_scale"].SetFloat32([]float32{x}); err != nil {
		return err
	}
	t.lossScale = x
	return nil
}
