package onnx

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

// TestRoundTrip: encoding and decoding lose nothing, through memory and through a file, and leave nothing beside it.
func TestRoundTrip(t *testing.T) {
	want := sample()
	path := filepath.Join(t.TempDir(), "model.onnx")
	for range 2 { // the second time over an existing file
		if err := Save(path, want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, want) {
		t.Error("loaded model differs from the saved one")
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("folder holds %v (%v), want the model alone", files, err)
	}
}

// TestPythonBytes: the file that Python's onnx wrote passes Check and comes out of Load and Save byte by byte.
func TestPythonBytes(t *testing.T) {
	want, err := os.ReadFile("testdata/tensors.onnx")
	if err != nil {
		t.Fatal(err)
	}
	m, err := Load("testdata/tensors.onnx")
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(m); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "again.onnx")
	if err := Save(path, m); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes differ from Python's %d (%v)", len(got), len(want), err)
	}
}

// TestUnknownFields: what a newer schema adds survives.
func TestUnknownFields(t *testing.T) {
	data, err := Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	data = append(data, 0xfa, 0x3f, 2, 'h', 'i') // field 1023, length-delimited
	m, err := Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Marshal(m); err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %x (%v), want %x", got, err, data)
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	whole, err := Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	big := write("big.onnx", nil)
	if err := os.Truncate(big, maxProtoBytes+1); err != nil { // sparse: takes no disk
		t.Fatal(err)
	}
	rows := map[string]string{
		filepath.Join(dir, "absent.onnx"): "no such file",
		dir:                               "not a regular file",
		write("empty.onnx", nil):          "no bytes",
		write("short.onnx", whole[:len(whole)-3]):       "truncated",
		write("text.onnx", []byte("<html>not a model")): "not ONNX?",
		big: "want at most 2147483647 (protobuf's limit); export the model with external data",
	}
	for path, want := range rows {
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want an error with the path and %q", path, err, want)
		}
	}
}

// TestSaveLimit: a model above 2 GiB is refused before a file is touched. The tensors share one buffer, so that the test
// does not need the memory.
func TestSaveLimit(t *testing.T) {
	m := sample()
	raw := make([]byte, 256<<20)
	for range 8 {
		m.Graph.Initializer = append(m.Graph.Initializer, NewTensor("big", TensorProto_FLOAT, []int64{64 << 20}, raw))
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := Save(path, m); err == nil || !strings.Contains(err.Error(), "external data (SaveExternal)") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file was written")
	}
}

// TestSaveFailure: an unwritable place gives an error and no temporary file.
func TestSaveFailure(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "taken", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Save(filepath.Join(dir, "taken"), sample()); err == nil {
		t.Error("renamed over a folder")
	}
	if err := Save(filepath.Join(dir, "missing", "m.onnx"), sample()); err == nil {
		t.Error("wrote into a missing folder")
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

// TestAttributes: each helper sets the type and the one field that Check asks for.
func TestAttributes(t *testing.T) {
	m := sample()
	m.Graph.Node[1].Attribute = []*AttributeProto{
		IntAttr("i", -7), IntsAttr("is", []int64{1, -2}), FloatAttr("f", 0.5), StringAttr("s", "linear"),
		TensorAttr("t", NewTensor("", TensorProto_INT64, []int64{1}, make([]byte, 8))),
	}
	if err := Check(m); err != nil {
		t.Fatal(err)
	}
	a := m.Graph.Node[1].Attribute
	if a[0].GetI() != -7 || len(a[1].Ints) != 2 || a[1].Ints[1] != -2 || a[2].GetF() != 0.5 || string(a[3].S) != "linear" || len(a[4].T.RawData) != 8 {
		t.Errorf("values changed: %v", a)
	}
	v := NewValueInfo("v", TensorProto_FLOAT16, []int64{2, 0, 3})
	shape := v.Type.GetTensorType().Shape
	if v.GetName() != "v" || v.Type.GetTensorType().GetElemType() != int32(TensorProto_FLOAT16) || len(shape.Dim) != 3 || shape.Dim[2].GetDimValue() != 3 {
		t.Errorf("value info: %v", v)
	}
	if NewValueInfo("s", TensorProto_FLOAT, nil).Type.GetTensorType().Shape == nil {
		t.Error("a scalar has a shape of rank 0, not an unknown shape")
	}
}

// FuzzUnmarshalCheck: no bytes make Unmarshal, Check or TensorData panic, and what Check accepts survives a round trip.
func FuzzUnmarshalCheck(f *testing.F) {
	for _, change := range []func(m *ModelProto){
		func(m *ModelProto) {},
		func(m *ModelProto) { m.Functions = nil },
		func(m *ModelProto) { m.Graph.Initializer[0].Dims = []int64{1 << 62, 4} },
		func(m *ModelProto) {
			m.Graph.Initializer[0] = ExternalTensor("w", TensorProto_FLOAT, []int64{2}, "d", 1, 8)
		},
	} {
		m := sample()
		change(m)
		data, err := Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	golden, err := os.ReadFile("testdata/tensors.onnx")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Unmarshal(data)
		if err != nil {
			return
		}
		err = Check(m)
		for _, tensor := range m.GetGraph().GetInitializer() {
			raw, err := TensorData(tensor, dir)
			if err != nil {
				continue
			}
			if size, err := ByteSize(DataType(tensor.GetDataType()), tensor.Dims); err != nil || size != int64(len(raw)) {
				t.Errorf("tensor %v: %d bytes, want %d (%v)", tensor, len(raw), size, err)
			}
		}
		if err != nil {
			return
		}
		again, err := Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Unmarshal(again)
		if err != nil {
			t.Fatal(err)
		}
		if bytesAgain, err := Marshal(back); err != nil || !bytes.Equal(again, bytesAgain) {
			t.Errorf("bytes move: %x, then %x (%v)", again, bytesAgain, err)
		}
	})
}
