package importer

import (
	"encoding/binary"
	"fmt"
	"math"

	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// tensor is a value that is known at import: an initializer that is no
// parameter, a Constant, a shape, or what was computed from them. Elements are
// float64, whatever the type: integers beyond 2⁵³ stand in files as "to the
// end" alone, and saturate.
type tensor struct {
	dtype graph.DType
	shape []int
	data  []float64
}

// foldLimit bounds the elements of a tensor that is computed at import: shape
// arithmetic and masks are small, and a file must not claim memory by a
// ConstantOfShape.
const foldLimit = 1 << 22

func intsTensor(xs ...int) *tensor {
	t := &tensor{dtype: graph.Int64, shape: []int{len(xs)}}
	for _, x := range xs {
		t.data = append(t.data, float64(x))
	}
	return t
}

func numel(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// dtypes maps ONNX's element types to the IR's. Integers of all widths become
// int64, floats of all widths float32: weights in half precision are widened,
// double precision is narrowed.
var dtypes = map[onnx.DataType]graph.DType{
	onnx.TensorProto_FLOAT: graph.Float32, onnx.TensorProto_FLOAT16: graph.Float32,
	onnx.TensorProto_BFLOAT16: graph.Float32, onnx.TensorProto_DOUBLE: graph.Float32,
	onnx.TensorProto_INT64: graph.Int64, onnx.TensorProto_INT32: graph.Int64, onnx.TensorProto_INT16: graph.Int64,
	onnx.TensorProto_INT8: graph.Int64, onnx.TensorProto_UINT8: graph.Int64, onnx.TensorProto_UINT16: graph.Int64,
	onnx.TensorProto_UINT32: graph.Int64, onnx.TensorProto_UINT64: graph.Int64, onnx.TensorProto_BOOL: graph.Bool,
}

func dtypeOf(t onnx.DataType) (graph.DType, error) {
	if d, ok := dtypes[t]; ok {
		return d, nil
	}
	return 0, fmt.Errorf("element type %v is not imported, want a float of 16 to 64 bits, an integer or bool", t)
}

// shapeOf checks dimensions: none negative, the product within int32's range of
// elements, so that no claim of a file can overflow a size later on.
func shapeOf(dims []int64) ([]int, error) {
	shape, total := make([]int, len(dims)), int64(1)
	for i, d := range dims {
		if d < 0 || d > math.MaxInt32 || total*max(d, 1) > 1<<40 {
			return nil, fmt.Errorf("dims %v: want none negative, and at most 2^40 elements", dims)
		}
		shape[i] = int(d)
		total *= max(d, 1)
	}
	return shape, nil
}

// readTensor decodes a TensorProto whose bytes lie in the message or below dir.
func readTensor(p *onnx.TensorProto, dir string) (*tensor, error) {
	from := onnx.DataType(p.GetDataType())
	dtype, err := dtypeOf(from)
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", p.GetName(), err)
	}
	shape, err := shapeOf(p.Dims)
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", p.GetName(), err)
	}
	raw, err := onnx.TensorData(p, dir)
	if err != nil {
		return nil, err
	}
	return &tensor{dtype, shape, decode(raw, from)}, nil
}

// decode reads little-endian elements.
func decode(raw []byte, dtype onnx.DataType) []float64 {
	read := func(width int, element func(b []byte) float64) []float64 {
		list := make([]float64, len(raw)/width)
		for i := range list {
			list[i] = element(raw[i*width:])
		}
		return list
	}
	le := binary.LittleEndian
	switch dtype {
	case onnx.TensorProto_FLOAT:
		return read(4, func(b []byte) float64 { return float64(math.Float32frombits(le.Uint32(b))) })
	case onnx.TensorProto_FLOAT16:
		return read(2, func(b []byte) float64 { return float64(half(le.Uint16(b))) })
	case onnx.TensorProto_BFLOAT16:
		return read(2, func(b []byte) float64 { return float64(math.Float32frombits(uint32(le.Uint16(b)) << 16)) })
	case onnx.TensorProto_DOUBLE:
		return read(8, func(b []byte) float64 { return math.Float64frombits(le.Uint64(b)) })
	case onnx.TensorProto_INT64:
		return read(8, func(b []byte) float64 { return float64(int64(le.Uint64(b))) })
	case onnx.TensorProto_UINT64:
		return read(8, func(b []byte) float64 { return float64(le.Uint64(b)) })
	case onnx.TensorProto_INT32:
		return read(4, func(b []byte) float64 { return float64(int32(le.Uint32(b))) })
	case onnx.TensorProto_UINT32:
		return read(4, func(b []byte) float64 { return float64(le.Uint32(b)) })
	case onnx.TensorProto_INT16:
		return read(2, func(b []byte) float64 { return float64(int16(le.Uint16(b))) })
	case onnx.TensorProto_UINT16:
		return read(2, func(b []byte) float64 { return float64(le.Uint16(b)) })
	case onnx.TensorProto_INT8:
		return read(1, func(b []byte) float64 { return float64(int8(b[0])) })
	}
	return read(1, func(b []byte) float64 { return float64(b[0]) }) // UINT8, BOOL
}

// half is the value of an IEEE 754 binary16 number.
func half(bits uint16) float32 {
	sign, exponent, fraction := uint32(bits>>15)<<31, int(bits>>10&31), uint32(bits&1023)
	switch exponent {
	case 0: // zero and subnormals: fraction·2⁻²⁴
		v := float32(fraction) / (1 << 24)
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 31: // infinity, NaN
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | uint32(exponent-15+127)<<23 | fraction<<13)
}

// ints are the elements as int, saturated.
func (t *tensor) ints() []int {
	list := make([]int, len(t.data))
	for i, x := range t.data {
		list[i] = saturate(x)
	}
	return list
}

func saturate(x float64) int {
	switch {
	case x != x:
		return 0
	case x >= math.MaxInt64:
		return math.MaxInt64
	case x <= math.MinInt64:
		return math.MinInt64
	}
	return int(x)
}

// emit makes the tensor a constant of the graph.
func (t *tensor) emit(b *graph.Builder) *graph.Value {
	switch t.dtype {
	case graph.Float32:
		list := make([]float32, len(t.data))
		for i, x := range t.data {
			list[i] = float32(x)
		}
		return b.Const(list, t.shape...)
	case graph.Int64:
		return b.Int64s(t.ints(), t.shape...)
	}
	return b.Cast(b.Int64s(t.ints(), t.shape...), graph.Bool)
}
