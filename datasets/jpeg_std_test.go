//go:build !turbojpeg

package datasets

const (
	jpegLevels  = 3 // by which decoding may differ from Pillow's: see TestDecodeMatchesPillow
	jpegShrinks = false
)
