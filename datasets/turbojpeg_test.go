//go:build turbojpeg

package datasets

const (
	jpegLevels  = 0 // by which decoding may differ from Pillow's, which is the same library
	jpegShrinks = true
)
