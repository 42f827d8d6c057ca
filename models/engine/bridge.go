package engine

/*
#cgo CFLAGS: -O2 -std=c11 -D_GNU_SOURCE
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "bridge.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"

	"immiscible/models/engine/native"
)

// failure takes over a message from bridge.c; nil is success.
func failure(message *C.char) error {
	if message == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(message))
	return errors.New(strings.Join(strings.Fields(C.GoString(message)), " "))
}

// loadLibrary opens a shared library and reads ORT's version out of it. What
// was opened successfully stays open until unloadLibrary.
func loadLibrary(path string) (handle unsafe.Pointer, version string, err error) {
	cPath := C.CString(path)
	defer C.free(unsafe.Pointer(cPath))
	room := (*C.char)(C.calloc(32, 1))
	defer C.free(unsafe.Pointer(room))
	if err := failure(C.bridge_load(cPath, &handle, room)); err != nil {
		return nil, "", err
	}
	return handle, C.GoString(room), nil
}

func unloadLibrary(handle unsafe.Pointer) { C.bridge_unload(handle) }

// useLibrary makes an opened library the one that the functions below call.
func useLibrary(handle unsafe.Pointer) error { return failure(C.bridge_use(handle)) }

// registerOperators offers the operators of package native to a session: the
// processor's, or a GPU's.
func registerOperators(options *ort.SessionOptions, cuda *native.CUDA) error {
	raw := reflect.ValueOf(options).Elem().FieldByName("o").UnsafePointer()
	return native.Register(unsafe.Pointer(C.bridge_api()), raw, cuda)
}

// hostValue makes an OrtValue over memory outside Go's heap. The memory must
// outlive the value and every session that it is bound to.
func hostValue(data unsafe.Pointer, bytes int64, dtype DType, shape []int64) (unsafe.Pointer, error) {
	var dims *C.int64_t
	if len(shape) > 0 {
		dims = (*C.int64_t)(unsafe.Pointer(&shape[0]))
	}
	var value unsafe.Pointer
	err := failure(C.bridge_value(data, C.size_t(bytes), dims, C.size_t(len(shape)), C.int(dtype), &value))
	return value, err
}

// deviceValue is hostValue over memory of a device, whose allocator ORT knows by
// name.
func deviceValue(name string, id int, data unsafe.Pointer, bytes int64, dtype DType, shape []int64) (unsafe.Pointer, error) {
	var dims *C.int64_t
	if len(shape) > 0 {
		dims = (*C.int64_t)(unsafe.Pointer(&shape[0]))
	}
	cName := C.CString(name)
	defer C.free(unsafe.Pointer(cName))
	var value unsafe.Pointer
	err := failure(C.bridge_device_value(cName, C.int(id), data, C.size_t(bytes), dims, C.size_t(len(shape)), C.int(dtype), &value))
	return value, err
}

// valuePlace says where a value's memory is, as ORT sees it.
func valuePlace(value unsafe.Pointer) (name string, id int, err error) {
	var cName *C.char
	var cID C.int
	err = failure(C.bridge_value_place(value, &cName, &cID))
	return C.GoString(cName), int(cID), err
}

// queue runs a session on what is bound, and does not wait for its device.
func queue(s *ort.DynamicAdvancedSession, b *ort.IoBinding) error {
	return failure(C.bridge_queue(rawSession(s), reflect.ValueOf(b).Elem().FieldByName("o").UnsafePointer()))
}

// endProfile ends a session's profiling and gives the path of its trace.
func endProfile(s *ort.DynamicAdvancedSession) (string, error) {
	var path *C.char
	if err := failure(C.bridge_end_profile(rawSession(s), &path)); err != nil {
		return "", err
	}
	defer C.free(unsafe.Pointer(path))
	return C.GoString(path), nil
}

// sessionMemory is a count of the allocator that a session has on a device, whose
// memory ORT knows by name.
func sessionMemory(s *ort.DynamicAdvancedSession, name string, id int, key string) (int64, error) {
	cName, cKey := C.CString(name), C.CString(key)
	defer C.free(unsafe.Pointer(cName))
	defer C.free(unsafe.Pointer(cKey))
	room := (*C.char)(C.calloc(32, 1))
	defer C.free(unsafe.Pointer(room))
	if err := failure(C.bridge_session_memory(rawSession(s), cName, C.int(id), cKey, room)); err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(C.GoString(room), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("its allocator does not count %s: got %q", key, C.GoString(room))
	}
	return n, nil
}

// rawSession is the OrtSession in yalue's.
func rawSession(s *ort.DynamicAdvancedSession) unsafe.Pointer {
	return reflect.ValueOf(s).Elem().FieldByName("s").Elem().FieldByName("ortSession").UnsafePointer()
}

func releaseValue(value unsafe.Pointer) { C.bridge_release_value(value) }

// bound hands an OrtValue of our own to yalue's bindings. ort.Value has
// methods with unexported C types, so it can be satisfied only by embedding.
type bound struct {
	*ort.CustomDataTensor
	value unsafe.Pointer
}

// GetInternals replaces the embedded tensor's: ort.ValueInternalData is one
// unexported pointer to the OrtValue (yalue v1.27.0, fixed by go.mod).
func (b bound) GetInternals() *ort.ValueInternalData {
	internals := new(ort.ValueInternalData)
	*(*unsafe.Pointer)(unsafe.Pointer(internals)) = b.value
	return internals
}

// sessionInfo lists what a session takes and gives. yalue offers this only
// for a second, temporary session, which would optimise the graph twice.
func sessionInfo(s *ort.DynamicAdvancedSession) (inputs, outputs []Info, err error) {
	raw := rawSession(s)
	var nIn, nOut C.size_t
	if err := failure(C.bridge_counts(raw, &nIn, &nOut)); err != nil {
		return nil, nil, err
	}
	for i := range nIn {
		info, err := valueInfo(raw, 0, i)
		if err != nil {
			return nil, nil, fmt.Errorf("input %d: %w", i, err)
		}
		inputs = append(inputs, info)
	}
	for i := range nOut {
		info, err := valueInfo(raw, 1, i)
		if err != nil {
			return nil, nil, fmt.Errorf("output %d: %w", i, err)
		}
		outputs = append(outputs, info)
	}
	return inputs, outputs, nil
}

func valueInfo(session unsafe.Pointer, output C.int, index C.size_t) (Info, error) {
	var name *C.char
	var dtype C.int
	var rank C.size_t
	dims := make([]int64, 16)
	err := failure(C.bridge_info(session, output, index, &name, &dtype, (*C.int64_t)(unsafe.Pointer(&dims[0])), C.size_t(len(dims)), &rank))
	if err != nil {
		return Info{}, err
	}
	defer C.free(unsafe.Pointer(name))
	info := Info{Name: C.GoString(name), DType: DType(dtype)}
	if info.DType.Size() == 0 {
		return Info{}, fmt.Errorf("%s: it is %s, want a tensor of numbers", info.Name, info.DType)
	}
	if int(rank) > len(dims) {
		return Info{}, fmt.Errorf("%s: it has %d dimensions, want at most %d", info.Name, rank, len(dims))
	}
	info.Shape = dims[:rank]
	return info, nil
}

// availableProviders lists the execution providers the library was built with.
func availableProviders() ([]string, error) {
	var names *C.char
	if err := failure(C.bridge_providers(&names)); err != nil {
		return nil, err
	}
	defer C.free(unsafe.Pointer(names))
	return strings.Fields(C.GoString(names)), nil
}
