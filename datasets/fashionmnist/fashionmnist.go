// Package fashionmnist holds real images for everyday use: the 10,000 test
// images of Fashion-MNIST (H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a
// novel image dataset for benchmarking machine learning algorithms", 2017,
// https://arxiv.org/abs/1708.07747), 28×28 grayscale in ten balanced classes.
//
// They are stored as a WebDataset shard: a tar with NNNNN.png and NNNNN.cls for
// each image, in the order of the original file. The tar is kept gzipped in the
// repository (4 MB instead of 26), because members of a tar are padded to 512 bytes; a
// reader gets the plain tar. The images are under the MIT licence, whose notice
// is in LICENSE; PROVENANCE.md says where the bytes come from.
package fashionmnist

import (
	"bytes"
	"compress/gzip"
	_ "embed" // for go:embed below
	"fmt"
	"io"
	"sync"
)

// ShardName is the base name of the embedded shard, the same as that of the
// test shard that `data fetch fashion-mnist` writes: both give one order.
const ShardName = "fashion-mnist-test-000.tar"

// Side is the height and width of an image in pixels.
const Side = 28

// ClassNames are the labels 0 to 9 in the data set's own words.
var ClassNames = [10]string{
	"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
	"Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
}

//go:embed fashion-mnist-test-000.tar.gz
var packed []byte

var unpack = sync.OnceValues(func() ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("embedded %s: %w", ShardName, err)
	}
	var tar bytes.Buffer
	tar.Grow(tarBytes)
	if _, err := io.Copy(&tar, z); err != nil {
		return nil, fmt.Errorf("embedded %s: %w", ShardName, err)
	}
	return tar.Bytes(), nil
})

// Shard returns the bytes of the embedded tar, which the caller must not modify.
// They are unpacked once and shared.
func Shard() ([]byte, error) { return unpack() }

// tarBytes is the size of the embedded tar once unpacked.
const tarBytes = 25601024
