// Package onnx reads, writes and checks ONNX models. It is the only door to protobuf in the module.
//
// The message types (ModelProto, GraphProto, NodeProto, TensorProto, …) are generated into this package; around them stand
//
//   - model.go: Load, Save, Marshal, Unmarshal, with ONNX's 2 GiB limit for one protobuf message;
//   - external.go: tensors whose bytes lie in a file beside the model, and SaveExternal, which moves big ones there;
//   - tensor.go: TensorProto ↔ raw little-endian bytes, whichever field holds them;
//   - build.go: constructors for attributes and value infos;
//   - check.go, check_node.go: Check, the structural rules that every model must obey.
//
// # Provenance of onnx.pb.go
//
// The schema is onnx.proto as it ships in the wheel of onnx 1.23.2 on PyPI (Apache-2.0, © the ONNX Project Contributors;
// https://github.com/onnx/onnx), unchanged; its comments stand in the generated file. Made with protoc 3.21.12 and
// protoc-gen-go v1.36.12:
//
//	pip download --no-deps onnx==1.23.2 && unzip -j onnx-1.23.2-*.whl onnx/onnx.proto
//	GOBIN=$PWD go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
//	PATH=$PATH:$PWD protoc -I. --go_out=. --go_opt=paths=source_relative --go_opt=Monnx.proto=immiscible/models/onnx onnx.proto
//
// Rules cited as "IR.md" are those of docs/IR.md in the same release.
package onnx
