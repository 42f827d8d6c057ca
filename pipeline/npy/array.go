package npy

import (
	"fmt"
	"math"
	"strings"
)

// Element is a type that a file's entries may have.
type Element interface{ float32 | float64 | int64 }

// Array is the content of one file. Data is a []float32, []float64 or []int64
// in C order (the last index runs fastest), whatever the order in the file.
// Shape [] is a scalar: one entry.
type Array struct {
	Shape []int
	Data  any
}

// DType returns the entries' type as NumPy calls it.
func (a *Array) DType() string {
	switch a.Data.(type) {
	case []float32:
		return "float32"
	case []float64:
		return "float64"
	case []int64:
		return "int64"
	}
	return fmt.Sprintf("%T", a.Data)
}

// Float32 returns the entries as float32: those of a float64 array rounded to
// nearest, ties to even. A finite entry beyond float32's range is an error that
// names it; NaN and infinities pass as they are. An int64 array is an error.
func (a *Array) Float32() ([]float32, error) {
	switch data := a.Data.(type) {
	case []float32:
		return data, nil
	case []float64:
		out := make([]float32, len(data))
		for i, x := range data {
			out[i] = float32(x)
			if math.IsInf(float64(out[i]), 0) && !math.IsInf(x, 0) {
				return nil, fmt.Errorf("entry %s is %g, beyond float32's range (±%.8g)", a.Index(i), x, math.MaxFloat32)
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("holds %s, want float32 or float64", a.DType())
}

// Int64 returns the entries of an int64 array; any other type is an error.
func (a *Array) Int64() ([]int64, error) {
	if data, ok := a.Data.([]int64); ok {
		return data, nil
	}
	return nil, fmt.Errorf("holds %s, want int64", a.DType())
}

// Index writes the position of Data[i] as NumPy prints an index, counted from
// 0: "[137, 211]".
func (a *Array) Index(i int) string {
	parts := make([]string, len(a.Shape))
	for d := len(a.Shape) - 1; d >= 0; d-- {
		parts[d] = fmt.Sprint(i % a.Shape[d])
		i /= a.Shape[d]
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// rowMajor reorders entries that lie in Fortran order (the first index runs
// fastest) into C order.
func rowMajor[T Element](data []T, shape []int) []T {
	if len(shape) < 2 || len(data) == 0 {
		return data
	}
	// strides[d]: how far apart in data two entries are whose index d differs by 1.
	strides := make([]int, len(shape))
	for d, step := 0, 1; d < len(shape); d++ {
		strides[d] = step
		step *= shape[d]
	}
	out := make([]T, len(data))
	index, from := make([]int, len(shape)), 0
	for i := range out {
		out[i] = data[from]
		// Count the index up by one in C order, carrying to the left.
		for d := len(shape) - 1; d >= 0; d-- {
			index[d]++
			from += strides[d]
			if index[d] < shape[d] {
				break
			}
			from -= strides[d] * shape[d]
			index[d] = 0
		}
	}
	return out
}
