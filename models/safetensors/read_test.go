package safetensors

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// file is the bytes of a file: the length, the header as given, n bytes of data.
func file(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

// save writes data to a new file and gives its path.
func save(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// refused is what must not open, with a part of the error. Rows marked (reference) are negative cases of the reference
// implementation's own tests, safetensors/src/tensor.rs in huggingface/safetensors at 000a16f45cff, restated.
var refused = []struct {
	name string
	data []byte
	want string
}{
	{"empty (reference)", nil, "truncated: 0 bytes, want at least 8"},
	{"seven bytes", make([]byte, 7), "truncated: 7 bytes, want at least 8"},
	{"header length alone (reference)", []byte("<\x00\x00\x00\x00\x00\x00\x00"), "truncated: 8 bytes, want at least 68 (8 + header 60)"},
	{"header too large (reference)", append([]byte("<\x00\x00\x00\x00\xff\xff\xff"), make([]byte, 99)...), "want at most 100000000"},
	{"header just too large", append([]byte("\x01\xe1\xf5\x05\x00\x00\x00\x00"), make([]byte, 99)...), "header length is 100000001"},
	{"git-lfs pointer", []byte("version https://git-lfs.github.com/spec/v1\n"), "git-lfs pointer"},
	{"no header", file("", 0), `header starts with ""`},
	{"not UTF-8 (reference)", file("\xff", 0), "not valid UTF-8"},
	{"not JSON (reference)", file("{", 0), "invalid JSON at byte 1: unexpected EOF"},
	{"broken JSON", file(`{"a":}`, 0), "invalid JSON at byte"},
	{"trailing comma", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},}`, 1), "invalid JSON"},
	{"space before the header (reference, reserved)", file("\t\n{}\r ", 0), `starts with "\t", want "{"`},
	{"an array", file(`[]`, 0), `starts with "["`},
	{"two values", file(`{}{}`, 0), "more than one JSON value"},
	{"text after the header", file(`{} x`, 0), "more than one JSON value"},

	{"metadata of numbers", file(`{"__metadata__":{"a":1}}`, 0), `header: "__metadata__": "a": got 1, want a string`},
	{"metadata is a string", file(`{"__metadata__":"a"}`, 0), `"__metadata__": got a, want {`},
	{"metadata is null", file(`{"__metadata__":null}`, 0), `got <nil>, want {`},
	{"metadata nested", file(`{"__metadata__":{"a":{}}}`, 0), `"a": got {, want a string`},
	{"metadata key twice", file(`{"__metadata__":{"a":"1","a":"2"}}`, 0), `key "a" stands twice`},
	{"metadata twice", file(`{"__metadata__":{},"__metadata__":{}}`, 0), `key "__metadata__" stands twice`},

	{"name twice", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), `key "a" stands twice`},
	{"name twice by escape", file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 0), `key "a" stands twice`},
	{"field twice", file(`{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}`, 1), `"a": key "dtype" stands twice`},
	{"tensor is a list", file(`{"a":[]}`, 0), `"a": got [, want {`},
	{"no dtype", file(`{"a":{"shape":[1],"data_offsets":[0,1]}}`, 1), "want all three"},
	{"no shape", file(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, 1), "want all three"},
	{"no offsets", file(`{"a":{"dtype":"U8","shape":[1]}}`, 1), "want all three"},
	{"one offset", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1]}}`, 1), "want all three, with two offsets"},
	{"three offsets", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}}`, 1), "with two offsets"},
	{"unknown dtype", file(`{"a":{"dtype":"float32","shape":[1],"data_offsets":[0,4]}}`, 4), `dtype "float32" is unknown`},
	{"dtype in lower case", file(`{"a":{"dtype":"f32","shape":[1],"data_offsets":[0,4]}}`, 4), `dtype "f32" is unknown`},
	{"dtype is a number", file(`{"a":{"dtype":32,"shape":[1],"data_offsets":[0,4]}}`, 4), `"a": "dtype": dtype: got 32, want a string`},
	{"field in upper case", file(`{"a":{"DTYPE":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), "want all three"},
	{"shape is null", file(`{"a":{"dtype":"U8","shape":null,"data_offsets":[0,1]}}`, 1), "got <nil>, want ["},
	{"dimension is null", file(`{"a":{"dtype":"U8","shape":[null],"data_offsets":[0,0]}}`, 0), "got <nil>, want a whole number"},
	{"dimension is negative", file(`{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, 1), "got -1, want a whole number"},
	{"dimension is a fraction", file(`{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}`, 1), "got 1.0, want a whole number"},
	{"dimension is a string", file(`{"a":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}}`, 1), "got 1, want a whole number"},
	{"dimension is a list", file(`{"a":{"dtype":"U8","shape":[[1]],"data_offsets":[0,1]}}`, 1), "got [, want a whole number"},

	{"dimension overflows (reference)", file(`{"test":{"dtype":"I32","shape":[2,18446744073709551614],"data_offsets":[0,16]}}`, 16), "18446744073709551614 overflows 64 bits"},
	{"size overflows (reference)", file(`{"test":{"dtype":"I32","shape":[2,9223372036854775807],"data_offsets":[0,16]}}`, 16), "the size overflows 64 bits"},
	{"elements overflow", file(`{"test":{"dtype":"U8","shape":[4294967296,4294967296,16],"data_offsets":[0,16]}}`, 16), "the size overflows 64 bits"},
	{"elements wrap to zero", file(`{"test":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0), "the size overflows 64 bits"},
	{"offsets overflow", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[9223372036854775806,9223372036854775807]}}`, 1), "overflow 64 bits"},
	{"shape and offsets disagree (reference)", file(`{"test":{"dtype":"I32","shape":[2,2],"data_offsets":[0, 4]}}`, 4), `"test": data_offsets [0 4] hold 4 bytes, want 16 for shape [2 2] of I32`},
	{"offsets backwards", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}`, 1), "data_offsets [1 0] hold -1 bytes, want 1"},
	{"part of a byte", file(`{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}`, 2), "12 bits do not fill whole bytes"},

	{"data short (reference)", file(`{"test":{"dtype":"I32","shape":[2,2],"data_offsets":[0,16]}}`, 14), "truncated: 82 bytes, want 84 (8 + header 60 + data 16)"},
	{"data long (reference)", append(file(`{"test":{"dtype":"I32","shape":[2,2],"data_offsets":[0,16]}}`, 16), "extra_bogus_data_for_polyglot_file"...), "118 bytes, want 84"},
	{"data without tensors", file(`{}`, 5), "15 bytes, want 10"},
	{"hole at the start", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), `tensor "a": data_offsets start at 1, want 0: it leaves a hole before it`},
	{"hole between", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, 3), `tensor "b": data_offsets start at 2, want 1: it leaves a hole`},
	{"overlap", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3), `tensor "b": data_offsets start at 1, want 2: it overlaps`},
	{"ten names for the same bytes (reference)", file(sameBytes(10), 16), "it overlaps the tensor before it"},
}

// sameBytes is a header in which n tensors claim one place: loading all would take n times the file.
func sameBytes(n int) string {
	var entries []string
	for i := range n {
		entries = append(entries, `"weight_`+string(rune('0'+i))+`":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}`)
	}
	return "{" + strings.Join(entries, ",") + "}"
}

func TestOpenRefuses(t *testing.T) {
	for _, row := range refused {
		t.Run(row.name, func(t *testing.T) {
			path := save(t, "m.safetensors", row.data)
			f, err := Open(path)
			if err == nil {
				t.Fatalf("opened: %v", f.Tensors)
			}
			if f != nil {
				t.Error("a file besides the error")
			}
			if !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got  %v\nwant %s: … %s", err, path, row.want)
			}
		})
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("folder: got %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "absent")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("absent: got %v", err)
	}
}

// accepted is what must open: the reference implementation's positive cases and the odd ones that its rules let through.
var accepted = []struct {
	name   string
	data   []byte
	tensor string // "" if the file has none
	size   int64
}{
	{"no tensors", file(`{}`, 0), "", 0},
	{"padded header (reference)", file("{}\r \t\n", 0), "", 0},
	{"scalar (reference)", file(`{"test":{"dtype":"I32","shape":[],"data_offsets":[0,4]}}`, 4), "test", 4},
	{"zero-sized tensor (reference)", file(`{"test":{"dtype":"I32","shape":[2,0],"data_offsets":[0, 0]}}`, 0), "test", 0},
	{"matrix (reference)", file(`{"test":{"dtype":"I32","shape":[2,2],"data_offsets":[0,16]}}`, 16), "test", 16},
	{"empty tensor where another starts", file(`{"b":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 3), "b", 3},
	{"order of names is not order of bytes", file(`{"a":{"dtype":"U8","shape":[3],"data_offsets":[2,5]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 5), "a", 3},
	{"empty metadata", file(`{"__metadata__":{}}`, 0), "", 0},
	{"unknown field", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"note":{"x":[1,{}]}}}`, 1), "a", 1},
	{"empty name", file(`{"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), "", 1},
	{"header not aligned", file(`{"ab":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}`, 8), "ab", 8},
	{"packed elements", file(`{"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}}`, 3), "a", 3},
}

func TestOpenAccepts(t *testing.T) {
	for _, row := range accepted {
		f, err := Open(save(t, "m.safetensors", row.data))
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		got, ok := f.Lookup(row.tensor)
		if ok != (len(f.Tensors) > 0) || got.Size != row.size || (ok && got.Path != f.Path) {
			t.Errorf("%s: got %+v, want size %d", row.name, got, row.size)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestFloat16 compares all 65,536 halves with the format's definition.
func TestFloat16(t *testing.T) {
	for h := range 1 << 16 {
		sign, exponent, mantissa := 1.0, h>>10&0x1f, float64(h&0x3ff)
		if h>>15 == 1 {
			sign = -1
		}
		var want float64
		switch {
		case exponent == 0x1f && mantissa == 0:
			want = math.Inf(int(sign))
		case exponent == 0x1f:
			want = math.NaN()
		case exponent == 0:
			want = sign * math.Ldexp(mantissa, -24)
		default:
			want = sign * math.Ldexp(1024+mantissa, exponent-25)
		}
		got := float64(float16(uint16(h)))
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) || math.Signbit(got) != math.Signbit(want) && want == 0 {
			t.Fatalf("%#04x: got %v, want %v", h, got, want)
		}
	}
}

func TestFloat32Refuses(t *testing.T) {
	f, err := Open("testdata/golden.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	ids, _ := f.Lookup("ids.i32")
	if err := f.Float32(ids, make([]float32, 3)); err == nil || !strings.Contains(err.Error(), `tensor "ids.i32": dtype I32, want F32, F16, BF16 or F64`) {
		t.Errorf("got %v", err)
	}
	weight, _ := f.Lookup("conv.weight")
	if err := f.Float32(weight, make([]float32, 7)); err == nil || !strings.Contains(err.Error(), "shape [2 3] has 6 elements, want 7") {
		t.Errorf("got %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Bytes(weight); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("after Close: got %v", err)
	}
	if _, ok := f.Lookup("absent"); ok {
		t.Error("found what is not there")
	}
}

// TestShrinkingFile: a file that loses bytes after Open gives an error, not zeros.
func TestShrinkingFile(t *testing.T) {
	path := save(t, "m.safetensors", file(`{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}`, 16))
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Truncate(path, f.Tensors[0].Offset+8); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Bytes(f.Tensors[0]); err == nil {
		t.Error("Bytes read what is gone")
	}
	if err := f.Float32(f.Tensors[0], make([]float32, 4)); err == nil {
		t.Error("Float32 read what is gone")
	}
}

// FuzzOpen: no bytes make a reader panic or take more memory than the file has, and what opens is a partition of it.
func FuzzOpen(f *testing.F) {
	for _, row := range refused {
		if len(row.data) < 1000 {
			f.Add(row.data)
		}
	}
	for _, row := range accepted {
		f.Add(row.data)
	}
	golden, err := os.ReadFile("testdata/golden.safetensors")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Fuzz(func(t *testing.T, data []byte) {
		tensors, _, err := read(strings.NewReader(string(data)), int64(len(data)))
		if err != nil {
			return
		}
		covered := int64(8) + int64(binary.LittleEndian.Uint64(data))
		for i, tensor := range tensors {
			size, err := byteSize(tensor.DType, tensor.Shape)
			if err != nil || size != tensor.Size || tensor.Offset < 8 || tensor.Offset+tensor.Size > int64(len(data)) {
				t.Errorf("tensor %+v in %d bytes (%v)", tensor, len(data), err)
			}
			if i > 0 && tensors[i-1].Name >= tensor.Name {
				t.Errorf("names not sorted or not unique: %q, %q", tensors[i-1].Name, tensor.Name)
			}
			covered += tensor.Size
		}
		if covered != int64(len(data)) {
			t.Errorf("tensors cover %d of %d bytes", covered, len(data))
		}
	})
}
