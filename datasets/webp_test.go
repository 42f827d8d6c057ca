package datasets

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWebPMatchesPillow: to the bit, since the conversion is libwebp's own
// (tools/golden/datasets/webp.py; versions in testdata/webp/VERSIONS).
func TestWebPMatchesPillow(t *testing.T) {
	files, err := filepath.Glob("testdata/webp/*.png")
	if err != nil || len(files) != 8 {
		t.Fatalf("%d golden files, want 8 (%v)", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(strings.TrimSuffix(file, ".png") + ".webp")
		if err != nil {
			t.Fatal(err)
		}
		p, err := decode(data)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		golden, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := decode(golden)
		if err != nil {
			t.Fatal(err)
		}
		if d := worst(t, file, upright(p, orientation(data)), want); d != 0 {
			t.Errorf("%s differs by %d levels", file, d)
		}
		for cut := range data { // no prefix may panic, and none is whole
			orientation(data[:cut])
			if _, err := decode(data[:cut]); err == nil && cut < len(data)-40 {
				t.Errorf("%s: the first %d of %d bytes are read", file, cut, len(data))
			}
		}
	}
	data, err := os.ReadFile("testdata/webp/animated.webp")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decode(data); err == nil || !strings.Contains(err.Error(), "animated WebP is not supported") {
		t.Errorf("error %v", err)
	}
}
