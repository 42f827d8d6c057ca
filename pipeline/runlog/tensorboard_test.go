package runlog

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The file is byte for byte what TensorBoard's own code writes for the same
// events: tools/golden/tensorboard_check.py.
func TestEventsGolden(t *testing.T) {
	dir := t.TempDir()
	at := time.Unix(1700000000, 250_000_000)
	e, err := openEvents(dir, 3, func() time.Time { return at })
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []int{3, 200} {
		if err := e.Record(record(step)); err != nil {
			t.Fatal(err)
		}
	}
	png := read(t, filepath.Join("testdata", "pixels.png"))
	if err := e.Image(200, "samples", []byte(png)); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.1700000000.*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %q, %v", files, err)
	}
	got, want := read(t, files[0]), read(t, filepath.Join("testdata", "tensorboard.events"))
	if got != want {
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		t.Errorf("%d bytes, want %d; the first difference is at byte %d", len(got), len(want), i)
	}
}

// CRC-32C of 32 zero bytes is 8a9136aa (RFC 3720, appendix B.4); rotated right
// by 15 bits it is 6d551522, and crc32c.h adds a282ead8.
func TestMaskedCRC(t *testing.T) {
	if got, want := maskedCRC(make([]byte, 32)), uint32(0xfd7fffa); got != want {
		t.Errorf("got %x, want %x", got, want)
	}
}

// Every step's events are on their way when the call returns: a reader that
// follows the file, or comes after a kill, sees whole records only.
func TestEventsFlushed(t *testing.T) {
	dir := t.TempDir()
	e, err := OpenEvents(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	for step := 1; step <= 3; step++ {
		if err := e.Record(record(step)); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Fatalf("%v, %v", entries, err)
		}
		data, records := []byte(read(t, filepath.Join(dir, entries[0].Name()))), 0
		for len(data) > 0 {
			data = data[8+4+binary.LittleEndian.Uint64(data)+4:]
			records++
		}
		if records != 2+step {
			t.Errorf("%d records after step %d, want %d", records, step, 2+step)
		}
	}
	if err := e.Image(3, "samples", []byte("no PNG")); err == nil || !strings.Contains(err.Error(), "image samples of step 3") {
		t.Errorf("no PNG: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Record(record(4)); err == nil || !strings.HasPrefix(err.Error(), "write TensorBoard events: step 4: ") {
		t.Errorf("closed: %v", err)
	}
	if _, err := OpenEvents(filepath.Join(dir, "none"), 1); err == nil {
		t.Errorf("events in no folder")
	}
}
