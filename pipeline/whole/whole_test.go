package whole

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// names lists what lies in a folder.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// A file is replaced whole, or stays as it was; nothing else is left beside it.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	for _, text := range []string{"one", "another"} {
		if err := File(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Errorf("got %q, %v, want %q", got, err, text)
		}
	}
	if err := FileInCache(path, []byte("a third")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	full := errors.New("no space")
	err := Stream(path, func(w io.Writer) error {
		if _, err := w.Write([]byte("half")); err != nil {
			t.Fatal(err)
		}
		return full
	})
	if !errors.Is(err, full) || err.Error() != "write "+path+": no space" {
		t.Errorf("got %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "a third" {
		t.Errorf("after a failure: %q, %v", got, err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"a.json"}) {
		t.Errorf("the folder holds %q", got)
	}
	if err := File(filepath.Join(dir, "none", "a"), nil); err == nil || !strings.HasPrefix(err.Error(), "write "+dir) {
		t.Errorf("in no folder: %v", err)
	}
}

// A folder appears whole or not at all, an empty one is taken, and what stands
// in its way is kept.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "a", "out")
	fill := func(dir string) error { return os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o644) }
	failed := errors.New("failed")
	err := Folder(out, func(dir string) error { return errors.Join(fill(dir), failed) })
	if !errors.Is(err, failed) || len(names(t, filepath.Join(dir, "a"))) != 0 {
		t.Fatalf("%v, and the folder holds %q", err, names(t, filepath.Join(dir, "a")))
	}
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Folder(out, fill); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o755 || !slices.Equal(names(t, out), []string{"file"}) {
		t.Errorf("mode %v, %v, holding %q", info.Mode(), err, names(t, out))
	}
	t.Chdir(filepath.Join(dir, "a"))
	for path, want := range map[string]string{out: "is not empty: name another folder", filepath.Join(out, "file"): "is a file, want a folder", "../a": "is not empty"} {
		if err := Folder(path, fill); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("-out %s: %v, want %q", path, err, want)
		}
	}
	link := filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "real"), 0o755), os.Symlink("real", link)); err != nil {
		t.Fatal(err)
	}
	if err := Folder(link, fill); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(link); err != nil || target != "real" || !slices.Equal(names(t, link), []string{"file"}) {
		t.Errorf("a link to a folder: %q, %v, holding %q", target, err, names(t, link))
	}
	t.Chdir(filepath.Join(dir, "real"))
	if err := errors.Join(os.Remove("file"), Folder(".", fill)); err == nil || !strings.Contains(err.Error(), "is the working directory") {
		t.Errorf("the working directory: %v", err)
	}
}

// What a killed process has left beside out is gone after the next call; what a
// living one is writing there, and what is none of ours, stays.
func TestFolderSweeps(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".tmp-export-dead", ".tmp-checkpoint-7-1", ".tmp-export-living"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "unet"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	living, err := lockFolder(filepath.Join(dir, ".tmp-export-living"))
	if err != nil {
		t.Fatal(err)
	}
	defer living.Close()
	err = Folder(filepath.Join(dir, "out"), func(mine string) error {
		return Folder(filepath.Join(dir, "other"), func(dir string) error { // while this one is being written
			if _, err := os.Stat(mine); err != nil {
				t.Errorf("swept alive: %v", err)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{".tmp-checkpoint-7-1", ".tmp-export-living", "other", "out"}) {
		t.Errorf("the folder holds %q", got)
	}
}
