package datasets

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	blockBytes    = 1 << 20  // what is asked for at a time, and kept
	memoryBytes   = 64 << 20 // blocks that a data set keeps in memory
	aheadRequests = 8        // that run for records not yet asked for
	remoteOpens   = 16       // shards whose headers are asked for at a time
)

// NoCache is the CacheDir that keeps nothing on the disk.
const NoCache = "none"

// storage is where a data set keeps what it should not have to read again.
type storage struct {
	net                     *network
	localIndex, remoteIndex string // folders of indices; "": none
	verify                  bool   // indices are compared with the headers
}

func (o Options) storage(verify bool) storage {
	s := storage{verify: verify}
	var disk *blockCache
	switch s.localIndex, s.remoteIndex = o.CacheDir, o.CacheDir; o.CacheDir {
	case NoCache:
		s.localIndex, s.remoteIndex = "", ""
	case "":
		if dir, err := os.UserCacheDir(); err == nil { // XDG_CACHE_HOME, or what the system has in its place
			s.remoteIndex = filepath.Join(dir, "immiscible", "shards")
		}
	}
	if s.remoteIndex != "" {
		disk = newBlockCache(s.remoteIndex, o.CacheBytes)
	}
	s.net = newNetwork(o.patience, disk)
	return s
}

// network is what a data set's remote shards share.
type network struct {
	client   *http.Client
	patience patience
	s3       *bucketStore
	memory   *pageCache
	disk     *blockCache   // nil: blocks are kept in memory only
	ahead    chan struct{} // holds a token for each request ahead
}

// newNetwork makes it; disk may be nil.
func newNetwork(p patience, disk *blockCache) *network {
	return &network{
		client: &http.Client{Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: p.stall}).DialContext,
			TLSHandshakeTimeout: p.stall, IdleConnTimeout: 90 * time.Second,
			MaxIdleConnsPerHost: 2 * aheadRequests, ForceAttemptHTTP2: true, DisableCompression: true,
		}},
		patience: p, s3: &bucketStore{}, disk: disk, memory: newPageCache(memoryBytes), ahead: make(chan struct{}, aheadRequests),
	}
}

// remoteFile reads a file on a server in blocks, each of which is asked for once by
// whoever comes first, and kept in memory and in the disk cache. It is safe for
// concurrent use.
type remoteFile struct {
	*network
	web    *webFile
	id     string          // of this version of the file: names its blocks
	parent context.Context // of the data set: when it ends, so does every request

	mu      sync.Mutex
	ctx     context.Context // of the requests that run
	cancel  context.CancelFunc
	flights map[int64]*flight
	wg      sync.WaitGroup // of requests ahead
}

// flight is a block on its way.
type flight struct {
	done chan struct{}
	data []byte
	err  error
}

// openRemote asks for the file's beginning, which tells size and version. Requests
// of later reads end with ctx, or at Close.
func openRemote(ctx context.Context, name string, n *network) (*remoteFile, error) {
	web, err := newWebFile(name, n)
	if err != nil {
		return nil, err
	}
	if err := web.open(ctx); err != nil {
		return nil, err
	}
	f := &remoteFile{network: n, web: web, parent: ctx, flights: map[int64]*flight{}}
	f.ctx, f.cancel = context.WithCancel(ctx)
	f.id = fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%s\x00%v", web.address, web.seen)))[:32]
	return f, nil
}

func (f *remoteFile) size() int64 { return f.web.seen.size }

// Close ends the requests that run.
func (f *remoteFile) Close() error {
	f.interrupt()
	f.wg.Wait()
	return nil
}

// interrupt ends the requests that run. Later ones are not concerned.
func (f *remoteFile) interrupt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cancel()
	f.ctx, f.cancel = context.WithCancel(f.parent)
}

// running is the context of a request that begins now.
func (f *remoteFile) running() context.Context {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ctx
}

// interrupt ends the requests of all remote shards.
func (d *Dataset) interrupt() {
	for _, s := range d.shards {
		if f, ok := s.closer.(*remoteFile); ok {
			f.interrupt()
		}
	}
}

// ReadAt reads from the caches, or asks the server.
func (f *remoteFile) ReadAt(p []byte, offset int64) (n int, err error) {
	for n < len(p) {
		at := offset + int64(n)
		if at >= f.size() {
			return n, io.EOF
		}
		block, inside := at/blockBytes, at%blockBytes
		part := p[n:][:min(int64(len(p)-n), f.length(block)-inside)]
		if f.disk == nil || !f.disk.readAt(f.id, block, f.length(block), part, inside) {
			data, err := f.load(block)
			if err != nil {
				return n, err
			}
			copy(part, data[inside:])
		}
		n += len(part)
	}
	return n, nil
}

// length is the number of bytes of a block: the last one is short.
func (f *remoteFile) length(block int64) int64 {
	return min(blockBytes, f.size()-block*blockBytes)
}

// load returns a block that the disk cache has not.
func (f *remoteFile) load(block int64) ([]byte, error) {
	data, err := f.memory.get(pageKey{f.id, 0, int(block)}, func() (any, int64, error) {
		data, err := f.fly(block)
		return data, int64(len(data)), err
	})
	if err != nil {
		return nil, err
	}
	return data.([]byte), nil
}

// fly asks the server for a block, or waits for whoever already has.
func (f *remoteFile) fly(block int64) ([]byte, error) {
	f.mu.Lock()
	if other, ok := f.flights[block]; ok {
		f.mu.Unlock()
		<-other.done
		return other.data, other.err
	}
	mine := &flight{done: make(chan struct{})}
	f.flights[block] = mine
	ctx := f.ctx
	f.mu.Unlock()
	mine.data, mine.err = f.web.fetch(ctx, block*blockBytes, f.length(block))
	if mine.err == nil && f.disk != nil {
		f.disk.put(f.id, block, mine.data)
	}
	f.mu.Lock()
	delete(f.flights, block)
	f.mu.Unlock()
	close(mine.done)
	return mine.data, mine.err
}

// readAhead begins to fetch the block at an offset, unless enough requests run
// already. What goes wrong is met again by whoever reads the block.
func (f *remoteFile) readAhead(offset int64) {
	block := offset / blockBytes
	if offset < 0 || offset >= f.size() || f.parent.Err() != nil {
		return
	}
	f.mu.Lock()
	_, flying := f.flights[block]
	f.mu.Unlock()
	if flying {
		return
	}
	select {
	case f.ahead <- struct{}{}:
	default:
		return
	}
	f.wg.Go(func() {
		defer func() { <-f.ahead }()
		if f.disk == nil || !f.disk.has(f.id, block, f.length(block)) {
			f.load(block)
		}
	})
}

// resolveURL turns a URL into shards: a file, or what lies right below s3://bucket/prefix/.
func resolveURL(ctx context.Context, name string, n *network) ([]source, error) {
	scheme, _, _ := strings.Cut(name, "://")
	switch scheme {
	case "s3":
		if strings.HasSuffix(name, "/") {
			return resolvePrefix(ctx, name, n)
		}
	case "http", "https":
	default:
		return nil, fmt.Errorf("data source %s: %s:// is not known, want http://, https:// or s3://", name, scheme)
	}
	kind := remoteKind(remoteName(name))
	if kind == 0 {
		return nil, fmt.Errorf("data source %s: want the URL of a .tar or .parquet file or of a binary batch of CIFAR; numbered ones are written {000..009}", name)
	}
	return []source{{path: name, kind: kind, remote: true}}, nil
}

func resolvePrefix(ctx context.Context, name string, n *network) ([]source, error) {
	found := map[kind][]source{}
	urls, err := n.s3.list(ctx, name, n, func(base string) bool { return remoteKind(base) != 0 })
	if err != nil {
		return nil, err
	}
	for _, url := range urls {
		base := remoteName(url)
		if kind := remoteKind(base); trainingPart(kind, base) {
			found[kind] = append(found[kind], source{path: url, kind: kind, remote: true})
		}
	}
	for _, kind := range []kind{kindTar, kindParquet, kindCIFAR} {
		if len(found[kind]) > 0 {
			return found[kind], nil
		}
	}
	return nil, fmt.Errorf("data source %s: no .tar or .parquet file right below it", name)
}

// remoteKind is kindOf for the formats that are read where they lie.
func remoteKind(base string) kind {
	switch kind := kindOf(base); kind {
	case kindTar, kindParquet, kindCIFAR:
		return kind
	}
	return 0
}

// openRemote indexes a remote shard.
func (s source) openRemote(ctx context.Context, want fields) (*shard, error) {
	f, err := openRemote(ctx, s.path, want.net)
	if err != nil {
		return nil, err
	}
	r, err := s.kind.index(remoteTar(ctx, s.path, f), want)
	if r == nil {
		f.Close()
		return nil, err
	}
	return &shard{reader: r, name: remoteName(s.path), path: f.web.address, closer: f}, err
}

// aheadExamples is how far the loader looks beyond the example that it hands out.
const aheadExamples = 32

// readAhead begins to fetch the record of a position to come, where that is on a
// server: the order law says which it is.
func (d *Dataset) readAhead(position int64) {
	if !d.remote {
		return
	}
	_, s, i, err := d.locate(position)
	if err != nil {
		return
	}
	if f, ok := s.closer.(*remoteFile); ok {
		f.readAhead(s.offset(i))
	}
}

// headers reads a remote tar for its index: a member's header is far from the next
// one's, so that little is asked for at a time; where they turn out to be close, more
// and more is. Nothing is kept.
type headers struct {
	file  *remoteFile
	start int64
	data  []byte
	next  int64 // bytes to ask for
}

// Bounds of a request for headers, in bytes.
const (
	leastHeaders = 16 << 10
	mostHeaders  = 1 << 20
)

// ReadAt is not safe for concurrent use.
func (h *headers) ReadAt(p []byte, offset int64) (n int, err error) {
	for n < len(p) {
		at := offset + int64(n)
		if at >= h.file.size() {
			return n, io.EOF
		}
		end := h.start + int64(len(h.data))
		if at < h.start || at >= end {
			if at >= end && at < end+4*h.next {
				h.next = min(2*h.next, mostHeaders)
			} else {
				h.next = max(h.next/2, leastHeaders)
			}
			data, err := h.file.web.fetch(h.file.running(), at, min(h.next, h.file.size()-at))
			if err != nil {
				return n, err
			}
			h.start, h.data = at, data
		}
		n += copy(p[n:], h.data[at-h.start:])
	}
	return n, nil
}
