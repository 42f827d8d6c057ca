package pipeline

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// A run's memory does not grow with its steps: resident memory (VmRSS), read
// every fifth of 200 steps once the first 50 have warmed everything up, after
// Go's heap gave back what it does not use. The medians of the first and the last
// ten readings were at most 1 MB apart in eight runs; a step that keeps as much
// as its gradients (0.2 MB) parts them by 31.
func TestMemoryIsFlat(t *testing.T) {
	const warm, steps, bound = 50, 200, 3000 // KB
	var rss []int
	c, err := LoadConfig("", "", tinySets(plainSource(t), fmt.Sprint("train.max_steps=", warm+steps), "checkpoint.every_steps=0", "sample.every_steps=0"))
	if err != nil {
		t.Fatal(err)
	}
	o := TrainOptions{Out: filepath.Join(t.TempDir(), "run"), Resume: "auto", Messages: io.Discard}
	o.observe = func(_ context.Context, step int, _ *trainer) error {
		if step <= warm || step%5 != 0 {
			return nil
		}
		debug.FreeOSMemory()
		text, err := os.ReadFile("/proc/self/status")
		if err != nil {
			return err
		}
		_, after, _ := strings.Cut(string(text), "VmRSS:")
		var kb int
		if _, err := fmt.Sscan(after, &kb); err != nil {
			return fmt.Errorf("VmRSS: %w", err)
		}
		rss = append(rss, kb)
		return nil
	}
	if err := Train(t.Context(), c, o); err != nil {
		t.Fatal(err)
	}
	median := func(readings []int) int { return slices.Sorted(slices.Values(readings))[len(readings)/2] }
	first, last := median(rss[:10]), median(rss[len(rss)-10:])
	if len(rss) != steps/5 || last-first > bound {
		t.Errorf("%d KB after %d steps, %d KB after %d: want no more than %d KB between them (%d)", first, warm, last, warm+steps, bound, rss)
	}
}
