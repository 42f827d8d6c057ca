package importer

import (
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// Every integer of every node test, one at a time, at values that nobody means:
// attributes, dimensions of inputs, elements of shapes and axes. An import may
// go wrong with an error only.
func TestHostileNumbers(t *testing.T) {
	dir := t.TempDir()
	bad := []int64{0, -1, -7, 3, 1 << 33, math.MaxInt64, math.MinInt64}
	tried, faults := 0, map[string]bool{}
	for _, name := range unzip(t, "testdata/nodes.zip", dir) {
		if !strings.HasSuffix(name, ".onnx") || strings.Contains(name, "expanded") {
			continue
		}
		m, err := onnx.Load(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		attempt := func() {
			tried++
			defer func() {
				if fault := recover(); fault != nil && !faults[fmt.Sprint(fault)+m.Graph.Node[0].GetOpType()] {
					faults[fmt.Sprint(fault)+m.Graph.Node[0].GetOpType()] = true
					t.Errorf("%s: %v\n%s", name, fault, debug.Stack())
				}
			}()
			data, err := onnx.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			copied, err := onnx.Unmarshal(data)
			if err != nil {
				t.Fatal(err)
			}
			if f := (&File{name, copied}); f.check() == nil {
				if im, err := f.Import(Options{Param: func(string, bool) bool { return false }}); err == nil {
					if _, _, err := graph.Recognize(im.Graph); err != nil {
						t.Errorf("%s: recognised: %v", name, err)
					}
				}
			}
		}
		attempt()
		for _, n := range m.Graph.Node {
			for _, a := range n.Attribute {
				for _, x := range bad {
					if a.I != nil {
						old := *a.I
						*a.I = x
						attempt()
						*a.I = old
					}
					for i, old := range a.Ints {
						a.Ints[i] = x
						attempt()
						a.Ints[i] = old
					}
				}
				if len(a.Ints) > 0 {
					old := a.Ints
					a.Ints = old[1:]
					attempt()
					a.Ints = append([]int64{1}, old...)
					attempt()
					a.Ints = old
				}
			}
			for i, old := range n.Input {
				n.Input[i] = ""
				attempt()
				n.Input[i] = old
			}
		}
		for _, v := range m.Graph.Input {
			shape := v.GetType().GetTensorType().GetShape()
			for _, d := range shape.GetDim() {
				if one, ok := d.Value.(*onnx.TensorShapeProto_Dimension_DimValue); ok {
					old := one.DimValue
					for _, x := range []int64{1, 2, 5, 1 << 28} {
						one.DimValue = x
						attempt()
					}
					one.DimValue = old
				}
			}
			if shape != nil && len(shape.Dim) > 0 {
				old := shape.Dim
				shape.Dim = old[1:]
				attempt()
				shape.Dim = nil
				attempt()
				shape.Dim = old
			}
		}
		for _, p := range m.Graph.Initializer {
			if p.GetDataType() != int32(onnx.TensorProto_INT64) || len(p.RawData) > 64 {
				continue
			}
			for at := 0; at+8 <= len(p.RawData); at += 8 {
				old := binary.LittleEndian.Uint64(p.RawData[at:])
				for _, x := range bad {
					binary.LittleEndian.PutUint64(p.RawData[at:], uint64(x))
					attempt()
				}
				binary.LittleEndian.PutUint64(p.RawData[at:], old)
			}
			raw, dims := p.RawData, p.Dims
			p.RawData, p.Dims = nil, []int64{0}
			attempt()
			p.RawData, p.Dims = raw, dims
		}
	}
	t.Log(tried, "files")
}
