package datasets

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// index indexes bytes as a tar.
func index(data []byte) (*tarShard, error) {
	return indexTar("in/shard.tar", bytes.NewReader(data), int64(len(data)))
}

// TestTarFormats writes the same records in each header format, with names that
// only that format's extension can hold, and reads them back.
func TestTarFormats(t *testing.T) {
	long := strings.Repeat("deep/", 60) + "a" // 301 bytes: beyond USTAR's 255
	for _, row := range []struct {
		format tar.Format
		keys   []string
	}{
		{tar.FormatUSTAR, []string{"a", "b/c", strings.Repeat("d", 80) + "/" + strings.Repeat("e", 90)}},
		{tar.FormatPAX, []string{"a", long, "schöne/Größe"}},
		{tar.FormatGNU, []string{"a", long, "b"}},
	} {
		var members []member
		for i, key := range row.keys {
			members = append(members, member{name: key + ".png", data: dot(2+i, 2, 7)}, file(key+".cls", fmt.Sprintf("%d\n", i)), file(key+".txt", " a caption "+key))
		}
		s, err := index(tarBytes(t, row.format, members...))
		if err != nil {
			t.Fatalf("%v: %v", row.format, err)
		}
		if s.len() != len(row.keys) {
			t.Fatalf("%v: %d records, want %d", row.format, s.len(), len(row.keys))
		}
		for i, key := range row.keys {
			s.want.texts = true
			got, err := s.read(i)
			if err != nil {
				t.Fatal(err)
			}
			if s.key(i) != key || !bytes.Equal(got.image, dot(2+i, 2, 7)) || got.label != int64(i) || strings.Join(got.texts, "|") != "a caption "+key {
				t.Errorf("%v: record %d is %q with label %d, text %q", row.format, i, s.key(i), got.label, got.texts)
			}
		}
	}
}

// TestTarOfOtherPrograms reads shards that GNU tar and Python's tarfile wrote
// (tools/golden/datasets/tars.sh; versions in testdata/tars/VERSIONS).
func TestTarOfOtherPrograms(t *testing.T) {
	files, err := filepath.Glob("testdata/tars/*.tar")
	if err != nil || len(files) != 7 {
		t.Fatalf("%d golden files, want 7 (%v)", len(files), err)
	}
	long := "a-folder-with-a-long-name/" + strings.Repeat("k", 120)
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		s, err := indexTar(path, f, info.Size())
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		got := map[string]raw{}
		for i := range s.len() {
			if got[s.key(i)], err = s.read(i); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		want := map[string]int64{"00": 3, "01": 4}
		if !strings.HasSuffix(path, "-v7.tar") && !strings.HasSuffix(path, "-ustar.tar") { // base names of at most 100 bytes
			want[long] = 5
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d records, want %d", path, len(got), len(want))
		}
		for key, label := range want {
			if r := got[key]; r.label != label || string(r.image) != "image "+fmt.Sprint(label) {
				t.Errorf("%s: record %q is %q with label %d, want label %d", path, key, r.image, r.label, label)
			}
		}
	}
}

// TestTarRules holds WebDataset's naming: first dot, folders, `./`, what is
// ignored, members apart, .json, and what makes a record bad.
func TestTarRules(t *testing.T) {
	s, err := index(tarBytes(t, tar.FormatPAX,
		member{name: "dir/", kind: tar.TypeDir},
		file("./x.y.png", "not an image member"), file("./x.jpg", "x"),
		file("dir.d/x.JPEG", "in dir"),
		file("._x.jpg", "mac"), file("dir.d/._x.cls", "9"), file(".hidden", "h"), file("README", "r"),
		member{name: "x.cls", kind: tar.TypeSymlink}, member{name: "link.png", kind: tar.TypeLink}, member{name: "dev.png", kind: tar.TypeChar},
		file("apart.cls", "12"), file("meta.png", "m"), file("meta.json", `{"label": 8, "caption": "c", "width": 3}`),
		file("x.cls", "4"), file("apart.webp", "w"),
		file("none.cls", "1"), file("twice.png", "1"), file("twice.png", "2"), file("two.png", "1"), file("two.jpg", "2"),
		file("word.png", "1"), file("word.cls", "cat"), file("minus.png", "1"), file("minus.cls", "-1"),
		file("json.png", "1"), file("json.json", `{"label": `), file("bare.png", "b"), file("text.png", "t"), file("text.json", `{"text":"tt"}`),
		file("nan.png", "n"), file("nan.json", `{"similarity": NaN}`), file("name.png", "n"), file("name.json", `{"label": "n0144", "caption": null, "text": "t"}`),
		file("null.png", "n"), file("null.json", `{"label": null}`),
	))
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range []struct {
		key, image string
		label      int64
		text, bad  string
	}{
		{"x", "x", 4, "", ""}, {"dir.d/x", "in dir", -1, "", ""}, {"apart", "w", 12, "", ""}, {"meta", "m", 8, "c", ""},
		{key: "none", bad: "no image"}, {key: "twice", bad: "comes on top"}, {key: "two", bad: "comes on top"},
		{key: "word", bad: `"cat" is no class number`}, {key: "minus", bad: `"-1" is no class number`}, {key: "json", bad: ".json"},
		{"bare", "b", -1, "", ""}, {"text", "t", -1, "tt", ""},
		{"nan", "n", -1, "", ""}, {"name", "n", -1, "t", ""}, {"null", "n", -1, "", ""},
	} {
		if i >= s.len() || s.key(i) != row.key {
			t.Fatalf("record %d of %d is not %q", i, s.len(), row.key)
		}
		s.want.texts = true
		got, err := s.read(i)
		if row.bad != "" {
			var fault *Fault
			if !errors.As(err, &fault) || !strings.Contains(err.Error(), row.bad) || fault.Shard != "shard.tar" || fault.Key != row.key || fault.Offset == 0 {
				t.Errorf("%s: error %v, want a fault with %q", row.key, err, row.bad)
			}
			continue
		}
		if err != nil || string(got.image) != row.image || got.label != row.label || strings.Join(got.texts, "|") != row.text {
			t.Errorf("%s: %q, label %d, text %q, %v", row.key, got.image, got.label, got.texts, err)
		}
	}
	if s.len() != 15 {
		t.Errorf("%d records, want 15", s.len())
	}
}

// TestTarBigMember steps over a member of nine gigabytes, whose size GNU writes
// in base 256 and PAX in a record; the file is mostly a hole.
func TestTarBigMember(t *testing.T) {
	const big = 9 << 30
	for _, format := range []tar.Format{tar.FormatGNU, tar.FormatPAX} {
		var head bytes.Buffer
		w := tar.NewWriter(&head)
		if err := w.WriteHeader(&tar.Header{Name: "a.bin", Size: big, Format: format}); err != nil {
			t.Fatal(err)
		}
		rest := tarBytes(t, format, member{name: "b.png", data: dot(2, 2, 1)}, file("b.cls", "6"))
		path := write(t, "big.tar", head.Bytes())
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt(rest, int64(head.Len())+big); err != nil {
			t.Fatal(err)
		}
		s, err := indexTar(path, f, int64(head.Len())+big+int64(len(rest)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.read(s.len() - 1); err != nil || got.label != 6 || !bytes.Equal(got.image, dot(2, 2, 1)) {
			t.Errorf("%v: label %d, %v", format, got.label, err)
		}
	}
}

// TestTarBroken: a tar that is cut anywhere, lies, or is none gives an error that
// says so, and what stands before the fault is returned.
func TestTarBroken(t *testing.T) {
	whole := tarBytes(t, tar.FormatUSTAR, file("a.png", "A"), file("a.cls", "1"), file("b.png", strings.Repeat("B", 700)), file("b.cls", "2"))
	full, err := index(whole)
	if err != nil || full.len() != 2 {
		t.Fatal(err)
	}
	for cut := 1; cut < len(whole); cut++ {
		s, err := index(whole[:cut])
		if err == nil != (cut == len(whole)-512) { // one whole block of the two at the end will do
			t.Fatalf("cut at %d of %d: error %v", cut, len(whole), err)
		}
		if s == nil {
			continue
		}
		for i := range s.len() {
			if _, err := s.read(i); err != nil && s.records[i].image != absent {
				t.Errorf("cut at %d: record %d: %v", cut, i, err)
			}
		}
	}
	lying := bytes.Clone(whole)
	copy(lying[124:], "77777777777\x00") // the size field of a.png; the checksum follows
	sum := 0
	copy(lying[148:], "        ")
	for _, c := range lying[:512] {
		sum += int(c)
	}
	copy(lying[148:], fmt.Sprintf("%06o\x00 ", sum))
	for _, row := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "no record", nil},
		{"no members of ours", "no record", tarBytes(t, tar.FormatUSTAR, file("README", "x"))},
		{"text", "invalid tar header", bytes.Repeat([]byte("some text\n"), 200)},
		{"gzip", "compressed", append([]byte{0x1f, 0x8b, 8, 0}, bytes.Repeat([]byte{1, 2}, 600)...)},
		{"cut between members", "ends early", whole[:2048]},
		{"truncated data", "b.png has 700 bytes by its header, 300 are left", whole[:2560+300]},
		{"lying size", "a.png has 8589934591 bytes", lying},
	} {
		_, err := index(row.data)
		if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), "in/shard.tar") {
			t.Errorf("%s: error %v, want one with %q", row.name, err, row.want)
		}
	}
}

// TestTarShrinks: a file that became shorter after it was indexed is an error of
// the storage, not a bad record to be skipped.
func TestTarShrinks(t *testing.T) {
	path := shardOf(t, t.TempDir(), "s.tar", 5, nil)
	d := mustOpen(t, Options{Sources: []string{path}, BadRecords: BadRecordsSkip})
	if err := os.Truncate(path, 600); err != nil {
		t.Fatal(err)
	}
	var fault *Fault
	failed := false
	for position := range int64(5) {
		if _, err := d.Example(t.Context(), position); err != nil {
			failed = true
			if errors.As(err, &fault) || !strings.Contains(err.Error(), "shorter") {
				t.Errorf("error %v", err)
			}
		}
	}
	if !failed {
		t.Error("no error from a truncated file")
	}
}

func FuzzIndexTar(f *testing.F) {
	f.Add(tarBytes(f, tar.FormatPAX, file("a.png", "A"), file("a.cls", "1")))
	f.Add(tarBytes(f, tar.FormatGNU, file(strings.Repeat("a", 200)+".png", "A")))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := index(data)
		if s == nil && err == nil {
			t.Fatal("neither shard nor error")
		}
		if s == nil {
			return
		}
		for i := range s.len() {
			var fault *Fault
			if _, err := s.read(i); err != nil && !errors.As(err, &fault) && !errors.Is(err, io.EOF) {
				t.Fatalf("record %d: %v", i, err)
			}
		}
	})
}
