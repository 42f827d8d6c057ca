package pipeline

import (
	"fmt"
	"reflect"
	"strconv"

	"immiscible/models/engine"
	"immiscible/models/graph"
	"immiscible/pipeline/checkpoint"
	"immiscible/pipeline/runlog"
)

// noBFloat16 is why mixed_precision = "bf16" is refused on the CPU provider.
const noBFloat16 = "ONNX Runtime's CPU provider has no bfloat16 arithmetic; want \"no\", \"fp16\" or a GPU"

// engineOptions are what [runtime] asks of the engine. log gets its messages.
func (c Config) engineOptions(log func(line string)) engine.Options {
	r := c.Runtime
	return engine.Options{Library: r.Library, Provider: r.Provider, Operators: r.Operators, DeviceID: r.DeviceID, Threads: r.Threads, CUDA: c.CUDA.options(r.Deterministic), Deterministic: r.Deterministic, Log: log}
}

// options are the table as ONNX Runtime takes it: names and words. A search for
// the fastest convolution ends where timing says, so that a deterministic run
// does without.
func (c ConfigCUDA) options(deterministic bool) map[string]string {
	if deterministic {
		c.CudnnConvAlgoSearch = "DEFAULT"
	}
	options := map[string]string{}
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("toml")
		switch x := v.Field(i).Interface().(type) {
		case bool:
			options[name] = strconv.Itoa(boolInt(x))
		default:
			options[name] = fmt.Sprint(x)
		}
	}
	if c.GPUMemLimit == 0 { // its own default: all there is
		delete(options, "gpu_mem_limit")
	}
	return options
}

// mixed is a training graph in the types that [train] mixed_precision asks for, for
// a provider with those kernels of our own (see engine.KernelsOf).
func (c Config) mixed(g *graph.Graph, provider, kernels string) (*graph.Graph, error) {
	switch {
	case c.Train.MixedPrecision == "fp16":
		return graph.MixedPrecision(g, graph.Float16, kernels)
	case c.Train.MixedPrecision == "bf16" && provider == "cpu":
		return nil, fmt.Errorf("[train] mixed_precision = \"bf16\", and the run would be on the CPU: %s", noBFloat16)
	case c.Train.MixedPrecision == "bf16":
		return graph.MixedPrecision(g, graph.BFloat16, kernels)
	}
	return g, nil
}

// lossScale is what the loss is multiplied by for its gradients: 1 but in fp16.
func (t *trainer) lossScale() float64 {
	if t.config.Train.MixedPrecision != "fp16" {
		return 1
	}
	return t.scaler.Scale
}

// overflow reports whether a gradient that is not finite may be float16's fault,
// so that the next step, with half the scale, may do better. It does not count
// as a bad step then.
func (t *trainer) overflow() bool {
	return t.config.Train.MixedPrecision == "fp16" && t.scaler.Overflow()
}

// updateScale ends a step: the scale of the next one goes into the run's state.
// It returns the scale that the step had, for the log; 0 without one.
func (t *trainer) updateScale(at *checkpoint.State, finite bool) runlog.Number {
	if t.config.Train.MixedPrecision != "fp16" {
		return 0
	}
	was := t.scaler.Scale
	t.scaler = t.scaler.Update(finite)
	at.LossScale, at.LossGrowth = t.scaler.Scale, t.scaler.Growth
	return runlog.Number(was)
}
