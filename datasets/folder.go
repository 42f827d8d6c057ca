package datasets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// folderShard reads a folder of images, laid out as torchvision's ImageFolder
// wants it: a subfolder a class, classes numbered in the order of their names. A
// folder with images and no subfolders is a set without labels. A record's key
// is the file's path inside the folder. Captions stand beside an image, in a file
// of its name that ends in .txt or .json.
type folderShard struct {
	name, path string
	files      []string // slash-separated, relative to path, sorted
	labels     []int64  // nil: none
	classes    []string // nil: none
	want       fields

	listed bool          // by a table, not by the folder, so that a file may be missing
	texts  [][]string    // captions of each file; nil: none
	faults map[int]error // of single records; nil: none
}

// maxDepth bounds how far folders are followed, since links can make circles.
const maxDepth = 32

// indexFolder walks the folder. Images at any depth below a class folder belong
// to it, links are followed, hidden files and folders are passed over.
func indexFolder(path string, want fields) (*folderShard, error) {
	absolute, err := filepath.Abs(path) // the name of "." is that of the folder
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f := &folderShard{name: filepath.Base(absolute), path: path, want: want}
	if err := f.walk(""); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var loose string
	count := map[string]int{}
	for _, file := range f.files {
		if class, _, inClass := strings.Cut(file, "/"); inClass {
			count[class]++
		} else {
			loose = file
		}
	}
	if len(f.files) == 0 {
		return nil, fmt.Errorf("%s: no image in it: want class folders with .jpg, .jpeg, .png or .webp files, such images alone, or .tar shards", path)
	}
	if loose != "" && len(f.classes) > 0 {
		return nil, fmt.Errorf("%s: image %s lies beside class folder %s; move it into a class, or the classes away", path, loose, f.classes[0])
	}
	slices.Sort(f.files)
	if len(f.classes) == 0 {
		return f, nil
	}
	slices.Sort(f.classes)
	number := map[string]int64{}
	for i, class := range f.classes {
		if count[class] == 0 {
			return nil, fmt.Errorf("%s: class folder %s has no image, so that the classes after it would be numbered differently elsewhere; remove it", path, class)
		}
		number[class] = int64(i)
	}
	f.labels = make([]int64, len(f.files))
	for i, file := range f.files {
		class, _, _ := strings.Cut(file, "/")
		f.labels[i] = number[class]
	}
	return f, nil
}

// walk adds the images below a folder of the shard, "" for its root, and the
// root's folders as classes.
func (f *folderShard) walk(inside string) error {
	if strings.Count(inside, "/") > maxDepth {
		return fmt.Errorf("%s: more than %d folders deep; a link may lead in a circle", inside, maxDepth)
	}
	folder := filepath.Join(f.path, filepath.FromSlash(inside))
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		isFolder := entry.IsDir()
		if entry.Type()&fs.ModeSymlink != 0 {
			info, err := os.Stat(filepath.Join(folder, name))
			if err != nil {
				return err
			}
			isFolder = info.IsDir()
		}
		switch {
		case isFolder:
			if inside == "" {
				f.classes = append(f.classes, name)
			}
			if err := f.walk(inside + name + "/"); err != nil {
				return err
			}
		case isImage(strings.ToLower(strings.TrimPrefix(filepath.Ext(name), "."))):
			f.files = append(f.files, inside+name)
		}
	}
	return nil
}

func (f *folderShard) len() int             { return len(f.files) }
func (f *folderShard) key(i int) string     { return f.files[i] }
func (f *folderShard) offset(int) int64     { return 0 }
func (f *folderShard) classNames() []string { return f.classes }

func (f *folderShard) label(i int) (int64, error) {
	if f.labels == nil {
		return -1, nil
	}
	return f.labels[i], nil
}

func (f *folderShard) read(i int) (raw, error) {
	fault := func(err error) error { return &Fault{Shard: f.name, Key: f.files[i], Err: err} }
	if err := f.faults[i]; err != nil {
		return raw{}, fault(err)
	}
	path := filepath.Join(f.path, filepath.FromSlash(f.files[i]))
	info, err := os.Stat(path)
	if f.listed && errors.Is(err, fs.ErrNotExist) {
		return raw{}, fault(errors.New("the table lists this file, but it is not there"))
	}
	if err != nil {
		return raw{}, fmt.Errorf("%s has changed since it was indexed: %w", f.path, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxMember {
		return raw{}, fault(errors.New("no regular file of at most 256 MiB"))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return raw{}, fmt.Errorf("%s: %w", f.path, err)
	}
	record := raw{image: data}
	if f.texts != nil {
		record.texts = f.texts[i]
	} else if f.want.texts {
		if record.texts, err = f.beside(strings.TrimSuffix(path, filepath.Ext(path))); err != nil {
			return raw{}, fault(err)
		}
	}
	record.label, err = f.label(i)
	return record, err
}

// beside returns the captions in the files whose name is that of an image: those of
// .txt, else those under "caption" or "text" in .json; under another key, which was
// asked for, in .json alone.
func (f *folderShard) beside(stem string) ([]string, error) {
	keys := captionColumns
	if f.want.caption != "" {
		keys = []string{f.want.caption}
	} else if data, err := readSmall(stem + ".txt"); err != nil || data != nil {
		return []string{strings.TrimSpace(string(data))}, err
	}
	data, err := readSmall(stem + ".json")
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		value, err := jsonField(data, key)
		if err != nil {
			return nil, fmt.Errorf("%s.json: %w", filepath.Base(stem), err)
		}
		if texts, err := jsonTexts(value); err != nil || len(texts) > 0 {
			return texts, err
		}
	}
	return nil, nil
}

// readSmall reads a file of at most maxLine bytes; nil where there is none.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxLine {
		return nil, fmt.Errorf("%s: no regular file of at most %d bytes", filepath.Base(path), maxLine)
	}
	return os.ReadFile(path)
}
