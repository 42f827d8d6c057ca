package main

import (
	"bytes"
	"encoding/json"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBenchData: alone and in turns with a peer that claims half a second a turn;
// the peer gets the shards and the numbers.
func TestBenchData(t *testing.T) {
	dir := t.TempDir()
	arguments := filepath.Join(dir, "arguments")
	script := filepath.Join(dir, "peer.sh")
	text := `for a; do echo "$a" >> "` + arguments + `"; done
echo '{"ready": true, "version": "none 1"}'
while read line; do echo '{"seconds": 0.5}'; done
`
	if err := os.WriteFile(script, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := call(t.Context(), "bench", "data", "-resolution", "32", "-batch", "2", "-batches", "2", "-turns", "3", "-workers", "1", "-images", "3", "-json", "-peer", "sh '"+script+"'")
	var r dataReport
	if err := json.Unmarshal([]byte(stdout), &r); status != 0 || err != nil {
		t.Fatalf("status %d, %v\n%s\n%s", status, err, stdout, stderr)
	}
	if r.Records != 3 || r.Resolution != 32 || r.Batch != 2 || r.Workers != 1 || r.Turns != 3 || r.Decoder == "" || r.ImagesPerSecond.Median <= 0 {
		t.Errorf("got %+v", r)
	}
	if p := r.Peer; p == nil || p.Version != "none 1" || p.ImagesPerSecond.Median != 8 || math.Abs(p.Ratio-r.ImagesPerSecond.Median/8) > 1e-9 {
		t.Errorf("peer %+v", p)
	}
	got, err := os.ReadFile(arguments)
	want := "--resolution\n32\n--batch\n2\n--batches\n2\n--workers\n1\n"
	if err != nil || !strings.HasPrefix(string(got), want) || !strings.HasSuffix(string(got), "photos-000.tar\n") {
		t.Errorf("the peer was called with %q, %v", got, err)
	}

	status, stdout, stderr = call(t.Context(), "bench", "data", "-batch", "2", "-batches", "1", "-turns", "1", "-resolution", "8", "fashion-mnist")
	if status != 0 || !strings.HasPrefix(stdout, "10000 records, 8×8 pixels, batch 2, 2 workers, 1 turns\n") || strings.Count(stdout, "\n") != 2 {
		t.Errorf("status %d\n%s\n%s", status, stdout, stderr)
	}
	for _, row := range []struct {
		args   []string
		status int
		err    string
	}{
		{[]string{"-turns", "0"}, 2, "-turns 0, want at least 1"},
		{[]string{"-peer", "true", "fashion-mnist"}, 1, "is no tar"},
		{[]string{"-peer", "echo '{}' #", "-images", "1"}, 1, `its first line lacks "ready": true`},
		{[]string{"-peer", "echo '{\"ready\": true}'; read x; echo '{}' #", "-images", "1", "-batch", "1", "-batches", "1"}, 1, `its line lacks "seconds"`},
		{[]string{"nowhere.tar"}, 1, "nowhere.tar"},
	} {
		status, _, stderr := call(t.Context(), append([]string{"bench", "data"}, row.args...)...)
		if status != row.status || !strings.Contains(stderr, row.err) {
			t.Errorf("%v: status %d, %q, want %d, %q", row.args, status, stderr, row.status, row.err)
		}
	}
}

// TestPhotosAreLikeImageNets: the pictures that are made weigh what ImageNet's
// do, 110 KB on average, within a fifth.
func TestPhotosAreLikeImageNets(t *testing.T) {
	total := 0
	for i := range uint64(4) {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, photo(i), &jpeg.Options{Quality: photoQuality}); err != nil {
			t.Fatal(err)
		}
		total += b.Len()
	}
	if mean := total / 4; mean < 88_000 || mean > 132_000 {
		t.Errorf("%d bytes a photograph, want 110,000 within a fifth", mean)
	}
}
