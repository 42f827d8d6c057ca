package engine

import "context"

// ProvisionFrom runs the provisioning of one platform ("test/cpu") with the
// real clients, but with packages that a test has made: member is the
// library's path in them, sha256 its digest, url the archive's address.
func ProvisionFrom(ctx context.Context, o Options, cache, member, sha256, url string) (Found, error) {
	var from []source
	for _, s := range sources {
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

// Recent is the check of a library's version.
var Recent = recent
