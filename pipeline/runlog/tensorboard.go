package runlog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"
)

// Events is an open TensorBoard events file. The format is TFRecord framing
// around protocol buffers of type tensorflow.Event, of which few fields are
// needed, so both are written out here:
// https://github.com/tensorflow/tensorflow/blob/v2.19.0/tensorflow/core/util/event.proto
// https://github.com/tensorflow/tensorflow/blob/v2.19.0/tensorflow/core/framework/summary.proto
type Events struct {
	file *os.File
	now  func() time.Time
}

// OpenEvents begins a new events file in dir. TensorBoard reads all events
// files of a folder as one run; next is the first step that is still to come,
// from which on it drops what earlier files hold: a resumed run cut them back.
func OpenEvents(dir string, next int) (*Events, error) {
	return openEvents(dir, next, time.Now)
}

// openEvents is OpenEvents with the clock that stamps each event.
func openEvents(dir string, next int, now func() time.Time) (*Events, error) {
	// Files are read in the order of their names; "tfevents" is what
	// TensorBoard looks for.
	name := fmt.Sprintf("events.out.tfevents.%010d.%d.immiscible", now().Unix(), os.Getpid())
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open TensorBoard events: %w", err)
	}
	e := &Events{f, now}
	// Event.file_version = 3; version 2 is what makes the next event count.
	if err := e.write(0, protoBytes(nil, 3, []byte("brain.Event:2"))); err != nil {
		return nil, err
	}
	// Event.session_log = 7, SessionLog.status = 1: START.
	if err := e.write(next, protoBytes(nil, 7, protoInt(nil, 1, 1))); err != nil {
		return nil, err
	}
	return e, nil
}

// Record writes each number of r as the scalar train/<field>.
func (e *Events) Record(r Record) error {
	var summary []byte
	v := reflect.ValueOf(r)
	for i := range v.NumField() {
		if number, ok := v.Field(i).Interface().(Number); ok {
			field, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if options == "omitempty" && number == 0 {
				continue
			}
			// Summary.value = 1; Value.tag = 1, Value.simple_value = 2.
			value := protoBytes(nil, 1, []byte("train/"+field))
			value = protoFloat(value, 2, float32(number))
			summary = protoBytes(summary, 1, value)
		}
	}
	return e.write(r.Step, protoBytes(nil, 5, summary))
}

// Image writes a PNG, whole file in data, under a tag.
func (e *Events) Image(step int, tag string, data []byte) error {
	config, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("write TensorBoard events: image %s of step %d: %w", tag, step, err)
	}
	// Summary.Image: height = 1, width = 2, colorspace = 3 (3 is RGB, which
	// viewers of encoded images do not look at), encoded_image_string = 4.
	image := protoInt(nil, 1, uint64(config.Height))
	image = protoInt(image, 2, uint64(config.Width))
	image = protoInt(image, 3, 3)
	image = protoBytes(image, 4, data)
	value := protoBytes(nil, 1, []byte(tag))
	value = protoBytes(value, 4, image)
	return e.write(step, protoBytes(nil, 5, protoBytes(nil, 1, value)))
}

// Close closes the file. Events need no closing to be kept.
func (e *Events) Close() error {
	return e.file.Close()
}

// write frames one event: its length, a checksum of that, the event, a checksum
// of that. what is the event's one field besides wall_time = 1 and step = 2.
func (e *Events) write(step int, what []byte) error {
	now := e.now()
	seconds := float64(now.Unix()) + float64(now.Nanosecond())/1e9
	event := binary.LittleEndian.AppendUint64([]byte{1<<3 | 1}, math.Float64bits(seconds))
	event = append(protoInt(event, 2, uint64(step)), what...)

	record := binary.LittleEndian.AppendUint64(nil, uint64(len(event)))
	record = binary.LittleEndian.AppendUint32(record, maskedCRC(record))
	record = append(record, event...)
	record = binary.LittleEndian.AppendUint32(record, maskedCRC(event))
	if _, err := e.file.Write(record); err != nil {
		return fmt.Errorf("write TensorBoard events: step %d: %w", step, err)
	}
	return nil
}

// maskedCRC is CRC-32C rotated by 15 bits plus a constant: a checksum of data
// that holds checksums would otherwise be weak.
// https://github.com/tensorflow/tensorflow/blob/v2.19.0/tensorflow/core/lib/hash/crc32c.h
func maskedCRC(data []byte) uint32 {
	crc := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	return (crc>>15 | crc<<17) + 0xa282ead8
}

// protoInt appends an integer field; 0 is the default, and left out.
func protoInt(b []byte, field int, v uint64) []byte {
	if v == 0 {
		return b
	}
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(field)<<3), v)
}

// protoFloat appends a 32-bit field. It belongs to a oneof, so 0 is written.
func protoFloat(b []byte, field int, v float32) []byte {
	return binary.LittleEndian.AppendUint32(binary.AppendUvarint(b, uint64(field)<<3|5), math.Float32bits(v))
}

// protoBytes appends a string, bytes or message field.
func protoBytes(b []byte, field int, v []byte) []byte {
	b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(field)<<3|2), uint64(len(v)))
	return append(b, v...)
}
