package datasets

import (
	"archive/tar"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"
)

// maxMember bounds what is read into memory for one member, in bytes.
const maxMember = 256 << 20

// span is where a member's bytes lie in its tar; size −1 says there is none.
type span struct{ offset, size int64 }

var absent = span{size: -1}

// tarRecord holds the members of one key.
type tarRecord struct {
	key                      string
	image, class, text, meta span   // .jpg … .webp, .cls, .txt, .json
	fault                    string // why the record cannot be used, "" if it can
}

// tarShard reads a WebDataset shard (https://github.com/webdataset/webdataset):
// members that share a key make a record, wherever in the tar they stand.
type tarShard struct {
	name, path string
	file       io.ReaderAt
	records    []tarRecord
	want       fields
}

// indexTar reads the headers of a tar of size bytes and seeks over everything
// else. USTAR, PAX and GNU headers, long names and base-256 sizes are
// archive/tar's; since it reads whole blocks and nothing ahead, the section's
// offset after a header is that of the member's data. With a *shardFault the
// records before the fault are returned too.
func indexTar(path string, file io.ReaderAt, size int64) (*tarShard, error) {
	t := &tarShard{name: filepath.Base(path), path: path, file: file}
	byKey := map[string]int{}
	section := io.NewSectionReader(file, 0, size)
	archive := tar.NewReader(section)
	end, last := int64(0), "" // of the member before; where the next header is
	for {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			// archive/tar takes the file's end for the archive's. Without the zero
			// block that POSIX puts there, records may have been lost.
			if size < end+512 && size > 0 {
				return t, t.broken(last, end, size, io.ErrUnexpectedEOF)
			}
			break
		}
		if err != nil {
			return t, t.broken(last, end, size, err)
		}
		start, err := section.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		member := span{start, head.Size}
		sparse := isSparse(head)
		if !sparse && start+head.Size > size {
			if n := len(t.records) - 1; n >= 0 && t.records[n].key == keyOf(head.Name) {
				t.records = t.records[:n] // the fault is this record's
			}
			return t, t.broken(keyOf(head.Name), start, size, fmt.Errorf("%s has %d bytes by its header, %d are left", head.Name, head.Size, size-start))
		}
		last = keyOf(head.Name)
		if end = start + (head.Size+511)/512*512; sparse {
			end = start // its holes are not there: the true end is not known
		}
		if head.Typeflag != tar.TypeReg && head.Typeflag != tar.TypeCont && !sparse {
			continue // links, devices, folders, global PAX headers
		}
		key, extension, ok := splitName(head.Name)
		if !ok {
			continue
		}
		i, known := byKey[key]
		if !known {
			i = len(t.records)
			byKey[key] = i
			t.records = append(t.records, tarRecord{key: key, image: absent, class: absent, text: absent, meta: absent})
		}
		r := &t.records[i]
		if sparse {
			r.fault = fmt.Sprintf("member %s is a sparse file; write the tar without -S", head.Name)
			continue
		}
		r.add(head.Name, extension, member)
	}
	if len(t.records) == 0 {
		return nil, fmt.Errorf("%s: no record in it: want members such as 000.jpg and 000.cls", path)
	}
	for i := range t.records {
		r := &t.records[i]
		if r.image == absent && r.fault == "" {
			r.fault = "no image: want a .jpg, .jpeg, .png or .webp member"
		}
	}
	return t, nil
}

// broken explains why a tar cannot be read on.
func (t *tarShard) broken(key string, offset, size int64, err error) error {
	var head [4]byte
	n, _ := t.file.ReadAt(head[:], 0)
	switch {
	case bytes.HasPrefix(head[:n], []byte{0x1f, 0x8b}), bytes.HasPrefix(head[:n], []byte("BZh")),
		bytes.HasPrefix(head[:n], []byte{0xfd, '7', 'z'}), bytes.HasPrefix(head[:n], []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return fmt.Errorf("%s: the tar is compressed, so that no record can be reached by a seek; unpack it to a plain .tar", t.path)
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("the tar ends early, after %d bytes, without an end marker", size)
	}
	return &shardFault{path: t.path, fault: &Fault{Shard: t.name, Key: key, Offset: offset, Err: err}}
}

// keyOf is the key of a member, or its whole name where it has none.
func keyOf(name string) string {
	if key, _, ok := splitName(name); ok {
		return key
	}
	return name
}

// isSparse tells GNU's sparse files, old and PAX, whose bytes do not lie in one span.
func isSparse(head *tar.Header) bool {
	if head.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for name := range head.PAXRecords {
		if strings.HasPrefix(name, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// add notes a member of the record; members of other extensions are not ours.
func (r *tarRecord) add(name, extension string, member span) {
	var at *span
	switch {
	case isImage(extension):
		at = &r.image
	case extension == "cls":
		at = &r.class
	case extension == "txt":
		at = &r.text
	case extension == "json":
		at = &r.meta
	default:
		return
	}
	if *at != absent {
		r.fault = fmt.Sprintf("member %s at byte %d comes on top of one at byte %d; a key holds one image, one .cls, one .txt and one .json",
			name, member.offset, at.offset)
		return
	}
	*at = member
}

func (t *tarShard) len() int             { return len(t.records) }
func (t *tarShard) key(i int) string     { return t.records[i].key }
func (t *tarShard) classNames() []string { return nil }

func (t *tarShard) offset(i int) int64 {
	r := t.records[i]
	for _, at := range []span{r.image, r.class, r.text, r.meta} {
		if at != absent {
			return at.offset
		}
	}
	return 0
}

func (t *tarShard) fault(i int, err error) error {
	return &Fault{Shard: t.name, Key: t.records[i].key, Offset: t.offset(i), Err: err}
}

// bytes reads a member; nil where there is none.
func (t *tarShard) bytes(i int, at span) ([]byte, error) {
	if at == absent {
		return nil, nil
	}
	if at.size > maxMember {
		return nil, t.fault(i, fmt.Errorf("a member of %d bytes, want at most %d", at.size, int64(maxMember)))
	}
	data := make([]byte, at.size)
	if _, err := t.file.ReadAt(data, at.offset); err != nil && at.size > 0 {
		if errors.Is(err, io.EOF) {
			err = errors.New("the file has become shorter since it was indexed")
		}
		return nil, fmt.Errorf("%s: record %q at byte %d: %w", t.path, t.records[i].key, at.offset, err)
	}
	return data, nil
}

// label is that of .cls, else the number under "label" in .json, else −1. A key
// that was asked for is looked for in .json alone.
func (t *tarShard) label(i int) (int64, error) {
	r := t.records[i]
	if r.class != absent && t.want.label == "" {
		data, err := t.bytes(i, r.class)
		if err != nil {
			return 0, err
		}
		label, err := parseLabel(string(data))
		if err != nil {
			return 0, t.fault(i, fmt.Errorf(".cls: %w", err))
		}
		return label, nil
	}
	value, err := t.meta(i, cmp.Or(t.want.label, "label"))
	var number json.Number
	if err != nil || value == nil || value[0] == '"' || json.Unmarshal(value, &number) != nil || number == "" {
		return -1, err
	}
	label, err := parseLabel(number.String())
	if err != nil {
		return 0, t.fault(i, fmt.Errorf(".json: %s: %w", cmp.Or(t.want.label, "label"), err))
	}
	return label, nil
}

// parseLabel reads a class number, 0 or more.
func parseLabel(s string) (int64, error) {
	s = strings.TrimSpace(s)
	label, err := strconv.ParseInt(s, 10, 64)
	if err != nil || label < 0 || label > math.MaxInt32 {
		if len(s) > 20 {
			s = s[:20] + "…"
		}
		return 0, fmt.Errorf("%q is no class number", s)
	}
	return label, nil
}

// meta returns the value of a key of the .json member, nil where it has none.
func (t *tarShard) meta(i int, key string) (json.RawMessage, error) {
	data, err := t.bytes(i, t.records[i].meta)
	if err != nil {
		return nil, err
	}
	value, err := jsonField(data, key)
	if err != nil {
		return nil, t.fault(i, fmt.Errorf(".json: %w", err))
	}
	return value, nil
}

// texts are the record's captions: that of .txt, else what stands under "caption"
// or "text" in .json, a string or an array of them. A key that was asked for is
// looked for in .json alone.
func (t *tarShard) texts(i int) ([]string, error) {
	keys := []string{"caption", "text"}
	if t.want.caption != "" {
		keys = []string{t.want.caption}
	} else if at := t.records[i].text; at != absent {
		data, err := t.bytes(i, at)
		return []string{strings.TrimSpace(string(data))}, err
	}
	for _, key := range keys {
		value, err := t.meta(i, key)
		if err != nil {
			return nil, err
		}
		texts, err := jsonTexts(value)
		if err != nil {
			return nil, t.fault(i, fmt.Errorf(".json: %s: %w", key, err))
		}
		if len(texts) > 0 {
			return texts, nil
		}
	}
	return nil, nil
}

// read returns the record's image, label and caption.
func (t *tarShard) read(i int) (raw, error) {
	r := t.records[i]
	if r.fault != "" {
		return raw{}, t.fault(i, errors.New(r.fault))
	}
	image, err := t.bytes(i, r.image)
	if err != nil {
		return raw{}, err
	}
	label, err := t.label(i)
	if err != nil {
		return raw{}, err
	}
	record := raw{image: image, label: label}
	if t.want.texts {
		record.texts, err = t.texts(i)
	}
	return record, err
}
