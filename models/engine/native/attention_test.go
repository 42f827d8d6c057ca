package native_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"immiscible/models/onnx"
)

// attentionCase is attention of n·t queries to n·s keys of heads·d columns.
type attentionCase struct {
	n, t, s, heads, d int
	scale             float32
}

func (c attentionCase) attrs() []*onnx.AttributeProto {
	return []*onnx.AttributeProto{onnx.IntAttr("batch", int64(c.n)), onnx.IntAttr("num_heads", int64(c.heads)), onnx.FloatAttr("scale", c.scale)}
}

func (c attentionCase) operands() (q, k, v, dy *array) {
	width := c.heads * c.d
	return random(1, c.n*c.t, width), random(2, c.n*c.s, width), random(3, c.n*c.s, width), random(4, c.n*c.t, width)
}

// reference computes the definition in float64.
func (c attentionCase) reference(q, k, v, dy []float32) (y, stats, dq, dk, dv []float64) {
	width := c.heads * c.d
	y, dq = make([]float64, len(q)), make([]float64, len(q))
	dk, dv = make([]float64, len(k)), make([]float64, len(k))
	for n := range c.n {
		for h := range c.heads {
			for i := range c.t {
				query := (n*c.t+i)*width + h*c.d
				p, dp := make([]float64, c.s), make([]float64, c.s)
				most, sum, delta := math.Inf(-1), 0.0, 0.0
				key := func(j int) int { return (n*c.s+j)*width + h*c.d }
				for j := range c.s {
					for e := range c.d {
						p[j] += float64(c.scale) * float64(q[query+e]) * float64(k[key(j)+e])
						dp[j] += float64(dy[query+e]) * float64(v[key(j)+e])
					}
					most = max(most, p[j])
				}
				for j := range p {
					sum += math.Exp(p[j] - most)
				}
				stats = append(stats, most+math.Log(sum))
				for j := range p {
					p[j] = math.Exp(p[j]-most) / sum
					delta += p[j] * dp[j]
				}
				for j := range p {
					ds := float64(c.scale) * p[j] * (dp[j] - delta)
					for e := range c.d {
						y[query+e] += p[j] * float64(v[key(j)+e])
						dq[query+e] += ds * float64(k[key(j)+e])
						dk[key(j)+e] += ds * float64(q[query+e])
						dv[key(j)+e] += p[j] * float64(dy[query+e])
					}
				}
			}
		}
	}
	return y, stats, dq, dk, dv
}

var attentionCases = []attentionCase{
	{1, 1, 1, 1, 1, 1},
	{2, 5, 3, 2, 4, 0.5},
	{1, 100, 77, 3, 40, 0.158},
	{2, 130, 65, 2, 8, 0.354},
	{1, 49, 130, 1, 80, 0.112},
	{1, 20, 24, 2, 160, 0.079},
	{1, 7, 2100, 1, 16, 0.25},
	{5, 16, 16, 4, 2, 3}, // sharp: one key takes nearly all
}

func TestAttention(t *testing.T) {
	for _, level := range levels(t) {
		use(t, level, 0)
		for _, c := range attentionCases {
			q, k, v, dy := c.operands()
			y, stats, dq, dk, dv := c.reference(q.data, k.data, v.data, dy.data)
			what := fmt.Sprintf("%s %+v: ", level, c)
			rows := zeros(c.n, c.heads, c.t)
			got := runOp(t, 2, "Attention", c.attrs(), []*array{q, k, v}, []*array{q, rows})
			compare(t, what+"y", got[0], y)
			compare(t, what+"stats", got[1], stats)
			alone := runOp(t, 2, "Attention", c.attrs(), []*array{q, k, v}, []*array{q})
			equal(t, what+"without stats", alone, got[:1])
			grads := runOp(t, 2, "AttentionGrad", c.attrs(), []*array{dy, q, k, v, got[0], got[1]}, []*array{q, k, v})
			if c.s > 1 { // else the true gradients of q and k are zero
				compare(t, what+"dq", grads[0], dq)
				compare(t, what+"dk", grads[1], dk)
			}
			compare(t, what+"dv", grads[2], dv)
		}
	}
}

func TestAttentionIsStable(t *testing.T) {
	for _, c := range []attentionCase{{2, 130, 77, 2, 40, 0.158}, {5, 50, 30, 4, 8, 0.354}} {
		q, k, v, dy := c.operands()
		rows := random(5, c.n, c.heads, c.t)
		stable(t, "Attention", c.attrs(), []*array{q, k, v}, []*array{q, rows})
		stable(t, "AttentionGrad", c.attrs(), []*array{dy, q, k, v, q, rows}, []*array{q, k, v})
	}
}

func TestAttentionRefuses(t *testing.T) {
	q, k := zeros(6, 8), zeros(4, 8)
	for _, c := range []struct {
		batch, heads int64
		scale        float32
		k, v         *array
		want         string
	}{
		{0, 2, 1, k, k, "batch does not divide"},
		{4, 2, 1, k, k, "batch does not divide"},
		{2, 3, 1, k, k, "num_heads does not divide"},
		{2, 0, 1, k, k, "num_heads does not divide"},
		{2, 2, 0, k, k, "scale is not positive"},
		{2, 2, 1, k, q, "q, k and v are not"},
		{2, 2, 1, zeros(4, 4), zeros(4, 4), "q, k and v are not"},
	} {
		attrs := []*onnx.AttributeProto{onnx.IntAttr("batch", c.batch), onnx.IntAttr("num_heads", c.heads), onnx.FloatAttr("scale", c.scale)}
		_, err := tryOp(t, 1, "Attention", attrs, []*array{q, c.k, c.v}, []*array{q})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c, err, c.want)
		}
	}
	attrs := attentionCase{n: 2, heads: 2, scale: 1}.attrs()
	_, err := tryOp(t, 1, "AttentionGrad", attrs, []*array{q, q, k, k, q, zeros(2, 2, 4)}, []*array{q, k, k})
	if err == nil || !strings.Contains(err.Error(), "stats is not [N, num_heads, T]") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkAttention(b *testing.B) {
	for _, c := range []attentionCase{{4, 1024, 1024, 8, 8, 0.35}, {1, 1024, 1024, 8, 40, 0.158}, {4, 1024, 77, 8, 8, 0.35}} {
		q, k, v, dy := c.operands()
		rows := zeros(c.n, c.heads, c.t)
		out := runOp(b, 1, "Attention", c.attrs(), []*array{q, k, v}, []*array{q, rows})
		b.Run(fmt.Sprintf("%+v/forward", c), func(b *testing.B) {
			for b.Loop() {
				runOp(b, 1, "Attention", c.attrs(), []*array{q, k, v}, []*array{q, rows})
			}
		})
		b.Run(fmt.Sprintf("%+v/grad", c), func(b *testing.B) {
			for b.Loop() {
				runOp(b, 1, "AttentionGrad", c.attrs(), []*array{dy, q, k, v, out[0], out[1]}, []*array{q, k, v})
			}
		})
	}
}
