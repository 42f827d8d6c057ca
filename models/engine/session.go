package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// SessionOptions shape one session. The zero value is ORT's full optimisation.
type SessionOptions struct {
	// Name stands in error messages: "training", "optimizer".
	Name string
	// DisableCSE keeps ORT from merging equal nodes, which would undo gradient
	// checkpointing: there the same forward nodes are computed twice on purpose.
	DisableCSE bool
	// KeepOrder keeps ONNX Runtime from merging reshapes. It walks a graph from the
	// leaf that was made last; a reshape that it has made anew is that one, and then
	// gradients far down come first and all that lies between waits for its turn.
	// [M] the default preset at batch 16 in portable operators, sizes hidden as
	// graph.TrainingModel does: 72.5 MB and 69.2; under gradient checkpointing 59.0
	// and 32.7.
	KeepOrder bool
	// Deterministic asks for kernels whose result does not depend on timing.
	Deterministic bool
	// ExternalDir is the folder that external data's locations are relative to.
	ExternalDir string
	// OptimizedModelPath, if set, is where ORT writes the graph it will run.
	OptimizedModelPath string
	// OnDevice makes the first run prove that every node runs on the engine's
	// device, less those of the names CPUNodes: a node elsewhere is that run's
	// error. It takes the place of Profile.
	OnDevice bool
	CPUNodes []string
	// FixedAddresses says that nothing is bound anew after the first run, and that
	// a run writes nothing that it reads: a GPU may record the run and replay it.
	// ONNX Runtime's CUDA provider runs it some times more before it records.
	FixedAddresses bool
	// ExactFloat32 keeps float32 products in float32 on a GPU, whatever the options
	// of its provider say of TF32.
	ExactFloat32 bool
	// Profile, if set, is the path prefix of a JSON trace written at Close.
	Profile string
}

// Info declares one input or output of a session.
type Info struct {
	Name  string
	DType DType
	Shape []int64 // −1 where the graph leaves a dimension open
}

// Session is a loaded graph with one bound tensor for each input and output.
// Different sessions may run at the same time; runs of one session wait for
// each other. It holds its bound tensors, and so their arenas, until Close.
type Session struct {
	// Inputs and Outputs in the graph's order.
	Inputs, Outputs []Info

	name    string
	device  device
	place   placement
	strays  error // what the proof of place found
	fixed   bool  // FixedAddresses
	begun   bool  // a run has been tried
	records bool  // the device records the first run that succeeds
	thread  thread
	mu      sync.Mutex
	ort     *ort.DynamicAdvancedSession // nil after Close
	binding *ort.IoBinding
	inputs  []*Tensor // parallel to Inputs; nil: not bound
	outputs []*Tensor // parallel to Outputs
}

// NewSession loads a serialised ModelProto. The bytes are not needed afterwards.
func (e *Engine) NewSession(model []byte, o SessionOptions) (*Session, error) {
	fail := func(err error) (*Session, error) {
		var full *OutOfMemoryError
		if errors.As(err, &full) {
			return nil, fmt.Errorf("engine: session %q: %w", o.Name, err)
		}
		return nil, fmt.Errorf("engine: session %q: %s", o.Name, oneLine(err.Error()))
	}
	if e.closed.Load() {
		return fail(fmt.Errorf("the engine is closed: open another"))
	}
	if len(model) == 0 {
		return fail(fmt.Errorf("got an empty model, want a serialised ModelProto"))
	}
	if e.profile != "" {
		o.Profile, o.OnDevice = e.profile+"-"+o.Name, false
	}
	place, err := newPlacement(e.device, &o)
	if err != nil {
		return fail(err)
	}
	options, err := e.sessionOptions(o)
	if err != nil {
		place.close()
		return fail(err)
	}
	defer options.Destroy()
	defer e.device.enter(false)()
	session, err := ort.NewDynamicAdvancedSessionWithONNXData(model, nil, nil, options)
	if err != nil {
		place.close()
		return fail(outOfMemory(err))
	}
	s := &Session{name: o.Name, device: e.device, place: place, fixed: o.FixedAddresses, records: e.device.records(o), ort: session}
	if s.Inputs, s.Outputs, err = sessionInfo(session); err != nil {
		session.Destroy()
		place.close()
		return fail(err)
	}
	if s.binding, err = session.CreateIoBinding(); err != nil {
		session.Destroy()
		place.close()
		return fail(err)
	}
	s.inputs = make([]*Tensor, len(s.Inputs))
	s.outputs = make([]*Tensor, len(s.Outputs))
	if !e.device.host() {
		s.thread = newThread()
	}
	return s, nil
}

// sessionOptions sets what every session of the engine has in common, then
// what o asks for. session.set_denormal_as_zero is left alone on purpose: ORT
// applies it to its own threads and to whichever thread created the first
// session, while Go moves goroutines between threads. Results would depend on
// the scheduler, and Go's own arithmetic on that thread would change.
func (e *Engine) sessionOptions(o SessionOptions) (*ort.SessionOptions, error) {
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	o.Deterministic = o.Deterministic || e.repeats
	set := func(e error) {
		if err == nil {
			err = e
		}
	}
	entry := func(key, value string) { set(options.AddSessionConfigEntry(key, value)) }

	set(options.SetIntraOpNumThreads(e.Threads))
	set(options.SetInterOpNumThreads(1))
	set(options.SetExecutionMode(ort.ExecutionModeSequential))
	set(options.SetGraphOptimizationLevel(ort.GraphOptimizationLevelEnableAll))
	// A memory pattern, ORT's default, plans one block for all intermediate
	// values after a first run has allocated them one by one, and keeps both:
	// 60 layers that need 120 MB took 258 MB with it and 130 MB without, in the
	// same time.
	set(options.SetMemPattern(false))
	set(options.SetLogSeverityLevel(ort.LoggingLevelFatal))
	// Idle threads spin for the next operator before they sleep. ORT's default
	// spins for milliseconds, and then the sessions of one step (and anyone else
	// on the machine) compute against spinning threads. Measured on 2 cores, a
	// step of a 60-layer run and four optimizer runs: 7.8–10 ms (18–29 ms on a
	// busy machine) by default, 5.6 without spinning, 4.1 (6–9) with 50 µs.
	entry("session.intra_op.spin_duration_us", "50")
	var off []string
	if o.DisableCSE {
		off = append(off, "CommonSubexpressionElimination")
	}
	if o.KeepOrder {
		off = append(off, "ReshapeFusion")
	}
	if len(off) > 0 {
		entry("optimization.disable_specified_optimizers", strings.Join(off, ";"))
	}
	if o.Deterministic {
		entry("session.use_deterministic_compute", "1")
	}
	if o.ExternalDir != "" {
		entry("session.model_external_initializers_file_folder_path", o.ExternalDir)
	}
	if o.OptimizedModelPath != "" {
		set(options.SetOptimizedModelFilePath(o.OptimizedModelPath))
	}
	if o.Profile != "" {
		set(options.EnableProfiling(o.Profile))
	}
	set(e.device.configure(options, o))
	if err != nil {
		options.Destroy()
		return nil, err
	}
	return options, nil
}

// Bind gives the input or output of that name its tensor, in place of an
// earlier one. Type and shape must be the declared ones; an open dimension
// takes any size. One tensor may be bound to an input and to an output.
func (s *Session) Bind(name string, t *Tensor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ort == nil {
		return s.errorf("bind %s: the session is closed", name)
	}
	if s.fixed && s.begun {
		return s.errorf("bind %s: its addresses were fixed by the first run", name)
	}
	if t == nil || t.arena.p == nil {
		return s.errorf("bind %s: the tensor is nil or closed", name)
	}
	if t.arena.device != s.device {
		return s.errorf("bind %s: the tensor is on %s, want %s", name, t.arena.device.provider(), s.device.provider())
	}
	in := slices.IndexFunc(s.Inputs, func(i Info) bool { return i.Name == name })
	out := slices.IndexFunc(s.Outputs, func(i Info) bool { return i.Name == name })
	if in < 0 && out < 0 {
		return s.errorf("bind %s: no such name, want one of the inputs %s or outputs %s", name, names(s.Inputs, nil), names(s.Outputs, nil))
	}
	if in >= 0 {
		if err := s.fits(s.Inputs[in], t); err != nil {
			return err
		}
	}
	if out >= 0 {
		if err := s.fits(s.Outputs[out], t); err != nil {
			return err
		}
	}
	// The binding keeps its own reference to the value, but not to the memory:
	// that is what inputs and outputs below are for.
	value, err := s.device.value(t.address(), t.bytes, t.dtype, t.shape)
	if err != nil {
		return s.errorf("bind %s: %w", name, err)
	}
	defer releaseValue(value)
	if in >= 0 {
		if err := s.binding.BindInput(name, bound{value: value}); err != nil {
			return s.errorf("bind input %s: %s", name, oneLine(err.Error()))
		}
		s.inputs[in] = t
	}
	if out >= 0 {
		if err := s.binding.BindOutput(name, bound{value: value}); err != nil {
			return s.errorf("bind output %s: %s", name, oneLine(err.Error()))
		}
		s.outputs[out] = t
	}
	return nil
}

// Run computes the graph once. Every input and every output must be bound. A
// run that has begun is not interrupted: ctx is looked at before it begins.
func (s *Session) Run(ctx context.Context) error { return s.run(ctx, true) }

// Queue is Run that does not wait for a GPU to have computed the graph. Runs of
// one session follow each other on the device, so that the next Run waits for all
// that were queued before it, and has the error of any. Until then nothing else
// may touch what they read and write. The CPU computes at once.
func (s *Session) Queue(ctx context.Context) error { return s.run(ctx, false) }

func (s *Session) run(ctx context.Context, wait bool) error {
	if err := ctx.Err(); err != nil {
		return s.errorf("run: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ort == nil {
		return s.errorf("run: the session is closed")
	}
	if slices.Contains(s.inputs, nil) {
		return s.errorf("run: inputs %s are not bound: bind them first", names(s.Inputs, s.inputs))
	}
	if slices.Contains(s.outputs, nil) {
		return s.errorf("run: outputs %s are not bound: bind them first", names(s.Outputs, s.outputs))
	}
	for i, t := range s.inputs {
		if t.arena.p == nil {
			return s.errorf("run: the memory of input %s is closed", s.Inputs[i].Name)
		}
	}
	for i, t := range s.outputs {
		if t.arena.p == nil {
			return s.errorf("run: the memory of output %s is closed", s.Outputs[i].Name)
		}
	}
	defer runtime.KeepAlive(s)
	wait = wait || !s.begun || s.records // the proof of place, and a recording, are of a whole run
	s.begun = true
	if err := s.thread.call(func() error {
		defer s.device.enter(s.records)()
		if wait {
			return s.ort.RunWithBinding(s.binding)
		}
		return queue(s.ort, s.binding)
	}); err != nil {
		return s.errorf("run: %w", outOfMemory(err))
	}
	s.records = false
	if s.place.dir != "" {
		trace, err := endProfile(s.ort)
		if err == nil {
			err = s.place.check(trace)
		}
		s.strays = err
	}
	if s.strays != nil {
		return s.errorf("%w", s.strays)
	}
	return nil
}

// Close frees the session and lets go of its tensors. Closing twice does nothing.
func (s *Session) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ort == nil {
		return
	}
	// Neither can fail: yalue's Destroy returns nil for both.
	_ = s.thread.call(func() error {
		defer s.device.enter(false)()
		_ = s.binding.Destroy()
		return s.ort.Destroy()
	})
	if s.thread != nil {
		close(s.thread)
	}
	s.place.close()
	s.ort, s.binding, s.inputs, s.outputs = nil, nil, nil, nil
}

func (s *Session) fits(want Info, t *Tensor) error {
	ok := want.DType == t.dtype && len(want.Shape) == len(t.shape)
	for i := 0; ok && i < len(t.shape); i++ {
		ok = want.Shape[i] < 0 || want.Shape[i] == t.shape[i]
	}
	if !ok {
		return s.errorf("bind %s: got %s %v, want %s %v", want.Name, t.dtype, t.shape, want.DType, want.Shape)
	}
	return nil
}

func (s *Session) errorf(format string, args ...any) error {
	return fmt.Errorf("engine: session %q: "+format, append([]any{s.name}, args...)...)
}

// names lists up to six names, of all infos or of those without a tensor.
func names(infos []Info, tensors []*Tensor) string {
	var list []string
	for i, info := range infos {
		if tensors == nil || tensors[i] == nil {
			list = append(list, info.Name)
		}
	}
	if more := len(list) - 6; more > 0 {
		list = append(list[:6], fmt.Sprintf("and %d more", more))
	}
	return "[" + strings.Join(list, ", ") + "]"
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
