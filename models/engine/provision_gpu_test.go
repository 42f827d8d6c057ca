package engine_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"immiscible/models/engine"
)

// The GPU's wheel gives the library and the provider beside it, and a provider
// that has gone is fetched again.
func TestProvisionWithAProvider(t *testing.T) {
	s := newShop(t)
	const provider = "some/folder/libonnxruntime_providers_cuda.so"
	content := []byte("the provider")
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, data := range map[string][]byte{member: s.library, provider: content} {
		w := must(z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store}))(t)
		must(w.Write(data))(t)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	s.client(t, "python3", "cp "+s.keep(t, "gpu.whl", b.Bytes())+" $dest/onnxruntime_gpu-1.30.0.whl")
	sum := sha256.Sum256(content)
	get := func(want string) (engine.Found, error) {
		return engine.ProvisionGPUFrom(t.Context(), s.cache, member, s.sha, provider, int64(len(content)), want)
	}

	_, err := get(strings.Repeat("0", 64))
	refused(t, err, "checksum of "+provider, "onnxruntime-gpu==1.30.0")
	dir := filepath.Join(s.cache, "onnxruntime-1.30.0-test-cuda")
	if _, err := os.Stat(filepath.Join(dir, "libonnxruntime.so.1.30.0")); err == nil {
		t.Error("the library stands without its provider")
	}
	for i, source := range []string{"pip", "cache", "pip"} {
		found, err := get(hex.EncodeToString(sum[:]))
		beside := filepath.Join(dir, "libonnxruntime_providers_cuda.so")
		if err != nil || found.Source != source || !bytes.Equal(must(os.ReadFile(beside))(t), content) {
			t.Fatalf("time %d: got %+v, %v", i, found, err)
		}
		if source == "cache" {
			if err := os.Remove(beside); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := s.called(t); !strings.Contains(got, "onnxruntime-gpu==1.30.0") || strings.Count(got, "\n") != 3 {
		t.Errorf("got calls %q", got)
	}
}
