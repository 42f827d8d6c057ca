package datasets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"immiscible/datasets/fashionmnist"
)

// Embedded is the source that is always there: the 10,000 test images of
// Fashion-MNIST. A folder of that name is written ./fashion-mnist.
const Embedded = "fashion-mnist"

// source is one shard that has been named but not read. An empty path is the
// embedded shard.
type source struct {
	path   string
	folder bool
}

// resolve expands what the user named into shards: ranges {000..009}, then
// globs, then folders that hold tars.
func resolve(names []string) ([]source, error) {
	if len(names) == 0 {
		names = []string{Embedded}
	}
	var sources []source
	for _, name := range names {
		if name == Embedded {
			sources = append(sources, source{})
			continue
		}
		if strings.Contains(name, "://") {
			return nil, fmt.Errorf("data source %s: remote sources are not supported yet; download the shards and name their folder", name)
		}
		expanded, err := expandRange(name)
		if err != nil {
			return nil, fmt.Errorf("data source %s: %w", name, err)
		}
		for _, pattern := range expanded {
			found, err := resolvePath(pattern)
			if err != nil {
				return nil, err
			}
			sources = append(sources, found...)
		}
	}
	return sources, nil
}

// expandRange writes out each {first..last}, padded with zeros to the width of
// first, as the shell does.
func expandRange(name string) ([]string, error) {
	before, rest, ok := strings.Cut(name, "{")
	if !ok {
		return []string{name}, nil
	}
	inside, after, ok := strings.Cut(rest, "}")
	first, last, dots := strings.Cut(inside, "..")
	if !ok || !dots {
		return nil, errors.New("braces hold a range of numbers, such as {000..009}")
	}
	from, err1 := strconv.ParseUint(first, 10, 32)
	to, err2 := strconv.ParseUint(last, 10, 32)
	if err1 != nil || err2 != nil || from > to || to-from >= 1_000_000 {
		return nil, fmt.Errorf("{%s} is no rising range of at most a million numbers, such as {000..009}", inside)
	}
	tails, err := expandRange(after)
	if err != nil {
		return nil, err
	}
	var names []string
	for n := from; n <= to; n++ {
		for _, tail := range tails {
			names = append(names, fmt.Sprintf("%s%0*d%s", before, len(first), n, tail))
		}
	}
	return names, nil
}

// resolvePath turns a path or a glob into shards.
func resolvePath(pattern string) ([]source, error) {
	info, err := os.Stat(pattern)
	if err != nil {
		if !strings.ContainsAny(pattern, "*?[") {
			return nil, fmt.Errorf("data source %s: %w", pattern, err)
		}
		paths, globErr := filepath.Glob(pattern)
		if globErr != nil {
			return nil, fmt.Errorf("data source %s: %w", pattern, globErr)
		}
		if len(paths) == 0 {
			return nil, fmt.Errorf("data source %s: no file matches", pattern)
		}
		var sources []source
		for _, path := range paths {
			found, err := resolvePath(path)
			if err != nil {
				return nil, err
			}
			sources = append(sources, found...)
		}
		return sources, nil
	}
	if info.IsDir() {
		return resolveFolder(pattern)
	}
	if strings.EqualFold(filepath.Ext(pattern), ".tar") {
		return []source{{path: pattern}}, nil
	}
	return nil, fmt.Errorf("data source %s: this kind of file is not supported yet; WebDataset .tar shards, folders of images and %q are", pattern, Embedded)
}

// resolveFolder returns the tars right inside a folder, or the folder itself as
// a set of images.
func resolveFolder(path string) ([]source, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("data source %s: %w", path, err)
	}
	var sources []source
	unsupported := ""
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") || entry.IsDir() {
			continue
		}
		switch strings.ToLower(filepath.Ext(name)) {
		case ".tar":
			sources = append(sources, source{path: filepath.Join(path, name)})
		case ".parquet":
			unsupported = name
		}
	}
	if len(sources) > 0 {
		return sources, nil
	}
	if unsupported != "" {
		return nil, fmt.Errorf("data source %s: %s: parquet is not supported yet; WebDataset .tar shards and folders of images are", path, unsupported)
	}
	return []source{{path: path, folder: true}}, nil
}

// open indexes the shard.
func (s source) open(ctx context.Context) (*shard, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch {
	case s.path == "":
		data, err := fashionmnist.Shard()
		if err != nil {
			return nil, err
		}
		t, err := indexTar(fashionmnist.ShardName, bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return nil, err
		}
		return &shard{reader: embedded{t}, name: t.name, path: t.path}, nil
	case s.folder:
		f, err := indexFolder(s.path)
		if err != nil {
			return nil, err
		}
		return &shard{reader: f, name: f.name, path: f.path}, nil
	}
	file, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, err
	}
	t, err := indexTar(s.path, file, info.Size())
	if t == nil {
		file.Close()
		return nil, err
	}
	t.closer = file
	return &shard{reader: t, name: t.name, path: t.path}, err
}

// embedded is the embedded tar, which has names for its classes.
type embedded struct{ *tarShard }

func (embedded) classNames() []string { return slices.Clone(fashionmnist.ClassNames[:]) }
