package datasets

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNamesThatLead: names that lead elsewhere are keys in a tar, which is never
// unpacked, and faults in a table; nothing beside the set is read or written.
func TestNamesThatLead(t *testing.T) {
	dir := t.TempDir()
	writeIn(t, dir, "secret.png", dot(4, 4, 99))
	path := writeIn(t, dir, "in/x.tar", tarBytes(t, tar.FormatPAX,
		member{name: "../secret.png", data: dot(4, 4, 1)}, member{name: "/etc/cron.png", data: dot(4, 4, 2)}, member{name: `..\..\w.png`, data: dot(4, 4, 3)}))
	d := mustOpen(t, Options{Sources: []string{path}})
	out := filepath.Join(dir, "out", "deep")
	var files []string
	err := d.Dump(t.Context(), 0, 3, out, func(row DumpRow) error {
		files = append(files, row.File)
		return nil
	})
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		if filepath.Dir(file) != out {
			t.Errorf("%s is outside of %s", file, out)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "out")); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	table := writeIn(t, dir, "in/x.csv", []byte("file_name\n../secret.png\n"))
	d = mustOpen(t, Options{Sources: []string{table}, Resolution: 4, Channels: 1})
	if _, err := d.Example(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "leads out of the table's folder") {
		t.Errorf("error %v", err)
	}
}

// TestContentDecides: the extension says that a member is an image, its content
// which; a text with an image's name is a fault.
func TestContentDecides(t *testing.T) {
	read := func(name string) []byte {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	path := write(t, "x.tar", tarBytes(t, tar.FormatUSTAR,
		member{name: "a.png", data: read("testdata/pillow/decode_jpeg420.jpg")}, member{name: "b.jpg", data: read("testdata/webp/lossy.webp")},
		member{name: "c.webp", data: dot(5, 5, 1)}, file("d.jpeg", "no image at all")))
	d := mustOpen(t, Options{Sources: []string{path}, Resolution: 8, Channels: 3})
	faults := 0
	for position := range int64(4) {
		e, err := d.Example(t.Context(), position)
		if err == nil {
			continue
		}
		if faults++; e != nil || !strings.Contains(err.Error(), `record "d" at byte`) || !strings.Contains(err.Error(), "no PNG, JPEG or WebP: the 15 bytes start with 6e 6f 20 69") {
			t.Errorf("error %v", err)
		}
	}
	if faults != 1 {
		t.Errorf("%d of 4 are faults, want 1", faults)
	}
}

// TestDamagedJPEG: a photograph cut at any place is a fault or, where only
// its end marker is gone, read; none panics or hangs.
func TestDamagedJPEG(t *testing.T) {
	data, err := os.ReadFile("testdata/photos/china.jpg")
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(data)-16; cut += 997 {
		if p, err := decode(data[:cut]); err == nil {
			t.Errorf("the first %d of %d bytes are read as %d×%d", cut, len(data), p.w, p.h)
		}
	}
}
