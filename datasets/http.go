package datasets

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

// patience is how long a server is waited for.
type patience struct {
	tries int           // of one request; each goes on at the byte where the last one broke off
	pause time.Duration // before the second try; it doubles
	stall time.Duration // without a byte, after which a try is given up
}

// usualPatience gives a server two minutes to come back.
var usualPatience = patience{tries: 9, pause: 500 * time.Millisecond, stall: 30 * time.Second}

// webFile is a file on a server that answers to ranges (RFC 9110, section 14): over
// HTTP, or in a bucket, where each request is signed.
type webFile struct {
	url      string
	address  string                    // for errors and names: no credentials, no query
	sign     func(*http.Request) error // nil: nothing to sign
	client   *http.Client
	patience patience
	seen     version // as it was opened; not known while size is −1
}

// version is what tells a file from what it was before.
type version struct {
	size           int64
	etag, modified string // validators, "" where the server sends none
}

// String shows the validators.
func (v version) String() string {
	return fmt.Sprintf("ETag %s, Last-Modified %q, %d bytes", orNone(v.etag), v.modified, v.size)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// condition is the validator for If-Range, which must be a strong one.
func (v version) condition() string {
	if v.etag != "" && !strings.HasPrefix(v.etag, "W/") {
		return v.etag
	}
	return v.modified
}

// differs compares what both versions know.
func (v version) differs(now version) bool {
	other := func(a, b string) bool { return a != "" && b != "" && a != b }
	return v.size >= 0 && now.size >= 0 && v.size != now.size || other(v.etag, now.etag) ||
		(v.etag == "" || now.etag == "") && other(v.modified, now.modified)
}

// refusal is an answer that another try will not better.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refuse(format string, args ...any) error { return &refusal{fmt.Errorf(format, args...)} }

// newWebFile prepares a file named by an http, https or s3 URL. Nothing is sent.
func newWebFile(name string, net *network) (*webFile, error) {
	w := &webFile{url: name, client: net.client, patience: net.patience, seen: version{size: -1}}
	u, err := url.Parse(name)
	if err != nil {
		return nil, fmt.Errorf("data source %s: no URL", name)
	}
	if u.Scheme == "s3" {
		if w.url, err = net.s3.locate(u); err != nil {
			return nil, err
		}
		w.sign = net.s3.sign
	} else if token := hubToken(u); token != "" {
		w.sign = func(request *http.Request) error {
			request.Header.Set("Authorization", "Bearer "+token)
			return nil
		}
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	w.address = u.String()
	return w, nil
}

// remoteName is the base name of a URL's path.
func remoteName(name string) string {
	u, err := url.Parse(name)
	if err != nil {
		return ""
	}
	return path.Base(u.Path)
}

// open asks for the first bytes and notes the version.
func (w *webFile) open(ctx context.Context) error {
	_, err := w.fetch(ctx, 0, 512)
	return err
}

// leastProgress is what a try that breaks off must have brought so that it does not
// count as one: some bytes, or an eighth of what was asked for.
const leastProgress = 16 << 10

// strangers is how often a server is tried that was never there.
const strangers = 3

// errSilent is the reason for which a try is given up.
var errSilent = errors.New("nothing came")

// rest lasts for a pause, or until the context ends.
func rest(ctx context.Context, pause time.Duration) {
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
}

// insist tries until do succeeds or is refused, for as long as it is patient, and says
// how often it would try in a row. A try that brought enough does not count.
func (w *webFile) insist(ctx context.Context, do func() (enough bool, err error)) (tries int, err error) {
	pause := w.patience.pause
	tries = w.patience.tries
	for try := 0; try < tries; try++ {
		if try > 0 {
			rest(ctx, pause)
			pause *= 2
		}
		if ctx.Err() != nil {
			return tries, ctx.Err()
		}
		var enough bool
		var final *refusal
		if enough, err = do(); err == nil || errors.As(err, &final) {
			return tries, err
		}
		if enough {
			try, pause = -1, w.patience.pause
		}
		if tries = w.patience.tries; w.seen.size < 0 && (errors.Is(err, errSilent) || noConnection(err)) {
			tries = min(tries, strangers)
		}
	}
	return tries, cmp.Or(ctx.Err(), err)
}

// fetch reads n bytes from an offset on. A try that breaks off is followed by one for
// the rest. The error of a file that has changed names both versions.
func (w *webFile) fetch(ctx context.Context, from, n int64) ([]byte, error) {
	data := make([]byte, 0, n)
	tries, err := w.insist(ctx, func() (enough bool, err error) {
		had := len(data)
		data, err = w.try(ctx, data, from, n)
		return int64(len(data)-had) >= min(leastProgress, max(n/8, 1)), err
	})
	var final *refusal
	switch {
	case err == nil:
		return data, nil
	case ctx.Err() != nil || errors.As(err, &final):
		return nil, fmt.Errorf("%s: %w", w.address, err)
	}
	return nil, fmt.Errorf("%s: bytes %d…%d did not come in %d tries; see whether the server answers, then start again; the last error: %w",
		w.address, from, from+n-1, tries, err)
}

// noConnection tells that there was not even a connection.
func noConnection(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && (dial.Op == "dial" || dial.Op == "proxyconnect")
}

// try sends one request for what data still lacks, and appends what comes.
func (w *webFile) try(ctx context.Context, data []byte, from, n int64) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(w.patience.stall, func() { cancel(fmt.Errorf("%w for %v", errSilent, w.patience.stall)) })
	defer watchdog.Stop()

	at := from + int64(len(data))
	response, err := w.ask(ctx, func(h http.Header) {
		h.Set("Range", fmt.Sprintf("bytes=%d-%d", at, from+n-1))
		if condition := w.seen.condition(); condition != "" {
			h.Set("If-Range", condition)
		}
	})
	if err != nil {
		return data, because(ctx, err)
	}
	defer response.Body.Close()
	n, err = w.accept(response, at, from, n)
	if err != nil {
		return data, err
	}
	for int64(len(data)) < n {
		got, err := response.Body.Read(data[len(data):n])
		if got > 0 {
			watchdog.Reset(w.patience.stall)
			data = data[:len(data)+got]
		}
		switch {
		case int64(len(data)) == n:
		case errors.Is(err, io.EOF):
			return data, fmt.Errorf("the answer ended after %d of %d bytes", len(data), n)
		case err != nil:
			return data, because(ctx, err)
		}
	}
	return data, nil
}

// ask sends a GET whose header is set up by prepare, and signed.
func (w *webFile) ask(ctx context.Context, prepare func(http.Header)) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	if err != nil {
		return nil, &refusal{errors.New("no URL that can be asked for")}
	}
	request.Header.Set("Accept-Encoding", "identity") // ranges are of the file, not of a packed form
	prepare(request.Header)
	if w.sign != nil {
		if err := w.sign(request); err != nil {
			return nil, &refusal{err}
		}
	}
	response, err := w.client.Do(request)
	var asked *url.Error // shows the query, in which a token may stand
	if errors.As(err, &asked) {
		err = asked.Err
	}
	var certificate *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	if errors.As(err, &certificate) || errors.As(err, &noTLS) || errors.Is(err, http.ErrSchemeMismatch) {
		err = &refusal{err}
	}
	return response, err
}

// accept judges an answer to the request for bytes at … from+n−1, and cuts n to the
// file's end.
func (w *webFile) accept(response *http.Response, at, from, n int64) (int64, error) {
	now := version{size: -1, etag: response.Header.Get("ETag"), modified: response.Header.Get("Last-Modified")}
	changed := func() error {
		return refuse("the file has changed while it was being read: it had %v, and has %v now; start again when it stays as it is", w.seen, now)
	}
	switch status, packed := response.StatusCode, response.Header.Get("Content-Encoding"); {
	case status == http.StatusPartialContent && packed != "" && packed != "identity" && packed != "aws-chunked": // the last is how it came, which some stores keep
		return 0, refuse("the server sends the file packed (Content-Encoding %s), so that its offsets are not the file's; serve it as it is", packed)
	case status == http.StatusPartialContent:
		first, size, ok := contentRange(response.Header.Get("Content-Range"))
		if !ok || first != at {
			return 0, refuse("asked for bytes from %d on, got Content-Range %q", at, response.Header.Get("Content-Range"))
		}
		now.size = size
		if w.seen.size < 0 {
			w.seen = now
		}
		if w.seen.differs(now) {
			return 0, changed()
		}
		return min(n, size-from), nil
	case status == http.StatusOK:
		now.size = response.ContentLength
		if w.seen.differs(now) {
			return 0, changed()
		}
		if now.size == 0 {
			return 0, refuse("the file is empty")
		}
		return 0, refuse("the server ignores Range and sends the whole file, so that no record can be reached by a seek; serve it with a server that knows ranges, or download the shards and name their folder")
	case status == http.StatusRequestedRangeNotSatisfiable && w.seen.size >= 0:
		_, now.size, _ = contentRange(response.Header.Get("Content-Range"))
		return 0, changed()
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status >= 500:
		return 0, fmt.Errorf("status %s%s", response.Status, explained(response))
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return 0, refuse("status %s%s; see that the credentials are right and may read it", response.Status, explained(response))
	default:
		return 0, refuse("status %s%s", response.Status, explained(response))
	}
}

// contentRange reads "bytes first-last/size", and "bytes */size" with first 0.
func contentRange(header string) (first, size int64, ok bool) {
	span, ok := strings.CutPrefix(header, "bytes ")
	span, total, slash := strings.Cut(span, "/")
	size, err := strconv.ParseInt(total, 10, 64)
	if !ok || !slash || err != nil || size < 0 {
		return 0, -1, false
	}
	from, _, _ := strings.Cut(span, "-")
	first, err = strconv.ParseInt(from, 10, 64)
	return first, size, err == nil && first >= 0
}

// explained is what an S3 server says of an error, ": Code: Message", and where the
// bucket is, if that is elsewhere; "" where the answer is none of its.
func explained(response *http.Response) string {
	var said struct {
		Code, Message string
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<14))
	if err != nil || xml.Unmarshal(body, &said) != nil || said.Code == "" {
		return ""
	}
	hint := ""
	if region := response.Header.Get("X-Amz-Bucket-Region"); region != "" && region != awsRegion() {
		hint = "; the bucket is in region " + region + ": set AWS_REGION to it"
	}
	return ": " + said.Code + ": " + said.Message + hint
}

// whole reads a small file, or an answer, of at most limit bytes, with retries from
// its start. errAbsent tells that there is none.
func (w *webFile) whole(ctx context.Context, limit int64) (body []byte, err error) {
	_, err = w.insist(ctx, func() (_ bool, err error) {
		body, err = w.wholeOnce(ctx, limit)
		return false, err
	})
	return body, err
}

// errAbsent is the error of a file that is not there.
var errAbsent = errors.New("not there")

func (w *webFile) wholeOnce(ctx context.Context, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 4*w.patience.stall, errors.New("it took too long"))
	defer cancel()
	response, err := w.ask(ctx, func(http.Header) {})
	if err != nil {
		return nil, because(ctx, err)
	}
	defer response.Body.Close()
	switch status := response.StatusCode; {
	case status == http.StatusNotFound:
		return nil, &refusal{errAbsent}
	case status >= 500, status == http.StatusTooManyRequests:
		return nil, fmt.Errorf("status %s%s", response.Status, explained(response))
	case status != http.StatusOK:
		return nil, refuse("status %s%s", response.Status, explained(response))
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err == nil && int64(len(body)) > limit {
		return nil, refuse("more than %d bytes", limit)
	}
	return body, because(ctx, err)
}
