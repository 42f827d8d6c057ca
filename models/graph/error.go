package graph

import (
	"fmt"
	"runtime"
	"strings"
)

// Error says what went wrong while a graph was built, where in the model
// (operator and scope path), with which shapes, and which line of code asked
// for the node.
type Error struct {
	Op     string // ONNX operator, or the builder method
	Scope  string // scope path, such as down_blocks.0.resnets.1.conv1
	Detail string // what was got and what was wanted
	Site   string // file:line that created the node
}

// Error is one line: scope: op: detail (site).
func (e *Error) Error() string {
	where := e.Scope
	if where == "" {
		where = "graph"
	}
	return fmt.Sprintf("%s: %s: %s (%s)", where, e.Op, e.Detail, e.Site)
}

// fail panics with an Error at the builder's scope.
func (b *Builder) fail(op, format string, args ...any) {
	panic(&Error{Op: op, Scope: b.scope, Detail: fmt.Sprintf(format, args...), Site: site()})
}

// Fail stops the build with an Error: for layers that find a configuration
// they cannot build.
func (b *Builder) Fail(op, format string, args ...any) { b.fail(op, format, args...) }

// site is the innermost caller outside this package.
func site() string {
	pcs := make([]uintptr, 24)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		inside := strings.Contains(f.Function, "/models/graph.")
		if !inside || !more {
			name := f.File
			if i := strings.LastIndex(name, "/"); i >= 0 {
				name = name[i+1:]
			}
			return fmt.Sprintf("%s:%d", name, f.Line)
		}
	}
}
