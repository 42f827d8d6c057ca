package runlog

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// clock is a time that the test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

// Without a terminal: the first, the last, and one every ten seconds between.
func TestBarPlain(t *testing.T) {
	var out bytes.Buffer
	c := &clock{time.Unix(1700000000, 0)}
	b := newBar(&out, false, "step", 10, c.now)
	for step := 5; step <= 10; step++ { // resumed: steps 1…4 are no speed
		b.Set(step, "loss 0.1")
		if step == 7 {
			b.Print("checkpoint-7\n")
		}
		c.at = c.at.Add(4 * time.Second)
	}
	b.Close()
	want := strings.Join([]string{
		"step 5/10  loss 0.1",
		"checkpoint-7",
		"step 8/10  loss 0.1  0.25/s  8s left",
		"step 10/10  loss 0.1  0.25/s  0s left",
		"",
	}, "\n")
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// On a terminal: one line that is drawn over, from which a printed line stands
// apart, and that says 100 % and the last text at the end.
func TestBarDrawn(t *testing.T) {
	var out bytes.Buffer
	c := &clock{time.Unix(1700000000, 0)}
	b := newBar(&out, true, "image", 4, c.now)
	for n := 1; n <= 4; n++ {
		b.Set(n, strings.Repeat("x", n))
		if n == 2 {
			b.Print("a line")
		}
		c.at = c.at.Add(time.Second)
	}
	b.Close()
	text := out.String()
	if strings.Count(text, "\n") != 2 || !strings.Contains(text, "\033[2Ka line\n") {
		t.Errorf("got %q", text)
	}
	last := text[strings.LastIndex(text, "\r"):]
	if !strings.Contains(last, " 100% ") || !strings.Contains(last, "image 4/4  xxxx  1/s  0s left") || !strings.HasSuffix(last, "\n") {
		t.Errorf("the last state is %q", last)
	}
}

// A bar that was never set, or has nothing to count, writes nothing strange.
func TestBarEmpty(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		var out bytes.Buffer
		b := newBar(&out, terminal, "step", 0, time.Now)
		b.Close()
		if out.Len() != 0 {
			t.Errorf("got %q", out.String())
		}
	}
}
