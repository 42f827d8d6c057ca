package engine

import (
	"errors"
	"regexp"
	"strconv"
)

// SessionMemory is what a session has allocated on its device for what it
// computes between inputs and outputs, scratch of its operators included; in
// bytes, counted by ONNX Runtime's arena.
type SessionMemory struct {
	Peak int64 // most in use at once
	Held int64 // taken from the system and kept for the next run
}

// Memory reads the session's counts; they are 0 before its first run.
func (s *Session) Memory() (m SessionMemory, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ort == nil {
		return m, s.errorf("memory: the session is closed")
	}
	name, id := s.device.memory()
	if m.Peak, err = sessionMemory(s.ort, name, id, "MaxInUse"); err == nil {
		m.Held, err = sessionMemory(s.ort, name, id, "TotalAllocated")
	}
	if err != nil {
		return m, s.errorf("memory: %s", oneLine(err.Error()))
	}
	return m, nil
}

// OutOfMemoryError is a session that could not allocate what it needs.
type OutOfMemoryError struct {
	Bytes int64  // of the allocation that failed; 0 where the library does not say
	Node  string // that needed it; "" where the library does not say
	Text  string // the library's own words
}

// Error is the library's own words.
func (e *OutOfMemoryError) Error() string { return e.Text }

// The words of ONNX Runtime 1.30, of its allocators and of what they call, and of package native:
// https://github.com/microsoft/onnxruntime/blob/v1.24.1/onnxruntime/core/framework/bfc_arena.cc
// https://github.com/microsoft/onnxruntime/blob/v1.24.1/onnxruntime/core/providers/cuda/cuda_call.cc
var (
	noMemory   = regexp.MustCompile(`Failed to allocate memory for requested buffer of size (\d+)|Available memory of \d+ is smaller than requested bytes of (\d+)|CUDA failure 2: out of memory|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED|Status Message: (?:\w+: )?out of (?:device )?memory|std::bad_alloc`)
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
