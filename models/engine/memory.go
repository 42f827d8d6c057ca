package engine

import (
	"errors"
	"regexp"
	"strconv"
)

// OutOfMemoryError is a session that could not allocate what it needs.
type OutOfMemoryError struct {
	Bytes int64  // of the allocation that failed; 0 where the library does not say
	Node  string // that needed it; "" where the library does not say
	Text  string // the library's own words
}

// Error is the library's own words.
func (e *OutOfMemoryError) Error() string { return e.Text }

// The words of ONNX Runtime 1.30, of its allocators and of what they call:
// https://github.com/microsoft/onnxruntime/blob/v1.24.1/onnxruntime/core/framework/bfc_arena.cc
// https://github.com/microsoft/onnxruntime/blob/v1.24.1/onnxruntime/core/providers/cuda/cuda_call.cc
var (
	noMemory   = regexp.MustCompile(`Failed to allocate memory for requested buffer of size (\d+)|Available memory of \d+ is smaller than requested bytes of (\d+)|CUDA failure 2: out of memory|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED|std::bad_alloc`)
	failedNode = regexp.MustCompile(`running (\S+) node\. Name:'([^']*)'`)
)

// outOfMemory recognises ONNX Runtime's message; another error is only made one
// line.
func outOfMemory(err error) error {
	text := oneLine(err.Error())
	found := noMemory.FindStringSubmatch(text)
	if found == nil {
		return errors.New(text)
	}
	e := &OutOfMemoryError{Text: text}
	for _, digits := range found[1:] {
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
			e.Bytes = n
		}
	}
	if node := failedNode.FindStringSubmatch(text); node != nil {
		e.Node = node[2] + " (" + node[1] + ")"
	}
	return e
}
