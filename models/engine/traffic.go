package engine

import "sync/atomic"

// Traffic counts what an engine's arenas have copied between the host's slices
// and the device: on a GPU, what crosses the bus.
type Traffic struct {
	Uploads, UploadBytes, Downloads, DownloadBytes int64
}

// Sub is the traffic since an earlier count.
func (t Traffic) Sub(earlier Traffic) Traffic {
	return Traffic{t.Uploads - earlier.Uploads, t.UploadBytes - earlier.UploadBytes, t.Downloads - earlier.Downloads, t.DownloadBytes - earlier.DownloadBytes}
}

// Traffic is the count since Open.
func (e *Engine) Traffic() Traffic {
	c := &e.counters
	return Traffic{c.uploads.Load(), c.uploadBytes.Load(), c.downloads.Load(), c.downloadBytes.Load()}
}

type counters struct{ uploads, uploadBytes, downloads, downloadBytes atomic.Int64 }
