package datasets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
)

// raw is a record as its shard stores it.
type raw struct {
	image  []byte
	pixels *picture // instead of image, in formats that store bare pixels
	label  int64    // −1: none
	texts  []string // captions, where fields.texts asks for them; nil: none
	room   *room    // for what is made of the image
}

// fields says which parts of a record are wanted, and by which names.
type fields struct {
	texts   bool   // captions are read
	image   string // column or JSON field of the image or its file's name, "" for the usual ones
	caption string // column or JSON field of the caption, "" for the usual ones
	label   string // the same of the label

	pages   *pageCache // of the data set's parquet files
	storage            // where indices and remote shards are kept
}

// reader is what a format offers: an index that is in memory, and records that
// are read on demand. Its methods may be called concurrently. An error that is
// a *Fault concerns the record's content; any other is the storage's.
type reader interface {
	len() int
	key(i int) string
	offset(i int) int64         // of the image, from the shard's start
	label(i int) (int64, error) // −1: none
	read(i int) (raw, error)    // image bytes, label and captions
	classNames() []string       // nil where the format stores none
}

// shard is an indexed reader and its place in the order.
type shard struct {
	reader
	name   string    // base name: identity
	path   string    // for errors
	first  int64     // number of records in the shards before it
	closer io.Closer // its file; nil where none is kept open
}

func (s *shard) close() error {
	if s.closer == nil {
		return nil
	}
	return s.closer.Close()
}

// openShards indexes every source and returns the shards sorted by base name,
// which alone decides their order. Up to workers shards are read at a time.
// A shard that breaks off is an error, unless broken is given: then its fault
// goes there and the records before it stay.
func openShards(ctx context.Context, sources []source, want fields, workers int, broken func(*Fault)) ([]*shard, error) {
	shards := make([]*shard, len(sources))
	errs := make([]error, len(sources))
	if slices.ContainsFunc(sources, func(s source) bool { return s.remote }) {
		workers = max(workers, remoteOpens)
	}
	inParallel(workers, len(sources), func(i int) { shards[i], errs[i] = sources[i].open(ctx, want) })

	fail := func(err error) ([]*shard, error) {
		closeShards(shards)
		return nil, err
	}
	for _, err := range errs {
		var fault *shardFault
		switch {
		case err == nil:
		case errors.As(err, &fault) && broken != nil:
			broken(fault.fault)
		default:
			return fail(err)
		}
	}
	shards = slices.DeleteFunc(shards, func(s *shard) bool { return s == nil || s.len() == 0 })
	sort.SliceStable(shards, func(a, b int) bool { return shards[a].name < shards[b].name })
	first := int64(0)
	for i, s := range shards {
		if i > 0 && shards[i-1].name == s.name {
			return fail(fmt.Errorf("shards %s and %s have the same base name, which decides their order; rename one", shards[i-1].path, s.path))
		}
		s.first = first
		first += int64(s.len())
	}
	return shards, nil
}

// inParallel calls do(0) … do(n−1) from up to workers goroutines and waits.
func inParallel(workers, n int, do func(i int)) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(workers, n) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	wg.Wait()
}

func closeShards(shards []*shard) {
	for _, s := range shards {
		if s != nil {
			s.close()
		}
	}
}

// shardFault is the error of a shard that cannot be indexed to its end.
type shardFault struct {
	path  string
	fault *Fault
}

func (e *shardFault) Error() string {
	return fmt.Sprintf("%s: near record %q, at byte %d: %v; fetch the shard again, `data verify` lists what is whole",
		e.path, e.fault.Key, e.fault.Offset, e.fault.Err)
}

func (e *shardFault) Unwrap() error { return e.fault }

// splitName applies WebDataset's naming to a member or file name: the key is
// the folder and the base name up to its first dot, the extension what follows,
// in lower case. ok is false for what WebDataset ignores: names without a dot or
// with nothing before it, and the `._*` files that macOS adds.
func splitName(name string) (key, extension string, ok bool) {
	for strings.HasPrefix(name, "./") {
		name = strings.TrimLeft(name[2:], "/")
	}
	slash := strings.LastIndexByte(name, '/') + 1
	base := name[slash:]
	dot := strings.IndexByte(base, '.')
	if dot <= 0 {
		return "", "", false
	}
	return name[:slash+dot], strings.ToLower(base[dot+1:]), true
}

// isImage tells the extensions that hold a record's image. What is inside
// decides how it is decoded.
func isImage(extension string) bool {
	switch extension {
	case "jpg", "jpeg", "png", "webp":
		return true
	}
	return false
}
