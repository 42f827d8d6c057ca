package onnx

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"

	"google.golang.org/protobuf/proto"
)

// maxProtoBytes is the largest message that protobuf's C++ runtime, and so ONNX Runtime, parses: 2 GiB − 1.
const maxProtoBytes = math.MaxInt32

// Load reads the model at path. External data is not read: see TensorData. The model is not checked: see Check.
func Load(path string) (*ModelProto, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file, want an ONNX model", path)
	}
	if info.Size() > maxProtoBytes {
		return nil, fmt.Errorf("%s: %d bytes, want at most %d (protobuf's limit); export the model with external data", path, info.Size(), maxProtoBytes)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := Unmarshal(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Save writes m to path by way of path + ".tmp", which is synced and then renamed. A model above 2 GiB is refused:
// SaveExternal is for those.
func Save(path string, m *ModelProto) error {
	data, err := Marshal(m)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return replaceFile(path, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

// Marshal encodes m. The same model gives the same bytes.
func Marshal(m *ModelProto) ([]byte, error) {
	if size := proto.Size(m); size > maxProtoBytes {
		return nil, fmt.Errorf("model is %d bytes as one protobuf message, want at most %d; keep its weights in external data (SaveExternal)", size, maxProtoBytes)
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

// Unmarshal decodes a model. Fields that this schema does not know are kept and written back by Marshal.
func Unmarshal(data []byte) (*ModelProto, error) {
	if len(data) == 0 {
		return nil, errors.New("no bytes, want a serialized ModelProto")
	}
	m := &ModelProto{}
	if err := proto.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("%d bytes do not parse as an ONNX ModelProto (%w); is the file truncated, or not ONNX?", len(data), err)
	}
	return m, nil
}

// replaceFile writes path + ".tmp", syncs it and renames it to path, so that path holds the old bytes or the new ones and
// never a part. The temporary file is removed on failure.
func replaceFile(path string, write func(f *os.File) error) error {
	temporary := path + ".tmp"
	f, err := os.Create(temporary)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	err = cmp.Or(err, f.Close())
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		os.Remove(temporary)
	}
	return err
}
