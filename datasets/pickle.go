package datasets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// CIFAR's Python version is a pickle a batch, written by Python 2: a dictionary
// with a list of labels and a NumPy array of bytes. A pickle is a program for a
// stack machine that may call anything; the machine below knows numbers, strings,
// lists, tuples and dictionaries, and NumPy's two constructors as names that it
// never calls. All else is refused. (Opcodes: Lib/pickletools.py of python/cpython.)

// maxPickle bounds a batch, in bytes: CIFAR-100's train has 155 MB.
const maxPickle = 512 << 20

// pickleArray is what a NumPy array is read as.
type pickleArray struct {
	state []any // version, shape, type, whether in Fortran order, bytes
}

type (
	pickleMark struct{}
	pickleName string // a global
	pickleList struct{ items []any }
)

// readPickle runs a pickle and returns its value: int64, string, bool, nil, []any
// (a tuple), *pickleList, map[string]any or *pickleArray.
func readPickle(data []byte) (any, error) {
	m := pickle{data: data, memo: map[uint32]any{}}
	for {
		op, err := m.take(1)
		if err != nil {
			return nil, err
		}
		if op[0] == '.' {
			return m.pop()
		}
		if err := m.step(op[0]); err != nil {
			return nil, fmt.Errorf("opcode %#02x at byte %d: %w", op[0], m.at-1, err)
		}
	}
}

type pickle struct {
	data  []byte
	at    int
	stack []any
	memo  map[uint32]any
}

var errPickle = errors.New("no batch of CIFAR's Python version; the binary version is read too, and holds no code")

func (m *pickle) take(n int) ([]byte, error) {
	if n < 0 || n > len(m.data)-m.at {
		return nil, io.ErrUnexpectedEOF
	}
	m.at += n
	return m.data[m.at-n : m.at], nil
}

// number reads n bytes, the lowest first.
func (m *pickle) number(n int) (uint32, error) {
	b, err := m.take(n)
	if err != nil {
		return 0, err
	}
	var all [4]byte
	copy(all[:], b)
	return binary.LittleEndian.Uint32(all[:]), nil
}

func (m *pickle) push(v any) { m.stack = append(m.stack, v) }

func (m *pickle) pop() (any, error) {
	if len(m.stack) == 0 {
		return nil, errPickle
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return v, nil
}

// popMark returns what lies above the last mark, and takes the mark away.
func (m *pickle) popMark() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(pickleMark); ok {
			items := append([]any(nil), m.stack[i+1:]...)
			m.stack = m.stack[:i]
			return items, nil
		}
	}
	return nil, errPickle
}

// popN returns the upper n values.
func (m *pickle) popN(n int) ([]any, error) {
	if len(m.stack) < n {
		return nil, errPickle
	}
	items := append([]any(nil), m.stack[len(m.stack)-n:]...)
	m.stack = m.stack[:len(m.stack)-n]
	return items, nil
}

func (m *pickle) step(op byte) error {
	switch op {
	case 0x80: // protocol
		_, err := m.take(1)
		return err
	case 0x95: // frame
		_, err := m.take(8)
		return err
	case 'q', 'r', 'h', 'j': // put into the memo, get from it
		n, err := m.number(map[byte]int{'q': 1, 'r': 4, 'h': 1, 'j': 4}[op])
		if err != nil || len(m.stack) == 0 {
			return errors.Join(err, errPickle)
		}
		if op == 'q' || op == 'r' {
			m.memo[n] = m.stack[len(m.stack)-1]
			return nil
		}
		v, ok := m.memo[n]
		if !ok {
			return errPickle
		}
		m.push(v)
	case 'K', 'M', 'J': // numbers of 1, 2 and 4 bytes
		n, err := m.number(map[byte]int{'K': 1, 'M': 2, 'J': 4}[op])
		m.push(int64(int32(n)))
		return err
	case 'U', 'T', 'X', 'C', 'B': // strings of bytes, UTF-8 or neither
		n, err := m.number(map[byte]int{'U': 1, 'T': 4, 'X': 4, 'C': 1, 'B': 4}[op])
		if err != nil {
			return err
		}
		s, err := m.take(int(n))
		m.push(string(s))
		return err
	case 'N':
		m.push(nil)
	case 0x88, 0x89:
		m.push(op == 0x88)
	case '(':
		m.push(pickleMark{})
	case '}':
		m.push(map[string]any{})
	case ']':
		m.push(&pickleList{})
	case ')':
		m.push([]any{})
	case 't':
		items, err := m.popMark()
		m.push(items)
		return err
	case 0x85, 0x86, 0x87:
		items, err := m.popN(int(op) - 0x84)
		m.push(items)
		return err
	case 'a', 's', 'e', 'u', 'R', 'b', 'c':
		return m.build(op)
	default:
		return errPickle
	}
	return nil
}

// build adds to the value below the operands.
func (m *pickle) build(op byte) error {
	var items []any
	var err error
	switch op {
	case 'c':
		return m.global()
	case 'e', 'u':
		items, err = m.popMark()
	default:
		items, err = m.popN(map[byte]int{'a': 1, 's': 2, 'R': 1, 'b': 1}[op])
	}
	if err != nil || len(m.stack) == 0 {
		return errors.Join(err, errPickle)
	}
	top := &m.stack[len(m.stack)-1]
	switch v := (*top).(type) {
	case *pickleList:
		if op == 'a' || op == 'e' {
			v.items = append(v.items, items...)
			return nil
		}
	case map[string]any:
		if op == 's' || op == 'u' {
			return setItems(v, items)
		}
	case pickleName: // called with a tuple
		if op == 'R' {
			arguments, ok := items[0].([]any)
			if *top = any(&pickleArray{}); v == "numpy dtype" {
				*top = arguments
			}
			if ok {
				return nil
			}
		}
	case *pickleArray:
		if op == 'b' {
			v.state, _ = items[0].([]any)
			return nil
		}
	case []any: // a dtype, whose state says its byte order
		if op == 'b' {
			return nil
		}
	}
	return errPickle
}

// setItems adds keys and values, in turn.
func setItems(to map[string]any, items []any) error {
	if len(items)%2 != 0 {
		return errPickle
	}
	for i := 0; i < len(items); i += 2 {
		key, ok := items[i].(string)
		if !ok {
			return errPickle
		}
		to[key] = items[i+1]
	}
	return nil
}

// global pushes one of the names that a batch refers to.
func (m *pickle) global() error {
	lines := strings.SplitN(string(m.data[m.at:min(m.at+100, len(m.data))]), "\n", 3)
	if len(lines) < 3 {
		return errPickle
	}
	m.at += len(lines[0]) + len(lines[1]) + 2
	switch name := lines[0] + " " + lines[1]; name {
	case "numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct", "numpy ndarray", "numpy dtype":
		m.push(pickleName(name))
		return nil
	default:
		return fmt.Errorf("it calls %q: %w", name, errPickle)
	}
}

// indexPickle reads a batch of CIFAR's Python version into memory. CIFAR-100's label
// is the fine one, or the coarse one where want.label is "coarse_label".
func indexPickle(path string, file io.ReaderAt, size int64, want fields) (*packedShard, error) {
	if size > maxPickle {
		return nil, fmt.Errorf("%s: %d bytes, want at most %d: %w", path, size, maxPickle, errPickle)
	}
	data := make([]byte, size)
	if _, err := file.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	value, err := readPickle(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	batch, _ := value.(map[string]any)
	pixels, err := picklePixels(batch["data"])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s := &packedShard{name: filepath.Base(path), path: path, file: strings.NewReader(pixels), n: len(pixels) / cifarPixels,
		stride: cifarPixels, w: cifarSide, h: cifarSide, c: 3}
	labelKey, names, namesKey := "labels", "batches.meta", "label_names"
	if _, ok := batch["fine_labels"]; ok {
		if labelKey, names, namesKey = "fine_labels", "meta", "fine_label_names"; want.label == "coarse_label" {
			labelKey, namesKey = "coarse_labels", "coarse_label_names"
		}
	}
	labels, _ := batch[labelKey].(*pickleList)
	if labels == nil || len(labels.items) != s.n {
		return nil, fmt.Errorf("%s: no list of %d %s: %w", path, s.n, labelKey, errPickle)
	}
	for _, item := range labels.items {
		label, ok := item.(int64)
		if !ok || label < 0 {
			return nil, fmt.Errorf("%s: a label is %v: %w", path, item, errPickle)
		}
		s.labels = append(s.labels, label)
	}
	s.classes = pickleNames(filepath.Join(filepath.Dir(path), names), namesKey)
	return s, nil
}

// picklePixels returns the bytes of an array of n×3072 unsigned bytes.
func picklePixels(value any) (string, error) {
	array, ok := value.(*pickleArray)
	if !ok || len(array.state) != 5 {
		return "", fmt.Errorf("no array under \"data\": %w", errPickle)
	}
	shape, _ := array.state[1].([]any)
	dtype, _ := array.state[2].([]any)
	fortran, _ := array.state[3].(bool)
	pixels, _ := array.state[4].(string)
	if len(shape) != 2 || len(dtype) == 0 || dtype[0] != "u1" || fortran || shape[1] != int64(cifarPixels) ||
		len(pixels) == 0 || shape[0] != int64(len(pixels)/cifarPixels) || len(pixels)%cifarPixels != 0 {
		return "", fmt.Errorf("\"data\" is no array of bytes, %d a row: %w", cifarPixels, errPickle)
	}
	return pixels, nil
}

// pickleNames reads the names of the classes from the pickle beside the batches;
// nil where it is not there or holds none.
func pickleNames(path, key string) []string {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	value, err := readPickle(data)
	if err != nil {
		return nil
	}
	meta, _ := value.(map[string]any)
	list, _ := meta[key].(*pickleList)
	if list == nil {
		return nil
	}
	var names []string
	for _, item := range list.items {
		name, ok := item.(string)
		if !ok {
			return nil
		}
		names = append(names, name)
	}
	return names
}
