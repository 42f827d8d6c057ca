package runlog

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
)

// Record is one line of log.jsonl: what one step did. The fields, their names
// and their order are read by others.
type Record struct {
	Step            int    `json:"step"`                   // counts from 1
	Position        int64  `json:"position"`               // examples consumed after the step
	Loss            Number `json:"loss"`                   // weighted mean over the batch
	LR              Number `json:"lr"`                     // learning rate of the step
	GradNorm        Number `json:"grad_norm"`              // global L2 norm before clipping
	DistanceBefore  Number `json:"distance_before"`        // mean unsquared L2 from image to noise as drawn
	DistanceAfter   Number `json:"distance_after"`         // the same after pairing
	PairMS          Number `json:"pair_ms"`                // time of the pairing, ms
	PairWaitMS      Number `json:"pair_wait_ms,omitempty"` // time that the step waited for its pool (reading and pairing), ms
	StepMS          Number `json:"step_ms"`                // time of the whole step, ms
	ImagesPerSecond Number `json:"images_per_second"`
	LossScale       Number `json:"loss_scale,omitempty"`      // fp16: what the step's loss was multiplied by
	SkippedRecords  int    `json:"skipped_records,omitempty"` // bad records that the batch met
	Skipped         string `json:"skipped,omitempty"`         // why the step changed no weight
}

// Number is a float64 that JSON can hold: null stands for a value that is not
// finite, and reads back as NaN.
type Number float64

// MarshalJSON writes the shortest digits that read back to the same bits.
func (n Number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON reads a number or null.
func (n *Number) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	return json.Unmarshal(text, (*float64)(n))
}

// Summary is the part of a record that a progress line shows.
func (r Record) Summary() string {
	text := fmt.Sprintf("loss %.4f", r.Loss)
	if r.DistanceBefore > 0 {
		text += fmt.Sprintf("  distance %+.2f %%", 100*(r.DistanceAfter/r.DistanceBefore-1))
	}
	if r.Skipped != "" {
		text += "  skipped"
	}
	return text
}

// Log is an open log.jsonl.
type Log struct {
	file *os.File
}

// OpenLog opens the log at path for appending and makes it where it is missing.
// A log that a killed run may have left needs CutBack first.
func OpenLog(path string) (*Log, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return &Log{f}, nil
}

// Append writes one line. It is in the kernel's hands when Append returns, so
// that it outlives the process; Sync makes it outlive the machine.
func (l *Log) Append(r Record) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write the log: step %d: %w", r.Step, err)
	}
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write the log: step %d: %w", r.Step, err)
	}
	return nil
}

// Sync forces all lines to the disk: before a checkpoint gets its name.
func (l *Log) Sync() error {
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("write the log: %w", err)
	}
	return nil
}

// Close closes the log. Lines need no closing to be kept.
func (l *Log) Close() error {
	return l.file.Close()
}

// CutBack removes what follows step's line from the log at path: the lines of
// later steps, and the torn line of a run that was killed. 0 empties it. It is
// one truncation, so that a kill leaves the log before or after it. A missing
// log is left missing.
func CutBack(path string, step int) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cut the log back to step %d: %w", step, err)
	}
	defer f.Close()
	keep, err := lengthUpTo(f, step)
	if err != nil {
		return fmt.Errorf("cut the log back to step %d: %s: %w", step, path, err)
	}
	if err = f.Truncate(keep); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return fmt.Errorf("cut the log back to step %d: %w", step, err)
	}
	return nil
}

// lengthUpTo is the number of bytes before the first line that is unfinished or
// belongs to a later step. Lines after step's own are not looked at: a power
// cut may have left anything there.
func lengthUpTo(r io.Reader, step int) (keep int64, err error) {
	lines := bufio.NewReader(r)
	for n, last := 1, 0; last < step; n++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return keep, nil
		}
		if err != nil {
			return 0, err
		}
		var at struct {
			Step int `json:"step"`
		}
		if err := json.Unmarshal(line, &at); err != nil || at.Step <= last {
			return 0, fmt.Errorf("line %d is not the log line of a step after %d: repair the file or move it away", n, last)
		}
		if at.Step > step {
			return keep, nil
		}
		last = at.Step
		keep += int64(len(line))
	}
	return keep, nil
}
