// Package graph builds, differentiates and emits ONNX graphs of statically
// shaped values.
//
// Vocabulary, fixed here and used everywhere below:
//
//	value     one typed tensor with a static shape: an output of a node
//	node      one operator application; its inputs are values
//	builder   appends nodes to a graph; a child made with At carries a scope
//	scope     a dotted path; a parameter's name is its scope path, which is
//	          the state-dict key in a diffusers checkpoint
//	rule      the derivative of an operator: given the gradients of a node's
//	          outputs, one gradient per input, written in builder operations
//	gradient  of a scalar loss with respect to a value; the same shape
//	lowering  the portable ONNX nodes that stand for a composite operator
//
// Inside this package, and in code that builds graphs, a mistake (shapes that
// do not fit, an operator without a rule) panics with *Error, which names the
// operator, the scope, the shapes and the line that created the node. Build is
// the only place that recovers; everything outside returns errors.
//
// Adding an operator costs five things: a builder method with its shape rule
// and its derivative (op_*.go, formula above), a row in rules.go, a row in the
// gradient table (rows_*_test.go), and a case in refeval. A test notices a
// missing one.
package graph
