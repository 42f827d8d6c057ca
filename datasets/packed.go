package datasets

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// packedShard reads files in which every image is a fixed number of bare pixel
// bytes: CIFAR's batches, and the IDX files of MNIST and its kin. A record's key is
// its number.
type packedShard struct {
	name, path string
	file       io.ReaderAt
	n          int
	first      int64 // offset of the first image's pixels, in bytes
	stride     int64 // from one image to the next, in bytes
	w, h, c    int
	labels     []int64 // nil: labelAt holds
	labelAt    int64   // offset of a label byte from the image's pixels
	classes    []string
}

func (s *packedShard) len() int             { return s.n }
func (s *packedShard) key(i int) string     { return fmt.Sprintf("%05d", i) }
func (s *packedShard) offset(i int) int64   { return s.first + int64(i)*s.stride }
func (s *packedShard) classNames() []string { return s.classes }

func (s *packedShard) label(i int) (int64, error) {
	if s.labels != nil {
		return s.labels[i], nil
	}
	var b [1]byte
	if _, err := s.file.ReadAt(b[:], s.offset(i)+s.labelAt); err != nil {
		return 0, s.shorter(i, err)
	}
	return int64(b[0]), nil
}

// read returns the pixels; planes, as CIFAR has them, are interleaved.
func (s *packedShard) read(i int) (raw, error) {
	p := newPicture(s.w, s.h, s.c)
	if _, err := s.file.ReadAt(p.pix, s.offset(i)); err != nil {
		return raw{}, s.shorter(i, err)
	}
	if s.c > 1 {
		planes, area := p.pix, s.w*s.h
		p.pix = make([]uint8, len(planes))
		for at := range area {
			for c := range s.c {
				p.pix[at*s.c+c] = planes[c*area+at]
			}
		}
	}
	label, err := s.label(i)
	return raw{pixels: p, label: label}, err
}

func (s *packedShard) shorter(i int, err error) error {
	if errors.Is(err, io.EOF) {
		err = errors.New("the file has become shorter since it was indexed")
	}
	return fmt.Errorf("%s: record %s at byte %d: %w", s.path, s.key(i), s.offset(i), err)
}

// CIFAR's binary layout: label bytes (CIFAR-10: one; CIFAR-100: coarse, fine), then
// 32×32 pixels as three planes (https://www.cs.toronto.edu/~kriz/cifar.html).
const (
	cifarSide   = 32
	cifarPixels = 3 * cifarSide * cifarSide
)

// indexCIFAR indexes a binary batch of size bytes: data_batch_1.bin … and
// test_batch.bin of CIFAR-10, train.bin and test.bin of CIFAR-100, whose label is
// the fine one, or the coarse one where want.label is "coarse_label".
func indexCIFAR(path string, file io.ReaderAt, size int64, want fields) (*packedShard, error) {
	s := &packedShard{name: filepath.Base(path), path: path, file: file, w: cifarSide, h: cifarSide, c: 3, labelAt: -1, first: 1}
	names := "batches.meta.txt"
	if s.name == "train.bin" || s.name == "test.bin" {
		s.first, names = 2, "fine_label_names.txt"
		if want.label == "coarse_label" {
			s.labelAt, names = -2, "coarse_label_names.txt"
		}
	}
	s.stride = s.first + cifarPixels
	if size == 0 || size%s.stride != 0 {
		return nil, fmt.Errorf("%s: %d bytes, want a multiple of %d, the size of a CIFAR record; fetch the file again", path, size, s.stride)
	}
	s.n = int(size / s.stride)
	s.classes = cifarClasses(filepath.Join(filepath.Dir(path), names))
	return s, nil
}

// cifarClasses reads the names of the classes from the text file that lies beside
// the binary batches; nil where it does not.
func cifarClasses(path string) []string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Fields(string(text))
}

// maxIDX bounds an unpacked IDX file, in bytes: EMNIST's largest has 547 MB.
const maxIDX = 1 << 30

// idxLabels is the name of the labels' file for that of an IDX file of images, in
// the spelling of MNIST and its kin; "" if it is none.
func idxLabels(name string) string {
	for _, mark := range []string{"-images-idx3-ubyte", "-images.idx3-ubyte"} {
		if before, after, ok := strings.Cut(name, mark); ok && (after == "" || after == ".gz") {
			return before + strings.NewReplacer("images", "labels", "idx3", "idx1").Replace(mark) + after
		}
	}
	return ""
}

// indexIDX reads a file of images and the labels beside it into memory, gzipped or
// not (http://yann.lecun.com/exdb/mnist, "the IDX file format").
func indexIDX(path string) (*packedShard, error) {
	images, dims, err := readIDX(path, 3)
	if err != nil {
		return nil, err
	}
	labelPath := filepath.Join(filepath.Dir(path), idxLabels(filepath.Base(path)))
	labels, labelDims, err := readIDX(labelPath, 1)
	if err != nil {
		return nil, fmt.Errorf("%s: its labels: %w", path, err)
	}
	n, h, w := dims[0], dims[1], dims[2]
	switch {
	case labelDims[0] != n:
		return nil, fmt.Errorf("%s: %d labels for %d images of %s", labelPath, labelDims[0], n, path)
	case n == 0 || h == 0 || w == 0:
		return nil, fmt.Errorf("%s: %d images of %d×%d, want at least one of at least a pixel", path, n, h, w)
	}
	s := &packedShard{name: filepath.Base(path), path: path, file: bytes.NewReader(images), n: n, stride: int64(w * h), w: w, h: h, c: 1}
	s.labels = make([]int64, n)
	for i, label := range labels {
		s.labels[i] = int64(label)
	}
	return s, nil
}

// readIDX returns the bytes and the dimensions of an IDX file of unsigned bytes:
// two zeros, the type 8, the number of dimensions, each as a big-endian uint32.
func readIDX(path string, want int) ([]byte, []int, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	var r io.Reader = file
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(file)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		r = z
	}
	data, err := io.ReadAll(io.LimitReader(r, maxIDX+1))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	head := 4 + 4*want
	if len(data) < head || data[0] != 0 || data[1] != 0 || data[2] != 8 || int(data[3]) != want {
		return nil, nil, fmt.Errorf("%s: no IDX file of bytes in %d dimensions: it starts with % x", path, want, data[:min(4, len(data))])
	}
	dims, product := make([]int, want), 1
	for i := range dims {
		dims[i] = int(binary.BigEndian.Uint32(data[4+4*i:]))
		if dims[i] > maxIDX || product*dims[i] > maxIDX {
			return nil, nil, fmt.Errorf("%s: more than %d bytes by its header", path, maxIDX)
		}
		product *= dims[i]
	}
	if len(data) != head+product {
		return nil, nil, fmt.Errorf("%s: %d bytes, want %s by its header", path, len(data), strconv.Itoa(head+product))
	}
	return data[head:], dims, nil
}
