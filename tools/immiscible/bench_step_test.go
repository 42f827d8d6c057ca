package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const benchModel = "../../models/unet/testdata/single"

// fakePeer writes a peer that claims 10 ms a step, and the arguments it got.
func fakePeer(t *testing.T) (command, arguments string) {
	dir := t.TempDir()
	arguments = filepath.Join(dir, "arguments")
	script := filepath.Join(dir, "peer.sh")
	text := `echo "$@" > "` + arguments + `"
cp "$2" "` + dir + `/config.json"
echo '{"ready": true}'
while read line; do echo '{"step_ms": 10}'; done
echo '{"peak_rss_mb": 1, "torch": "0.1", "threads": 1}'
`
	if err := os.WriteFile(script, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return "sh '" + script + "'", arguments
}

func TestBenchStep(t *testing.T) {
	command, arguments := fakePeer(t)
	status, stdout, stderr := call(t.Context(), "bench", "step", "-model", benchModel, "-batch", "2", "-steps", "3", "-threads", "1", "-json", "-peer", command)
	var r benchReport
	if err := json.Unmarshal([]byte(stdout), &r); status != 0 || err != nil {
		t.Fatalf("status %d, %v\n%s\n%s", status, err, stdout, stderr)
	}
	if r.Model != benchModel || r.Parameters != 8805 || r.Batch != 2 || r.Resolution != 4 || r.Threads != 1 || r.Steps != 3 || r.Library == "" {
		t.Errorf("got %+v", r)
	}
	if q := r.StepMS; !(0 < q.Q1 && q.Q1 <= q.Median && q.Median <= q.Q3) {
		t.Errorf("quartiles %+v", q)
	}
	p := r.Peer
	if p == nil || p.Command != command || p.Version != "PyTorch 0.1" || p.Threads != 1 || p.PeakRSSMB != 1 || p.StepMS.Median != 10 {
		t.Fatalf("peer %+v", p)
	}
	if math.Abs(p.Ratio-r.StepMS.Median/10) > 1e-12 || math.Abs(p.RatioQ1-r.StepMS.Q1/10) > 1e-12 || p.MemoryRatio != r.PeakRSSMB {
		t.Errorf("ratios %g, %g, %g of %+v", p.Ratio, p.RatioQ1, p.MemoryRatio, r)
	}
	got, err := os.ReadFile(arguments)
	if err != nil || !strings.HasPrefix(string(got), "--model ") || !strings.HasSuffix(string(got), "config.json --batch 2 --resolution 4 --threads 1 --turns\n") {
		t.Errorf("the peer was called with %q, %v", got, err)
	}
	if config, err := os.ReadFile(filepath.Join(filepath.Dir(arguments), "config.json")); err != nil || !strings.Contains(string(config), `"block_out_channels"`) {
		t.Errorf("the peer's model is %q, %v", config, err)
	}

	status, stdout, stderr = call(t.Context(), "bench", "step", "-model", benchModel, "-batch", "1", "-steps", "1")
	if status != 0 || !strings.HasPrefix(stdout, benchModel+": 8805 parameters, batch 1, 4×4 pixels, ") || strings.Count(stdout, "\n") != 3 {
		t.Errorf("alone: status %d\n%s\n%s", status, stdout, stderr)
	}
}

func TestBenchStepErrors(t *testing.T) {
	tests := []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"x"}, 2, `unexpected argument "x"`},
		{[]string{"-steps", "0"}, 2, "-steps 0, want at least 1"},
		{[]string{"-batch", "-1"}, 2, "-batch -1, want 0 or more"},
		{[]string{"-resolution", "4294967296"}, 1, "-resolution 4294967296: want at most 16384 pixels"},
		{[]string{"-batch", "1000000000000"}, 1, "-batch 1000000000000 images of -resolution 4: want at most 17179869184 of them"},
		{[]string{"-resolution", "-1"}, 2, "-resolution -1, want 0 or more"},
		{[]string{"-model", benchModel, "-preset", "fashion-mnist"}, 2, "-model and -preset, want one of them"},
		{[]string{"-peer", "echo of no use >&2; false"}, 1, `no line of JSON (EOF, exit status 1): of no use`},
		{[]string{"-peer", `echo '{}'; true`}, 1, `its first line lacks "ready": true`},
		{[]string{"-peer", `echo '{"ready": true}'; read line; echo '{}'; true`}, 1, `its line lacks "step_ms"`},
		{[]string{"-peer", `echo '{"ready": true}'; while read line; do echo '{"step_ms": 1}'; done; echo '{}'; true`}, 1, `its last line lacks "peak_rss_mb"`},
	}
	for _, test := range tests {
		args := append([]string{"bench", "step"}, test.args...)
		if test.status == 1 {
			args = append([]string{"bench", "step", "-model", benchModel, "-batch", "1", "-steps", "1"}, test.args...)
		}
		status, stdout, stderr := call(t.Context(), args...)
		if status != test.status || stdout != "" || !strings.Contains(stderr, test.want) {
			t.Errorf("%q: status %d, stdout %q, stderr %q, want %d and %q", test.args, status, stdout, stderr, test.status, test.want)
		}
	}
}
