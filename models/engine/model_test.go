package engine_test

// A writer for the few ModelProto fields that the tests need, so that the
// engine is tested without the packages that are built on it. Field numbers
// are onnx.proto's.

import (
	"encoding/binary"
	"io"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
	"immiscible/models/engine"
)

type proto []byte

func (p proto) number(field, v uint64) proto {
	return binary.AppendUvarint(binary.AppendUvarint(p, field<<3), v)
}

func (p proto) bytes(field uint64, v []byte) proto {
	return append(binary.AppendUvarint(binary.AppendUvarint(p, field<<3|2), uint64(len(v))), v...)
}

func (p proto) text(field uint64, v string) proto { return p.bytes(field, []byte(v)) }

// value is a ValueInfoProto; a negative dimension is written as the symbol "open".
func value(name string, dtype engine.DType, shape ...int64) proto {
	var dims proto
	for _, d := range shape {
		if d < 0 {
			dims = dims.bytes(1, proto{}.text(2, "open"))
		} else {
			dims = dims.bytes(1, proto{}.number(1, uint64(d)))
		}
	}
	tensor := proto{}.number(1, uint64(dtype)).bytes(2, dims)
	return proto{}.text(1, name).bytes(2, proto{}.bytes(1, tensor))
}

// node is a NodeProto without attributes.
func node(op string, inputs []string, output string) proto {
	var p proto
	for _, in := range inputs {
		p = p.text(1, in)
	}
	return p.text(2, output).text(4, op)
}

// castToFloat64 is a Cast node: attribute "to" is an int (type 2).
func castToFloat64(input, output string) proto {
	to := proto{}.text(1, "to").number(3, uint64(engine.Float64)).number(20, 2)
	return node("Cast", []string{input}, output).bytes(5, to)
}

// external is an initializer whose data lies in another file.
func external(name string, dtype engine.DType, shape []int64, location string, offset, length int) proto {
	var p proto
	for _, d := range shape {
		p = p.number(1, uint64(d))
	}
	p = p.number(2, uint64(dtype)).text(8, name).number(14, 1)
	for _, kv := range [][2]string{{"location", location}, {"offset", strconv.Itoa(offset)}, {"length", strconv.Itoa(length)}} {
		p = p.bytes(13, proto{}.text(1, kv[0]).text(2, kv[1]))
	}
	return p
}

// model is a ModelProto of opset 18 (IR 8).
func model(inputs, outputs, nodes []proto, initializers ...proto) []byte {
	graph := proto{}
	for _, n := range nodes {
		graph = graph.bytes(1, n)
	}
	graph = graph.text(2, "test")
	for _, v := range initializers {
		graph = graph.bytes(5, v)
	}
	for _, v := range inputs {
		graph = graph.bytes(11, v)
	}
	for _, v := range outputs {
		graph = graph.bytes(12, v)
	}
	return proto{}.number(1, 8).bytes(7, graph).bytes(8, proto{}.text(1, "").number(2, 18))
}

// quiet fails the test if f makes the process write to stdout or stderr: ORT
// is C++ and has a logger of its own, so the file descriptors are watched.
func quiet(t *testing.T, f func()) {
	t.Helper()
	sink, err := os.CreateTemp(t.TempDir(), "output")
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	for fd := 1; fd <= 2; fd++ {
		saved, err := unix.Dup(fd)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(saved)
		if err := unix.Dup2(int(sink.Fd()), fd); err != nil {
			t.Fatal(err)
		}
		defer unix.Dup2(saved, fd)
	}
	f()
	if _, err := sink.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if out, err := io.ReadAll(sink); err != nil || len(out) > 0 {
		t.Errorf("got output %q (%v), want none", out, err)
	}
}
