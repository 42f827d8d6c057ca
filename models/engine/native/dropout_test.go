package native_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"immiscible/models/onnx"
)

// philox is Philox4x32-10 as its authors write it: https://doi.org/10.1145/2063384.2063405
func philox(c [4]uint32, k [2]uint32) [4]uint32 {
	for range 10 {
		p0, p1 := 0xD2511F53*uint64(c[0]), 0xCD9E8D57*uint64(c[2])
		c = [4]uint32{uint32(p1>>32) ^ c[1] ^ k[0], uint32(p1), uint32(p0>>32) ^ c[3] ^ k[1], uint32(p0)}
		k[0] += 0x9E3779B9
		k[1] += 0xBB67AE85
	}
	return c
}

// The known answers are those of kat_vectors in Random123 1.14, which the paper's
// authors publish: https://github.com/DEShawResearch/random123/blob/v1.14.0/tests/kat_vectors
func TestPhilox(t *testing.T) {
	for _, c := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0}, [4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := philox(c.counter, c.key); got != c.want {
			t.Errorf("%x under %x: got %x, want %x", c.counter, c.key, got, c.want)
		}
	}
}

// dropoutCase draws the mask of x [n, shape…].
type dropoutCase struct {
	shape     []int
	positions []int64
	key       uint64
	keep      int64
}

var dropoutCases = []dropoutCase{
	{[]int{1}, []int64{0}, 0, 1 << 31},
	{[]int{}, []int64{7, 8, 9}, 3, 1 << 31}, // x [N]
	{[]int{5}, []int64{41, 40, 1 << 40}, 0xa4093822299f31d0, 3865470566},
	{[]int{2, 3, 7}, []int64{1<<32 - 1, 1 << 32, 1<<63 - 1}, math.MaxUint64, 3865470566},
	{[]int{4, 8, 16}, []int64{12, 13}, 1 << 63, 429496730},
	{[]int{64}, []int64{5, 6}, 17, 1 << 32},           // all stay
	{[]int{64}, []int64{5, 6}, 17, 1},                 // none, but for one in 2³²
	{[]int{70003}, []int64{5, -1}, 17, 1<<32 - 1<<28}, // several tasks, and no multiple of 4
}

func (c dropoutCase) operands() (x, positions *array) {
	x = exact(random(1, append([]int{len(c.positions)}, c.shape...)...))
	positions = &array{shape: []int{len(c.positions)}, whole: c.positions}
	return x, positions
}

func (c dropoutCase) attrs(scale float32) []*onnx.AttributeProto {
	return []*onnx.AttributeProto{onnx.FloatAttr("scale", scale), onnx.IntAttr("key", int64(c.key)), onnx.IntAttr("keep", c.keep)}
}

// want is x·scale where the mask keeps x, by the law's definition; what falls
// becomes NaN in x.
func (c dropoutCase) want(x *array, scale float32) *array {
	y := zeros(x.shape...)
	each := len(x.data) / len(c.positions)
	for i, p := range c.positions {
		for e := range each {
			word := philox([4]uint32{uint32(e / 4), 0, uint32(p), uint32(uint64(p) >> 32)}, [2]uint32{uint32(c.key), uint32(c.key >> 32)})[e%4]
			if at := i*each + e; int64(word) < c.keep {
				y.data[at] = x.data[at] * scale
			} else {
				x.data[at] = float32(math.NaN()) // what falls is gone
			}
		}
	}
	return y
}

func TestDropout(t *testing.T) {
	for _, level := range levels(t) {
		use(t, level, 0)
		for _, c := range dropoutCases {
			x, positions := c.operands()
			want := c.want(x, 1.25)
			equal(t, fmt.Sprint(level, " Dropout ", c), runOp(t, 2, "Dropout", c.attrs(1.25), []*array{x, positions}, []*array{x}), []*array{want})
		}
	}
}

// On a GPU the same elements stay, in each type that they may be stored in: twice
// an element of few digits is exact in all.
func TestCUDADropout(t *testing.T) {
	for _, s := range storages {
		for _, c := range dropoutCases {
			x, positions := c.operands()
			want := c.want(x, 2)
			got := runKernel(t, s, "Dropout", c.attrs(2), []*array{x, positions}, []*array{x}, 0b10, 0)
			equal(t, fmt.Sprint(s.name, " Dropout ", c), got, []*array{want})
		}
	}
}

func TestDropoutRefuses(t *testing.T) {
	x := zeros(2, 6, 5)
	positions := func(n int) *array { return &array{shape: []int{n}, whole: make([]int64, n)} }
	for _, v := range []struct {
		attrs  []*onnx.AttributeProto
		inputs []*array
		want   string
	}{
		{[]*onnx.AttributeProto{onnx.IntAttr("keep", 9)}, []*array{x, positions(3)}, "positions"},
		{nil, []*array{x, positions(2)}, "keep"},
		{[]*onnx.AttributeProto{onnx.IntAttr("keep", 1<<32+1)}, []*array{x, positions(2)}, "keep"},
	} {
		if _, err := tryOp(t, 1, "Dropout", v.attrs, v.inputs, []*array{x}); err == nil || !strings.Contains(err.Error(), v.want) {
			t.Errorf("%v: got error %v, want one that names %s", v.attrs, err, v.want)
		}
	}
}
