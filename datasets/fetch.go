package datasets

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"immiscible/datasets/fashionmnist"
)

// download is a public gzipped file, pinned by what is inside: mirrors and
// distributions pack it differently.
type download struct {
	name   string
	size   int64  // unpacked, bytes
	sha256 string // unpacked
}

// idxPart is a pair of IDX files and the shards that they are split over.
type idxPart struct {
	images, labels download
	shards         []string // base names
}

// fetchPlan says what is fetched, from where, and how patiently.
type fetchPlan struct {
	parts    []idxPart
	archives []archive
	folders  []string      // that may hold the files already, looked at first
	mirrors  []string      // addresses to which a file's name is added, in this order
	tries    int           // of each mirror
	pause    time.Duration // before the second try; it doubles
	stall    time.Duration // without a byte, after which a try is given up
	advice   string        // what else may be done where nothing helps
}

// fashionMNIST fetches all 70,000 images. Debian's package strips name and time
// from the gzip headers; with those put back its files have the MD5 sums that the
// data set's README prints, so that these digests hold for both.
func fashionMNIST() fetchPlan {
	plan := fetchPlan{
		parts: []idxPart{{
			images: download{"train-images-idx3-ubyte.gz", 47040016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"},
			labels: download{"train-labels-idx1-ubyte.gz", 60008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"},
		}, {
			images: download{"t10k-images-idx3-ubyte.gz", 7840016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"},
			labels: download{"t10k-labels-idx1-ubyte.gz", 10008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"},
			shards: []string{fashionmnist.ShardName},
		}},
		folders: []string{"/usr/share/datasets/fashion-mnist"}, // Debian's dataset-fashion-mnist
		mirrors: []string{
			"https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
			"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
		},
		tries: 4, pause: time.Second, stall: 30 * time.Second,
		advice: ", or install Debian's dataset-fashion-mnist,",
	}
	for i := range 6 {
		plan.parts[0].shards = append(plan.parts[0].shards, fmt.Sprintf("fashion-mnist-train-%03d.tar", i))
	}
	return plan
}

// Fetch gets a public data set into dir and returns the paths of its shards:
//
//	fashion-mnist  WebDataset shards: six of the training images and one of the test
//	               images, the latter equal to the embedded one byte for byte
//	cifar10        CIFAR-10's binary version: five training batches and a test batch
//	cifar100       CIFAR-100's binary version: train.bin and test.bin
//
// Files come from Debian's package where there is one and it is installed, else from
// the set's official addresses; each is held to a sha256. A download that was cut off
// goes on where it stopped, and shards that stand are not made again. progress, if
// given, gets a file's bytes so far and in all.
func Fetch(ctx context.Context, name, dir string, progress func(file string, done, all int64)) ([]string, error) {
	switch name {
	case Embedded:
		return fashionMNIST().fetch(ctx, dir, progress)
	case "cifar10":
		return cifar("cifar-10-binary.tar.gz", 170052171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
			"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin", "batches.meta.txt").fetch(ctx, dir, progress)
	case "cifar100":
		return cifar("cifar-100-binary.tar.gz", 168513733, "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
			"train.bin", "test.bin", "fine_label_names.txt", "coarse_label_names.txt").fetch(ctx, dir, progress)
	case "celeba":
		return nil, errors.New("CelebA is given out through a page, not a file: get img_align_celeba.zip and list_attr_celeba.txt from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, unpack them into one folder, and name that as data.source")
	case "imagenet":
		return nil, errors.New("ImageNet is given out to its members only: get its parquet files (ILSVRC/imagenet-1k) or its archives, and name their folder as data.source")
	}
	return nil, fmt.Errorf("data set %q cannot be fetched; fashion-mnist, cifar10 and cifar100 can", name)
}

func (plan fetchPlan) fetch(ctx context.Context, dir string, progress func(file string, done, all int64)) ([]string, error) {
	if progress == nil {
		progress = func(string, int64, int64) {}
	}
	cache := filepath.Join(dir, ".download")
	if err := os.MkdirAll(cache, 0o777); err != nil {
		return nil, err
	}
	var all []string
	for _, part := range plan.parts {
		var paths []string
		for _, name := range part.shards {
			paths = append(paths, filepath.Join(dir, name))
		}
		all = append(all, paths...)
		if exist(paths) {
			continue
		}
		images, err := part.images.get(ctx, cache, plan, progress)
		if err != nil {
			return nil, err
		}
		labels, err := part.labels.get(ctx, cache, plan, progress)
		if err != nil {
			return nil, err
		}
		if err := writeShards(ctx, paths, images, labels); err != nil {
			return nil, err
		}
	}
	for _, a := range plan.archives {
		paths, err := a.fetch(ctx, dir, cache, plan, progress)
		if err != nil {
			return nil, err
		}
		all = append(all, paths...)
	}
	return all, os.RemoveAll(cache)
}

func exist(paths []string) bool {
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			return false
		}
	}
	return true
}

// writeShards splits unpacked IDX files over the shards, each written under a
// temporary name and renamed when it is whole.
func writeShards(ctx context.Context, paths []string, imageFile, labelFile []byte) error {
	pixels, n, err := fashionmnist.Images(bytes.NewReader(imageFile))
	if err != nil {
		return err
	}
	labels, err := fashionmnist.Labels(bytes.NewReader(labelFile))
	if err != nil {
		return err
	}
	if len(labels) != n || n%len(paths) != 0 {
		return fmt.Errorf("%d images and %d labels, want as many of each, and a multiple of %d", n, len(labels), len(paths))
	}
	const bytesOf = fashionmnist.Side * fashionmnist.Side
	each := n / len(paths)
	for i, path := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		from, to := i*each, (i+1)*each
		err := writeFile(path, func(w io.Writer) error {
			return fashionmnist.WriteShard(w, pixels[from*bytesOf:to*bytesOf], labels[from:to], from)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes a file so that it exists whole or not at all.
func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails once it is renamed
	w := bufio.NewWriterSize(file, 1<<20)
	err = write(w)
	err = errors.Join(err, w.Flush(), file.Chmod(0o644), file.Sync(), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// get returns the file's unpacked bytes, from a folder or from a mirror.
func (f download) get(ctx context.Context, cache string, plan fetchPlan, progress func(file string, done, all int64)) ([]byte, error) {
	for _, folder := range plan.folders {
		if data, err := f.unpack(filepath.Join(folder, f.name)); err == nil {
			progress(f.name, 1, 1)
			return data, nil
		}
	}
	var data []byte
	err := f.download(ctx, cache, plan, progress, func(part string) (err error) {
		data, err = f.unpack(part)
		return err
	})
	return data, err
}

// download gets the file into cache, so that check accepts it there.
func (f download) download(ctx context.Context, cache string, plan fetchPlan, progress func(file string, done, all int64), check func(part string) error) error {
	part := filepath.Join(cache, f.name)
	var last error
	for _, mirror := range plan.mirrors {
		pause := plan.pause
		for try := range plan.tries {
			if try > 0 {
				rest(ctx, pause)
				pause *= 2
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			err := f.try(ctx, part, mirror+f.name, plan.stall, progress, check)
			if err == nil {
				return nil
			}
			last = fmt.Errorf("%s: %w", mirror+f.name, err)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%s cannot be fetched; put it into %s%s and start again; the last error: %w", f.name, cache, plan.advice, last)
}

// unpack reads a gzipped file and holds its content to size and digest.
func (f download) unpack(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	z, err := gzip.NewReader(bufio.NewReader(file))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(z, f.size+1))
	if err != nil {
		return nil, err
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != f.sha256 {
		return nil, fmt.Errorf("%d bytes unpacked have sha256 %s, want %d bytes with %s", len(data), got, f.size, f.sha256)
	}
	return data, nil
}

// try downloads what the part file lacks, and checks it when it is complete.
func (f download) try(ctx context.Context, part, url string, stall time.Duration, progress func(file string, done, all int64), check func(part string) error) error {
	if check(part) == nil {
		return nil
	}
	if err := f.resume(ctx, part, url, stall, progress); err != nil {
		return err
	}
	if err := check(part); err != nil {
		return errors.Join(err, os.Remove(part)) // begin anew
	}
	return nil
}

// maxDownload bounds a file that a server sends without end, in bytes.
const maxDownload = 1 << 28

// resume appends to the part file what a server has beyond it. A server that
// ignores ranges sends everything, and the file begins anew.
func (f download) resume(ctx context.Context, part, url string, stall time.Duration, progress func(file string, done, all int64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(stall, func() { cancel(fmt.Errorf("nothing came for %v", stall)) })
	defer watchdog.Stop()

	file, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	have, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept-Encoding", "identity") // or the .gz would come unpacked
	if have > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return because(ctx, err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		have = 0
		if err := file.Truncate(0); err != nil {
			return err
		}
	case http.StatusPartialContent:
		if !strings.HasPrefix(response.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", have)) {
			return fmt.Errorf("asked from byte %d, got %q", have, response.Header.Get("Content-Range"))
		}
	case http.StatusRequestedRangeNotSatisfiable:
		return nil // nothing beyond what there is, which the digest will judge
	default:
		return fmt.Errorf("status %s", response.Status)
	}
	all := have + response.ContentLength // −1 where the server does not say
	buf := make([]byte, 1<<16)
	for have < maxDownload {
		n, err := response.Body.Read(buf)
		if n > 0 {
			watchdog.Reset(stall)
			if _, err := file.WriteAt(buf[:n], have); err != nil {
				return err
			}
			have += int64(n)
			progress(f.name, have, max(all, have))
		}
		if errors.Is(err, io.EOF) {
			return file.Close()
		}
		if err != nil {
			return because(ctx, err)
		}
	}
	return fmt.Errorf("more than %d bytes came", maxDownload)
}

// because prefers the reason for which a request was cancelled to the fact.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
