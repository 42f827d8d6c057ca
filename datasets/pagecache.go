package datasets

import (
	"container/list"
	"io"
	"sync"
)

// pageCacheBytes is how much of the parquet pages read last a data set keeps.
const pageCacheBytes = 256 << 20

// pageCache keeps what was used last, up to limit bytes. It is safe for concurrent use.
type pageCache struct {
	mu    sync.Mutex
	limit int64
	used  int64
	order *list.List // of *cached, the latest first
	at    map[pageKey]*list.Element
}

// pageKey names a page: page −1 is the dictionary of its chunk.
type pageKey struct {
	path        string
	chunk, page int
}

type cached struct {
	key   pageKey
	value any
	bytes int64
}

func newPageCache(limit int64) *pageCache {
	return &pageCache{limit: limit, order: list.New(), at: map[pageKey]*list.Element{}}
}

// get returns what is kept under key, else what load makes, which is kept if it fits.
// Two callers may load the same page at once: neither waits for the other.
func (c *pageCache) get(key pageKey, load func() (value any, bytes int64, err error)) (any, error) {
	c.mu.Lock()
	if e, ok := c.at[key]; ok {
		c.order.MoveToFront(e)
		value := e.Value.(*cached).value
		c.mu.Unlock()
		return value, nil
	}
	c.mu.Unlock()
	value, bytes, err := load()
	if err != nil || bytes > c.limit {
		return value, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.at[key]; ok {
		return value, nil
	}
	c.at[key] = c.order.PushFront(&cached{key, value, bytes})
	for c.used += bytes; c.used > c.limit; {
		last := c.order.Back()
		gone := last.Value.(*cached)
		c.order.Remove(last)
		delete(c.at, gone.key)
		c.used -= gone.bytes
	}
	return value, nil
}

// spliced is some parts of a file, as if they stood one behind the other from start on.
type spliced struct {
	file  io.ReaderAt
	start int64
	spans []span
}

func (s spliced) ReadAt(p []byte, offset int64) (n int, err error) {
	at := offset - s.start
	for _, part := range s.spans {
		if at >= part.size {
			at -= part.size
			continue
		}
		want := min(int64(len(p)-n), part.size-at)
		got, err := s.file.ReadAt(p[n:n+int(want)], part.offset+at)
		if n += got; int64(got) < want {
			return n, err
		}
		if n == len(p) {
			return n, nil
		}
		at = 0
	}
	return n, io.EOF
}
