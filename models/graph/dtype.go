package graph

import "immiscible/models/onnx"

// DType is the element type of a value.
type DType int

// The element types that training graphs use.
const (
	Float32 DType = iota
	Float16
	Int64
	Bool
	BFloat16
)

// String gives ONNX's spelling in lower case.
func (d DType) String() string {
	return [...]string{"float32", "float16", "int64", "bool", "bfloat16"}[d]
}

// Size is the width of one element in bytes.
func (d DType) Size() int {
	return [...]int{4, 2, 8, 1, 2}[d]
}

// ONNX is the TensorProto.DataType of d.
func (d DType) ONNX() onnx.TensorProto_DataType {
	return [...]onnx.TensorProto_DataType{
		onnx.TensorProto_FLOAT, onnx.TensorProto_FLOAT16,
		onnx.TensorProto_INT64, onnx.TensorProto_BOOL, onnx.TensorProto_BFLOAT16,
	}[d]
}
