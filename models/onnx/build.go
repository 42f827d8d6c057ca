package onnx

import "google.golang.org/protobuf/proto"

// IntAttr makes an attribute of type INT.
func IntAttr(name string, v int64) *AttributeProto {
	return &AttributeProto{Name: proto.String(name), Type: AttributeProto_INT.Enum(), I: proto.Int64(v)}
}

// IntsAttr makes an attribute of type INTS; v may be empty. The slice is kept, not copied.
func IntsAttr(name string, v []int64) *AttributeProto {
	return &AttributeProto{Name: proto.String(name), Type: AttributeProto_INTS.Enum(), Ints: v}
}

// FloatAttr makes an attribute of type FLOAT.
func FloatAttr(name string, v float32) *AttributeProto {
	return &AttributeProto{Name: proto.String(name), Type: AttributeProto_FLOAT.Enum(), F: proto.Float32(v)}
}

// StringAttr makes an attribute of type STRING.
func StringAttr(name, v string) *AttributeProto {
	return &AttributeProto{Name: proto.String(name), Type: AttributeProto_STRING.Enum(), S: []byte(v)}
}

// TensorAttr makes an attribute of type TENSOR. The tensor is kept, not copied.
func TensorAttr(name string, v *TensorProto) *AttributeProto {
	return &AttributeProto{Name: proto.String(name), Type: AttributeProto_TENSOR.Enum(), T: v}
}

// NewValueInfo describes a tensor value of a static shape, as graph inputs and outputs need it. Nil or empty dims mean a
// scalar.
func NewValueInfo(name string, dtype DataType, dims []int64) *ValueInfoProto {
	shape := &TensorShapeProto{}
	for _, d := range dims {
		shape.Dim = append(shape.Dim, &TensorShapeProto_Dimension{Value: &TensorShapeProto_Dimension_DimValue{DimValue: d}})
	}
	return &ValueInfoProto{Name: proto.String(name), Type: &TypeProto{Value: &TypeProto_TensorType{
		TensorType: &TypeProto_Tensor{ElemType: proto.Int32(int32(dtype)), Shape: shape},
	}}}
}
