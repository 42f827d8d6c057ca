//go:build !turbojpeg

package datasets

import (
	"bytes"
	"image/jpeg"
)

// JPEGDecoder names the library that reads JPEGs; build tag turbojpeg chooses another.
const JPEGDecoder = "Go's image/jpeg"

// decodeJPEG reads a JPEG with the standard library, at its full size.
func decodeJPEG(data []byte, _ int) (*picture, error) {
	decoded, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return flatten(decoded)
}
