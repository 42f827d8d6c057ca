package datasets

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// blockCache keeps blocks of remote files in a folder that processes share, a file a
// block, its checksum behind it. A block is written under another name and renamed,
// so that no reader sees half of one; what was read last stays longest. A cache that
// cannot be written, or that somebody empties meanwhile, costs requests, not the run.
//
// The bound: a process looks at the whole folder after each limit/32 bytes that it
// wrote, and where it finds more than 7/8 of limit removes the oldest down to 3/4.
// Four processes together so stay below limit.
type blockCache struct {
	dir   string
	limit int64 // bytes

	mu      sync.Mutex
	written int64 // since the folder was looked at; −1: it never was
	whole   map[blockName]bool
}

type blockName struct {
	id    string
	block int64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newBlockCache(dir string, limit int64) *blockCache {
	return &blockCache{dir: dir, limit: limit, written: -1, whole: map[blockName]bool{}}
}

func (c *blockCache) path(n blockName) string {
	return filepath.Join(c.dir, "blocks", n.id, strconv.FormatInt(n.block, 10))
}

// usable tells why nothing can be kept; nil where it can.
func (c *blockCache) usable() error {
	dir := filepath.Join(c.dir, "blocks")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, ".block.*")
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}

// has tells whether a block of that length is there.
func (c *blockCache) has(id string, block, length int64) bool {
	info, err := os.Stat(c.path(blockName{id, block}))
	return err == nil && info.Size() == length+4
}

// readAt fills p from an offset in a block of that length; false: it is not there.
// A block that this process meets for the first time is held to its checksum.
func (c *blockCache) readAt(id string, block, length int64, p []byte, offset int64) bool {
	name := blockName{id, block}
	path := c.path(name)
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() != length+4 {
		return false
	}
	c.mu.Lock()
	whole := c.whole[name]
	c.mu.Unlock()
	if !whole {
		data := make([]byte, length+4)
		if _, err := file.ReadAt(data, 0); err != nil {
			return false
		}
		if crc32.Checksum(data[:length], castagnoli) != binary.LittleEndian.Uint32(data[length:]) {
			os.Remove(path)
			return false
		}
		c.mu.Lock()
		c.whole[name] = true
		c.mu.Unlock()
	}
	if _, err := file.ReadAt(p, offset); err != nil {
		return false
	}
	if now := time.Now(); now.Sub(info.ModTime()) > time.Minute {
		os.Chtimes(path, now, now) // its last use
	}
	return true
}

// put keeps a block, and makes room.
func (c *blockCache) put(id string, block int64, data []byte) {
	path := c.path(blockName{id, block})
	dir := filepath.Dir(path)
	if os.MkdirAll(dir, 0o777) != nil {
		return
	}
	c.mu.Lock()
	c.written += int64(len(data)) + 4
	if c.written < int64(len(data))+4 || c.written > c.limit/32 {
		c.written = int64(len(data)) + 4
		c.makeRoom()
	}
	c.mu.Unlock()
	file, err := os.CreateTemp(dir, ".block.*")
	if err != nil {
		return
	}
	_, err = file.Write(binary.LittleEndian.AppendUint32(data[:len(data):len(data)], crc32.Checksum(data, castagnoli)))
	if closeErr := file.Close(); err != nil || closeErr != nil || os.Rename(file.Name(), path) != nil {
		os.Remove(file.Name())
	}
}

// makeRoom removes what was used longest ago, and what a killed process left.
func (c *blockCache) makeRoom() {
	type kept struct {
		path  string
		bytes int64
		used  time.Time
	}
	var all []kept
	total := int64(0)
	filepath.WalkDir(filepath.Join(c.dir, "blocks"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil // another process may have removed it
		}
		info, err := entry.Info()
		if err != nil {
			return nil
		}
		if strings.HasPrefix(entry.Name(), ".") {
			if time.Since(info.ModTime()) > time.Hour {
				os.Remove(path)
			}
			return nil
		}
		all = append(all, kept{path, info.Size(), info.ModTime()})
		total += info.Size()
		return nil
	})
	if total <= c.limit/8*7 {
		return
	}
	slices.SortFunc(all, func(a, b kept) int { return a.used.Compare(b.used) })
	for _, k := range all {
		if total <= c.limit/4*3 {
			return
		}
		if os.Remove(k.path) == nil {
			total -= k.bytes
		}
	}
}
