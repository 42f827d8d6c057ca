package runlog

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

// Every chunk of a picture with texts has its length and checksum, the texts
// come back by their kind, and the picture decodes.
func TestWriteImageWithText(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.png")
	err := WriteImage(path, []float32{-1, 0, 0.5, 1}, 1, 2, 2,
		Text{"parameters", "a crane\nSteps: 3"}, Text{"prompt", "ein Zwölf-Ender 🦌"}, Text{"empty", ""}, Text{"nul", "a\x00b"})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := png.Decode(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for at := 8; at < len(data); {
		n := int(binary.BigEndian.Uint32(data[at:]))
		body := data[at+4 : at+8+n]
		if sum := binary.BigEndian.Uint32(data[at+8+n:]); sum != crc32.ChecksumIEEE(body) {
			t.Errorf("chunk %s: checksum %x", body[:4], sum)
		}
		key, value, _ := bytes.Cut(body[4:], []byte{0})
		switch string(body[:4]) {
		case "tEXt":
			got[string(key)] = string(value)
		case "iTXt":
			got["utf-8 "+string(key)] = string(bytes.TrimPrefix(value, []byte{0, 0, 0, 0}))
		}
		at += 12 + n
	}
	want := map[string]string{"parameters": "a crane\nSteps: 3", "utf-8 prompt": "ein Zwölf-Ender 🦌", "empty": "", "nul": "a b"}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s: %q, want %q", key, got[key], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("texts %q, want %q", got, want)
	}
}
