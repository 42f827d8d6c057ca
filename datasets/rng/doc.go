// Package rng draws random numbers that are a pure function of where they are
// used. A stream is named by the triple (seed, name, position); there is no
// state to save, no global generator, and no order in which streams have to be
// made. That is what lets a run resume from one integer and give the same bits
// for any number of workers.
//
// The generator is Philox4x32-10: J. K. Salmon, M. A. Moraes, R. O. Dror and
// D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC '11,
// https://doi.org/10.1145/2063384.2063405. Its 64-bit key is derived from
// (seed, name); its 128-bit counter holds the position in the upper half and
// the block number in the lower, so two positions of one name never overlap.
//
// Bits are the same on every architecture. Integers are so by nature. Normal
// numbers use only operations that IEEE 754 rounds correctly (+, −, ×, ÷, √),
// each wrapped in float64(…) where a product feeds a sum: the conversion forbids
// the compiler to fuse the two into one rounding, which it otherwise does on
// arm64, and on amd64 from GOAMD64=v3. The functions of package math are not
// used for the same reason: Log and Exp have assembly versions on some
// architectures, and the plain Go versions of Log, Sin and Cos are open to
// fusing on the others. Sqrt is exact everywhere.
package rng
