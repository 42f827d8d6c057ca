//go:build browser

package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The report is looked at in a browser:
//
//	apt-get install chromium
//	go test -tags browser -run Browser ./tools/immiscible -screenshots DIR
//
// It has a build tag because go test ./... must pass where no browser is; .ci/run
// installs one. The browser is told what to do over its remote debugging pipe
// (https://chromedevtools.github.io/devtools-protocol/), which needs no library:
// JSON messages that end in a zero byte.
var screenshots = flag.String("screenshots", "", "folder `DIR` for pictures of the report at each width")

// browser is a running Chromium.
type browser struct {
	t      *testing.T
	to     *os.File
	from   *bufio.Reader
	id     int
	events []browserMessage // that came while an answer was waited for
}

type browserMessage struct {
	ID     int
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *struct{ Message string }
}

// openBrowser starts Chromium with a profile of its own; it ends with the test.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("no chromium, chromium-browser or google-chrome on PATH, and -tags browser wants one: apt-get install chromium, or leave the tag out")
	}
	in, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.ExtraFiles = []*os.File{in, out} // file descriptors 3 and 4
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Close()
	patience := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() }) // every read then ends
	t.Cleanup(func() {
		patience.Stop()
		to.Close() // Chromium leaves when the pipe is closed
		ended := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		ended.Stop()
		from.Close()
		for line := range strings.Lines(stderr.String()) {
			if t.Failed() && !strings.Contains(line, "dbus") { // a container has none, and it does not matter
				t.Logf("the browser said: %s", line)
			}
		}
	})
	return &browser{t: t, to: to, from: bufio.NewReaderSize(from, 1<<20)}
}

// next reads one message.
func (b *browser) next() browserMessage {
	b.t.Helper()
	line, err := b.from.ReadBytes(0)
	if err != nil {
		b.t.Fatalf("the browser is gone: %v", err)
	}
	var m browserMessage
	if err := json.Unmarshal(line[:len(line)-1], &m); err != nil {
		b.t.Fatal(err)
	}
	return m
}

// call sends a command to a page, or with session "" to the browser, and reads
// its answer into result.
func (b *browser) call(session, method string, params, result any) {
	b.t.Helper()
	b.id++
	message := map[string]any{"id": b.id, "method": method, "params": params}
	if session != "" {
		message["sessionId"] = session
	}
	text, err := json.Marshal(message)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.t.Fatalf("the browser is gone: %v", err)
	}
	for {
		m := b.next()
		switch {
		case m.ID != b.id:
			b.events = append(b.events, m)
			continue
		case m.Error != nil:
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		case result != nil:
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
		return
	}
}

// open shows a file at a window's width, without a network, and returns the
// page's session.
func (b *browser) open(path string, width int) string {
	b.t.Helper()
	var target struct{ TargetID string }
	b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var page struct{ SessionID string }
	b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &page)
	s := page.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(s, domain+".enable", map[string]any{}, nil)
	}
	b.call(s, "Network.emulateNetworkConditions", map[string]any{"offline": true, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}, nil)
	b.call(s, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.events = nil
	b.call(s, "Page.navigate", map[string]any{"url": "file://" + path}, nil)
	loaded := func() bool {
		for _, e := range b.events {
			if e.Method == "Page.loadEventFired" {
				return true
			}
		}
		return false
	}
	for !loaded() {
		b.events = append(b.events, b.next())
	}
	return s
}

// evaluate runs a script in a page and reads its value.
func (b *browser) evaluate(session, script string, value any) {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call(session, "Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true, "awaitPromise": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("the test's own script failed: %s", answer.ExceptionDetails)
	}
	if err := json.Unmarshal(answer.Result.Value, value); err != nil {
		b.t.Fatal(err)
	}
}

// complaints are what the page did that a page without faults does not: it
// printed, failed, or asked for something outside itself.
func (b *browser) complaints() []string {
	var all []string
	for _, e := range b.events {
		switch e.Method {
		case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Network.loadingFailed":
			all = append(all, fmt.Sprintf("%s %.300s", e.Method, e.Params))
		case "Network.requestWillBeSent":
			var p struct{ Request struct{ URL string } }
			if err := json.Unmarshal(e.Params, &p); err != nil || !strings.HasPrefix(p.Request.URL, "file:") && !strings.HasPrefix(p.Request.URL, "data:") {
				all = append(all, fmt.Sprintf("request for %.100s", p.Request.URL))
			}
		}
	}
	return all
}

// look gathers what the test wants to know of a page. Of a chart it counts the
// pixels of each line's colour, and the dark ones where the axes' names and
// numbers stand: the strips at the left and below the axes.
const look = `(async () => {
  const colors = [[0,0,0],[0,114,178],[213,94,0],[0,158,115]];
  const chart = async (img) => {
    await img.decode();
    const c = document.createElement("canvas"), w = c.width = img.naturalWidth, h = c.height = img.naturalHeight;
    const g = c.getContext("2d"); g.drawImage(img, 0, 0);
    const px = g.getImageData(0, 0, w, h).data, seen = {lines: colors.map(() => 0), left: 0, below: 0};
    for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
      const i = 4 * (y * w + x), near = (k) => Math.abs(px[i]-k[0]) + Math.abs(px[i+1]-k[1]) + Math.abs(px[i+2]-k[2]) < 24;
      if (x > w * 0.2 && y < h * 0.7) colors.forEach((k, n) => { if (near(k)) seen.lines[n]++; });
      if (near(colors[0]) && x < w * 0.06) seen.left++;
      if (near(colors[0]) && y > h * 0.7 && x > w * 0.3 && x < w * 0.7) seen.below++;
    }
    return seen;
  };
  const light = (c) => { const v = c.map((x) => x / 255).map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4); return 0.2126*v[0] + 0.7152*v[1] + 0.0722*v[2]; };
  const parse = (s) => s.match(/[\d.]+/g).map(Number);
  const texts = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
    if (!text || e.closest("style") || !e.getClientRects().length) continue;
    const style = getComputedStyle(e);
    let b = e; while (b && parse(getComputedStyle(b).backgroundColor)[3] === 0) b = b.parentElement;
    const [a, d] = [light(parse(style.color)), light(b ? parse(getComputedStyle(b).backgroundColor) : [255,255,255])];
    texts.push({text: text.slice(0, 40), contrast: (Math.max(a, d) + 0.05) / (Math.min(a, d) + 0.05), size: parseFloat(style.fontSize)});
  }
  const images = [...document.images];
  return {
    title: document.title,
    images: images.map((i) => ({alt: i.alt, loaded: i.complete && i.naturalWidth > 0, shown: i.getBoundingClientRect().width})),
    charts: await Promise.all(images.filter((i) => i.className === "chart").map(chart)),
    texts,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    outside: [...document.querySelectorAll("body *")].filter((e) => !e.closest(".wide") && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.tagName),
  };
})()`

// The report at the width of a desk and of a telephone.
func TestCompareBrowser(t *testing.T) {
	out, args := madeComparison(t)
	mustCall(t, args...)
	b := openBrowser(t)
	for _, width := range []int{1280, 400} {
		s := b.open(filepath.Join(out, "report.html"), width)
		var page struct {
			Title  string
			Images []struct {
				Alt    string
				Loaded bool
				Shown  float64
			}
			Charts []struct {
				Lines       []int
				Left, Below int
			}
			Texts []struct {
				Text           string
				Contrast, Size float64
			}
			Wide    float64
			Outside []string
		}
		b.evaluate(s, look, &page)
		if page.Title == "" || len(page.Images) != 13 || len(page.Charts) != 5 || len(page.Texts) < 200 {
			t.Fatalf("%d px: title %q, %d pictures, %d charts, %d texts, want a title, 13, 5 and 200 or more", width, page.Title, len(page.Images), len(page.Charts), len(page.Texts))
		}
		for _, i := range page.Images {
			if !i.Loaded || i.Alt == "" || i.Shown < 250 {
				t.Errorf("%d px: picture %+v, want it loaded, with words, and 250 px wide at least", width, i)
			}
		}
		for i, c := range page.Charts {
			for k, n := range c.Lines {
				// A line across the chart has thousands. After the last step one arm has no
				// mean: it diverged from one seed.
				if missing := i == 2 && k == 3; (n < 300) != missing {
					t.Errorf("%d px: chart %d has %d pixels of line %d's colour, want it drawn: %v", width, i, n, k, !missing)
				}
			}
			if c.Left < 100 || c.Below < 100 {
				t.Errorf("%d px: chart %d has %d and %d dark pixels where its axes' names are, want 100 or more", width, i, c.Left, c.Below)
			}
		}
		for _, x := range page.Texts {
			// WCAG 2.2, 1.4.3: 4.5 to 1.
			if x.Contrast < 4.5 || x.Size < 12 {
				t.Errorf("%d px: %q has contrast %.1f and %g px, want 4.5 and 12 or more", width, x.Text, x.Contrast, x.Size)
			}
		}
		if page.Wide > 0 || len(page.Outside) > 0 {
			t.Errorf("%d px: the page is %g px wider than the window: %v", width, page.Wide, page.Outside)
		}
		for _, c := range b.complaints() {
			t.Errorf("%d px: %s", width, c)
		}
		if *screenshots != "" {
			var shot struct{ Data string }
			b.call(s, "Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot)
			png, err := base64.StdEncoding.DecodeString(shot.Data)
			if err == nil {
				err = os.WriteFile(filepath.Join(*screenshots, fmt.Sprintf("report-%d.png", width)), png, 0o644)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// What the test would not see, it would not be worth having for: a page that
// prints, asks for a picture from a server, has one that is none, and is wide.
func TestBrowserSeesFaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.html")
	html := `<!DOCTYPE html><title>x</title><img src="http://127.0.0.1:9/a.png" alt="a"><img src="data:image/png;base64,AAAA" alt="b">
<div style="width:3000px">wide</div><p style="color:#bbb">pale</p><script>console.error("no")</script>`
	if err := os.WriteFile(path, []byte(html), 0o644); err != nil {
		t.Fatal(err)
	}
	b := openBrowser(t)
	s := b.open(path, 400)
	var page struct {
		Images []struct{ Loaded bool }
		Texts  []struct{ Contrast float64 }
		Wide   float64
	}
	b.evaluate(s, look, &page)
	if len(page.Images) != 2 || page.Images[0].Loaded || page.Images[1].Loaded || page.Wide < 2000 || len(page.Texts) != 2 || page.Texts[1].Contrast > 4.5 {
		t.Errorf("%+v", page)
	}
	all := strings.Join(b.complaints(), "\n")
	for _, want := range []string{"consoleAPICalled", "request for http://127.0.0.1:9/a.png", "loadingFailed"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %s in %s", want, all)
		}
	}
}
