package datasets

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestVerify: a row for each bad record, in order, for any number of workers, and
// for what is left of a broken shard.
func TestVerify(t *testing.T) {
	dir := t.TempDir()
	shardOf(t, dir, "a.tar", 100, nil)
	shardOf(t, dir, "b.tar", 150, func(i int, picture []byte) []byte {
		if i == 70 || i == 149 {
			return picture[:40]
		}
		return picture
	})
	whole := tarBytes(t, tar.FormatUSTAR, member{name: "x.png", data: dot(4, 3, 1)}, file("x.cls", "1"), member{name: "y.png", data: dot(4, 3, 1)})
	writeIn(t, dir, "c.tar", whole[:len(whole)-1024-512+20]) // 20 bytes of y.png are left
	broken := len(whole) - 1024 - 512
	want := fmt.Sprintf("c.tar y %d | b.tar 00070 %d | b.tar 00149 %d", broken, 70*2048+512, 149*2048+512)
	for _, workers := range []int{1, 4} {
		var rows []string
		last := int64(0)
		total, err := Verify(t.Context(), Options{Sources: []string{dir}, Workers: workers}, func(r VerifyRow) error {
			if r.Error == "" {
				t.Errorf("%+v has no reason", r)
			}
			rows = append(rows, fmt.Sprintf("%s %s %d", r.Shard, r.Key, r.Offset))
			return nil
		}, func(done, all int64) {
			if done <= last || all != 252 {
				t.Errorf("progress %d of %d after %d", done, all, last)
			}
			last = done
		})
		if err != nil || total != (VerifyTotal{Records: 252, Bad: 3}) || strings.Join(rows, " | ") != want {
			t.Errorf("%+v, %v, %v; want %s", total, err, rows, want)
		}
	}
	if _, err := Open(t.Context(), Options{Sources: []string{dir}}); err == nil || !strings.Contains(err.Error(), "c.tar") {
		t.Errorf("Open of a broken shard: %v", err)
	}
	// Labels are checked where a number of classes is given: 3, 4, 5 and 6 are out.
	bad := 0
	total, err := Verify(t.Context(), Options{Sources: []string{filepath.Join(dir, "a.tar")}, NumClasses: 3}, func(VerifyRow) error { bad++; return nil }, nil)
	if err != nil || total.Bad != int64(bad) || bad != 56 {
		t.Errorf("%+v, %v; want 56 bad", total, err)
	}
	stop := fmt.Errorf("stop")
	if _, err := Verify(t.Context(), Options{Sources: []string{dir}}, func(VerifyRow) error { return stop }, nil); err != stop {
		t.Errorf("report's error comes out as %v", err)
	}
}

// TestDump: what a file shows is the example before flip, to the bit.
func TestDump(t *testing.T) {
	for _, channels := range []int{1, 3} {
		d := mustOpen(t, Options{Channels: channels, Pad: 2, Resolution: 20, Seed: 4})
		dir := filepath.Join(t.TempDir(), "out")
		next := int64(9998)
		err := d.Dump(t.Context(), next, 4, dir, func(r DumpRow) error {
			e, err := d.Example(t.Context(), next)
			if err != nil {
				return err
			}
			if r.Position != next || r.Key != e.Key {
				t.Errorf("%+v, want position %d, key %s", r, next, e.Key)
			}
			data, err := os.ReadFile(r.File)
			if err != nil {
				return err
			}
			p, err := decode(data)
			if err != nil {
				return err
			}
			pixels := make([]float32, d.pixels())
			p.write(pixels, false)
			for i, v := range pixels {
				if v != e.Pixels[i] {
					t.Fatalf("%s: value %d is %v, want %v", r.File, i, v, e.Pixels[i])
				}
			}
			next++
			return nil
		})
		if err != nil || next != 10002 {
			t.Errorf("%d rows, %v", next-9998, err)
		}
	}
}

// TestOrderRowOfBadRecord: the order is printed whatever the records hold.
func TestOrderRowOfBadRecord(t *testing.T) {
	path := write(t, "s.tar", tarBytes(t, tar.FormatUSTAR, file("a.png", "x"), file("a.cls", "cat")))
	d := mustOpen(t, Options{Sources: []string{path}, Channels: 1, Resolution: 8})
	if row, err := d.Order(3); err != nil || row != (OrderRow{3, 3, "a", "s.tar", -1}) {
		t.Errorf("%+v, %v", row, err)
	}
}
