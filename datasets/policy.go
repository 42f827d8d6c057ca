package datasets

import (
	"errors"
	"fmt"
)

// Values of Options.BadRecords: what happens to a record that cannot be used.
const (
	BadRecordsError = "error" // the run stops and names it
	BadRecordsSkip  = "skip"  // the next good record of its shard takes its slot
)

// Fault says which record is bad and why. It wraps the cause.
type Fault struct {
	Shard  string // base name of the shard
	Key    string // of the record; the last one read where the shard itself is broken
	Offset int64  // of the record's image, or of the broken header, in bytes from the shard's start
	Err    error
}

// Error names shard, key and byte offset.
func (f *Fault) Error() string {
	return fmt.Sprintf("%s: record %q at byte %d: %v", f.Shard, f.Key, f.Offset, f.Err)
}

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Err }

// Skip is one bad record that was passed over, as logs and reports show it.
type Skip struct {
	Position int64  `json:"position"` // the slot that another record filled
	Shard    string `json:"shard"`
	Key      string `json:"key"`
	Offset   int64  `json:"offset"`
	Error    string `json:"error"`
}

// fill finds the record for a slot whose lawful record is i of shard s, by
// calling use with it. A bad record stops it or, under "skip", hands the slot to
// the next record of the same shard, cyclically: batch sizes and the order of all
// other slots stand.
func (d *Dataset) fill(position int64, s *shard, i int, use func(i int) error) ([]Skip, error) {
	var skipped []Skip
	for tried := 0; ; tried++ {
		err := use(i)
		var fault *Fault
		if err == nil || !errors.As(err, &fault) || d.options.BadRecords != BadRecordsSkip {
			return skipped, err
		}
		if tried == s.len()-1 {
			return skipped, fmt.Errorf("%s: none of its %d records can be used; remove the shard or repair it; the last one: %w",
				s.path, s.len(), err)
		}
		skipped = append(skipped, Skip{
			Position: position, Shard: fault.Shard, Key: fault.Key, Offset: fault.Offset, Error: fault.Err.Error(),
		})
		i = (i + 1) % s.len()
	}
}

// counter holds the distinct bad records that a loader has met against
// Options.BadLimit. It is fed in the order of positions, so that a run stops at
// the same batch for any number of workers.
type counter struct {
	limit int
	seen  map[string]bool // shard and key
}

func (c *counter) add(skipped []Skip) error {
	for _, s := range skipped {
		c.seen[s.Shard+"\x00"+s.Key] = true
		if c.limit > 0 && len(c.seen) > c.limit {
			return fmt.Errorf("%d bad records, more than bad_limit %d allows; `data verify` lists them all; the last one: %s: record %q at byte %d: %s",
				len(c.seen), c.limit, s.Shard, s.Key, s.Offset, s.Error)
		}
	}
	return nil
}
