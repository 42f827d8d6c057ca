package datasets

import (
	"archive/tar"
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// member is one entry of a tar that a test writes.
type member struct {
	name string
	data []byte
	kind byte // 0: regular file
}

func file(name, data string) member { return member{name: name, data: []byte(data)} }

// tarBytes writes members in a format.
func tarBytes(t testing.TB, format tar.Format, members ...member) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, m := range members {
		head := &tar.Header{Name: m.name, Size: int64(len(m.data)), Mode: 0o644, Format: format, Typeflag: tar.TypeReg, ModTime: time.Unix(1, 0)}
		if m.kind != 0 {
			head.Typeflag, head.Linkname = m.kind, "elsewhere.png"
		}
		if err := w.WriteHeader(head); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// write makes a file in a fresh folder and returns its path.
func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	return writeIn(t, t.TempDir(), name, data)
}

func writeIn(t testing.TB, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// dot is a gray PNG of w×h whose upper left pixel is level and whose others are
// 10, so that a mirrored example can be told.
func dot(w, h int, level uint8) []byte {
	m := image.NewGray(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = 10
	}
	m.SetGray(0, 0, color.Gray{Y: level})
	return encode(m)
}

// encode writes an image as PNG.
func encode(m image.Image) []byte {
	var buf bytes.Buffer
	if err := png.Encode(&buf, m); err != nil {
		panic(err) // writing to memory does not fail
	}
	return buf.Bytes()
}

// shardOf writes a tar of n records; record i is a 4×3 dot of level i, label i mod 7.
func shardOf(t testing.TB, dir, name string, n int, change func(i int, image []byte) []byte) string {
	t.Helper()
	var members []member
	for i := range n {
		picture := dot(4, 3, uint8(i))
		if change != nil {
			picture = change(i, picture)
		}
		members = append(members, member{name: fmt.Sprintf("%05d.png", i), data: picture}, file(fmt.Sprintf("%05d.cls", i), fmt.Sprint(i%7)))
	}
	return writeIn(t, dir, name, tarBytes(t, tar.FormatUSTAR, members...))
}

func mustOpen(t testing.TB, options Options) *Dataset {
	t.Helper()
	d, err := Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}
