package datasets

import (
	"bytes"
	"errors"
	"image"

	"golang.org/x/image/webp"
)

// decodeWebP reads a still WebP image; of an animated one nothing. What the
// decoder leaves as planes is made into RGB as libwebp, and so Pillow, does it.
func decodeWebP(data []byte) (*picture, error) {
	decoded, err := webp.Decode(bytes.NewReader(data))
	if err != nil {
		const animation = 1 << 1 // flag of the VP8X chunk
		if len(data) > 20 && string(data[12:16]) == "VP8X" && data[20]&animation != 0 {
			return nil, errors.New("animated WebP is not supported: want a still image")
		}
		return nil, err
	}
	switch src := decoded.(type) {
	case *image.YCbCr:
		return fromVideoRange(src), nil
	case *image.NYCbCrA:
		return fromVideoRange(&src.YCbCr), nil
	}
	return flatten(decoded)
}

// webpConfig reads the header of a WebP image.
func webpConfig(data []byte) (image.Config, error) {
	return webp.DecodeConfig(bytes.NewReader(data))
}

// fromVideoRange converts the planes of a lossy WebP, whose luma lies in 16 … 235
// (ITU-R BT.601) and whose chroma is halved both ways, in libwebp's 14-bit fixed
// point (src/dsp/yuv.h of webmproject/libwebp):
//
//	R = 1.164·(Y−16) + 1.596·(V−128)
//	G = 1.164·(Y−16) − 0.391·(U−128) − 0.813·(V−128)
//	B = 1.164·(Y−16) + 2.018·(U−128)
func fromVideoRange(src *image.YCbCr) *picture {
	w, h := src.Rect.Dx(), src.Rect.Dy()
	p := newPicture(w, h, 3)
	blues, reds := make([]uint8, w), make([]uint8, w)
	out := p.pix
	for y := range h {
		fancyRow(blues, src.Cb, src.CStride, y, h)
		fancyRow(reds, src.Cr, src.CStride, y, h)
		for x, luma := range src.Y[y*src.YStride:][:w] {
			l, u, v := int32(luma)*19077>>8, int32(blues[x]), int32(reds[x])
			out[0] = clip((l + v*26149>>8 - 14234) >> 6)
			out[1] = clip((l - u*6419>>8 - v*13320>>8 + 8708) >> 6)
			out[2] = clip((l + u*33050>>8 - 17685) >> 6)
			out = out[3:]
		}
	}
	return p
}

// fancyRow is row y, of h, of a chroma plane at the size of the image, by libwebp's
// "fancy" upsampling (src/dsp/upsampling.c): each sample is 9/16 of the nearest
// stored one, 3/16 of the two beside it and 1/16 of the one across, rounded twice.
// At the image's edges the nearest stands for what is missing.
func fancyRow(out, plane []uint8, stride, y, h int) {
	near, far := y/2, y/2-1
	if y%2 == 1 {
		far = y/2 + 1
	}
	far = min(max(far, 0), (h+1)/2-1)
	narrow := (len(out) + 1) / 2
	a, b := plane[near*stride:][:narrow], plane[far*stride:][:narrow]
	edge := func(i int) uint8 { return uint8((3*int32(a[i]) + int32(b[i]) + 2) >> 2) }
	out[0] = edge(0)
	for i := 1; i < narrow; i++ { // between stored columns i−1 and i
		a0, a1, b0, b1 := int32(a[i-1]), int32(a[i]), int32(b[i-1]), int32(b[i])
		sum := a0 + a1 + b0 + b1 + 8
		across, along := (sum+2*(a1+b0))>>3, (sum+2*(a0+b1))>>3
		out[2*i-1] = uint8((across + a0) >> 1)
		out[2*i] = uint8((along + a1) >> 1)
	}
	if len(out)%2 == 0 {
		out[len(out)-1] = edge(narrow - 1)
	}
}

// webpExif returns the TIFF structure of a WebP's EXIF chunk; nil where there is none.
func webpExif(data []byte) []byte {
	for rest := data[12:]; len(rest) >= 8; {
		size := int(uint32(rest[4]) | uint32(rest[5])<<8 | uint32(rest[6])<<16 | uint32(rest[7])<<24)
		if size > len(rest)-8 {
			return nil
		}
		if string(rest[:4]) == "EXIF" {
			return bytes.TrimPrefix(rest[8:8+size], []byte("Exif\x00\x00"))
		}
		rest = rest[min(8+size+size%2, len(rest)):]
	}
	return nil
}

// isWebP tells a WebP by its first bytes.
func isWebP(data []byte) bool {
	return len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP"
}
