package safetensors

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shards makes a folder with two shards, of tensors a and b, and the given index.
func shards(t *testing.T, index string) string {
	t.Helper()
	dir := t.TempDir()
	for shard, entry := range map[string]Entry{
		"m-00001-of-00002.safetensors": Float32Entry("b", []int64{2}, []float32{1, 2}),
		"m-00002-of-00002.safetensors": Float32Entry("a", []int64{1}, []float32{3}),
	} {
		if err := Write(filepath.Join(dir, shard), map[string]string{"format": "pt"}, []Entry{entry}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "m.safetensors.index.json"), []byte(index), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

const goodIndex = `{"metadata":{"total_size":12},"weight_map":{"a":"m-00002-of-00002.safetensors","b":"m-00001-of-00002.safetensors"}}`

func TestOpenSharded(t *testing.T) {
	dir := shards(t, goodIndex)
	f, err := OpenSharded(dir, "m")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(f.Tensors) != 2 || f.Tensors[0].Name != "a" || f.Tensors[1].Name != "b" || f.Metadata["format"] != "pt" {
		t.Fatalf("got %+v", f)
	}
	for name, want := range map[string]float32{"a": 3, "b": 1} {
		tensor, _ := f.Lookup(name)
		got := make([]float32, tensor.Size/4)
		if err := f.Float32(tensor, got); err != nil || got[0] != want {
			t.Errorf("%s: got %v (%v), want %v first", name, got, err, want)
		}
	}

	// One file of the whole name comes before an index.
	single := filepath.Join(dir, "m.safetensors")
	if err := Write(single, nil, []Entry{Float32Entry("alone", nil, []float32{7})}); err != nil {
		t.Fatal(err)
	}
	whole, err := OpenSharded(dir, "m")
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Close()
	if whole.Path != single || len(whole.Tensors) != 1 {
		t.Errorf("got %s with %v", whole.Path, whole.Tensors)
	}
}

func TestOpenShardedRefuses(t *testing.T) {
	rows := map[string]string{
		`{}`:                    "weight_map is missing or empty",
		`{"weight_map":{"a":1}`: `"weight_map": "a": got 1, want a string`,
		`not JSON`:              "invalid JSON",
		`{"weight_map":{"a":"m-00003-of-00003.safetensors"}}`:                                    "no such file",
		`{"weight_map":{"a":"m-00001-of-00002.safetensors"}}`:                                    `tensor "a" is not in m-00001-of-00002.safetensors, where weight_map puts it`,
		`{"weight_map":{"c":"m-00001-of-00002.safetensors"}}`:                                    `tensor "c" is not in`,
		`{"weight_map":{"a":"../m.safetensors"}}`:                                                "not a plain file name",
		`{"weight_map":{"a":"/m.safetensors"}}`:                                                  "not a plain file name",
		`{"weight_map":{"a":".."}}`:                                                              "not a plain file name",
		`{"weight_map":{"a":"sub\\m"}}`:                                                          "not a plain file name",
		`{"weight_map":{"a":""}}`:                                                                "not a plain file name",
		`{"weight_map":{"a":"m-00002-of-00002.safetensors","a":"m-00001-of-00002.safetensors"}}`: `key "a" stands twice`,
		strings.Replace(goodIndex, "m-00001-of-00002", "twin", 1):                                `tensor "a" is in m-00002-of-00002.safetensors and in twin.safetensors`,
	}
	for index, want := range rows {
		dir := shards(t, index)
		if err := Write(filepath.Join(dir, "twin.safetensors"), nil, []Entry{Float32Entry("a", nil, []float32{0}), Float32Entry("b", nil, []float32{0})}); err != nil {
			t.Fatal(err)
		}
		_, err := OpenSharded(dir, "m")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), dir) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s\ngot  %v\nwant %s", index, err, want)
		}
	}
	dir := t.TempDir()
	if _, err := OpenSharded(dir, "m"); err == nil || !strings.Contains(err.Error(), "neither m.safetensors nor m.safetensors.index.json is here") {
		t.Errorf("got %v", err)
	}
}
