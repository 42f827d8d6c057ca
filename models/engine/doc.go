// Package engine runs ONNX graphs on ONNX Runtime (ORT).
//
// It finds the library (provision.go), opens ORT's process-wide environment
// once (engine.go), keeps state in arenas outside Go's heap (arena.go), and
// runs sessions whose inputs and outputs are bound by name to views of those
// arenas (session.go):
//
//	e, err := engine.Open(ctx, engine.Options{})
//	arena, err := e.NewArena(bytes)
//	weights, err := arena.View(0, engine.Float32, 128, 64)
//	s, err := e.NewSession(model, engine.SessionOptions{Name: "training"})
//	err = s.Bind("weights", weights) // every input and every output
//	err = s.Run(ctx)
//
// The same memory may be bound as an input and as an output, which is how an
// optimizer updates in place. ORT does not check that this is sound: it is
// when every node that reads the old value is an ancestor of the node that
// writes the new one, or when the writer is elementwise. Put the update in a
// session of its own where that does not hold.
//
// A device is one implementation of the unexported interface in device.go:
// device_cpu.go, and device_cuda.go with cuda_parts.go, which finds CUDA's
// libraries at run time. device_none.go is the build without any accelerator.
// Only Upload, Download, a Feed and what stands on them look into a device's
// memory; Engine.Traffic counts them. A Feed (feed.go) sends an arena its next
// contents while sessions read the present ones. A session with OnDevice proves
// on its first run that every node is on the device (placement.go).
package engine
