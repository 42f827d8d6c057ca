package datasets

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
)

// maxPixels bounds an image's area, against files that are small on disk and
// huge in memory: 4/3 of a gigabyte as RGB, the size from which Pillow warns of
// a decompression bomb (Image.MAX_IMAGE_PIXELS = 1024³ / 4 / 3).
const maxPixels = 1 << 30 / 4 / 3

// picture is a decoded image of 8 bits a channel, interleaved.
type picture struct {
	w, h, c int
	pix     []uint8 // [h, w, c]

	shrink       int // by which the decoder has divided the image's sides; 0: not at all
	fullW, fullH int // of the image, where it has
}

// size is that of the image, which the decoder may have shrunk.
func (p *picture) size() (w, h int) {
	if p.shrink > 0 {
		return p.fullW, p.fullH
	}
	return p.w, p.h
}

// like makes a picture that is shrunk as p is.
func (p *picture) like(w, h, c int) *picture {
	out := newPicture(w, h, c)
	out.shrink, out.fullW, out.fullH = p.shrink, p.fullW, p.fullH
	return out
}

func newPicture(w, h, c int) *picture {
	return &picture{w: w, h: h, c: c, pix: make([]uint8, w*h*c)}
}

// decode reads a PNG, a JPEG or a WebP; the content decides which. Gray images
// come out with one channel, all others with three, as Pillow's convert("L") and
// convert("RGB") read them: alpha is dropped, not blended. A decoder that can
// shrink while it reads may do so while the shorter side stays least pixels or more
// (see decodeJPEG); math.MaxInt: never.
func decode(data []byte, least int) (*picture, error) {
	var config image.Config
	var read func() (*picture, error)
	var err error
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		config, err = png.DecodeConfig(bytes.NewReader(data))
		read = func() (*picture, error) {
			decoded, err := png.Decode(bytes.NewReader(data))
			if err != nil {
				return nil, err
			}
			return flatten(decoded)
		}
	case bytes.HasPrefix(data, []byte{0xff, 0xd8}):
		config, err = jpeg.DecodeConfig(bytes.NewReader(data))
		read = func() (*picture, error) { return decodeJPEG(data, least) }
	case isWebP(data):
		config, err = webpConfig(data)
		read = func() (*picture, error) { return decodeWebP(data) }
	default:
		return nil, fmt.Errorf("no PNG, JPEG or WebP: the %d bytes start with % x", len(data), data[:min(4, len(data))])
	}
	switch {
	case err != nil:
		return nil, err
	case config.Width <= 0 || config.Height <= 0 || config.Width > maxPixels/config.Height:
		return nil, fmt.Errorf("image of %d×%d, want at least a pixel and at most %d", config.Width, config.Height, maxPixels)
	}
	return read()
}

// picture decodes a record's image, unless its format stores bare pixels.
func (r raw) picture(least int) (*picture, error) {
	if r.pixels != nil {
		return r.pixels, nil
	}
	return decode(r.image, least)
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
		return fromYCbCr(src), nil
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
