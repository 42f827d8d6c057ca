package datasets

import (
	"bytes"
	"image"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// seeds adds the files that match a pattern.
func seeds(f *testing.F, pattern string) {
	f.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		f.Fatalf("no file matches %s (%v)", pattern, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

// readAll reads records of a shard as training does, some of many.
func readAll(s reader) {
	for i := 0; i < s.len(); i += 1 + s.len()/50 {
		s.key(i)
		s.offset(i)
		s.label(i)
		s.read(i)
	}
}

// FuzzDecode: whatever stands in a file, it is read or refused.
func FuzzDecode(f *testing.F) {
	seeds(f, "testdata/pillow/decode_*")
	seeds(f, "testdata/pillow/exif_6.*")
	seeds(f, "testdata/webp/*.webp")
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, _, err := image.DecodeConfig(bytes.NewReader(data)); err == nil && c.Width*c.Height > 1<<20 {
			return // allowed, and slow
		}
		if c, err := webpConfig(data); err == nil && c.Width*c.Height > 1<<20 {
			return
		}
		p, err := decode(data, math.MaxInt)
		if err != nil {
			return
		}
		if p.w < 1 || p.h < 1 || len(p.pix) != p.w*p.h*p.c || (p.c != 1 && p.c != 3) {
			t.Fatalf("%d×%d×%d with %d bytes", p.h, p.w, p.c, len(p.pix))
		}
		upright(p, orientation(data))
	})
}

// FuzzParquet: pages are read or refused, wherever the footer says they are.
func FuzzParquet(f *testing.F) {
	seeds(f, "testdata/parquet/*.parquet")
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, want := range []fields{{}, {texts: true, caption: "captions", label: "kind"}} {
			want.pages = newPageCache(0)
			if s, err := indexParquet("x.parquet", bytes.NewReader(data), int64(len(data)), want); err == nil && s.len() < 1000 {
				readAll(s)
			}
		}
	})
}

// FuzzPickle: no pickle does more than fail.
func FuzzPickle(f *testing.F) {
	seeds(f, "testdata/cifar/[bdc]a*")
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := indexPickle("data_batch_1", bytes.NewReader(data), int64(len(data)), fields{}); err == nil {
			readAll(s)
		}
	})
}

// FuzzTable: tables in either form; no name leads out of the folder.
func FuzzTable(f *testing.F) {
	for _, text := range []string{"file_name,label,text\na.png,3,\"one, two\"\n../b,1,x\n", `{"file_name": "a.png", "label": 2, "text": ["x", "y"]}`, "\ufefffile\n/etc/passwd\n"} {
		f.Add([]byte(text))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, name := range []string{"x.csv", "x.jsonl"} {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, data, 0o666); err != nil {
				t.Fatal(err)
			}
			s, err := indexTable(path, fields{texts: true})
			if err != nil {
				if strings.Contains(err.Error(), "\n") {
					t.Errorf("more than one line: %q", err)
				}
				continue
			}
			for i, file := range s.files {
				if got, err := s.read(i); err == nil {
					t.Fatalf("%q is read: %d bytes", file, len(got.image))
				}
			}
		}
	})
}

// FuzzIDX: headers and lengths that lie.
func FuzzIDX(f *testing.F) {
	f.Add(idx(make([]byte, 20), 1, 4, 5), idx([]byte{1}, 1))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, images, labels []byte) {
		path := filepath.Join(dir, "x-images-idx3-ubyte")
		for name, data := range map[string][]byte{path: images, filepath.Join(dir, "x-labels-idx1-ubyte"): labels} {
			if err := os.WriteFile(name, data, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if s, err := indexIDX(path); err == nil {
			readAll(s)
		}
	})
}
