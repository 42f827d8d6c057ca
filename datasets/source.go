package datasets

import (
	"bytes"
	"cmp"
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

// kind is a format of shards.
type kind int

const (
	kindEmbedded kind = iota + 1
	kindTar
	kindParquet
	kindTable  // a .csv or .jsonl file that lists images
	kindCIFAR  // a binary batch
	kindPickle // a batch of CIFAR's Python version
	kindCelebA // the folder above img_align_celeba
	kindIDX    // a file of images of MNIST's format
	kindFolder // of images
	kindLatents
)

// source is one shard that has been named but not read.
type source struct {
	path string // "" for the embedded shard; a URL where it is remote
	kind kind

	remote  bool
	latents *LatentInfo // of the latent cache at path
	n       int         // and which of its shards
}

// resolve expands what the user named into shards: ranges {000..009}, then
// globs, then folders that hold tars.
func resolve(ctx context.Context, names []string, net *network) ([]source, error) {
	if len(names) == 0 {
		names = []string{Embedded}
	}
	var sources []source
	for _, name := range names {
		if name == Embedded {
			sources = append(sources, source{kind: kindEmbedded})
			continue
		}
		expanded, err := expandRange(name)
		if err != nil {
			return nil, fmt.Errorf("data source %s: %w", name, err)
		}
		for _, pattern := range expanded {
			find := resolvePath
			if strings.Contains(name, "://") {
				find = func(url string) ([]source, error) { return resolveURL(ctx, url, net) }
			}
			found, err := find(pattern)
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
	if kind := kindOf(pattern); kind != 0 {
		return []source{{path: pattern, kind: kind}}, nil
	}
	return nil, fmt.Errorf("data source %s: unknown kind of file: want .tar, .parquet, .csv or .jsonl, a batch of CIFAR or an IDX file of images, or a folder", pattern)
}

// kindOf tells a file's format by its name; 0: none of ours.
func kindOf(path string) kind {
	name := filepath.Base(path)
	switch strings.ToLower(filepath.Ext(name)) {
	case ".tar":
		return kindTar
	case ".parquet":
		return kindParquet
	case ".csv", ".jsonl":
		return kindTable
	}
	switch stem, isBinary := strings.CutSuffix(name, ".bin"); {
	case idxLabels(name) != "":
		return kindIDX
	case !strings.HasPrefix(stem, "data_batch_") && stem != "test_batch" && stem != "train" && stem != "test":
		return 0
	case isBinary:
		return kindCIFAR
	default:
		return kindPickle
	}
}

// trainingPart tells the files of a published data set that are its training part.
func trainingPart(kind kind, name string) bool {
	switch kind {
	case kindTable:
		return name == "metadata.csv" || name == "metadata.jsonl"
	case kindCIFAR, kindPickle, kindIDX:
		return strings.HasPrefix(name, "data_batch_") || strings.HasPrefix(name, "train")
	case kindParquet: // Hugging Face names a split first: train-00000-of-00294.parquet
		return !strings.HasPrefix(name, "test") && !strings.HasPrefix(name, "valid")
	}
	return true
}

// resolveFolder returns what a folder holds: shards, a table, CIFAR, CelebA, IDX
// files, a folder "data" of parquet files, or else images. A data set in the layout
// that it is published in stands for its training part; other parts are named by
// their files.
func resolveFolder(path string) ([]source, error) {
	latents, err := readLatentInfo(path)
	if err != nil {
		return nil, fmt.Errorf("data source %w", err)
	}
	if latents != nil {
		sources := make([]source, len(latents.Shards))
		for n := range sources {
			sources[n] = source{path: path, kind: kindLatents, latents: latents, n: n}
		}
		return sources, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("data source %s: %w", path, err)
	}
	found := map[kind][]source{}
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case strings.HasPrefix(name, "."):
		case !entry.IsDir():
			if kind := kindOf(name); kind != 0 && trainingPart(kind, name) {
				found[kind] = append(found[kind], source{path: filepath.Join(path, name), kind: kind})
			}
		case name == celebaImages:
			found[kindCelebA] = []source{{path: path, kind: kindCelebA}}
		case name == "data":
			parquet, err := filepath.Glob(filepath.Join(path, name, "*.parquet"))
			if err == nil && len(parquet) > 0 && len(found[kindParquet]) == 0 {
				return resolveFolder(filepath.Join(path, name))
			}
		}
	}
	for _, kind := range []kind{kindTar, kindParquet, kindTable, kindCIFAR, kindPickle, kindCelebA, kindIDX} {
		if len(found[kind]) > 0 {
			return found[kind], nil
		}
	}
	return []source{{path: path, kind: kindFolder}}, nil
}

// checkLabel refuses a label's name for a format that names no labels.
func (s source) checkLabel(label string) error {
	allowed := ""
	switch s.kind {
	case kindCIFAR, kindPickle:
		if allowed = " but coarse_label and fine_label of CIFAR-100"; label == "coarse_label" || label == "fine_label" {
			return nil
		}
	case kindFolder, kindIDX:
	default:
		return nil
	}
	if label == "" {
		return nil
	}
	return fmt.Errorf("data.label_key = %q, but %s has no labels with a name%s: want none", label, s.path, allowed)
}

// open indexes the shard.
func (s source) open(ctx context.Context, want fields) (*shard, error) {
	if err := cmp.Or(ctx.Err(), s.checkLabel(want.label)); err != nil {
		return nil, err
	}
	if s.remote {
		return s.openRemote(ctx, want)
	}
	switch s.kind {
	case kindEmbedded:
		data, err := fashionmnist.Shard()
		if err != nil {
			return nil, err
		}
		t, err := indexTar(fashionmnist.ShardName, bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return nil, err
		}
		t.want = want
		return &shard{reader: embedded{t}, name: t.name, path: t.path}, nil
	case kindFolder, kindTable, kindCelebA:
		f, err := s.openFolder(want)
		if err != nil {
			return nil, err
		}
		return &shard{reader: f, name: f.name, path: s.path}, nil
	case kindLatents:
		return openLatents(s.path, s.latents, s.n)
	case kindIDX:
		p, err := indexIDX(s.path)
		if err != nil {
			return nil, err
		}
		return &shard{reader: p, name: p.name, path: p.path}, nil
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
	r, err := s.kind.index(localTar(s.path, file, info.Size()), want)
	if r == nil {
		file.Close()
		return nil, err
	}
	return &shard{reader: r, name: filepath.Base(s.path), path: s.path, closer: file}, err
}

func (s source) openFolder(want fields) (*folderShard, error) {
	switch s.kind {
	case kindTable:
		return indexTable(s.path, want)
	case kindCelebA:
		return indexCelebA(s.path, want)
	}
	return indexFolder(s.path, want)
}

// index indexes the formats that are one file, wherever its bytes are. With a
// *shardFault the records before the fault are returned too.
func (k kind) index(from tarSource, want fields) (reader, error) {
	path, file, size := from.path, from.file, from.size
	switch k {
	case kindParquet:
		return isReader(indexParquet(path, file, size, want))
	case kindCIFAR:
		return isReader(indexCIFAR(path, file, size, want))
	case kindPickle:
		return isReader(indexPickle(path, file, size, want))
	}
	t, err := from.open(want.storage)
	if t == nil {
		return nil, err
	}
	t.want = want
	return t, err
}

// isReader makes no reader of a format's error, where Go would make one that
// holds nil.
func isReader[R reader](r R, err error) (reader, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}

// embedded is the embedded tar, which has names for its classes.
type embedded struct{ *tarShard }

func (embedded) classNames() []string { return slices.Clone(fashionmnist.ClassNames[:]) }
