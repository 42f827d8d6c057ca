package engine

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// providerNames are ONNX Runtime's names of our devices.
var providerNames = map[string]string{"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

// placement is the proof that a session's nodes run where they should: ONNX
// Runtime gives a node that the device's provider lacks to the CPU without a
// word, and copies its inputs and outputs over the bus at each run. Only the
// trace of a run tells, so the first run is traced.
type placement struct {
	dir      string   // of the trace; "" when the proof is done or not asked for
	provider string   // that nodes must be on
	except   []string // names of nodes that need not
}

func newPlacement(d device, o *SessionOptions) (placement, error) {
	if !o.OnDevice {
		return placement{}, nil
	}
	dir, err := os.MkdirTemp("", "immiscible-placement-")
	if err != nil {
		return placement{}, err
	}
	o.Profile = filepath.Join(dir, "trace")
	return placement{dir, providerNames[d.provider()], o.CPUNodes}, nil
}

// close removes what is left of a proof.
func (p *placement) close() {
	if p.dir != "" {
		_ = os.RemoveAll(p.dir) // a folder for temporary files; the system clears it too
		p.dir = ""
	}
}

// check reads the trace at path after the first run.
func (p *placement) check(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	defer p.close()
	return checkPlacement(f, p.provider, p.except)
}

// traceEvent is what matters of an entry of ONNX Runtime's trace.
type traceEvent struct {
	Cat  string `json:"cat"`
	Name string `json:"name"` // the node's, with "_kernel_time" behind
	Args struct {
		Op       string `json:"op_name"`
		Provider string `json:"provider"`
	} `json:"args"`
}

// checkPlacement reads a trace: an array of events, one of category "Node" for
// each node that ran.
func checkPlacement(trace io.Reader, provider string, except []string) error {
	d := json.NewDecoder(trace)
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("the trace of its first run: %w", err)
	}
	var strays []string
	advice := "set runtime.provider = \"cpu\", and report the operator"
	nodes := 0
	for d.More() {
		var e traceEvent
		if err := d.Decode(&e); err != nil {
			return fmt.Errorf("the trace of its first run: %w", err)
		}
		if e.Cat != "Node" || e.Args.Provider == "" {
			continue
		}
		nodes++
		name := strings.TrimSuffix(e.Name, "_kernel_time")
		if stray := fmt.Sprintf("%s (%s, on %s)", name, e.Args.Op, e.Args.Provider); e.Args.Provider != provider && !slices.Contains(except, name) && !slices.Contains(strays, stray) {
			strays = append(strays, stray)
		}
	}
	switch {
	case nodes == 0:
		return fmt.Errorf("the trace of its first run names no node, so that nobody knows where they run")
	case slices.ContainsFunc(strays, func(s string) bool { return strings.Contains(s, " (ConvTranspose, ") }):
		advice = "runtime.cuda.prefer_nhwc = true does that to ConvTranspose: set it to false, or runtime.operators = \"native\""
	}
	switch {
	case len(strays) > 6:
		strays = append(strays[:6], fmt.Sprintf("and %d more", len(strays)-6))
		fallthrough
	case len(strays) > 0:
		return fmt.Errorf("nodes do not run on %s: %s: each run would copy over the bus for them; %s", provider, strings.Join(strays, ", "), advice)
	}
	return nil
}
