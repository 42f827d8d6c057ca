//go:build !turbojpeg

package datasets

// JPEGDecoder names what reads JPEGs; build tag turbojpeg chooses libjpeg-turbo.
const JPEGDecoder = "Go (datasets/jpeg)"

// mostShrink is how much smaller than it is decodeJPEG can read an image.
const mostShrink = 1

// decodeJPEG reads a part of a JPEG, at its full size.
func decodeJPEG(data []byte, _, _, _ int, part window, r *room) (*picture, error) {
	return decodeInGo(data, part, r)
}
