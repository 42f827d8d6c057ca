package engine

import (
	"context"
	"fmt"
)

// RunOnce loads a model, runs it once on the named inputs, and returns its
// outputs by name. The outputs' shapes must be static. It is meant for tests
// and small tools: a session is built and thrown away.
func RunOnce(e *Engine, model []byte, inputs map[string]*Tensor) (map[string]*Tensor, error) {
	s, err := e.NewSession(model, SessionOptions{Name: "once"})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for name, t := range inputs {
		if err := s.Bind(name, t); err != nil {
			return nil, err
		}
	}
	outputs := make(map[string]*Tensor, len(s.Outputs))
	for _, info := range s.Outputs {
		t, err := e.NewTensor(info.DType, info.Shape...)
		if err != nil {
			return nil, fmt.Errorf("engine: output %s %s %v: %w", info.Name, info.DType, info.Shape, err)
		}
		if err := s.Bind(info.Name, t); err != nil {
			return nil, err
		}
		outputs[info.Name] = t
	}
	return outputs, s.Run(context.Background())
}
