package onnx

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

// TestTypedFieldsMatchRaw: Python's onnx wrote each type twice (tools/golden/onnx_golden.py); both decode to one value.
func TestTypedFieldsMatchRaw(t *testing.T) {
	m, err := Load("testdata/tensors.onnx")
	if err != nil {
		t.Fatal(err)
	}
	raw := map[string][]byte{}
	pairs := 0
	for _, tensor := range m.Graph.Initializer {
		data, err := TensorData(tensor, "")
		if err != nil {
			t.Fatal(err)
		}
		name, form, _ := strings.Cut(tensor.GetName(), ".")
		if form == "typed" {
			raw[name] = data
			continue
		}
		pairs++
		if !bytes.Equal(raw[name], data) {
			t.Errorf("%s: typed field gives %x, raw_data %x", name, raw[name], data)
		}
	}
	if pairs != 20 {
		t.Errorf("%d types compared, want 20", pairs)
	}
}

// TestTensorDataLayout holds the byte layout to literals, independent of any library.
func TestTensorDataLayout(t *testing.T) {
	typed := func(dtype DataType, dims []int64, t *TensorProto) *TensorProto {
		t.DataType, t.Dims = proto.Int32(int32(dtype)), dims
		return t
	}
	rows := []struct {
		tensor *TensorProto
		want   []byte
	}{
		{typed(TensorProto_FLOAT, []int64{1}, &TensorProto{FloatData: []float32{1}}), []byte{0, 0, 0x80, 0x3f}},
		{typed(TensorProto_FLOAT, nil, &TensorProto{FloatData: []float32{-2}}), []byte{0, 0, 0, 0xc0}},
		{typed(TensorProto_FLOAT16, []int64{2}, &TensorProto{Int32Data: []int32{0x3c00, 0xc000}}), []byte{0, 0x3c, 0, 0xc0}},
		{typed(TensorProto_BOOL, []int64{2, 1}, &TensorProto{Int32Data: []int32{1, 0}}), []byte{1, 0}},
		{typed(TensorProto_INT8, []int64{2}, &TensorProto{Int32Data: []int32{-1, -128}}), []byte{0xff, 0x80}},
		{typed(TensorProto_INT64, []int64{1}, &TensorProto{Int64Data: []int64{-2}}), []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		{typed(TensorProto_UINT32, []int64{1}, &TensorProto{Uint64Data: []uint64{math.MaxUint32}}), []byte{0xff, 0xff, 0xff, 0xff}},
		{typed(TensorProto_DOUBLE, []int64{1}, &TensorProto{DoubleData: []float64{1}}), []byte{0, 0, 0, 0, 0, 0, 0xf0, 0x3f}},
		{typed(TensorProto_INT4, []int64{3}, &TensorProto{Int32Data: []int32{0x21, 0x03}}), []byte{0x21, 0x03}},
		{typed(TensorProto_INT2, []int64{5}, &TensorProto{Int32Data: []int32{0xe4, 0x01}}), []byte{0xe4, 0x01}},
		{typed(TensorProto_FLOAT6E2M3, []int64{5}, &TensorProto{RawData: []byte{1, 2, 3, 4}}), []byte{1, 2, 3, 4}},
		{typed(TensorProto_FLOAT, []int64{0, 3}, &TensorProto{}), []byte{}},
		{NewTensor("e", TensorProto_FLOAT, []int64{0}, nil), []byte{}},
		{NewTensor("r", TensorProto_INT16, []int64{1}, []byte{1, 2}), []byte{1, 2}},
	}
	for i, row := range rows {
		if got, err := TensorData(row.tensor, ""); err != nil || !bytes.Equal(got, row.want) {
			t.Errorf("row %d: got %x (%v), want %x", i, got, err, row.want)
		}
	}
}

func TestTensorDataRefuses(t *testing.T) {
	tensor := func(dtype DataType, n int64, t *TensorProto) *TensorProto {
		t.Name, t.DataType, t.Dims = proto.String("t"), proto.Int32(int32(dtype)), []int64{n}
		return t
	}
	rows := []struct {
		tensor *TensorProto
		want   string
	}{
		{tensor(TensorProto_INT8, 2, &TensorProto{Int32Data: []int32{0, 128}}), `tensor "t": int32_data[1] is 128, want -128 to 127 for INT8`},
		{tensor(TensorProto_UINT8, 1, &TensorProto{Int32Data: []int32{-1}}), "want 0 to 255"},
		{tensor(TensorProto_INT16, 1, &TensorProto{Int32Data: []int32{40000}}), "want -32768 to 32767"},
		{tensor(TensorProto_FLOAT16, 1, &TensorProto{Int32Data: []int32{65536}}), "want 0 to 65535"},
		{tensor(TensorProto_BOOL, 1, &TensorProto{Int32Data: []int32{2}}), "want 0 to 1"},
		{tensor(TensorProto_UINT32, 1, &TensorProto{Uint64Data: []uint64{1 << 32}}), "want at most 4294967295"},
		{tensor(TensorProto_STRING, 1, &TensorProto{StringData: [][]byte{nil}}), "has no raw bytes"},
		{tensor(TensorProto_STRING, 1, &TensorProto{RawData: []byte{1}}), "has no raw bytes"},
		{tensor(TensorProto_FLOAT6E2M3, 1, &TensorProto{Int32Data: []int32{1}}), "want raw_data"},
		{tensor(TensorProto_COMPLEX64, 2, &TensorProto{FloatData: []float32{1, 2}}), "float_data has 2 entries, want 4"},
		{tensor(TensorProto_FLOAT, 2, &TensorProto{DataLocation: TensorProto_DataLocation(7).Enum()}), "data_location 7 is unknown"},
		{tensor(99, 2, &TensorProto{}), "data_type 99 is undefined or unknown"},
		{nil, "data_type 0 is undefined or unknown"},
	}
	for i, row := range rows {
		if _, err := TensorData(row.tensor, ""); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("row %d: got %v, want %s", i, err, row.want)
		}
	}
}

func TestByteSize(t *testing.T) {
	rows := []struct {
		dtype DataType
		dims  []int64
		want  int64 // −1: refused
	}{
		{TensorProto_FLOAT, nil, 4},
		{TensorProto_FLOAT, []int64{2, 3}, 24},
		{TensorProto_FLOAT, []int64{1 << 40, 1 << 40, 0}, 0},
		{TensorProto_FLOAT, []int64{0, 1 << 40, 1 << 40}, 0},
		{TensorProto_FLOAT, []int64{1 << 32, 1 << 32}, -1},
		{TensorProto_FLOAT, []int64{1 << 62}, -1},
		{TensorProto_UINT8, []int64{1 << 60}, 1 << 60},
		{TensorProto_FLOAT, []int64{0, -1}, -1},
		{TensorProto_INT4, []int64{3}, 2},
		{TensorProto_UINT2, []int64{9}, 3},
		{TensorProto_FLOAT6E3M2, []int64{5}, 4},
		{TensorProto_COMPLEX128, []int64{3}, 48},
		{TensorProto_STRING, []int64{3}, -1},
		{TensorProto_UNDEFINED, []int64{3}, -1},
	}
	for _, row := range rows {
		got, err := ByteSize(row.dtype, row.dims)
		if err != nil {
			got = -1
		}
		if got != row.want {
			t.Errorf("%v %v: got %d (%v), want %d", row.dtype, row.dims, got, err, row.want)
		}
	}
}

// TestExternalData reads a tensor out of the middle of a file in a subfolder, and through a symbolic link.
func TestExternalData(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "weights"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "weights", "w.bin"), []byte{9, 9, 1, 2, 3, 4, 9}, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "weights", "w.bin"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, location := range []string{"weights/w.bin", "./weights/w.bin", "link"} {
		tensor := ExternalTensor("w", TensorProto_INT16, []int64{2}, location, 2, 4)
		if got, err := TensorData(tensor, dir); err != nil || !bytes.Equal(got, []byte{1, 2, 3, 4}) {
			t.Errorf("%s: got %x (%v)", location, got, err)
		}
	}
	// Without offset and length: from the start, as much as the shape asks for.
	bare := ExternalTensor("w", TensorProto_INT16, []int64{1}, "link", 0, 2)
	bare.ExternalData = bare.ExternalData[:1]
	if got, err := TensorData(bare, dir); err != nil || !bytes.Equal(got, []byte{9, 9}) {
		t.Errorf("bare: got %x (%v)", got, err)
	}
}

func TestExternalDataRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "w.bin"), make([]byte, 7), 0o600); err != nil {
		t.Fatal(err)
	}
	entry := func(key, value string) *StringStringEntryProto {
		return &StringStringEntryProto{Key: proto.String(key), Value: proto.String(value)}
	}
	rows := []struct {
		tensor *TensorProto
		want   string
	}{
		{ExternalTensor("w", TensorProto_INT16, []int64{2}, "w.bin", 4, 4), "w.bin: 7 bytes, want at least 8 (offset 4 + length 4)"},
		{ExternalTensor("w", TensorProto_INT16, []int64{2}, "w.bin", math.MaxInt64-3, 4), "overflows int64"},
		{ExternalTensor("w", TensorProto_INT16, []int64{2}, "w.bin", -1, 4), `offset is "-1"`},
		{ExternalTensor("w", TensorProto_INT16, []int64{2}, "w.bin", 0, 3), "length is 3, want 4 for dims [2] of INT16"},
		{ExternalTensor("w", TensorProto_INT16, []int64{1 << 50}, "w.bin", 0, 1<<51), "7 bytes, want at least"},
		{ExternalTensor("w", TensorProto_INT16, []int64{2}, "absent.bin", 0, 4), "no such file"},
		{ExternalTensor("w", TensorProto_INT16, []int64{2}, ".", 0, 4), "not a regular file"},
		{ExternalTensor("w", TensorProto_INT16, []int64{2}, "", 0, 4), "has no location"},
		{ExternalTensor("w", TensorProto_INT16, []int64{2}, "/etc/passwd", 0, 4), "leaves the model's folder"},
		{ExternalTensor("w", TensorProto_INT16, []int64{2}, "../w.bin", 0, 4), "leaves the model's folder"},
		{ExternalTensor("w", TensorProto_INT16, []int64{2}, "a/../w.bin", 0, 4), "leaves the model's folder"},
		{ExternalTensor("w", TensorProto_INT16, []int64{2}, `..\w.bin`, 0, 4), "leaves the model's folder"},
		{ExternalTensor("w", TensorProto_INT16, []int64{2}, "w.bin\x00", 0, 4), "leaves the model's folder"},
		{&TensorProto{DataType: proto.Int32(1), DataLocation: TensorProto_EXTERNAL.Enum(), ExternalData: []*StringStringEntryProto{entry("location", "a"), entry("location", "b")}}, `key "location" twice`},
		{&TensorProto{DataType: proto.Int32(1), DataLocation: TensorProto_EXTERNAL.Enum(), ExternalData: []*StringStringEntryProto{entry("location", "a"), entry("length", "4 bytes")}}, `length is "4 bytes"`},
		{&TensorProto{DataType: proto.Int32(1), DataLocation: TensorProto_EXTERNAL.Enum(), RawData: make([]byte, 4)}, "stands in raw_data and in external data"},
	}
	for i, row := range rows {
		if _, err := TensorData(row.tensor, dir); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("row %d: got %v, want %s", i, err, row.want)
		}
	}
}

// TestSaveExternal: large initializers move to the data file at multiples of 4096, the rest stays, the model in memory
// is untouched, and what is loaded gives the same bytes.
func TestSaveExternal(t *testing.T) {
	m := sample()
	values := []float32{1, 2, 3, 4, 5, 6, 7, 8}
	m.Graph.Initializer = append(m.Graph.Initializer,
		&TensorProto{Name: proto.String("big"), DataType: proto.Int32(int32(TensorProto_FLOAT)), Dims: []int64{8}, FloatData: values, DocString: proto.String("kept")},
		NewTensor("bigger", TensorProto_UINT8, []int64{5000}, bytes.Repeat([]byte{7}, 5000)),
		NewTensor("last", TensorProto_UINT8, []int64{32}, bytes.Repeat([]byte{8}, 32)),
		ExternalTensor("elsewhere", TensorProto_FLOAT, []int64{2}, "other.bin", 0, 8),
	)
	before := proto.Clone(m)
	dir := t.TempDir()
	path := filepath.Join(dir, "model.onnx")
	if err := SaveExternal(path, m, 32); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(before, m) {
		t.Error("the model in memory changed")
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(got); err != nil {
		t.Error(err)
	}
	offsets := map[string]string{"big": "0", "bigger": "4096", "last": "12288"}
	for i, tensor := range got.Graph.Initializer {
		name := tensor.GetName()
		if offset, moved := offsets[name]; moved {
			if tensor.ExternalData[0].GetValue() != "model.onnx_data" || tensor.ExternalData[1].GetValue() != offset {
				t.Errorf("%s lies at %v, want offset %s of model.onnx_data", name, tensor.ExternalData, offset)
			}
		} else if !proto.Equal(tensor, m.Graph.Initializer[i]) {
			t.Errorf("%s changed", name)
		}
		if name == "elsewhere" {
			continue
		}
		want, err := TensorData(m.Graph.Initializer[i], "")
		if err != nil {
			t.Fatal(err)
		}
		if data, err := TensorData(tensor, dir); err != nil || !bytes.Equal(data, want) {
			t.Errorf("%s: bytes differ (%v)", name, err)
		}
	}
	if got.Graph.Initializer[2].GetDocString() != "kept" {
		t.Error("doc_string lost")
	}
	if info, err := os.Stat(path + "_data"); err != nil || info.Size() != 12288+32 {
		t.Errorf("data file: %v (%v)", info, err)
	}
	// Saving what was loaded onto itself would destroy the bytes that it refers to.
	if err := SaveExternal(path, got, 32); err == nil || !strings.Contains(err.Error(), "would overwrite") {
		t.Errorf("got %v, want a refusal", err)
	}
	if err := SaveExternal(path, &ModelProto{}, 0); err == nil {
		t.Error("a model without a graph was written")
	}
}
