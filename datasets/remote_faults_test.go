package datasets

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// costs nothing but a request for the rest.
func TestDroppedConnections(t *testing.T) {
	dir := threeShards(t)
	var n, resumed atomic.Int64
	server := fileServer(t, dir, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.Header.Get("Range"), "575") && strings.Contains(r.Header.Get("Range"), "=") && r.Header.Get("If-Range") != "" {
				resumed.Add(1)
			}
			if n.Add(1)%3 != 0 {
				h.ServeHTTP(w, r)
				return
			}
			recorder := httptest.NewRecorder()
			h.ServeHTTP(recorder, r)
			for key, values := range recorder.Header() {
				w.Header()[key] = values
			}
			w.WriteHeader(recorder.Code)
			w.Write(recorder.Body.Bytes()[:recorder.Body.Len()/2])
			panic(http.ErrAbortHandler) // the connection is cut
		})
	})
	d := mustOpen(t, Options{Sources: []string{server.URL + "/r-{000..002}.tar"}, Seed: 2, CacheDir: NoCache, patience: hasty})
	sameExamples(t, d, mustOpen(t, Options{Sources: []string{dir}, Seed: 2}), 0, 108)
	if n.Load() < 20 || resumed.Load() == 0 {
		t.Errorf("%d requests, %d of them with If-Range: too few to say anything", n.Load(), resumed.Load())
	}
}

// brings something, with fewer tries than answers.
func TestShortAnswers(t *testing.T) {
	dir := threeShards(t)
	server := fileServer(t, dir, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			recorder := httptest.NewRecorder()
			h.ServeHTTP(recorder, r)
			for key, values := range recorder.Header() {
				w.Header()[key] = values
			}
			w.WriteHeader(recorder.Code)
			w.Write(recorder.Body.Bytes()[:min(recorder.Body.Len(), 60_000)])
		})
	})
	p := hasty
	p.tries = 2
	d := mustOpen(t, Options{Sources: []string{server.URL + "/r-{000..002}.tar"}, Seed: 2, CacheDir: NoCache, patience: p})
	sameExamples(t, d, mustOpen(t, Options{Sources: []string{dir}, Seed: 2}), 0, 54)
}

// beginning as for the rest; one that is not there, or has no certificate, is not.
func TestFirstRequest(t *testing.T) {
	dir := threeShards(t)
	var n atomic.Int64
	server := fileServer(t, dir, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) < int64(hasty.tries) {
				panic(http.ErrAbortHandler)
			}
			h.ServeHTTP(w, r)
		})
	})
	open := func(url string) error {
		d, err := Open(t.Context(), Options{Sources: []string{url + "/r-000.tar"}, CacheDir: NoCache, patience: hasty})
		if err == nil {
			d.Close()
		}
		return err
	}
	if err := open(server.URL); err != nil {
		t.Error(err)
	}
	server.Close()
	if err := open(server.URL); err == nil || !strings.Contains(err.Error(), "did not come in 3 tries") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("no server: error %v", err)
	}
	secret := httptest.NewUnstartedServer(http.NotFoundHandler())
	secret.Config.ErrorLog = log.New(io.Discard, "", 0)
	secret.StartTLS()
	defer secret.Close()
	if err := open(secret.URL); err == nil || strings.Contains(err.Error(), "tries") || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("no certificate: error %v", err)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	if err := open(strings.Replace(plain.URL, "http:", "https:", 1)); err == nil || strings.Contains(err.Error(), "tries") || !strings.Contains(err.Error(), "HTTP response to HTTPS client") {
		t.Errorf("no TLS: error %v", err)
	}
}

// TestRedirect: ranges and validators go where a redirect leads; the token of Hugging
// Face's server stays with that, and comes from the environment or from its file.
func TestRedirect(t *testing.T) {
	dir := threeShards(t)
	store := fileServer(t, dir, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" || r.Header.Get("Range") == "" && !strings.HasSuffix(r.URL.Path, indexSuffix) {
				t.Errorf("%s came with Authorization %q and Range %q", r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Range"))
			}
			h.ServeHTTP(w, r)
		})
	})
	elsewhere := strings.Replace(store.URL, "127.0.0.1", "localhost", 1)
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer hf_secret" {
			http.Error(w, "gated", http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r, elsewhere+strings.TrimPrefix(r.URL.Path, "/resolve"), http.StatusFound)
	}))
	defer hub.Close()
	local := mustOpen(t, Options{Sources: []string{dir}, Seed: 2})
	o := Options{Sources: []string{hub.URL + "/resolve/r-{000..002}.tar"}, Seed: 2, CacheDir: NoCache, patience: hasty}
	home := t.TempDir()
	for key, value := range map[string]string{"HF_TOKEN": "", "HF_TOKEN_PATH": "", "HF_HOME": home, "HF_ENDPOINT": hub.URL} {
		t.Setenv(key, value)
	}
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "status 401") || !strings.Contains(err.Error(), "credentials") {
		t.Errorf("without a token: error %v", err)
	}
	writeIn(t, home, "token", []byte("hf_secret\n"))
	sameExamples(t, mustOpen(t, o), local, 0, 30)
	t.Setenv("HF_HOME", "")
	t.Setenv("HF_TOKEN", "hf_secret")
	sameExamples(t, mustOpen(t, o), local, 0, 30)
	t.Setenv("HF_ENDPOINT", "")
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "status 401") {
		t.Errorf("the token went to another server: error %v", err)
	}
}

// TestRemoteErrors: what a server may do wrong is one clear error, and no hang.
func TestRemoteErrors(t *testing.T) {
	whole := tarBytes(t, 0, file("a.png", string(dot(2, 2, 1))))
	var slow atomic.Int64
	for _, row := range []struct {
		name, path string
		want       []string
		serve      http.HandlerFunc
	}{
		{"no ranges", "/a.tar", []string{"/a.tar: the server ignores Range", "download the shards"}, func(w http.ResponseWriter, r *http.Request) { w.Write(whole) }},
		{"absent", "/b.tar", []string{"/b.tar: status 404"}, http.NotFound},
		{"forbidden", "/a.tar", []string{"status 403", "credentials"}, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) }},
		{"down", "/a.tar", []string{"did not come in 6 tries", "status 503"}, func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "later", http.StatusServiceUnavailable)
		}},
		{"other bytes", "/a.tar", []string{"asked for bytes from 0 on", "bytes 7-20/21"}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 7-20/21")
			w.WriteHeader(http.StatusPartialContent)
		}},
		{"silent", "/a.tar", []string{"did not come in 3 tries", "nothing came for 50ms"}, func(w http.ResponseWriter, r *http.Request) {
			slow.Add(1)
			select {
			case <-r.Context().Done():
			case <-time.After(10 * time.Second):
			}
		}},
		{"packed", "/a.tar", []string{"sends the file packed (Content-Encoding gzip)"}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Range", "bytes 0-20/21")
			w.WriteHeader(http.StatusPartialContent)
		}},
		{"empty", "/a.tar", []string{"/a.tar: the file is empty"}, func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "a.tar", time.Unix(1, 0), bytes.NewReader(nil))
		}},
		{"wrong region", "/a.tar", []string{"status 301", "PermanentRedirect: elsewhere; the bucket is in region eu-south-9: set AWS_REGION to it"}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Amz-Bucket-Region", "eu-south-9")
			w.WriteHeader(http.StatusMovedPermanently)
			w.Write([]byte("<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>"))
		}},
		{"no tar", "/a.tar", []string{"a.tar"}, func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "a.tar", time.Unix(1, 0), bytes.NewReader(bytes.Repeat([]byte("x"), 5000)))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(row.serve)
			defer server.Close()
			start := time.Now()
			p := hasty
			if row.name == "silent" {
				p.stall = 50 * time.Millisecond
			}
			_, err := Open(t.Context(), Options{Sources: []string{strings.Replace(server.URL, "http://", "http://user:secret@", 1) + row.path + "?token=secret"}, CacheDir: NoCache, patience: p})
			for _, want := range append(row.want, server.URL) {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want one with %q", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows credentials: %v", err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// both validators, with one of another size and of the same, with and without ETag.
func TestRemoteChange(t *testing.T) {
	for _, withETag := range []bool{false, true} {
		for _, records := range []int{20, 21, 3} {
			dir := t.TempDir()
			path := bigShard(t, dir, "r.tar", 20, 400_000)
			etag := `"first"`
			var changed atomic.Bool
			server := fileServer(t, dir, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if withETag {
						w.Header().Set("ETag", etag)
						if changed.Load() {
							w.Header().Set("ETag", `"second"`)
						}
					}
					h.ServeHTTP(w, r)
				})
			})
			old := time.Now().Add(-time.Hour).Truncate(time.Second)
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
			d := mustOpen(t, Options{Sources: []string{server.URL + "/r.tar"}, CacheDir: NoCache, patience: hasty})
			if _, err := d.Example(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			changed.Store(true)
			bigShard(t, dir, "r.tar", records, 400_000)
			var err error
			for position := int64(1); position < 20 && err == nil; position++ {
				_, err = d.Example(t.Context(), position)
			}
			wants := []string{server.URL + "/r.tar", "has changed", old.UTC().Format(http.TimeFormat)}
			if withETag {
				wants = append(wants, "first", "second")
			}
			for _, want := range wants {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("ETag %v, %d records: error %v, want one with %q", withETag, records, err, want)
				}
			}
		}
	}
}
