// Package npy reads and writes NumPy's .npy files, and .npz archives of them:
// how cost matrices, latents and features come in from Python, and how permutations go back.
//
// The format is NEP 1 (versions 1.0 to 3.0), as in numpy/lib/_format_impl.py: the magic
// string, a version, the length of a header, the header (a Python dict literal
// with descr, fortran_order and shape) padded so that the data begins at a
// multiple of 64, then the elements. Element types here are little-endian
// float32, float64 and int64, the three that this program's commands trade in;
// others are refused by name.
//
// Own code rather than github.com/sbinet/npyio (v0.6.0, 2021): that reader
// takes a truncated file for a whole one, panics on a damaged header, and
// knows no version 3.
package npy
