package datasets

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"

	"immiscible/datasets/jpeg"
)

// maxPixels bounds an image's area, against files that are small on disk and
// huge in memory: a quarter of a gigabyte as RGB, the size from which Pillow warns of
// a decompression bomb (Image.MAX_IMAGE_PIXELS = 1024³ / 4 / 3).
const maxPixels = 1 << 30 / 4 / 3

// coded is an image that has not been decoded yet.
type coded struct {
	w, h int
	// read decodes what lies in the part, or more; at 1/shrink of the size, by which the
	// part counts, where the decoder can (see mostShrink), else all at the full size.
	read func(shrink int, part window, r *room) (*picture, error)
}

// look reads the header of a PNG, a JPEG or a WebP; the content decides which.
func look(data []byte) (coded, error) {
	var config image.Config
	var err error
	var c coded
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		config, err = png.DecodeConfig(bytes.NewReader(data))
		c.read = func(int, window, *room) (*picture, error) {
			decoded, err := png.Decode(bytes.NewReader(data))
			if err != nil {
				return nil, err
			}
			return flatten(decoded)
		}
	case bytes.HasPrefix(data, []byte{0xff, 0xd8}):
		config.Width, config.Height, err = jpeg.Size(data)
		c.read = func(shrink int, part window, r *room) (*picture, error) {
			return decodeJPEG(data, config.Width, config.Height, shrink, part, r)
		}
	case isWebP(data):
		config, err = webpConfig(data)
		c.read = func(int, window, *room) (*picture, error) { return decodeWebP(data) }
	default:
		err = fmt.Errorf("no PNG, JPEG or WebP: the %d bytes start with % x", len(data), data[:min(4, len(data))])
	}
	switch {
	case err != nil:
		return c, err
	case config.Width <= 0 || config.Height <= 0 || config.Width > maxPixels/config.Height:
		return c, fmt.Errorf("image of %d×%d, want at least a pixel and at most %d", config.Width, config.Height, maxPixels)
	}
	c.w, c.h = config.Width, config.Height
	return c, nil
}

// decode reads a whole image at its full size. Gray images come out with one channel,
// all others with three, as Pillow's convert("L") and convert("RGB") read them: alpha
// is dropped, not blended.
func decode(data []byte) (*picture, error) {
	c, err := look(data)
	if err != nil {
		return nil, err
	}
	return c.read(1, window{0, 0, c.w, c.h}, nil)
}

// picture decodes a record's image, unless its format stores bare pixels.
func (r raw) picture() (*picture, error) {
	if r.pixels != nil {
		return r.pixels, nil
	}
	return decode(r.image)
}

// flatten turns what the standard library decodes to into a picture.
func flatten(decoded image.Image) (*picture, error) {
	bounds := decoded.Bounds()
	w, h := bounds.Dx(), bounds.Dy()
	switch src := decoded.(type) {
	case *image.Gray:
		p := newPicture(w, h, 1)
		for y := range h {
			copy(p.pix[y*w:(y+1)*w], src.Pix[y*src.Stride:])
		}
		return p, nil
	case *image.Gray16:
		p := newPicture(w, h, 1)
		for y := range h {
			for x := range w {
				p.pix[y*w+x] = src.Pix[y*src.Stride+2*x] // the high byte; Pillow clips at 255, so that nearly all of it is white
			}
		}
		return p, nil
	case *image.RGBA:
		return interleaved(src.Pix, src.Stride, w, h, 1), nil
	case *image.NRGBA:
		return interleaved(src.Pix, src.Stride, w, h, 1), nil
	case *image.RGBA64:
		return interleaved(src.Pix, src.Stride, w, h, 2), nil
	case *image.NRGBA64:
		return interleaved(src.Pix, src.Stride, w, h, 2), nil
	case *image.Paletted:
		palette := make([][3]uint8, len(src.Palette))
		for i, entry := range src.Palette {
			c := color.NRGBAModel.Convert(entry).(color.NRGBA)
			palette[i] = [3]uint8{c.R, c.G, c.B}
		}
		p := newPicture(w, h, 3)
		for y := range h {
			for x := range w {
				copy(p.pix[(y*w+x)*3:], palette[src.Pix[y*src.Stride+x]][:])
			}
		}
		return p, nil
	case *image.YCbCr:
		return fromYCbCr(src, window{0, 0, w, h}, nil), nil
	case *image.CMYK:
		return fromCMYK(src), nil
	}
	return nil, fmt.Errorf("pixels of type %T are not supported", decoded)
}

// interleaved copies R, G and B out of pixels of four channels with size bytes
// each, the most significant first.
func interleaved(pix []uint8, stride, w, h, size int) *picture {
	p := newPicture(w, h, 3)
	out := p.pix
	for y := range h {
		row := pix[y*stride:]
		for x := range w {
			at := row[x*4*size:]
			out[0], out[1], out[2] = at[0], at[size], at[2*size]
			out = out[3:]
		}
	}
	return p
}

// fromCMYK is Pillow's conversion: each colour is (255−K)·(255−C)/255, rounded.
func fromCMYK(src *image.CMYK) *picture {
	w, h := src.Rect.Dx(), src.Rect.Dy()
	p := newPicture(w, h, 3)
	for y := range h {
		for x := range w {
			at := src.Pix[y*src.Stride+4*x:]
			k := 255 - int(at[3])
			for c := range 3 {
				v := int(at[c])*k + 128
				p.pix[(y*w+x)*3+c] = uint8(max(0, k-(v>>8+v)>>8))
			}
		}
	}
	return p
}

// clip limits v to 0 … 255.
func clip(v int32) uint8 { return uint8(min(max(v, 0), 255)) }
