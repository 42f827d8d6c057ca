package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

// The bench and a peer take turns, the peer is told the settings, and the ratio
// is ours divided by the peer's.
func TestBenchGenerate(t *testing.T) {
	peer := `sh -c 'echo "{\"ready\": true, \"version\": \"$*\"}"; while read go; do echo "{\"seconds\": 0.5}"; done' peer`
	stdout, _ := mustCall(t, "bench", "generate", "-model", sdTiny, "-images", "3", "-batch", "2", "-steps", "2", "-turns", "2",
		"-sampler", "euler", "-prompt", "a b", "-peer", peer, "-json")
	var r generateReport
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	if r.Images != 3 || r.Batch != 2 || r.Turns != 2 || r.Height != 16 || !(r.ImagesPerSecond.Median > 0) {
		t.Errorf("%+v", r)
	}
	if p := r.Peer; p == nil || p.ImagesPerSecond.Median != 6 || math.Abs(p.Ratio-r.ImagesPerSecond.Median/6) > 1e-9 ||
		!strings.Contains(p.Version, "--prompt a b --images 3 --batch 2 --steps 2 --sampler euler --guidance 7.5 --height 16 --width 16") {
		t.Errorf("peer %+v", p)
	}
	if stdout, _ := mustCall(t, "bench", "generate", "-model", sdTiny, "-images", "1", "-steps", "1", "-turns", "1"); !strings.Contains(stdout, "16×16 pixels, pndm, 1 steps, guidance 7.5, batch 1") {
		t.Errorf("the table is %s", stdout)
	}
	for _, test := range []badCall{
		{"no model", []string{"bench", "generate"}, 2, "no -model"},
		{"turns", []string{"bench", "generate", "-model", sdTiny, "-turns", "0"}, 2, "-turns 0, want at least 1"},
		{"sampler", []string{"bench", "generate", "-model", sdTiny, "-sampler", "x"}, 2, `-sampler "x", want one of ddim`},
	} {
		test.check(t, t.TempDir())
	}
}
