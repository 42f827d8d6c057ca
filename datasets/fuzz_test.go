package datasets

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
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

// FuzzDecode: whatever stands in a file, it is read or refused; and refused where its
// header asks for more pixels than there may be.
func FuzzDecode(f *testing.F) {
	seeds(f, "testdata/pillow/decode_*")
	seeds(f, "testdata/pillow/exif_6.*")
	seeds(f, "testdata/webp/*.webp")
	f.Fuzz(func(t *testing.T, data []byte) {
		config, _, err := image.DecodeConfig(bytes.NewReader(data))
		if err != nil {
			config, err = webpConfig(data)
		}
		if area := config.Width * config.Height; err == nil && area > maxPixels {
			if _, err := decode(data); err == nil {
				t.Fatalf("an image of %d×%d is read", config.Width, config.Height)
			}
			return
		} else if err == nil && area > 1<<20 {
			return // allowed, and slow
		}
		p, err := decode(data)
		if err != nil {
			return
		}
		if p.w < 1 || p.h < 1 || len(p.pix) != p.w*p.h*p.c || (p.c != 1 && p.c != 3) {
			t.Fatalf("%d×%d×%d with %d bytes", p.h, p.w, p.c, len(p.pix))
		}
		upright(p, orientation(data))
	})
}

// FuzzOrientation: whatever stands in an EXIF block, an orientation comes out.
func FuzzOrientation(f *testing.F) {
	seeds(f, "testdata/pillow/exif_*")
	seeds(f, "testdata/webp/exif_6.webp")
	f.Fuzz(func(t *testing.T, data []byte) {
		if o := orientation(data); o < 1 || o > 8 {
			t.Fatalf("orientation %d", o)
		}
	})
}

// FuzzMembers: what stands in a record's members is read, or is a fault of the record.
func FuzzMembers(f *testing.F) {
	f.Add([]byte("3\n"), []byte("a caption"), []byte(`{"label": 8, "caption": ["x", null], "text": "c"}`))
	f.Add([]byte("-1"), []byte("\xff"), []byte(`{"label": 1e99, "caption": {}, "similarity": NaN}`))
	f.Fuzz(func(t *testing.T, class, text, meta []byte) {
		s, err := index(tarBytes(t, 0, file("a.png", "A"), member{name: "a.cls", data: class}, file("b.png", "B"), member{name: "b.txt", data: text},
			member{name: "b.json", data: meta}, file("c.png", "C"), member{name: "c.json", data: meta}))
		if err != nil {
			t.Fatal(err)
		}
		for _, s.want = range []fields{{texts: true}, {texts: true, caption: "caption", label: "label"}} {
			for i := range 3 {
				var fault *Fault
				got, err := s.read(i)
				if err != nil && !errors.As(err, &fault) || err == nil && (got.label < -1 || got.label > math.MaxInt32) {
					t.Fatalf("record %d: label %d, %v", i, got.label, err)
				}
			}
		}
	})
}

// FuzzBlock: of the cache's files, only what they were written with comes back.
func FuzzBlock(f *testing.F) {
	whole := []byte("some bytes of a shard")
	f.Add(binary.LittleEndian.AppendUint32(whole, crc32.Checksum(whole, castagnoli)), uint16(len(whole)), uint16(3))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, stored []byte, length, offset uint16) {
		c := newBlockCache(dir, 1<<20)
		writeIn(t, dir, "blocks/id/7", stored)
		if offset > length {
			return
		}
		p := make([]byte, length-offset)
		if !c.readAt("id", 7, int64(length), p, int64(offset)) {
			return
		}
		if data := stored[:length]; len(stored) != int(length)+4 || crc32.Checksum(data, castagnoli) != binary.LittleEndian.Uint32(stored[length:]) || !bytes.Equal(p, data[offset:]) {
			t.Fatalf("%x gives %x", stored, p)
		}
	})
}

// FuzzAnswer: whatever a server answers to a request for a range is accepted as that, or
// an error of one line.
func FuzzAnswer(f *testing.F) {
	f.Add(206, "bytes 100-199/1000", "", `"tag"`, "", int64(100), int64(100), int64(100))
	f.Add(206, "bytes 5-9/*", "gzip", "W/x", "Mon", int64(5), int64(5), int64(5))
	f.Add(416, "bytes */7", "", "", "", int64(0), int64(0), int64(512))
	f.Fuzz(func(t *testing.T, status int, span, packed, etag, modified string, from, done, n int64) {
		const size = 1000
		if strings.Contains(span+packed+etag+modified, "\n") || from < 0 || n < 1 || done < 0 || from > size || n > size-from || done >= n {
			return
		}
		for _, seen := range []version{{size: -1}, {size, `"tag"`, ""}} {
			w := &webFile{seen: seen}
			got, err := w.accept(&http.Response{StatusCode: status, Body: http.NoBody, ContentLength: n,
				Header: http.Header{"Content-Range": {span}, "Content-Encoding": {packed}, "Etag": {etag}, "Last-Modified": {modified}}}, from+done, from, n)
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Fatalf("more than one line: %q", err)
			}
			if err == nil && (got > n || seen.size >= 0 && got != n || status != http.StatusPartialContent) {
				t.Fatalf("%d bytes from %d accepted as %d", n, from, got)
			}
		}
	})
}

// FuzzTexts: the small files beside the data.
func FuzzTexts(f *testing.F) {
	f.Add([]byte("crane\ncrane, bird\n"))
	f.Add([]byte("2\nBald Male\na.png -1  1\nb.png  1 -1\n"))
	f.Add([]byte("[profile x]\nservices = y\n[services y]\ns3 =\n  endpoint_url = http://127.0.0.1\n"))
	f.Add([]byte(`{"info": {"features": {"label": {"_type": "ClassLabel", "names": ["a"]}}}}`))
	path := filepath.Join(f.TempDir(), "file")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		if names, err := ReadClassNames(path, 0); err == nil && slices.Contains(names, "") {
			t.Fatalf("an empty name among %q", names)
		}
		if labels, err := celebaLabels(path, "Male", []string{"a.png", "b.png"}); err == nil && (len(labels) != 2 || slices.Min(labels) < -1 || slices.Max(labels) > 1) {
			t.Fatalf("labels %v", labels)
		}
		iniValue(path, "services y", "s3.endpoint_url")
		hubFeatures(string(data))
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
