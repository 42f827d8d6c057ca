package clip

import (
	"fmt"
	"math"

	"immiscible/models/graph"
	"immiscible/models/nn"
)

// TextModel is CLIPTextModel's forward pass without an attention mask: inputIDs
// int64 [N, T] to last_hidden_state [N, T, hidden_size], after the final layer
// norm. A token attends to itself and to those before it. T is at most
// max_position_embeddings. Source:
// https://github.com/huggingface/transformers/blob/v4.57.6/src/transformers/models/clip/modeling_clip.py
func TextModel(b *graph.Builder, c Config, inputIDs *graph.Value) *graph.Value {
	b.AssertShape(inputIDs, -1, -1)
	n, t, d := inputIDs.Dim(0), inputIDs.Dim(1), c.HiddenSize
	if t > c.MaxPositionEmbeddings {
		b.Fail("TextModel", "%d tokens, and max_position_embeddings is %d", t, c.MaxPositionEmbeddings)
	}
	table := graph.Init{Normal: 0.02}
	embeddings := b.At("embeddings")
	tokens := embeddings.At("token_embedding").Param("weight", table, c.VocabSize, d)
	positions := embeddings.At("position_embedding").Param("weight", table, c.MaxPositionEmbeddings, d)
	x := b.Add(b.Gather(tokens, inputIDs, 0), b.SliceAxis(positions, 0, 0, t)) // [N, T, D]

	x = b.Reshape(x, n*t, d)
	mask := b.Const(causalMask(t), t, t)
	for i := range c.NumHiddenLayers {
		layer := b.At(fmt.Sprintf("encoder.layers.%d", i))
		h := nn.LayerNorm(layer.At("layer_norm1"), x, c.LayerNormEps)
		x = b.Add(x, attention(layer.At("self_attn"), c, h, mask, n))
		h = nn.LayerNorm(layer.At("layer_norm2"), x, c.LayerNormEps)
		x = b.Add(x, mlp(layer.At("mlp"), c, h))
	}
	x = nn.LayerNorm(b.At("final_layer_norm"), x, c.LayerNormEps)
	return b.Reshape(x, n, t, d)
}

// attention is CLIPAttention of tokens x [N·T, D]: softmax(q·kᵀ/√d + mask)·v,
// head by head, then out_proj. mask is [T, T].
func attention(b *graph.Builder, c Config, x, mask *graph.Value, n int) *graph.Value {
	d, heads := c.HiddenSize, c.NumAttentionHeads
	t := x.Dim(0) / n
	in := math.Sqrt(1 / (float64(d) * 2 * float64(c.NumHiddenLayers)))
	split := func(name string) *graph.Value { // [N·T, D] → [N, heads, T, d]
		y := linear(b.At(name), x, d, in)
		return b.Transpose(b.Reshape(y, n, t, heads, d/heads), 0, 2, 1, 3)
	}
	q, k, v := split("q_proj"), split("k_proj"), split("v_proj")
	scores := b.FusedMatMul(q, k, false, true, 1/math.Sqrt(float64(d/heads))) // [N, heads, T, T]
	y := b.MatMul(b.Softmax(b.Add(scores, mask)), v)
	y = b.Reshape(b.Transpose(y, 0, 2, 1, 3), n*t, d)
	return linear(b.At("out_proj"), y, d, math.Sqrt(1/float64(d)))
}

// mlp is CLIPMLP: fc2(act(fc1(x))).
func mlp(b *graph.Builder, c Config, x *graph.Value) *graph.Value {
	d := float64(c.HiddenSize)
	h := linear(b.At("fc1"), x, c.IntermediateSize, math.Sqrt(1/(2*d)))
	if c.HiddenAct == "quick_gelu" { // x·σ(1.702x); ONNX Runtime makes one operator of it
		h = b.Mul(h, b.Sigmoid(b.Mul(h, b.Scalar(1.702))))
	} else {
		h = b.GELU(h)
	}
	return linear(b.At("fc2"), h, c.HiddenSize, math.Sqrt(1/(d*2*float64(c.NumHiddenLayers))))
}

// linear is torch.nn.Linear with CLIP's initialisation: a normal weight of
// standard deviation std, a bias of zeros.
func linear(b *graph.Builder, x *graph.Value, out int, std float64) *graph.Value {
	w := b.Param("weight", graph.Init{Normal: std}, out, x.Dim(1))
	return b.Gemm(x, w, b.Param("bias", graph.Init{}, out))
}

// causalMask is [t, t]: 0 on and below the diagonal; above it the lowest
// float32, which no score can outweigh, as transformers has it.
func causalMask(t int) []float32 {
	mask := make([]float32, t*t)
	for i := range t {
		for j := i + 1; j < t; j++ {
			mask[i*t+j] = -math.MaxFloat32
		}
	}
	return mask
}
