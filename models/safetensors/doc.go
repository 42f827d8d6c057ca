// Package safetensors reads and writes the safetensors format, in which diffusers and transformers keep weights.
//
// A file is an 8-byte little-endian length N, N bytes of JSON, and the tensors' bytes: row-major, little-endian, without
// gaps, overlaps or leftovers. The JSON object maps each tensor's name to its dtype, shape and data_offsets, counted from
// the end of the header; the key __metadata__ may hold a map of strings. The format is described in
// https://github.com/huggingface/safetensors#format; where that text is silent, the reference implementation's version
// 0.8.0 decides. A file that breaks a rule is refused whole, with the rule, before any tensor is read.
//
//   - read.go: Open, OpenSharded, OpenIndex, and a File's Lookup, Bytes, Float32;
//   - header.go: the header's JSON and the rules above;
//   - dtype.go: element types, their sizes, and conversion to float32;
//   - write.go: Write, which gives the reference implementation's bytes.
package safetensors
