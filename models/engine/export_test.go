package engine

import (
	"context"

	"golang.org/x/sys/unix"
)

// ProvisionFrom runs the provisioning of one platform ("test/cpu") with the
// real clients, but with packages that a test has made: member is the
// library's path in them, sha256 its digest, url the archive's address.
func ProvisionFrom(ctx context.Context, o Options, cache, member, sha256, url string) (Found, error) {
	var from []source
	for _, s := range sources {
		if _, ok := s.pins["linux/amd64"]; !ok {
			continue // another variant's
		}
		p := pin{ask: "test", member: member, sha256: sha256}
		if s.name == "release archive" {
			p.ask = url
		}
		from = append(from, source{name: s.name, get: s.get, pins: map[string]pin{"test/cpu": p}})
	}
	return provision(ctx, o, cache, "test/cpu", from)
}

// ProvisionFor asks for the real library of any platform.
func ProvisionFor(ctx context.Context, o Options, cache, platform string) (Found, error) {
	return provision(ctx, o, cache, platform, sources)
}

// ExpectCUDA makes a session's proof look for the CUDA provider.
func ExpectCUDA(s *Session) { s.place.provider = providerNames["cuda"] }

// Recent is the check of a library's version.
var Recent = recent

// ProvisionGPUFrom is ProvisionFrom for a package like onnxruntime-gpu's: the
// provider's file lies beside the library.
func ProvisionGPUFrom(ctx context.Context, cache, inPackage, sha256, provider string, bytes int64, providerSHA256 string) (Found, error) {
	p := pin{ask: "test", member: inPackage, sha256: sha256, beside: []member{{provider, bytes, providerSHA256}}}
	return provision(ctx, Options{}, cache, "test/cuda", []source{{name: "pip", get: pipDownloadGPU, pins: map[string]pin{"test/cuda": p}}})
}

// Entry is one visit to a recording device.
type Entry struct {
	Alone  bool
	Thread int // of the system
}

// Recording is an engine like e, of a device that records as a GPU may. entries
// are the visits so far.
func Recording(e *Engine) (recording *Engine, entries func() []Entry) {
	d := &recordingDevice{}
	return &Engine{Provider: e.Provider, Threads: e.Threads, device: d}, func() []Entry { return d.entries }
}

type recordingDevice struct {
	cpuDevice
	entries []Entry
}

func (d *recordingDevice) records(s SessionOptions) bool { return s.FixedAddresses }

func (d *recordingDevice) enter(alone bool) (leave func()) {
	d.entries = append(d.entries, Entry{alone, unix.Gettid()})
	return func() {}
}
