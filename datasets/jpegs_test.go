package datasets

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnusualJPEGsMatchPillow: samplings, scans, restarts, tables and sizes that
// data sets seldom have (tools/golden/datasets/jpegs.py; versions in
// testdata/jpegs/VERSIONS), to the bit; RGB, which is the standard library's, within
// three levels; arithmetic coding and chroma planes of two sizes are refused.
func TestUnusualJPEGsMatchPillow(t *testing.T) {
	files, err := filepath.Glob("testdata/jpegs/*.jpg")
	if err != nil || len(files) != 23 {
		t.Fatalf("%d golden files, want 23 (%v)", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(data)
		name := strings.TrimSuffix(filepath.Base(file), ".jpg")
		if name == "arithmetic" || name == "sample_chroma" {
			if err == nil {
				t.Errorf("%s is read", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		golden, err := os.ReadFile(strings.TrimSuffix(file, ".jpg") + ".png")
		if err != nil {
			t.Fatal(err)
		}
		want, err := decode(golden)
		if err != nil {
			t.Fatal(err)
		}
		bound := 0
		if name == "rgb" && mostShrink == 1 {
			bound = 3
		}
		if largest, mean := difference(t, name, got, want); largest > bound {
			t.Errorf("%s differs by %d levels, %.3f in the mean, want at most %d", name, largest, mean, bound)
		}
	}
}
