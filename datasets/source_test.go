package datasets

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestExpandRange(t *testing.T) {
	for _, row := range []struct {
		name string
		want []string
	}{
		{"a.tar", []string{"a.tar"}},
		{"a-{8..11}.tar", []string{"a-8.tar", "a-9.tar", "a-10.tar", "a-11.tar"}},
		{"a-{008..011}.tar", []string{"a-008.tar", "a-009.tar", "a-010.tar", "a-011.tar"}},
		{"{0..1}/{1..2}.tar", []string{"0/1.tar", "0/2.tar", "1/1.tar", "1/2.tar"}},
	} {
		got, err := expandRange(row.name)
		if err != nil || !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, %v", row.name, got, err)
		}
	}
	for _, bad := range []string{"{a,b}.tar", "{1..", "{2..1}.tar", "{0..99999999}.tar", "{-1..2}.tar", "{1...2}", "{}", "x{1..2}{"} {
		if _, err := expandRange(bad); err == nil || !strings.Contains(err.Error(), "such as {000..009}") {
			t.Errorf("%s: error %v", bad, err)
		}
	}
}

// TestSources names the same three shards in every way there is.
func TestSources(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		shardOf(t, dir, fmt.Sprintf("s-%02d.tar", i), 4, nil)
	}
	writeIn(t, dir, "notes.txt", nil)
	writeIn(t, dir, "._s-00.tar", []byte("mac"))
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, names := range [][]string{
		{dir}, {path("s-{00..02}.tar")}, {path("s-*.tar")}, {path("s-02.tar"), path("s-00.tar"), path("s-01.tar")}, {path("s-0?.tar")},
		{path("s-{00..01}.tar"), path("*2.tar")},
	} {
		d := mustOpen(t, Options{Sources: names})
		var got []string
		for _, row := range d.Shards() {
			got = append(got, row.Shard)
			if row.Records != 4 || row.Path != path(row.Shard) {
				t.Errorf("%v: %+v", names, row)
			}
		}
		if !slices.Equal(got, []string{"s-00.tar", "s-01.tar", "s-02.tar"}) || d.Len() != 12 {
			t.Errorf("%v: shards %v", names, got)
		}
	}
	copied := filepath.Join(dir, "copy")
	shardOf(t, copied, "s-01.tar", 4, nil)
	parquet := filepath.Join(dir, "parquet")
	writeIn(t, parquet, "train.parquet", []byte("PAR1"))
	for _, row := range []struct{ want, name string }{
		{"no such file", path("absent.tar")}, {"no such file", path("s-{00..05}.tar")}, {"no file matches", path("x*.tar")},
		{"ftp:// is not known", "ftp://example.org/a.tar"}, {"want the URL of a .tar", "https://example.org/shards/"}, {"want the URL of a .tar", "s3://bucket/a.zip"},
		{"want s3://bucket/key", "s3:///a.tar"},
		{"fetch the file again", parquet}, {"unknown kind of file", path("notes.txt")},
		{"no image in it", t.TempDir()},
	} {
		if _, err := Open(t.Context(), Options{Sources: []string{row.name}}); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: error %v, want one with %q", row.name, err, row.want)
		}
	}
	_, err := Open(t.Context(), Options{Sources: []string{dir, copied}})
	if err == nil || !strings.Contains(err.Error(), "same base name") || !strings.Contains(err.Error(), path("s-01.tar")) || !strings.Contains(err.Error(), copied) {
		t.Errorf("duplicate base names: error %v", err)
	}
	if _, err := Open(t.Context(), Options{Sources: []string{Embedded, Embedded}}); err == nil {
		t.Error("the embedded shard twice is accepted")
	}
}

// TestFolder: classes by name, images at any depth, hidden files apart, links followed.
func TestFolder(t *testing.T) {
	root := filepath.Join(t.TempDir(), "pets")
	for i, name := range []string{"dog/2.png", "dog/1.PNG", "cat/b/deep.png", "cat/a.png", "cat/.x.png", ".git/c.png", "bird/notes.txt", "bird/z.png"} {
		writeIn(t, root, name, dot(5, 5, uint8(i)))
	}
	elsewhere := t.TempDir()
	writeIn(t, elsewhere, "l.png", dot(5, 5, 99))
	if err := os.Symlink(elsewhere, filepath.Join(root, "eel")); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "pets")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{"bird/z.png": 0, "cat/a.png": 1, "cat/b/deep.png": 1, "dog/1.PNG": 2, "dog/2.png": 2, "eel/l.png": 3}
	for _, path := range []string{root, root + "/", link} {
		d := mustOpen(t, Options{Sources: []string{path}})
		if names := d.ClassNames(); !slices.Equal(names, []string{"bird", "cat", "dog", "eel"}) {
			t.Errorf("classes %v", names)
		}
		got := map[string]int64{}
		for position := range int64(d.Len()) {
			e, err := d.Example(t.Context(), position)
			if err != nil {
				t.Fatal(err)
			}
			got[e.Key] = e.Label
			if e.Shard != "pets" {
				t.Errorf("shard %q", e.Shard)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}

	flat := t.TempDir()
	writeIn(t, flat, "a.png", dot(5, 5, 1))
	d := mustOpen(t, Options{Sources: []string{flat}})
	if e, err := d.Example(t.Context(), 0); err != nil || e.Label != -1 || d.ClassNames() != nil {
		t.Errorf("flat folder: %+v, %v", e, err)
	}
	writeIn(t, flat, "class/b.png", dot(5, 5, 1))
	if _, err := Open(t.Context(), Options{Sources: []string{flat}}); err == nil || !strings.Contains(err.Error(), "a.png lies beside class folder class") {
		t.Errorf("mixed folder: error %v", err)
	}
	writeIn(t, root, "ant/none.txt", nil)
	if _, err := Open(t.Context(), Options{Sources: []string{root}}); err == nil || !strings.Contains(err.Error(), "ant has no image") {
		t.Errorf("empty class: error %v", err)
	}
	circle := t.TempDir()
	if err := os.Symlink(circle, filepath.Join(circle, "again")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Sources: []string{circle}}); err == nil {
		t.Error("a circle of links is accepted")
	}
}
