//go:build !turbojpeg

package datasets

// JPEGDecoder names what reads JPEGs; build tag turbojpeg chooses libjpeg-turbo.
const JPEGDecoder = "Go (datasets/jpeg)"

// decodeJPEG reads a JPEG at its full size.
func decodeJPEG(data []byte, _ int) (*picture, error) { return decodeInGo(data) }
