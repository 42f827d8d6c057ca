package engine

import "context"

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
