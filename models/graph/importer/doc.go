// Package importer reads ONNX models that others exported (torch.onnx's
// TorchScript and dynamo exporters, optimum, ONNX functions) into the IR of
// models/graph, where they are differentiated like graphs built here.
//
// What happens on the way, in this order (import.go):
//
//   - the file is checked (onnx.Check), opsets 7 to 28 are taken;
//   - symbolic dimensions get the numbers that the caller binds;
//   - float initializers become parameters under their names, verbatim;
//     constants of the exporter's (parameter.go tells them apart) stay constants;
//   - nodes are visited once: functions are inlined, an If of a known condition
//     becomes its branch, what depends on shapes and constants alone is computed
//     (fold*.go), and every other node is built by the row of its operator
//     (ops*.go) from the builder's operations;
//   - an operator without a row is an error that names the operator, the node,
//     its opset and its scope.
//
// Arithmetic is float32 and int64, whatever the file's widths: half precision is
// widened. Random operators, control flow over data, sequences, strings,
// quantised and recurrent operators are refused by name.
package importer
