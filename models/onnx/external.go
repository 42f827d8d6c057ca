package onnx

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
)

// externalAlignment is where each tensor of a data file starts: the schema asks for multiples of the page size, so that
// runtimes can map the file.
const externalAlignment = 4096

// ExternalTensor makes a tensor whose bytes are length bytes at offset of the file location, a slash-separated path
// relative to the model's folder. The file may be any that holds the bytes: a data file of SaveExternal's, or a
// .safetensors file that is left as it is.
func ExternalTensor(name string, dtype DataType, dims []int64, location string, offset, length int64) *TensorProto {
	entry := func(key, value string) *StringStringEntryProto {
		return &StringStringEntryProto{Key: proto.String(key), Value: proto.String(value)}
	}
	return &TensorProto{
		Name: proto.String(name), DataType: proto.Int32(int32(dtype)), Dims: dims,
		DataLocation: TensorProto_EXTERNAL.Enum(),
		ExternalData: []*StringStringEntryProto{
			entry("location", location),
			entry("offset", strconv.FormatInt(offset, 10)),
			entry("length", strconv.FormatInt(length, 10)),
		},
	}
}

// external is the parsed external_data of a tensor.
type external struct {
	location       string // slash-separated, local to the model's folder
	offset, length int64
}

// externalOf parses and checks external_data: each key at most once, a location that stays inside the model's folder,
// offset and length that do not overflow, and a length (the tensor's size, if absent) that agrees with the shape.
func externalOf(t *TensorProto) (external, error) {
	values := map[string]string{}
	for _, e := range t.ExternalData {
		if _, ok := values[e.GetKey()]; ok {
			return external{}, fmt.Errorf("external_data has key %q twice", e.GetKey())
		}
		values[e.GetKey()] = e.GetValue()
	}
	ext := external{location: values["location"]}
	if err := checkLocation(ext.location); err != nil {
		return external{}, err
	}
	size, err := ByteSize(DataType(t.GetDataType()), t.Dims)
	if err != nil {
		return external{}, err
	}
	ext.length = size
	for key, text := range values {
		v, err := strconv.ParseInt(text, 10, 64)
		switch {
		case key != "offset" && key != "length":
		case err != nil || v < 0:
			return external{}, fmt.Errorf("external_data %s is %q, want a whole number of bytes, 0 or more", key, text)
		case key == "offset":
			ext.offset = v
		default:
			ext.length = v
		}
	}
	if ext.length != size {
		return external{}, fmt.Errorf("external_data length is %d, want %d for dims %v of %v", ext.length, size, t.Dims, DataType(t.GetDataType()))
	}
	if ext.offset > math.MaxInt64-ext.length {
		return external{}, fmt.Errorf("external_data offset %d + length %d overflows int64", ext.offset, ext.length)
	}
	return ext, nil
}

// checkLocation refuses a location that could leave the model's folder: a model is data from elsewhere, and must not
// choose files of this machine. Symbolic links inside the folder are followed: they were made here, and Hugging Face's
// cache consists of them.
func checkLocation(location string) error {
	if location == "" {
		return errors.New("external_data has no location")
	}
	escapes := !filepath.IsLocal(filepath.FromSlash(location))
	for _, part := range strings.FieldsFunc(location, func(r rune) bool { return r == '/' || r == '\\' }) {
		escapes = escapes || part == ".."
	}
	if escapes || strings.ContainsRune(location, 0) {
		return fmt.Errorf("external_data location %q leaves the model's folder, want a relative path without \"..\"", location)
	}
	return nil
}

// readExternal reads the bytes of an external tensor from the file below dir.
func readExternal(t *TensorProto, dir string) ([]byte, error) {
	ext, err := externalOf(t)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, filepath.FromSlash(ext.location))
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("external data: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("external data %s: not a regular file", path)
	}
	if info.Size() < ext.offset+ext.length { // before the buffer is made: the model may ask for any size
		return nil, fmt.Errorf("external data %s: %d bytes, want at least %d (offset %d + length %d)", path, info.Size(), ext.offset+ext.length, ext.offset, ext.length)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("external data: %w", err)
	}
	defer f.Close()
	data := make([]byte, ext.length)
	if _, err := io.ReadFull(io.NewSectionReader(f, ext.offset, ext.length), data); err != nil {
		return nil, fmt.Errorf("external data %s: %w", path, err)
	}
	return data, nil
}

// SaveExternal writes m to path and the bytes of its large initializers to path + "_data" beside it, the pair of files
// that exporters write (model.onnx, model.onnx_data). Initializers of the main graph with at least minBytes bytes are
// moved, each to a multiple of 4096; strings, smaller ones and those that are external already stay as they are. m
// itself is not changed. The data file is in place before the model that refers to it.
func SaveExternal(path string, m *ModelProto, minBytes int64) error {
	location := filepath.Base(path) + "_data"
	graph := m.GetGraph()
	if graph == nil {
		return fmt.Errorf("%s: model has no graph", path)
	}
	moved := make([]*TensorProto, len(graph.Initializer))
	err := replaceFile(path+"_data", func(f *os.File) error {
		offset := int64(0)
		for i, t := range graph.Initializer {
			moved[i] = t
			if t.GetDataLocation() == TensorProto_EXTERNAL {
				if ext, err := externalOf(t); err != nil || filepath.Clean(ext.location) == location {
					return fmt.Errorf("tensor %q: external already, at %q, which this call would overwrite or cannot read; load it first (TensorData)", t.GetName(), ext.location)
				}
				continue
			}
			size, err := ByteSize(DataType(t.GetDataType()), t.Dims)
			if DataType(t.GetDataType()) == TensorProto_STRING || (err == nil && size < minBytes) {
				continue
			}
			data, err := TensorData(t, "")
			if err != nil {
				return err
			}
			offset = (offset + externalAlignment - 1) / externalAlignment * externalAlignment
			if _, err := f.WriteAt(data, offset); err != nil { // the gap before it reads as zeros
				return err
			}
			moved[i] = ExternalTensor(t.GetName(), DataType(t.GetDataType()), t.Dims, location, offset, int64(len(data)))
			moved[i].DocString, moved[i].MetadataProps = t.DocString, t.MetadataProps
			offset += int64(len(data))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", path+"_data", err)
	}
	return Save(path, withInitializers(m, moved))
}

// withInitializers is m with other initializers in its main graph: the two messages on the way are copied, everything
// else is shared.
func withInitializers(m *ModelProto, initializers []*TensorProto) *ModelProto {
	graph := &GraphProto{}
	shallowCopy(graph, m.GetGraph())
	graph.Initializer = initializers
	model := &ModelProto{}
	shallowCopy(model, m)
	model.Graph = graph
	return model
}

// shallowCopy sets each field of dst to that of src, unknown ones too.
func shallowCopy(dst, src proto.Message) {
	from, to := src.ProtoReflect(), dst.ProtoReflect()
	for fd, v := range from.Range {
		to.Set(fd, v)
	}
	to.SetUnknown(from.GetUnknown())
}
