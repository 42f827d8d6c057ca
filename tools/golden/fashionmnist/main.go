// Command fashionmnist makes datasets/fashionmnist/fashion-mnist-test-000.tar.gz
// from the IDX files of Debian's package dataset-fashion-mnist:
//
//	go run ./tools/golden/fashionmnist -idx /usr/share/datasets/fashion-mnist -out datasets/fashionmnist
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"immiscible/datasets/fashionmnist"
)

func main() {
	idx := flag.String("idx", "", "folder of t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz")
	out := flag.String("out", "", "folder to write the shard to")
	flag.Parse()
	if err := run(*idx, *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(idx, out string) error {
	imageFile, err := gunzip(filepath.Join(idx, "t10k-images-idx3-ubyte.gz"))
	if err != nil {
		return err
	}
	labelFile, err := gunzip(filepath.Join(idx, "t10k-labels-idx1-ubyte.gz"))
	if err != nil {
		return err
	}
	pixels, _, err := fashionmnist.Images(imageFile)
	if err != nil {
		return err
	}
	labels, err := fashionmnist.Labels(labelFile)
	if err != nil {
		return err
	}
	var shard, packed bytes.Buffer
	if err := fashionmnist.WriteShard(&shard, pixels, labels, 0); err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(shard.Bytes()); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	fmt.Printf("tar: %d bytes, sha256 %x\ntar.gz: %d bytes\n", shard.Len(), sha256.Sum256(shard.Bytes()), packed.Len())
	return os.WriteFile(filepath.Join(out, fashionmnist.ShardName+".gz"), packed.Bytes(), 0o644)
}

// gunzip reads a whole gzipped file.
func gunzip(path string) (io.Reader, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return z, nil
}
