package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"

	"google.golang.org/protobuf/proto"
)

// DataType is the element type of a tensor: TensorProto_FLOAT, TensorProto_INT64, …
type DataType = TensorProto_DataType

// NewTensor makes a tensor that holds its bytes itself: row-major, little-endian, as ByteSize counts them. Neither dims
// nor raw are copied; their agreement is checked by Check and TensorData.
func NewTensor(name string, dtype DataType, dims []int64, raw []byte) *TensorProto {
	if raw == nil {
		raw = []byte{} // an empty tensor still says which field holds its data
	}
	return &TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(dtype)), Dims: dims, RawData: raw}
}

// bitWidth is the size of one element, 0 for types without a fixed one (strings, undefined and unknown types).
func bitWidth(dtype DataType) int64 {
	switch dtype {
	case TensorProto_UINT2, TensorProto_INT2:
		return 2
	case TensorProto_UINT4, TensorProto_INT4, TensorProto_FLOAT4E2M1:
		return 4
	case TensorProto_FLOAT6E2M3, TensorProto_FLOAT6E3M2:
		return 6
	case TensorProto_UINT8, TensorProto_INT8, TensorProto_BOOL, TensorProto_FLOAT8E4M3FN, TensorProto_FLOAT8E4M3FNUZ,
		TensorProto_FLOAT8E5M2, TensorProto_FLOAT8E5M2FNUZ, TensorProto_FLOAT8E8M0:
		return 8
	case TensorProto_UINT16, TensorProto_INT16, TensorProto_FLOAT16, TensorProto_BFLOAT16:
		return 16
	case TensorProto_FLOAT, TensorProto_INT32, TensorProto_UINT32:
		return 32
	case TensorProto_DOUBLE, TensorProto_INT64, TensorProto_UINT64, TensorProto_COMPLEX64:
		return 64
	case TensorProto_COMPLEX128:
		return 128
	}
	return 0
}

// elements is the product of dims, checked for negative dimensions and for overflow of int64.
func elements(dims []int64) (int64, error) {
	n, overflow := uint64(1), false
	for i, d := range dims {
		if d < 0 {
			return 0, fmt.Errorf("dims %v: dimension %d is %d, want at least 0", dims, i, d)
		}
		if d == 0 { // the product is 0, however large the others are
			n, overflow = 0, false
		}
		hi, lo := bits.Mul64(n, uint64(d))
		overflow = overflow || hi != 0 || lo > math.MaxInt64
		n = lo
	}
	if overflow {
		return 0, fmt.Errorf("dims %v: the number of elements overflows int64", dims)
	}
	return int64(n), nil
}

// ByteSize is the size of a tensor's raw data: elements × width, types below a byte packed and rounded up. It refuses
// negative dimensions, sizes beyond int64, and types without a fixed width (STRING, UNDEFINED).
func ByteSize(dtype DataType, dims []int64) (int64, error) {
	width := bitWidth(dtype)
	if width == 0 {
		return 0, fmt.Errorf("data type %v has no fixed element size", dtype)
	}
	n, err := elements(dims)
	if err != nil {
		return 0, err
	}
	hi, lo := bits.Mul64(uint64(n), uint64(width))
	if hi != 0 || lo > math.MaxUint64-7 {
		return 0, fmt.Errorf("dims %v of %v: the size in bytes overflows int64", dims, dtype)
	}
	return int64((lo + 7) / 8), nil
}

// TensorData returns the elements of t as raw little-endian bytes, ByteSize of them, from whichever field of the message
// holds them or, for external data, from a file below dir (the folder of the model's file). Where t holds raw_data the
// result shares its memory and must not be changed. String tensors have no raw form and are refused.
func TensorData(t *TensorProto, dir string) ([]byte, error) {
	dtype := DataType(t.GetDataType())
	if dtype == TensorProto_STRING {
		return nil, fmt.Errorf("tensor %q: data type STRING has no raw bytes; read string_data", t.GetName())
	}
	if err := checkTensor(t); err != nil {
		return nil, err
	}
	if t.GetDataLocation() == TensorProto_EXTERNAL {
		data, err := readExternal(t, dir)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.GetName(), err)
		}
		return data, nil
	}
	if t.RawData != nil {
		return t.RawData, nil
	}
	// checkTensor found at most one typed field in use, of the right kind and length.
	size, err := ByteSize(dtype, t.Dims)
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", t.GetName(), err)
	}
	out := make([]byte, 0, size)
	for _, v := range t.FloatData {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	for _, v := range t.DoubleData {
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(v))
	}
	for _, v := range t.Int64Data {
		out = binary.LittleEndian.AppendUint64(out, uint64(v))
	}
	for _, v := range t.Uint64Data {
		if dtype == TensorProto_UINT32 {
			out = binary.LittleEndian.AppendUint32(out, uint32(v))
		} else {
			out = binary.LittleEndian.AppendUint64(out, v)
		}
	}
	for _, v := range t.Int32Data {
		switch bitWidth(dtype) {
		case 32:
			out = binary.LittleEndian.AppendUint32(out, uint32(v))
		case 16:
			out = binary.LittleEndian.AppendUint16(out, uint16(v))
		default: // a byte, or one byte of packed elements
			out = append(out, byte(v))
		}
	}
	return out, nil
}

// checkTensor holds a tensor to the schema's rules: a known type, dimensions that multiply without overflow, its data in
// exactly one place, which suits the type and has the right length. External data is checked as far as the message goes.
func checkTensor(t *TensorProto) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("tensor %q: %w", t.GetName(), fmt.Errorf(format, args...))
	}
	dtype := DataType(t.GetDataType())
	if dtype != TensorProto_STRING && bitWidth(dtype) == 0 {
		return fail("data_type %d is undefined or unknown", int32(dtype))
	}
	if t.Segment != nil {
		return fail("data in segments is not supported; store the tensor whole")
	}
	n, err := elements(t.Dims)
	if err != nil {
		return fail("%w", err)
	}
	var size int64
	if dtype != TensorProto_STRING {
		if size, err = ByteSize(dtype, t.Dims); err != nil {
			return fail("%w", err)
		}
	}

	field, got, used := "", 0, 0
	note := func(name string, count int, set bool) {
		if set {
			field, got, used = name, count, used+1
		}
	}
	note("raw_data", len(t.RawData), t.RawData != nil)
	note("float_data", len(t.FloatData), len(t.FloatData) > 0)
	note("int32_data", len(t.Int32Data), len(t.Int32Data) > 0)
	note("string_data", len(t.StringData), len(t.StringData) > 0)
	note("int64_data", len(t.Int64Data), len(t.Int64Data) > 0)
	note("double_data", len(t.DoubleData), len(t.DoubleData) > 0)
	note("uint64_data", len(t.Uint64Data), len(t.Uint64Data) > 0)

	if t.GetDataLocation() == TensorProto_EXTERNAL {
		if used > 0 {
			return fail("data stands in %s and in external data, want one of them", field)
		}
		if dtype == TensorProto_STRING {
			return fail("data type STRING cannot be external")
		}
		_, err := externalOf(t)
		if err != nil {
			return fail("%w", err)
		}
		return nil
	}
	if t.GetDataLocation() != TensorProto_DEFAULT {
		return fail("data_location %d is unknown, want DEFAULT or EXTERNAL", int32(t.GetDataLocation()))
	}
	if used > 1 {
		return fail("data stands in %d fields (%s is one), want one of them", used, field)
	}
	if used == 0 {
		if n != 0 {
			return fail("no data for %d elements of %v", n, dtype)
		}
		return nil
	}
	if field == "raw_data" && dtype != TensorProto_STRING {
		if int64(got) != size {
			return fail("raw_data has %d bytes, want %d for dims %v of %v", got, size, t.Dims, dtype)
		}
		return nil
	}
	wantField, want := typedField(dtype, n)
	if field != wantField {
		return fail("data of %v stands in %s, want %s", dtype, field, wantField)
	}
	if int64(got) != want {
		return fail("%s has %d entries, want %d for dims %v of %v", field, got, want, t.Dims, dtype)
	}
	return checkRange(t, dtype)
}

// typedField names the field that the schema allows for elements of a type besides raw_data, and the number of entries
// that n elements take there. FLOAT6 types name none: their one-element entries are rare enough to be asked for as
// raw_data. A type has passed ByteSize, so that 2n cannot overflow for the complex types.
func typedField(dtype DataType, n int64) (field string, entries int64) {
	switch dtype {
	case TensorProto_FLOAT:
		return "float_data", n
	case TensorProto_COMPLEX64:
		return "float_data", 2 * n
	case TensorProto_DOUBLE:
		return "double_data", n
	case TensorProto_COMPLEX128:
		return "double_data", 2 * n
	case TensorProto_INT64:
		return "int64_data", n
	case TensorProto_UINT32, TensorProto_UINT64:
		return "uint64_data", n
	case TensorProto_STRING:
		return "string_data", n
	case TensorProto_FLOAT6E2M3, TensorProto_FLOAT6E3M2:
		return "raw_data", n
	}
	switch bitWidth(dtype) {
	case 2:
		return "int32_data", (n + 3) / 4
	case 4:
		return "int32_data", (n + 1) / 2
	}
	return "int32_data", n
}

// checkRange finds entries of int32_data and uint64_data that are wider than the element type. Floating-point and packed
// types are stored as unsigned bit patterns.
func checkRange(t *TensorProto, dtype DataType) error {
	lo, hi := int32(0), int32(math.MaxInt32)
	switch dtype {
	case TensorProto_INT32:
		lo = math.MinInt32
	case TensorProto_INT16:
		lo, hi = math.MinInt16, math.MaxInt16
	case TensorProto_INT8:
		lo, hi = math.MinInt8, math.MaxInt8
	case TensorProto_BOOL:
		hi = 1
	default:
		if bitWidth(dtype) == 16 {
			hi = math.MaxUint16
		} else {
			hi = math.MaxUint8
		}
	}
	for i, v := range t.Int32Data {
		if v < lo || v > hi {
			return fmt.Errorf("tensor %q: int32_data[%d] is %d, want %d to %d for %v", t.GetName(), i, v, lo, hi, dtype)
		}
	}
	if dtype == TensorProto_UINT32 {
		for i, v := range t.Uint64Data {
			if v > math.MaxUint32 {
				return fmt.Errorf("tensor %q: uint64_data[%d] is %d, want at most %d for %v", t.GetName(), i, v, uint32(math.MaxUint32), dtype)
			}
		}
	}
	return nil
}
