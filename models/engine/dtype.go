package engine

import "fmt"

// DType is an element type. Its numbers are those of ONNX's TensorProto.DataType
// and of ORT's ONNXTensorElementDataType, which agree for the types below.
type DType int32

// The element types that tensors may have.
const (
	Float32  DType = 1
	Uint8    DType = 2
	Int8     DType = 3
	Uint16   DType = 4
	Int16    DType = 5
	Int32    DType = 6
	Int64    DType = 7
	Bool     DType = 9
	Float16  DType = 10
	Float64  DType = 11
	Uint32   DType = 12
	Uint64   DType = 13
	BFloat16 DType = 16
)

// Size is the number of bytes of one element, 0 for a type that is not listed.
func (d DType) Size() int64 {
	switch d {
	case Bool, Int8, Uint8:
		return 1
	case Float16, BFloat16, Int16, Uint16:
		return 2
	case Float32, Int32, Uint32:
		return 4
	case Float64, Int64, Uint64:
		return 8
	}
	return 0
}

// String is the type's name in NumPy's spelling.
func (d DType) String() string {
	switch d {
	case Float32:
		return "float32"
	case Uint8:
		return "uint8"
	case Int8:
		return "int8"
	case Uint16:
		return "uint16"
	case Int16:
		return "int16"
	case Int32:
		return "int32"
	case Int64:
		return "int64"
	case Bool:
		return "bool"
	case Float16:
		return "float16"
	case Float64:
		return "float64"
	case Uint32:
		return "uint32"
	case Uint64:
		return "uint64"
	case BFloat16:
		return "bfloat16"
	}
	return fmt.Sprintf("element type %d", int32(d))
}

// bytesOf is the size of a tensor in bytes; ok is false for a negative
// dimension, an unknown type, or a product beyond int64.
func bytesOf(dtype DType, shape []int64) (bytes int64, ok bool) {
	bytes = dtype.Size()
	if bytes == 0 {
		return 0, false
	}
	for _, d := range shape {
		if d < 0 {
			return 0, false
		}
		if d > 0 && bytes > (1<<62)/d {
			return 0, false
		}
		bytes *= d
	}
	return bytes, true
}
