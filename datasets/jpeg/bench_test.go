package jpeg

import (
	"bytes"
	"image/jpeg"
	"os"
	"testing"
)

// BenchmarkDecode reads a photograph with this decoder and the standard library's.
func BenchmarkDecode(b *testing.B) {
	data, err := os.ReadFile("../testdata/photos/flower.jpg")
	if err != nil {
		b.Fatal(err)
	}
	for _, row := range []struct {
		name string
		read func() error
	}{
		{"this", func() error { _, err := decode(data); return err }},
		{"standard", func() error { _, err := jpeg.Decode(bytes.NewReader(data)); return err }},
	} {
		b.Run(row.name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if err := row.read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
