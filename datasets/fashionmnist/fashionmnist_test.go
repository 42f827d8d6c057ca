package fashionmnist

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"image"
	"image/png"
	"io"
	"strings"
	"testing"
)

// TestShardIsWhole holds the embedded tar to its digest in PROVENANCE.md, and
// its content to facts about the set: 10,000 images of 28×28, 1,000 a class.
func TestShardIsWhole(t *testing.T) {
	data, err := Shard()
	if err != nil {
		t.Fatal(err)
	}
	const want = "1ec32cfaf2fbaedeeac2c6923ca3444bb1e797f984c7910e04a7060bc9180e25"
	if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != want {
		t.Errorf("sha256 of the tar is %s, want %s", got, want)
	}
	if len(data) != tarBytes {
		t.Errorf("the tar has %d bytes, the constant says %d", len(data), tarBytes)
	}
	var classes [10]int
	r := tar.NewReader(bytes.NewReader(data))
	for i := 0; ; i++ {
		head, err := r.Next()
		if err == io.EOF {
			if i != 20000 {
				t.Errorf("%d members, want 20000", i)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%05d.%s", i/2, []string{"png", "cls"}[i%2]); head.Name != want {
			t.Fatalf("member %d is %s, want %s", i, head.Name, want)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			classes[body[0]-'0']++
			continue
		}
		config, err := png.DecodeConfig(bytes.NewReader(body))
		if err != nil || config.Width != Side || config.Height != Side {
			t.Fatalf("%s: %d×%d, %v", head.Name, config.Width, config.Height, err)
		}
	}
	for class, n := range classes {
		if n != 1000 {
			t.Errorf("class %d (%s) has %d images, want 1000", class, ClassNames[class], n)
		}
	}
}

func idxImages(n uint32, pixels []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, magicImages)
	b = binary.BigEndian.AppendUint32(b, n)
	b = binary.BigEndian.AppendUint32(b, Side)
	b = binary.BigEndian.AppendUint32(b, Side)
	return append(b, pixels...)
}

func idxLabels(n int, labels []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, magicLabels)
	return append(binary.BigEndian.AppendUint32(b, uint32(n)), labels...)
}

// TestRoundTrip writes pixels through IDX and the shard and reads them back.
func TestRoundTrip(t *testing.T) {
	const n = 3
	pixels := make([]byte, n*Side*Side)
	for i := range pixels {
		pixels[i] = byte(i * i / 7)
	}
	labels := []byte{9, 0, 4}
	gotPixels, gotN, err := Images(bytes.NewReader(idxImages(n, pixels)))
	if err != nil || gotN != n || !bytes.Equal(gotPixels, pixels) {
		t.Fatalf("Images: n=%d, %v", gotN, err)
	}
	gotLabels, err := Labels(bytes.NewReader(idxLabels(n, labels)))
	if err != nil || !bytes.Equal(gotLabels, labels) {
		t.Fatalf("Labels: %v, %v", gotLabels, err)
	}
	var shard bytes.Buffer
	if err := WriteShard(&shard, pixels, labels, 41); err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(&shard)
	for i := range n {
		head, err := r.Next()
		if err != nil || head.Name != fmt.Sprintf("%05d.png", 41+i) {
			t.Fatalf("member %v, %v", head, err)
		}
		picture, err := png.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(picture.(*image.Gray).Pix, pixels[i*Side*Side:(i+1)*Side*Side]) {
			t.Errorf("image %d differs", i)
		}
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(r); string(body) != fmt.Sprint(labels[i]) {
			t.Errorf("label %d is %q, want %d", i, body, labels[i])
		}
	}
}

func TestBadIDX(t *testing.T) {
	pixels := make([]byte, Side*Side)
	for _, row := range []struct {
		name, want string
		data       []byte
		labels     bool
	}{
		{"empty", "header", nil, false},
		{"labels given as images", "magic", append(idxLabels(1, []byte{0}), make([]byte, 8)...), false},
		{"truncated", "promises", idxImages(2, pixels), false},
		{"too long", "promises", idxImages(1, append(pixels, 0)), false},
		{"a count that lies", "promises", idxImages(1<<32-1, pixels), false},
		{"label out of range", "label 10 of item 1", idxLabels(2, []byte{0, 10}), true},
		{"images given as labels", "magic", idxImages(1, pixels), true},
		{"truncated labels", "promises", idxLabels(3, []byte{1}), true},
	} {
		var err error
		if row.labels {
			_, err = Labels(bytes.NewReader(row.data))
		} else {
			_, _, err = Images(bytes.NewReader(row.data))
		}
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: error %v, want one with %q", row.name, err, row.want)
		}
	}
	if err := WriteShard(io.Discard, pixels, []byte{1, 2}, 0); err == nil {
		t.Error("WriteShard takes one image for two labels")
	}
}
