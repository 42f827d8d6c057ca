package datasets

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A tar's index is a text file. Its first line says what it is of: the format, the
// shard's size in bytes, a checksum of three headers (see probe), the number of
// records. Then a line a record, in the order of the tar: the key, quoted; offset and
// size of the image, .cls, .txt and .json, "-" for none; why it cannot be used, quoted,
// "" if it can. The last line is the SHA-256 of all before it.
//
// It lies beside the shard, NAME.tar.index, where `data index -write` put it and where
// it can be served from, or in the cache. An index whose size, headers or checksum is
// wrong is not used: the headers are read again. `data verify` always reads them, and
// reports an index that says something else.
const (
	indexSuffix = ".index"
	indexFormat = "immiscible-index 1"
	maxIndex    = 1 << 30 // bytes that are read of one
)

// errStale is the error of an index that is not that of its shard.
var errStale = errors.New("the index is not that of the shard")

// probe is a checksum of the headers before the first, the middle and the last record's
// image. They hold names, sizes and times, so that another tar of the same size is
// told with three reads.
func (t *tarShard) probe(headers io.ReaderAt) (uint32, error) {
	sum := uint32(0)
	for _, i := range []int{0, len(t.records) / 2, len(t.records) - 1} {
		var head [512]byte
		if _, err := headers.ReadAt(head[:], max(0, t.offset(i)-512)); err != nil {
			return 0, err
		}
		sum = crc32.Update(sum, castagnoli, head[:])
	}
	return sum, nil
}

// spans are where the members of a record lie.
func (r *tarRecord) spans() []*span { return []*span{&r.image, &r.class, &r.text, &r.meta} }

// index writes the shard's index.
func (t *tarShard) index(headers io.ReaderAt, size int64) ([]byte, error) {
	probe, err := t.probe(headers)
	if err != nil {
		return nil, err
	}
	out := fmt.Appendf(nil, "%s\t%d\t%08x\t%d\n", indexFormat, size, probe, len(t.records))
	for i := range t.records {
		r := &t.records[i]
		out = strconv.AppendQuote(out, r.key)
		for _, at := range r.spans() {
			if *at == absent {
				out = append(out, "\t-"...)
				continue
			}
			out = strconv.AppendInt(append(out, '\t'), at.offset, 10)
			out = strconv.AppendInt(append(out, ','), at.size, 10)
		}
		out = append(strconv.AppendQuote(append(out, '\t'), r.fault), '\n')
	}
	return fmt.Appendf(out, "sha256 %x\n", sha256.Sum256(out)), nil
}

// read makes a shard of its index, or gives errStale. One that is trusted is not held
// to the headers.
func (s tarSource) read(index []byte, trusted bool) (*tarShard, error) {
	const lastLine = len("sha256 ") + 2*sha256.Size + len("\n")
	cut := len(index) - lastLine
	if cut < 0 || string(index[cut:]) != fmt.Sprintf("sha256 %x\n", sha256.Sum256(index[:cut])) {
		return nil, errStale
	}
	lines := bufio.NewScanner(bytes.NewReader(index[:cut]))
	lines.Buffer(nil, 1<<20)
	lines.Scan()
	var ofSize int64
	var probe uint32
	var n int
	if _, err := fmt.Sscanf(lines.Text(), indexFormat+"\t%d\t%x\t%d", &ofSize, &probe, &n); err != nil || ofSize != s.size {
		return nil, errStale
	}
	t := &tarShard{name: s.name, path: s.path, file: s.file}
	for lines.Scan() {
		parts := strings.Split(lines.Text(), "\t")
		if len(parts) != 6 {
			return nil, errStale
		}
		var r tarRecord
		var err error
		if r.key, err = strconv.Unquote(parts[0]); err != nil {
			return nil, errStale
		}
		for i, at := range r.spans() {
			if *at = absent; parts[1+i] == "-" {
				continue
			}
			offset, length, _ := strings.Cut(parts[1+i], ",")
			var err1, err2 error
			at.offset, err1 = strconv.ParseInt(offset, 10, 64)
			at.size, err2 = strconv.ParseInt(length, 10, 64)
			if err1 != nil || err2 != nil || at.offset < 0 || at.size < 0 || at.offset > s.size-at.size {
				return nil, errStale
			}
		}
		if r.fault, err = strconv.Unquote(parts[5]); err != nil {
			return nil, errStale
		}
		t.records = append(t.records, r)
	}
	if len(t.records) != n || n == 0 {
		return nil, errStale
	}
	if trusted {
		return t, nil
	}
	if now, err := t.probe(s.headers); err != nil || now != probe {
		return nil, errors.Join(errStale, err)
	}
	return t, nil
}

// tarSource is a file to be indexed, a tar or another format that is one file.
type tarSource struct {
	path, name string
	file       io.ReaderAt
	headers    io.ReaderAt // the same bytes, read for an index
	size       int64
	id         string                         // of the shard in the cache
	versioned  bool                           // id is of this version of the shard
	beside     func() (index []byte, ok bool) // what lies beside it
}

// open takes the index from beside the shard or from the cache, or makes it and leaves
// it in the cache. To verify, it is always made, and a stored one that differs is a
// *shardFault. With a *shardFault the records before the fault are returned too.
func (s tarSource) open(where storage) (*tarShard, error) {
	dir, verify, cached := where.localIndex, where.verify, ""
	if _, ok := s.file.(*remoteFile); ok {
		dir = where.remoteIndex
	}
	if dir != "" {
		cached = filepath.Join(dir, "index", s.id+indexSuffix)
	}
	stored, at := s.stored(cached)
	if stored != nil && !verify {
		if t, err := s.read(stored, s.versioned && at == cached); err == nil {
			return t, nil
		}
	}
	t, err := indexTar(s.path, s.headers, s.size)
	if t != nil {
		t.name, t.file = s.name, s.file
	}
	if err != nil || stored == nil && cached == "" {
		return t, err
	}
	index, err := t.index(s.headers, s.size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	if verify && stored != nil && !bytes.Equal(stored, index) {
		return t, &shardFault{s.path, &Fault{Shard: s.name, Err: fmt.Errorf("%s: %w; write it anew with `data index -write`, or remove it", at, errStale)}}
	}
	if cached != "" && !verify {
		if os.MkdirAll(filepath.Dir(cached), 0o777) == nil {
			_ = writeFile(cached, func(w io.Writer) error { // without it, the next start reads the headers again
				_, err := w.Write(index)
				return err
			})
		}
	}
	return t, nil
}

// stored is the index beside the shard, or that in the cache, and where it is.
func (s tarSource) stored(cached string) (index []byte, where string) {
	if index, ok := s.beside(); ok {
		return index, s.path + indexSuffix
	}
	if cached != "" {
		if index, err := os.ReadFile(cached); err == nil {
			return index, cached
		}
	}
	return nil, ""
}

// localTar is a tar on a disk.
func localTar(path string, file io.ReaderAt, size int64) tarSource {
	absolute, err := filepath.Abs(path)
	if err != nil {
		absolute = path
	}
	return tarSource{
		path: path, name: filepath.Base(path), file: file, headers: file, size: size,
		id: fmt.Sprintf("%x", sha256.Sum256([]byte(absolute)))[:32],
		beside: func() ([]byte, bool) {
			index, err := os.ReadFile(path + indexSuffix)
			return index, err == nil
		},
	}
}

// remoteTar is a tar on a server.
func remoteTar(ctx context.Context, url string, f *remoteFile) tarSource {
	return tarSource{
		path: f.web.address, name: remoteName(url), file: f, headers: &headers{file: f, next: leastHeaders}, size: f.size(), id: f.id,
		versioned: f.web.seen.condition() != "",
		beside: func() ([]byte, bool) {
			index := *f.web
			if index.url = strings.Replace(index.url, ".tar", ".tar"+indexSuffix, 1); !strings.HasSuffix(strings.Split(index.url, "?")[0], ".tar"+indexSuffix) {
				return nil, false
			}
			data, err := index.whole(ctx, maxIndex)
			return data, err == nil
		},
	}
}

// WriteIndexes writes the index of each tar on a disk beside it, NAME.tar.index, where
// Open finds it, and returns their paths.
func (d *Dataset) WriteIndexes(ctx context.Context) ([]string, error) {
	var paths []string
	for _, s := range d.shards {
		t, ok := s.reader.(*tarShard)
		info, err := os.Stat(s.path)
		if !ok || err != nil {
			continue // in memory, on a server, or of a format that has an index of its own
		}
		if err := ctx.Err(); err != nil {
			return paths, err
		}
		index, err := t.index(t.file, info.Size())
		if err != nil {
			return paths, fmt.Errorf("%s: %w", s.path, err)
		}
		path := s.path + indexSuffix
		err = writeFile(path, func(w io.Writer) error {
			_, err := w.Write(index)
			return err
		})
		if err != nil {
			return paths, fmt.Errorf("%s: %w", path, err)
		}
		paths = append(paths, path)
	}
	return slices.Clip(paths), nil
}
