package nn

import (
	"math"

	"immiscible/models/graph"
)

// Timesteps is the sinusoidal embedding of t [N] (float32) in dim numbers:
// with h = dim/2 and ω_i = 10000^(−i/(h − freqShift)),
//
//	[sin(ω_0·t) … sin(ω_{h−1}·t), cos(ω_0·t) … cos(ω_{h−1}·t)]
//
// (Vaswani et al. 2017, §3.5; halves swapped by flipSinToCos), and a zero at
// the end where dim is odd, as diffusers' get_timestep_embedding has it.
func Timesteps(b *graph.Builder, t *graph.Value, dim int, flipSinToCos bool, freqShift float64) *graph.Value {
	half := dim / 2
	omega := make([]float32, half)
	for i := range omega {
		// float32 all along: the reference computes the table in float32.
		exponent := float32(-math.Log(10000)) * float32(i) / (float32(half) - float32(freqShift))
		omega[i] = float32(math.Exp(float64(exponent)))
	}
	angle := b.Mul(b.Reshape(t, t.Dim(0), 1), b.Const(omega, 1, half))
	first, second := b.Sin(angle), b.Cos(angle)
	if flipSinToCos {
		first, second = second, first
	}
	emb := b.Concat(1, first, second)
	return b.Pad(emb, 0, 0, 0, dim%2)
}

// GaussianFourierProjection is diffusers' embedding of log t with fixed random
// frequencies: [sin(2π·w·ln t), cos(2π·w·ln t)], t [N] to [N, 2·size]. The
// frequencies, drawn from N(0, 16²), are the state dict's weight [size]; they
// are never trained.
func GaussianFourierProjection(b *graph.Builder, t *graph.Value, size int) *graph.Value {
	w := b.Param("weight", graph.Init{Normal: 16}, size)
	angle := b.Mul(b.Mul(b.Reshape(b.Log(t), t.Dim(0), 1), b.Reshape(w, 1, size)), b.Scalar(2*math.Pi))
	return b.Concat(1, b.Sin(angle), b.Cos(angle))
}

// TimestepEmbedding is Linear, an activation, Linear: [N, K] to [N, dim].
func TimestepEmbedding(b *graph.Builder, x *graph.Value, dim int, act string) *graph.Value {
	x = Activation(b, act, Linear(b.At("linear_1"), x, dim, true))
	return Linear(b.At("linear_2"), x, dim, true)
}
