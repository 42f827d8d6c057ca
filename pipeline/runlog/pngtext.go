package runlog

import (
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// Text is a text chunk of a PNG: what PIL shows as Image.text[Key]. The key is 1
// to 79 printable ASCII characters.
type Text struct{ Key, Value string }

// ihdrEnd is where a PNG's first chunk ends: the signature, and IHDR's length,
// type, 13 bytes and checksum.
const ihdrEnd = 8 + 4 + 4 + 13 + 4

// withText puts text chunks behind the header of a PNG: tEXt, or iTXt (UTF-8,
// not compressed, no language) where a text is more than ASCII. Source: PNG
// Specification, Third Edition, sections 11.3.3.2 and 11.3.3.4,
// https://www.w3.org/TR/png-3/
func withText(png []byte, texts []Text) []byte {
	out := append([]byte(nil), png[:ihdrEnd]...)
	for _, t := range texts {
		value := strings.ReplaceAll(t.Value, "\x00", " ") // which no text chunk may hold
		kind, separator := "tEXt", "\x00"
		if strings.IndexFunc(value, func(r rune) bool { return r > '~' }) >= 0 {
			kind, separator = "iTXt", "\x00\x00\x00\x00\x00"
		}
		body := kind + t.Key + separator + value
		out = binary.BigEndian.AppendUint32(out, uint32(len(body)-len(kind)))
		out = append(out, body...)
		out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE([]byte(body)))
	}
	return append(out, png[ihdrEnd:]...)
}
