package datasets

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"
)

// archive is a public .tar.gz, pinned as it is packed, of which some members are
// the data set.
type archive struct {
	file    download // size and sha256 of the packed file
	members []string // base names
}

// cifar fetches one of CIFAR's binary versions.
func cifar(name string, size int64, sha256 string, members ...string) fetchPlan {
	return fetchPlan{
		archives: []archive{{download{name, size, sha256}, members}},
		mirrors:  []string{"https://www.cs.toronto.edu/~kriz/"},
		tries:    4, pause: time.Second, stall: 30 * time.Second,
	}
}

// fetch writes the members into dir and returns the paths of those that are shards.
func (a archive) fetch(ctx context.Context, dir, cache string, plan fetchPlan, progress func(file string, done, all int64)) ([]string, error) {
	var all, shards []string
	for _, name := range a.members {
		path := filepath.Join(dir, name)
		if all = append(all, path); kindOf(path) != 0 {
			shards = append(shards, path)
		}
	}
	if exist(all) {
		return shards, nil
	}
	if err := a.file.download(ctx, cache, plan, progress, func(part string) error { return a.file.check(ctx, part) }); err != nil {
		return nil, err
	}
	return shards, a.extract(ctx, filepath.Join(cache, a.file.name), dir)
}

// check holds a packed file to size and digest.
func (f download) check(ctx context.Context, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, bufio.NewReaderSize(&untilDone{ctx, file}, 1<<20))
	if err != nil {
		return err
	}
	if got := fmt.Sprintf("%x", hash.Sum(nil)); n != f.size || got != f.sha256 {
		return fmt.Errorf("%d bytes with sha256 %s, want %d with %s", n, got, f.size, f.sha256)
	}
	return nil
}

// extract writes the members that are wanted, by their base names, which are
// ours: where a name in the archive leads does not matter.
func (a archive) extract(ctx context.Context, from, dir string) error {
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer file.Close()
	z, err := gzip.NewReader(bufio.NewReaderSize(&untilDone{ctx, file}, 1<<20))
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	missing := map[string]bool{}
	for _, name := range a.members {
		missing[name] = true
	}
	archive := tar.NewReader(z)
	for len(missing) > 0 {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			for name := range missing {
				return fmt.Errorf("%s: no %s in it", from, name)
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		name := path.Base(head.Name)
		if head.Typeflag != tar.TypeReg || !missing[name] {
			continue
		}
		err = writeFile(filepath.Join(dir, name), func(w io.Writer) error {
			_, err := io.Copy(w, io.LimitReader(archive, maxDownload))
			return err
		})
		if err != nil {
			return err
		}
		delete(missing, name)
	}
	return nil
}

// untilDone reads until its context ends.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
