package runlog

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// plainEvery is how often progress is told where there is no terminal to draw
// on: often enough to see life, rarely enough to keep a log short.
const plainEvery = 10 * time.Second

// drawnEvery is how often the bar is drawn anew on a terminal.
const drawnEvery = 100 * time.Millisecond

// Bar shows how far a job has come: a bar on a terminal, and elsewhere a plain
// line now and then.
type Bar struct {
	w     io.Writer
	drawn *progressbar.ProgressBar // nil where lines are written
	unit  string
	total int
	now   func() time.Time
	first int       // where the count stood when the clock started
	start time.Time // zero until then
	last  time.Time // when the last line or bar was
}

// NewBar shows total units ("step", "image") on w, as a bar if w is a terminal.
func NewBar(w io.Writer, unit string, total int) *Bar {
	f, ok := w.(*os.File)
	return newBar(w, ok && term.IsTerminal(int(f.Fd())), unit, total, time.Now)
}

// newBar is NewBar on any writer, with its clock.
func newBar(w io.Writer, terminal bool, unit string, total int, now func() time.Time) *Bar {
	b := &Bar{w: w, unit: unit, total: max(1, total), now: now}
	if terminal {
		// The bar is all that is left to the library. Rate and time left are
		// computed here, since it takes the steps before a resume for speed.
		b.drawn = progressbar.NewOptions(b.total,
			progressbar.OptionSetWriter(w),
			progressbar.OptionSetWidth(20),
			progressbar.OptionUseANSICodes(true),
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionShowDescriptionAtLineEnd(),
		)
	}
	return b
}

// Set shows that done units are finished, with a text such as
// Record.Summary's. The first call starts the clock, so that what was done
// before a resume, and the setting up, do not count as speed.
func (b *Bar) Set(done int, text string) {
	now := b.now()
	if b.start.IsZero() {
		b.first, b.start = done, now
	}
	line := fmt.Sprintf("%s %d/%d", b.unit, done, b.total)
	if text != "" {
		line += "  " + text
	}
	if spent := now.Sub(b.start); done > b.first && spent > 0 {
		rate := float64(done-b.first) / spent.Seconds()
		left := time.Duration(float64(b.total-done) / rate * float64(time.Second))
		line += fmt.Sprintf("  %.3g/s  %s left", rate, left.Round(time.Second))
	}
	pause := plainEvery
	if b.drawn != nil {
		pause = drawnEvery
	}
	if done < b.total && !b.last.IsZero() && now.Sub(b.last) < pause {
		return
	}
	b.last = now
	if b.drawn == nil {
		fmt.Fprintln(b.w, line)
		return
	}
	// The library draws on Describe, and on Set if the percentage moves; after
	// the Set that fills the bar it draws no more. A bar that cannot be drawn
	// stops no job: its errors are dropped.
	if done < b.total {
		_ = b.drawn.Set(done)
		b.drawn.Describe(line)
	} else {
		b.drawn.Describe(line)
		_ = b.drawn.Set(b.total)
	}
}

// Print writes a line of its own, above the bar.
func (b *Bar) Print(line string) {
	if b.drawn != nil && !b.start.IsZero() && !b.drawn.IsFinished() {
		fmt.Fprint(b.w, "\r\033[2K")
	}
	fmt.Fprintln(b.w, strings.TrimRight(line, "\n"))
}

// Close leaves the bar where it stands and ends its line. Closing twice does
// nothing.
func (b *Bar) Close() {
	if b.drawn != nil && !b.start.IsZero() {
		fmt.Fprintln(b.w)
	}
	b.drawn = nil
}
