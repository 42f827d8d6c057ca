package datasets

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestParquetOfPyarrow reads the files of testdata/parquet, which
// tools/golden/datasets/parquet.py made: images, labels and captions are functions
// of the row.
func TestParquetOfPyarrow(t *testing.T) {
	label := func(i int) int64 { return int64(i * 7 % 10) }
	none := func(int) []string { return nil }
	for _, row := range []struct {
		file    string
		want    fields
		label   func(int) int64
		texts   func(int) []string
		missing int // row without an image; −1: none
		classes int
	}{
		{"hub.parquet", fields{}, label, none, -1, 10},
		{"pages.parquet", fields{}, label, none, -1, 0},
		{"lists.parquet", fields{label: "kind", texts: true, caption: "captions"}, func(i int) int64 {
			if i == 4 {
				return -1
			}
			return int64(i % 3)
		}, func(i int) (texts []string) {
			for k := range i % 4 {
				texts = append(texts, fmt.Sprintf("%d.%d", i, k))
			}
			return texts
		}, 3, 0},
		{"lists.parquet", fields{image: "photo"}, func(int) int64 { return -1 }, none, 3, 0},
		{"plain.parquet", fields{texts: true}, label, func(i int) []string { return []string{fmt.Sprintf("caption %d", i)} }, -1, 0},
	} {
		for _, limit := range []int64{0, pageCacheBytes} {
			row.want.pages = newPageCache(limit)
			source := source{path: filepath.Join("testdata/parquet", row.file), kind: kindParquet}
			s, err := source.open(t.Context(), row.want)
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			if s.len() != 50 || len(s.classNames()) != row.classes {
				t.Fatalf("%s: %d rows, classes %v", row.file, s.len(), s.classNames())
			}
			check := func(i int) {
				got, err := s.read(i)
				if i == row.missing {
					var fault *Fault
					if !errors.As(err, &fault) || fault.Key != fmt.Sprint(i) || !strings.Contains(err.Error(), "no bytes in its image") {
						t.Errorf("%s: row %d: error %v", row.file, i, err)
					}
					return
				}
				if err != nil {
					t.Errorf("%s: row %d: %v", row.file, i, err)
					return
				}
				p, err := got.picture()
				if err != nil || p.w != 4 || p.h != 3 || p.pix[0] != uint8(i) || p.pix[11] != 10 {
					t.Errorf("%s: row %d: %+v, %v", row.file, i, p, err)
				}
				again, err := s.label(i)
				if got.label != row.label(i) || again != got.label || err != nil || !slices.Equal(got.texts, row.texts(i)) {
					t.Errorf("%s: row %d has label %d, %d, texts %q, %v", row.file, i, got.label, again, got.texts, err)
				}
			}
			var wg sync.WaitGroup
			for worker := range 4 { // in four orders at once
				wg.Go(func() {
					for k := range 50 {
						check([]int{k, 49 - k, k * 7 % 50, (k*13 + 5) % 50}[worker])
					}
				})
			}
			wg.Wait()
		}
	}
}

// TestParquetPages: a row costs its own page and dictionary, not its row group.
func TestParquetPages(t *testing.T) {
	data, err := os.ReadFile("testdata/parquet/pages.parquet")
	if err != nil {
		t.Fatal(err)
	}
	s, err := indexParquet("pages.parquet", strings.NewReader(string(data)), int64(len(data)), fields{pages: newPageCache(0)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.read(0); err != nil {
		t.Fatal(err)
	}
	chunk := &s.chunks[parquetImage]
	if len(chunk.pages) != 10 || chunk.dictionary == absent || !chunk.pages[0].dictionary || chunk.pages[9].dictionary || chunk.pages[9].first != 36 {
		t.Fatalf("pages %+v", chunk.pages)
	}
	value, _, err := s.decode(0, parquetImage, chunk, chunk.pages[9:])
	if err != nil || len(value.(*parquetRows).rows) != 4 {
		t.Errorf("%v, %v", value, err)
	}
}

// TestParquetRefuses: columns that are not there, and files that are broken.
func TestParquetRefuses(t *testing.T) {
	data, err := os.ReadFile("testdata/parquet/lists.parquet")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		data []byte
		want fields
		err  string
	}{
		{data, fields{image: "id"}, "no column id with the bytes of images; the columns are [\"id\" \"photo\" \"kind\" \"captions\"]"},
		{data, fields{image: "none"}, "no column none"},
		{data, fields{label: "none"}, "no column none for the label"},
		{data, fields{label: "captions"}, "no column of whole numbers"},
		{data, fields{texts: true}, "no column caption or text of strings"},
		{data, fields{texts: true, caption: "id"}, "no column id of strings"},
		{data[:len(data)-9], fields{}, "fetch the file again"},
		{data[:3], fields{}, "fetch the file again"},
		{append(slices.Clone(data[:len(data)-8]), "\xff\xff\xff\xffPAR1"...), fields{}, "bytes end with ff ff ff ff 50 41 52 31"}, // 4 GiB of footer
		{nil, fields{}, "fetch the file again"},
	} {
		row.want.pages = newPageCache(0)
		_, err := indexParquet("in/x.parquet", strings.NewReader(string(row.data)), int64(len(row.data)), row.want)
		if err == nil || !strings.HasPrefix(err.Error(), "in/x.parquet: ") || !strings.Contains(err.Error(), row.err) {
			t.Errorf("%+v: error %v, want %q", row.want, err, row.err)
		}
	}
	// A page whose bytes are damaged is a fault of its rows.
	broken := slices.Clone(data)
	for i := 40; i < 400; i++ {
		broken[i] ^= 0x55
	}
	s, err := indexParquet("x.parquet", strings.NewReader(string(broken)), int64(len(broken)), fields{pages: newPageCache(0)})
	if err != nil {
		t.Fatal(err)
	}
	var fault *Fault
	if _, err := s.read(0); !errors.As(err, &fault) || fault.Key != "0" {
		t.Errorf("error %v", err)
	}
	if _, err := s.read(49); err != nil {
		t.Errorf("the second row group: %v", err)
	}
}

// TestPageCache: what was used last stays, within the limit.
func TestPageCache(t *testing.T) {
	c := newPageCache(10)
	loads := 0
	get := func(page int, bytes int64) {
		value, err := c.get(pageKey{"f", 0, page}, func() (any, int64, error) { loads++; return page, bytes, nil })
		if err != nil || value.(int) != page {
			t.Fatalf("page %d is %v, %v", page, value, err)
		}
	}
	for _, step := range []struct {
		page  int
		bytes int64
		loads int
	}{{1, 4, 1}, {2, 4, 2}, {1, 4, 2}, {3, 4, 3}, {1, 4, 3}, {2, 4, 4}, {4, 11, 5}, {4, 11, 6}, {2, 4, 6}, {3, 4, 7}} {
		if get(step.page, step.bytes); loads != step.loads || c.used > 10 {
			t.Errorf("page %d: %d loads, want %d; %d bytes kept", step.page, loads, step.loads, c.used)
		}
	}
	if _, err := c.get(pageKey{"f", 0, 9}, func() (any, int64, error) { return nil, 0, errors.New("no") }); err == nil {
		t.Error("an error is kept for a value")
	}
}
