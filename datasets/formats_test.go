package datasets

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// cifarByte is byte j of record i in the CIFAR files of these tests, and of
// testdata/cifar.
func cifarByte(i, j int) uint8 { return uint8(i*31 + j*7 + j/1024) }

// checkCIFAR reads n records and holds pixels and labels against their formulas.
func checkCIFAR(t *testing.T, s reader, n int, label func(int) int64) {
	t.Helper()
	if s.len() != n {
		t.Fatalf("%d records, want %d", s.len(), n)
	}
	for i := range n {
		got, err := s.read(i)
		if err != nil {
			t.Fatal(err)
		}
		p := got.pixels
		if p.w != 32 || p.h != 32 || p.c != 3 || got.label != label(i) {
			t.Fatalf("record %d is %d×%d×%d with label %d, want %d", i, p.h, p.w, p.c, got.label, label(i))
		}
		for at := range 1024 {
			for c := range 3 {
				if p.pix[at*3+c] != cifarByte(i, c*1024+at) {
					t.Fatalf("record %d, pixel %d, channel %d is %d, want %d", i, at, c, p.pix[at*3+c], cifarByte(i, c*1024+at))
				}
			}
		}
		if again, err := s.label(i); again != got.label || err != nil {
			t.Errorf("label %d, %v", again, err)
		}
	}
}

// cifarBatch is a binary batch of n records with the given label bytes.
func cifarBatch(n int, labels func(i int) []byte) []byte {
	var b []byte
	for i := range n {
		b = append(b, labels(i)...)
		for j := range cifarPixels {
			b = append(b, cifarByte(i, j))
		}
	}
	return b
}

// TestCIFAR: both versions, their class names, and that a folder stands for its
// training batches.
func TestCIFAR(t *testing.T) {
	dir := t.TempDir()
	ten := func(i int) []byte { return []byte{byte(i * 3 % 10)} }
	for _, name := range []string{"data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"} {
		writeIn(t, dir, name, cifarBatch(4, ten))
	}
	writeIn(t, dir, "batches.meta.txt", []byte("a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n"))
	writeIn(t, dir, "readme.html", nil)
	d := mustOpen(t, Options{Sources: []string{dir}, NumClasses: 10, CaptionTemplate: "the {class}", Captions: CaptionsClass})
	if d.Len() != 8 || len(d.shards) != 2 || d.Channels() != 3 || d.Resolution() != 32 || !slices.Equal(d.ClassNames(), strings.Split("abcdefghij", "")) {
		t.Errorf("%d records in %d shards, %d channels of %d, classes %v", d.Len(), len(d.shards), d.Channels(), d.Resolution(), d.ClassNames())
	}
	label := func(i int) int64 { return int64(i * 3 % 10) }
	checkCIFAR(t, d.shards[1], 4, label)
	e, err := d.Example(t.Context(), 3)
	if err != nil || e.Text != "the "+d.ClassNames()[e.Label] {
		t.Errorf("%q, %v", e.Text, err)
	}
	if test := mustOpen(t, Options{Sources: []string{filepath.Join(dir, "test_batch.bin")}}); test.Len() != 4 {
		t.Errorf("%d test records", test.Len())
	}

	python := mustOpen(t, Options{Sources: []string{"testdata/cifar"}})
	checkCIFAR(t, python.shards[0], 4, label)
	if got := python.ClassNames(); len(got) != 10 || got[9] != "class 9" {
		t.Errorf("classes %q", got)
	}

	hundred := writeIn(t, t.TempDir(), "train.bin", cifarBatch(3, func(i int) []byte { return []byte{byte(i), byte(50 + i)} }))
	for _, row := range []struct {
		path, key string
		label     func(int) int64
		n         int
	}{
		{hundred, "", func(i int) int64 { return int64(50 + i) }, 3},
		{hundred, "coarse_label", func(i int) int64 { return int64(i) }, 3},
		{"testdata/cifar/100/train", "", func(int) int64 { return 99 }, 1},
		{"testdata/cifar/100/train", "coarse_label", func(int) int64 { return 19 }, 1},
	} {
		d := mustOpen(t, Options{Sources: []string{row.path}, LabelKey: row.key})
		checkCIFAR(t, d.shards[0], row.n, row.label)
	}
	for _, row := range []struct{ path, err string }{
		{write(t, "data_batch_1.bin", make([]byte, 3072)), "3072 bytes, want a multiple of 3073"},
		{write(t, "train.bin", nil), "0 bytes, want a multiple of 3074"},
		{write(t, "data_batch_1", []byte("text")), "no batch of CIFAR's Python version"},
	} {
		if _, err := Open(t.Context(), Options{Sources: []string{row.path}}); err == nil || !strings.Contains(err.Error(), row.err) {
			t.Errorf("%s: error %v, want %q", row.path, err, row.err)
		}
	}
}

// TestLabelKeyOfNoLabel: a name of a label is refused where labels have none.
func TestLabelKeyOfNoLabel(t *testing.T) {
	dir := t.TempDir()
	writeIn(t, dir, "a.png", dot(4, 4, 1))
	for _, row := range []struct{ path, key, err string }{
		{dir, "label", "has no labels with a name: want none"},
		{"testdata/cifar", "label", "but coarse_label and fine_label of CIFAR-100"},
	} {
		if _, err := Open(t.Context(), Options{Sources: []string{row.path}, LabelKey: row.key}); err == nil || !strings.Contains(err.Error(), row.err) {
			t.Errorf("%s: error %v, want %q", row.path, err, row.err)
		}
	}
}

// TestPickleCallsNothing: a pickle that would run something is refused by its name.
func TestPickleCallsNothing(t *testing.T) {
	data, err := os.ReadFile("testdata/cifar/calls")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readPickle(data); err == nil || !strings.Contains(err.Error(), `it calls "posix system"`) {
		t.Errorf("error %v", err)
	}
	for _, text := range []string{"", ".", "(e.", "]a.", "}u.", "cnumpy\ndtype\n(e.", "cnumpy\ndtype\n(u.", "h\x01.", "q\x01.", "U\xff.", "\x86.", "K\x01K\x02R.", "}(K\x01K\x02u.", "c\n"} {
		if v, err := readPickle([]byte(text)); err == nil {
			t.Errorf("%q is read as %v", text, v)
		}
	}
}

// idx is an IDX file of bytes.
func idx(data []byte, dims ...uint32) []byte {
	b := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	return append(b, data...)
}

func gzipped(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(data)
	z.Close()
	return b.Bytes()
}

// TestIDX: MNIST's files, packed and not, by folder and by name.
func TestIDX(t *testing.T) {
	dir := t.TempDir()
	pixels := make([]byte, 3*4*5)
	for i := range pixels {
		pixels[i] = byte(i)
	}
	writeIn(t, dir, "train-images-idx3-ubyte.gz", gzipped(idx(pixels, 3, 4, 5)))
	writeIn(t, dir, "train-labels-idx1-ubyte.gz", gzipped(idx([]byte{7, 8, 9}, 3)))
	test := writeIn(t, dir, "t10k-images.idx3-ubyte", idx(pixels[:20], 1, 4, 5))
	labels := writeIn(t, dir, "t10k-labels.idx1-ubyte", idx([]byte{1}, 1))
	d := mustOpen(t, Options{Sources: []string{dir}})
	s := d.shards[0]
	if d.Len() != 3 || s.name != "train-images-idx3-ubyte.gz" || d.Channels() != 1 || d.Resolution() != 4 {
		t.Fatalf("%d records of %s, %d channels of %d", d.Len(), s.name, d.Channels(), d.Resolution())
	}
	for i := range 3 {
		got, err := s.read(i)
		if err != nil || got.label != int64(7+i) || got.pixels.w != 5 || got.pixels.h != 4 || !bytes.Equal(got.pixels.pix, pixels[i*20:i*20+20]) {
			t.Errorf("record %d: %+v, %v", i, got, err)
		}
	}
	if d := mustOpen(t, Options{Sources: []string{test}}); d.Len() != 1 {
		t.Errorf("%d records", d.Len())
	}
	for _, row := range []struct {
		name string
		data []byte
		err  string
	}{
		{test, idx(pixels[:19], 1, 4, 5), "35 bytes, want 36 by its header"},
		{test, idx(nil, 1<<31, 1<<31, 1<<31), "more than 1073741824 bytes by its header"},
		{test, idx(nil, 0, 4, 5), "1 labels for 0 images"},
		{test, []byte("\x00\x00\x0d\x03"), "no IDX file of bytes in 3 dimensions: it starts with 00 00 0d 03"},
		{test, nil, "no IDX file"},
		{labels, idx([]byte{1, 2}, 2), "2 labels for 1 images"},
		{labels, idx([]byte{1}, 1, 1), "in 1 dimensions"},
	} {
		before, err := os.ReadFile(row.name)
		if err != nil {
			t.Fatal(err)
		}
		writeIn(t, dir, filepath.Base(row.name), row.data)
		if _, err := Open(t.Context(), Options{Sources: []string{test}}); err == nil || !strings.Contains(err.Error(), row.err) {
			t.Errorf("%s: error %v, want %q", row.name, err, row.err)
		}
		writeIn(t, dir, filepath.Base(row.name), before)
	}
	if err := os.Remove(labels); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Sources: []string{test}}); err == nil || !strings.Contains(err.Error(), "its labels: ") {
		t.Errorf("without labels: error %v", err)
	}
}

// summary is what a data set holds, in the order of its shards: key, label, texts.
func summary(t *testing.T, options Options) string {
	t.Helper()
	d := mustOpen(t, options)
	var b strings.Builder
	for _, s := range d.shards {
		fmt.Fprintf(&b, "%s:", s.name)
		for i := range s.len() {
			got, err := s.read(i)
			var fault *Fault
			if errors.As(err, &fault) {
				fmt.Fprintf(&b, " %s=!", fault.Key)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, " %s=%d%q", s.key(i), got.label, got.texts)
		}
	}
	return b.String()
}

// TestTables: CSV and JSONL, numbers and names, captions, and lines that are wrong.
func TestTables(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pets")
	for _, name := range []string{"a.png", "b.png", "sub/c.png"} {
		writeIn(t, dir, name, dot(4, 4, 1))
	}
	for _, row := range []struct{ name, text, want string }{
		{"metadata.csv", "\ufefffile_name,label,text\na.png,3,\"one, two\"\nb.png,,\nsub/c.png,1,x\n", `pets: a.png=3["one, two"] b.png=-1[] sub/c.png=1["x"]`},
		{"list.csv", "image,label,caption\na.png,dog,x\nb.png,cat,y\na.png,dog,z\n", `list.csv: a.png=1["x" "z"] b.png=0["y"]`},
		{"list.csv", "path,label,text\na.png,1,x\na.png,2,y\nmissing.png,1,z\n../pets/b.png,1,z\n/etc/passwd,1,z\n",
			`list.csv: a.png=! missing.png=! ../pets/b.png=! /etc/passwd=!`},
		{"list.csv", "path,label,text\na.png,1,x\nb.png,1,y\n./a.png,1,\n", `list.csv: a.png=! b.png=1["y"]`},
		{"metadata.jsonl", `{"file_name": "a.png", "label": 2, "text": ["x", "y"]}` + "\n\n" + `{"file_name": "b.png", "label": -1, "text": null, "caption": "z"}`, `pets: a.png=2["x" "y"] b.png=-1["z"]`},
		{"list.jsonl", `{"file_name": "a.png", "label": "n1", "caption": 5}`, `list.jsonl: a.png=!`},
	} {
		path := writeIn(t, dir, row.name, []byte(row.text))
		sources := []string{path}
		if strings.HasPrefix(row.name, "metadata.") {
			sources = []string{dir}
		}
		if got := summary(t, Options{Sources: sources, Captions: CaptionsStored, Resolution: 4, Channels: 1}); got != row.want {
			t.Errorf("%s\n%s\ngot  %s\nwant %s", row.name, row.text, got, row.want)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	twice := filepath.Join(writeIn(t, dir, "twice/metadata.jsonl", []byte("{\"file_name\": \"a.png\"}\n\n{\"file_name\": \"b.png\", \"text\": \"x\"}\n{\"file_name\": \"./a.png\"}\n{\"file_name\": \"b.png\", \"text\": \"x\"}\n")), "..")
	writeIn(t, dir, "twice/a.png", dot(4, 4, 1))
	writeIn(t, dir, "twice/b.png", dot(4, 4, 1))
	var said []VerifyRow
	total, err := Verify(t.Context(), Options{Sources: []string{twice}}, func(row VerifyRow) error {
		said = append(said, row)
		return nil
	}, nil)
	if err != nil || total != (VerifyTotal{2, 1}) || !strings.Contains(said[0].Error, "line 4: a.png stands in line 1 already, and this line adds no caption") {
		t.Errorf("%+v, %+v, %v", total, said, err)
	}
	keyed := Options{Sources: []string{writeIn(t, dir, "k.csv", []byte("id,pic,kind,says\n1,b.png,4,hm\n"))}, ImageKey: "pic", LabelKey: "kind", CaptionKey: "says", Captions: CaptionsStored}
	if got := summary(t, keyed); got != `k.csv: b.png=4["hm"]` {
		t.Errorf("got %s", got)
	}
	named := mustOpen(t, Options{Sources: []string{writeIn(t, dir, "n.csv", []byte("file,label\na.png,dog\nb.png,cat\n"))}})
	if got := named.ClassNames(); !slices.Equal(got, []string{"cat", "dog"}) {
		t.Errorf("classes %v", got)
	}
	for _, row := range []struct{ name, text, err string }{
		{"x.csv", "", "line 1: the names of the columns"},
		{"x.csv", "file_name,label\n", "no line in it"},
		{"x.csv", "a,b\n1,2\n", "no column file_name or filename or file or image or path for the file name; the columns are [\"a\" \"b\"]"},
		{"x.csv", "file_name,label\na.png\n", "wrong number of fields"},
		{"x.csv", "file_name,label\na.png,7\nb.png,dog\n", `label "7" is a number and label "dog" is not`},
		{"x.jsonl", "{\"file_name\": \"a.png\"}\n{", "line 2: "},
		{"x.jsonl", `{"label": 3}`, "line 1: no string under file_name"},
	} {
		_, err := Open(t.Context(), Options{Sources: []string{write(t, row.name, []byte(row.text))}})
		if err == nil || !strings.Contains(err.Error(), row.err) || !strings.Contains(err.Error(), row.name) {
			t.Errorf("%q: error %v, want %q", row.text, err, row.err)
		}
	}
	for key, want := range map[string]Options{"no column zz for the label": {LabelKey: "zz"}, "no column caption or text for the caption": {Captions: CaptionsStored}} {
		want.Sources = []string{write(t, "x.csv", []byte("file_name\na.png\n"))}
		if _, err := Open(t.Context(), want); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("error %v, want %q", err, key)
		}
	}
}

// TestCelebA: all images, an attribute as the label, and the usual crops of 178×218.
func TestCelebA(t *testing.T) {
	const original = "3\nBald Male\n000001.png -1  1\n000002.png  1 -1\n000004.png  1  1\n"
	const kaggle = "image_id,Bald,Male\n000001.png,-1,1\n000002.png,1,-1\n"
	for name, text := range map[string]string{"list_attr_celeba.txt": original, "list_attr_celeba.csv": kaggle} {
		dir := t.TempDir()
		for i := range 3 {
			writeIn(t, dir, fmt.Sprintf("img_align_celeba/00000%d.png", i+1), dot(178, 218, 3))
		}
		writeIn(t, dir, name, []byte(text))
		for key, want := range map[string]string{"": "-1[] -1[] -1[]", "Male": "1[] 0[] -1[]", "Bald": "0[] 1[] -1[]"} {
			got := summary(t, Options{Sources: []string{dir}, LabelKey: key})
			values := strings.Fields(want)
			full := fmt.Sprintf("img_align_celeba: 000001.png=%s 000002.png=%s 000003.png=%s", values[0], values[1], values[2])
			if got != full {
				t.Errorf("%s, %q: %s, want %s", name, key, got, full)
			}
		}
		if _, err := Open(t.Context(), Options{Sources: []string{dir}, LabelKey: "Old"}); err == nil || !strings.Contains(err.Error(), `no attribute "Old"; there are Bald, Male`) {
			t.Errorf("error %v", err)
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), Options{Sources: []string{dir}, LabelKey: "Male"}); err == nil || !strings.Contains(err.Error(), "there is no list_attr_celeba.txt") {
			t.Errorf("error %v", err)
		}
	}
}

// TestCropSize: the square of the image's own pixels, in the middle or drawn, is
// what is resized; nothing beside it is seen.
func TestCropSize(t *testing.T) {
	for _, size := range []int{140, 148} {
		p := newPicture(178, 218, 1)
		x, y := (178-size)/2, (218-size)/2
		for row := range size {
			for column := range size {
				p.pix[(y+row)*178+x+column] = 200
			}
		}
		d := &Dataset{options: Options{Resolution: 64, Channels: 1, Filter: FilterBilinear, Crop: CropCenter, CropSize: size}}
		got, err := d.canvas(raw{pixels: p}, 0)
		if err != nil || got.w != 64 || got.h != 64 || slices.Min(got.pix) != 200 {
			t.Errorf("crop %d: %+v, %v", size, got, err)
		}
		d.options.Crop, d.options.Pad = CropRandom, 2
		seen := map[uint8]bool{}
		for position := range int64(20) {
			got, err := d.canvas(raw{pixels: p}, position)
			if err != nil || got.w != 64 {
				t.Fatal(err)
			}
			seen[got.pix[2*64+2]] = true
		}
		if len(seen) < 2 {
			t.Errorf("crop %d is not drawn", size)
		}
		d.options.CropSize = 179
		if _, err := d.canvas(raw{pixels: p}, 0); err == nil || !strings.Contains(err.Error(), "image of 178×218 is smaller than crop_size 179") {
			t.Errorf("error %v", err)
		}
	}
}

// TestPublishedFolders: a folder stands for the training part of what is in it.
func TestPublishedFolders(t *testing.T) {
	data, err := os.ReadFile("testdata/parquet/hub.parquet")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/validation-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"} {
		writeIn(t, dir, name, data)
	}
	writeIn(t, dir, "README.md", nil)
	d := mustOpen(t, Options{Sources: []string{dir}, NumClasses: 10, Captions: CaptionsClass})
	if d.Len() != 100 || len(d.shards) != 2 || d.shards[1].name != "train-00001-of-00002.parquet" {
		t.Errorf("%d records, %+v", d.Len(), d.Shards())
	}
	e, err := d.Example(t.Context(), 0)
	if err != nil || e.Text != fmt.Sprintf("class %d", e.Label) {
		t.Errorf("%q, %v", e.Text, err)
	}
	if d := mustOpen(t, Options{Sources: []string{filepath.Join(dir, "data/validation-*.parquet")}}); d.Len() != 50 {
		t.Errorf("%d validation records", d.Len())
	}
}
