package fashionmnist

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/png"
	"io"
	"strconv"
	"time"
)

// IDX magic numbers: unsigned bytes in three and in one dimension
// (http://yann.lecun.com/exdb/mnist, "the IDX file format").
const (
	magicImages = 0x00000803
	magicLabels = 0x00000801
)

// Images reads an IDX file of 28×28 images (already gunzipped) and returns
// their pixels, one image of Side·Side bytes after the other.
func Images(r io.Reader) (pixels []byte, n int, err error) {
	var head [4]uint32
	if err := binary.Read(r, binary.BigEndian, &head); err != nil {
		return nil, 0, fmt.Errorf("IDX images: header: %w", err)
	}
	if head[0] != magicImages || head[2] != Side || head[3] != Side {
		return nil, 0, fmt.Errorf("IDX images: magic %#08x and size %d×%d, want %#08x and %d×%d",
			head[0], head[2], head[3], magicImages, Side, Side)
	}
	pixels, err = exactly(r, int64(head[1])*Side*Side)
	if err != nil {
		return nil, 0, fmt.Errorf("IDX images: %w", err)
	}
	return pixels, int(head[1]), nil
}

// Labels reads an IDX file of labels (already gunzipped), each from 0 to 9.
func Labels(r io.Reader) ([]byte, error) {
	var head [2]uint32
	if err := binary.Read(r, binary.BigEndian, &head); err != nil {
		return nil, fmt.Errorf("IDX labels: header: %w", err)
	}
	if head[0] != magicLabels {
		return nil, fmt.Errorf("IDX labels: magic %#08x, want %#08x", head[0], magicLabels)
	}
	labels, err := exactly(r, int64(head[1]))
	if err != nil {
		return nil, fmt.Errorf("IDX labels: %w", err)
	}
	for i, label := range labels {
		if int(label) >= len(ClassNames) {
			return nil, fmt.Errorf("IDX labels: label %d of item %d, want 0 to %d", label, i, len(ClassNames)-1)
		}
	}
	return labels, nil
}

// exactly reads n bytes and then the end of the file. A count that lies does
// not make it allocate more than the file holds.
func exactly(r io.Reader, n int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, n+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != n {
		return nil, fmt.Errorf("the header promises %d bytes, the file holds %d or more", n, len(data))
	}
	return data, nil
}

// WriteShard writes images first … first+len(labels)−1 as a WebDataset tar. The
// PNGs hold stored (not deflated) blocks: a tar member is padded to 512 bytes, so
// that deflating them would save little, and the bytes of the shard then do
// not depend on the version of a compressor.
func WriteShard(w io.Writer, pixels, labels []byte, first int) error {
	if len(pixels) != len(labels)*Side*Side {
		return fmt.Errorf("%d bytes of pixels for %d labels, want %d", len(pixels), len(labels), len(labels)*Side*Side)
	}
	archive := tar.NewWriter(w)
	add := func(name string, data []byte) error {
		err := archive.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o644,
			ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR,
		})
		if err != nil {
			return err
		}
		_, err = archive.Write(data)
		return err
	}
	encoder := png.Encoder{CompressionLevel: png.NoCompression, BufferPool: new(oneBuffer)}
	var buf bytes.Buffer
	for i, label := range labels {
		picture := &image.Gray{
			Pix: pixels[i*Side*Side : (i+1)*Side*Side], Stride: Side, Rect: image.Rect(0, 0, Side, Side),
		}
		buf.Reset()
		if err := encoder.Encode(&buf, picture); err != nil {
			return err
		}
		key := fmt.Sprintf("%05d", first+i)
		if err := add(key+".png", buf.Bytes()); err != nil {
			return err
		}
		if err := add(key+".cls", []byte(strconv.Itoa(int(label)))); err != nil {
			return err
		}
	}
	return archive.Close()
}

// oneBuffer keeps the encoder's buffer from one image to the next: a megabyte
// that it would otherwise allocate for each.
type oneBuffer struct{ buffer *png.EncoderBuffer }

func (o *oneBuffer) Get() *png.EncoderBuffer  { return o.buffer }
func (o *oneBuffer) Put(b *png.EncoderBuffer) { o.buffer = b }
