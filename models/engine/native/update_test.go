package native_test

import (
	"context"
	"math"
	"testing"

	"immiscible/models/engine"
	"immiscible/models/onnx"
)

// adamwOperands are a chunk of m elements and the scalars of update 7.
func adamwOperands(m int) (inputs []*array, scalars []float32) {
	for seed := range uint64(5) {
		inputs = append(inputs, random(seed, m))
	}
	for i, v := range inputs[3].data {
		inputs[3].data[i] = v * v
	}
	scalars = []float32{1e-3, 0.9, 0.999, 1e-8, 1e-2, float32(1 - math.Pow(0.9, 7)), float32(1 - math.Pow(0.999, 7)), 0.3, 0.99}
	for _, v := range scalars {
		inputs = append(inputs, &array{data: []float32{v}})
	}
	return inputs, scalars
}

// adamwReference is torch.optim.AdamW's update and diffusers' EMAModel's, in
// float64.
func adamwReference(in []*array, s []float32) (p, m, v, e []float64) {
	lr, beta1, beta2, eps, decay := float64(s[0]), float64(s[1]), float64(s[2]), float64(s[3]), float64(s[4])
	c1, c2, clip, average := float64(s[5]), float64(s[6]), float64(s[7]), float64(s[8])
	for i := range in[0].data {
		g := clip * float64(in[1].data[i])
		m = append(m, beta1*float64(in[2].data[i])+(1-beta1)*g)
		v = append(v, beta2*float64(in[3].data[i])+(1-beta2)*g*g)
		p = append(p, float64(in[0].data[i])*(1-lr*decay)-lr*m[i]/c1/(math.Sqrt(v[i]/c2)+eps))
		e = append(e, average*float64(in[4].data[i])+(1-average)*p[i])
	}
	return p, m, v, e
}

func TestAdamW(t *testing.T) {
	for _, level := range levels(t) {
		use(t, level, 0)
		for _, size := range []int{1, 15, 16, 100003} {
			inputs, scalars := adamwOperands(size)
			p, m, v, e := adamwReference(inputs, scalars)
			flat := inputs[0]
			got := runOp(t, 2, "AdamW", nil, inputs, []*array{flat, flat, flat, flat})
			for i, want := range [][]float64{p, m, v, e} {
				compareWithin(t, level+" AdamW", got[i], want, 1e-6)
			}
		}
	}
}

func TestAdamWBits(t *testing.T) {
	inputs, _ := adamwOperands(70001)
	flat := inputs[0]
	stable(t, "AdamW", nil, inputs, []*array{flat, flat, flat, flat})
}

// TestAdamWInplace binds each output to the memory of the input it replaces.
func TestAdamWInplace(t *testing.T) {
	inputs, _ := adamwOperands(50003)
	flat := inputs[0]
	outputs := []*array{flat, flat, flat, flat}
	want := runOp(t, 2, "AdamW", nil, inputs, outputs)
	e := engineOf(t, 2)
	data, err := onnx.Marshal(opModel("AdamW", nil, inputs, outputs))
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.NewSession(data, engine.SessionOptions{Name: "adamw"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var tensors []*engine.Tensor
	for i, in := range inputs {
		x, err := e.NewTensor(engine.Float32, in.dims()...)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		if err := x.SetFloat32(in.data); err != nil {
			t.Fatal(err)
		}
		if err := s.Bind(string(rune('a'+i)), x); err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, x)
	}
	places := []int{0, 2, 3, 4}
	for i, place := range places {
		if err := s.Bind(string(rune('z'-i)), tensors[place]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	var got []*array
	for _, place := range places {
		got = append(got, &array{shape: flat.shape, data: tensors[place].GetFloat32()})
	}
	equal(t, "AdamW in place", want, got)
}
