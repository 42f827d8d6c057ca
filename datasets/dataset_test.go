package datasets

import (
	"archive/tar"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestEmbedded: the default source, with facts about the data set.
func TestEmbedded(t *testing.T) {
	d := mustOpen(t, Options{Pad: 2, Flip: true, NumClasses: 10})
	if d.Len() != 10000 || d.Channels() != 1 || d.Resolution() != 32 || len(d.ClassNames()) != 10 {
		t.Fatalf("%d records, %d channels, resolution %d, classes %v", d.Len(), d.Channels(), d.Resolution(), d.ClassNames())
	}
	e, err := d.Example(t.Context(), 10003)
	if err != nil {
		t.Fatal(err)
	}
	if e.Epoch != 1 || e.Position != 10003 || e.Shard != "fashion-mnist-test-000.tar" || len(e.Pixels) != 32*32 || e.Text != "" || e.Skipped != nil {
		t.Errorf("%+v", e)
	}
	for i, v := range e.Pixels {
		y, x := i/32, i%32
		if border := y < 2 || y >= 30 || x < 2 || x >= 30; border && v != -1 {
			t.Fatalf("padding at %d, %d is %v, want -1", y, x, v)
		}
		if v < -1 || v > 1 {
			t.Fatalf("pixel at %d, %d is %v", y, x, v)
		}
	}
}

// TestOrderLaw, over grids of shards, seeds and epochs: every record once an
// epoch; the order the same for other paths and for one position at a time.
func TestOrderLaw(t *testing.T) {
	for _, sizes := range [][]int{{1}, {7}, {5, 1, 9}, {64, 64}} {
		here, there := t.TempDir(), filepath.Join(t.TempDir(), "else/where")
		total := 0
		for i, n := range sizes {
			shardOf(t, here, fmt.Sprintf("s%d.tar", i), n, nil)
			shardOf(t, there, fmt.Sprintf("s%d.tar", i), n, nil)
			total += n
		}
		seen := map[string]bool{}
		for _, seed := range []uint64{0, 7} {
			a := mustOpen(t, Options{Sources: []string{here}, Seed: seed})
			b := mustOpen(t, Options{Sources: []string{there}, Seed: seed})
			for epoch := range 3 {
				once := map[string]bool{}
				var order []string
				for k := range total {
					position := int64(epoch*total + k)
					row, err := a.Order(position)
					if err != nil {
						t.Fatal(err)
					}
					other, err := b.Order(position)
					if err != nil || row != other {
						t.Fatalf("position %d: %+v here, %+v there, %v", position, row, other, err)
					}
					e, err := a.Example(t.Context(), position)
					if err != nil {
						t.Fatal(err)
					}
					if e.Key != row.Key || e.Shard != row.Shard || e.Label != row.Label || e.Epoch != row.Epoch || row.Epoch != epoch || row.Position != position {
						t.Fatalf("example %+v, order %+v", e, row)
					}
					id := row.Shard + "/" + row.Key
					if once[id] {
						t.Fatalf("epoch %d has %s twice", epoch, id)
					}
					once[id] = true
					order = append(order, id)
				}
				if len(once) != total {
					t.Fatalf("epoch %d has %d of %d records", epoch, len(once), total)
				}
				whole := strings.Join(order, " ")
				if total > 12 && seen[whole] { // 13! ≈ 6·10⁹: a chance repeat is out of question
					t.Error("two epochs or seeds have one order")
				}
				seen[whole] = true
			}
		}
	}
}

// TestOrderIsFrozen: a change of these keys changes what every resumed run sees.
// The values are this implementation's own.
func TestOrderIsFrozen(t *testing.T) {
	d := mustOpen(t, Options{Seed: 1})
	var got []string
	for _, position := range []int64{0, 1, 2, 9999, 10000, 123456789} {
		row, err := d.Order(position)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, row.Key)
	}
	if want := []string{"03896", "02253", "05163", "01128", "08021", "02470"}; !slices.Equal(got, want) {
		t.Errorf("keys %q, want %q", got, want)
	}
}

// TestFlip: a flip is drawn by position at a rate of one half (binomial, six
// standard deviations), apart from the order, and mirrors the pixels exactly.
func TestFlip(t *testing.T) {
	path := shardOf(t, t.TempDir(), "s.tar", 40, func(int, []byte) []byte { return dot(4, 4, 200) })
	plain := mustOpen(t, Options{Sources: []string{path}, Seed: 3})
	flip := mustOpen(t, Options{Sources: []string{path}, Seed: 3, Flip: true})
	const n = 4000
	flips := 0
	for position := range int64(n) {
		a, err := plain.Example(t.Context(), position)
		if err != nil {
			t.Fatal(err)
		}
		b, err := flip.Example(t.Context(), position)
		if err != nil {
			t.Fatal(err)
		}
		if a.Key != b.Key {
			t.Fatalf("position %d: key %s with flip, %s without", position, b.Key, a.Key)
		}
		mirrored := slices.Clone(a.Pixels)
		for y := range 4 {
			slices.Reverse(mirrored[4*y : 4*y+4])
		}
		switch {
		case slices.Equal(b.Pixels, mirrored):
			flips++
		case !slices.Equal(b.Pixels, a.Pixels):
			t.Fatalf("position %d: %v is neither %v nor its mirror image", position, b.Pixels, a.Pixels)
		}
	}
	if math.Abs(float64(flips)-n/2) > 6*math.Sqrt(n)/2 {
		t.Errorf("%d of %d examples are flipped", flips, n)
	}
}

// TestRandomCrop: each offset of a wide image comes out, evenly (chi-square,
// mean plus six standard deviations), and the crop is a cut of the image.
func TestRandomCrop(t *testing.T) {
	wide := image.NewGray(image.Rect(0, 0, 9, 4))
	for i := range wide.Pix {
		wide.Pix[i] = uint8(i % 9 * 20)
	}
	path := write(t, "s.tar", tarBytes(t, tar.FormatUSTAR, member{name: "a.png", data: encode(wide)}))
	d := mustOpen(t, Options{Sources: []string{path}, Crop: CropRandom})
	const n = 3000
	var count [6]float64
	for position := range int64(n) {
		e, err := d.Example(t.Context(), position)
		if err != nil {
			t.Fatal(err)
		}
		x := int(math.Round((float64(e.Pixels[0]) + 1) * 127.5 / 20))
		for i, v := range e.Pixels {
			if want := float32(float64(20*(x+i%4))/127.5 - 1); v != want {
				t.Fatalf("pixel %d is %v, want %v", i, v, want)
			}
		}
		count[x]++
	}
	chi := 0.0
	for _, c := range count {
		chi += (c - n/6) * (c - n/6) / (n / 6)
	}
	if chi > 5+6*math.Sqrt(10) {
		t.Errorf("offsets %v: chi-square %.1f", count, chi)
	}
}

// TestLayout: [C, H, W], channels as asked, 0 and 255 to exactly −1 and 1.
func TestLayout(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 2, 2))
	m.SetNRGBA(0, 0, color.NRGBA{R: 255, A: 9})
	m.SetNRGBA(1, 0, color.NRGBA{G: 255, A: 0})
	m.SetNRGBA(0, 1, color.NRGBA{B: 255, A: 255})
	m.SetNRGBA(1, 1, color.NRGBA{R: 255, G: 255, B: 255, A: 255})
	rgb := write(t, "rgb.tar", tarBytes(t, tar.FormatUSTAR, member{name: "a.png", data: encode(m)}))
	gray := write(t, "gray.tar", tarBytes(t, tar.FormatUSTAR, member{name: "a.jpg", data: dot(2, 2, 255)})) // content decides
	level := func(v int) float32 { return float32(float64(v)/127.5 - 1) }
	for _, row := range []struct {
		path     string
		channels int
		want     []float32
	}{
		{rgb, 0, []float32{1, -1, -1, 1, -1, 1, -1, 1, -1, -1, 1, 1}},
		{rgb, 1, []float32{level(76), level(150), level(29), 1}}, // 0.299, 0.587, 0.114 of 255
		{gray, 0, []float32{1, level(10), level(10), level(10)}},
		{gray, 3, slices.Repeat([]float32{1, level(10), level(10), level(10)}, 3)},
	} {
		d := mustOpen(t, Options{Sources: []string{row.path}, Channels: row.channels})
		e, err := d.Example(t.Context(), 0)
		if err != nil || !slices.Equal(e.Pixels, row.want) {
			t.Errorf("%s as %d channels: %v, want %v (%v)", filepath.Base(row.path), row.channels, e.Pixels, row.want, err)
		}
	}
}

// TestBadRecords: "error" stops with shard, key and offset; "skip" fills the slot
// from the same shard, cyclically, and moves nobody else.
func TestBadRecords(t *testing.T) {
	dir := t.TempDir()
	spoil := func(i int, picture []byte) []byte {
		switch i {
		case 3:
			return picture[:30] // truncated
		case 4:
			return []byte("this is text")
		case 9:
			return nil // empty, and the last of the shard: the next is record 0
		}
		return picture
	}
	shardOf(t, dir, "a.tar", 5, nil)
	shardOf(t, dir, "b.tar", 10, spoil)
	good := t.TempDir()
	shardOf(t, good, "a.tar", 5, nil)
	shardOf(t, good, "b.tar", 10, nil)

	want := mustOpen(t, Options{Sources: []string{good}, Seed: 5})
	strict := mustOpen(t, Options{Sources: []string{dir}, Seed: 5, Channels: 1, Resolution: 3})
	skip := mustOpen(t, Options{Sources: []string{dir}, Seed: 5, BadRecords: BadRecordsSkip, NumClasses: 7})
	filler := map[string]string{"00003": "00005", "00004": "00005", "00009": "00000"}
	for position := range int64(45) {
		w, err := want.Example(t.Context(), position)
		if err != nil {
			t.Fatal(err)
		}
		e, err := skip.Example(t.Context(), position)
		if err != nil {
			t.Fatal(err)
		}
		fill, isBad := filler[w.Key]
		isBad = isBad && w.Shard == "b.tar"
		_, err = strict.Example(t.Context(), position)
		if !isBad {
			if e.Key != w.Key || e.Shard != w.Shard || !slices.Equal(e.Pixels, w.Pixels) || e.Skipped != nil || err != nil {
				t.Errorf("position %d: %+v, want %+v", position, e, w)
			}
			continue
		}
		if e.Key != fill || e.Shard != "b.tar" || len(e.Skipped) == 0 || e.Position != position {
			t.Errorf("position %d: slot of %s went to %+v, want %s", position, w.Key, e, fill)
		}
		if s := e.Skipped[0]; s.Key != w.Key || s.Shard != "b.tar" || s.Position != position || s.Offset == 0 || s.Error == "" {
			t.Errorf("position %d: skipped %+v", position, s)
		}
		var fault *Fault
		if !errors.As(err, &fault) || fault.Key != w.Key || !strings.Contains(err.Error(), "b.tar: record \""+w.Key+"\" at byte") {
			t.Errorf("position %d: error %v", position, err)
		}
	}

	hopeless := t.TempDir()
	shardOf(t, hopeless, "a.tar", 5, nil)
	shardOf(t, hopeless, "c.tar", 3, func(int, []byte) []byte { return []byte("x") })
	d := mustOpen(t, Options{Sources: []string{hopeless}, BadRecords: BadRecordsSkip})
	for position := range int64(8) {
		row, err := d.Order(position)
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Example(t.Context(), position)
		if row.Shard == "c.tar" && (err == nil || !strings.Contains(err.Error(), "none of its 3 records")) || row.Shard == "a.tar" && err != nil {
			t.Errorf("%s: error %v", row.Shard, err)
		}
	}
}

// TestLabels: missing ones are bad records where the model wants labels; one out
// of range is an error under any policy.
func TestLabels(t *testing.T) {
	path := write(t, "s.tar", tarBytes(t, tar.FormatUSTAR,
		member{name: "a.png", data: dot(2, 2, 1)}, file("a.cls", "1"), member{name: "b.png", data: dot(2, 2, 2)}))
	for _, row := range []struct {
		classes int
		policy  string
		bad     []string
	}{
		{0, BadRecordsError, []string{"", ""}}, {2, BadRecordsError, []string{"", "no label"}}, {2, BadRecordsSkip, []string{"", ""}},
		{1, BadRecordsSkip, []string{"label 1, want 0 to 0", "label 1, want 0 to 0"}},
	} {
		d := mustOpen(t, Options{Sources: []string{path}, NumClasses: row.classes, BadRecords: row.policy})
		for position := range int64(2) {
			lawful, err := d.Order(position)
			if err != nil {
				t.Fatal(err)
			}
			want := row.bad[0]
			if lawful.Key == "b" {
				want = row.bad[1]
			}
			if _, err = d.Example(t.Context(), position); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%d classes, %s, record %s: error %v, want %q", row.classes, row.policy, lawful.Key, err, want)
			}
		}
	}
}

func TestOptions(t *testing.T) {
	for _, row := range []struct {
		want string
		Options
	}{
		{`data.crop = "middle", want one of center, random`, Options{Crop: "middle"}},
		{`data.filter = "box"`, Options{Filter: "box"}}, {`data.bad_records = "ignore"`, Options{BadRecords: "ignore"}},
		{"data.pad = -1", Options{Pad: -1}}, {"data.workers = -2", Options{Workers: -2}}, {"2 channels", Options{Channels: 2}},
		{"data.resolution = 4 leaves no pixel", Options{Resolution: 4, Pad: 2}},
		{"data.window = -1", Options{Window: -1}}, {"data.prefetch = -1", Options{Prefetch: -1}},
	} {
		_, err := Open(t.Context(), row.Options)
		if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v, want one line with %q", err, row.want)
		}
	}
	d := mustOpen(t, Options{})
	if _, err := d.Example(t.Context(), -1); err == nil {
		t.Error("position -1 is accepted")
	}
	bad := write(t, "s.tar", tarBytes(t, tar.FormatUSTAR, file("a.png", "x")))
	if _, err := Open(t.Context(), Options{Sources: []string{bad}}); err == nil || !strings.Contains(err.Error(), "give resolution and channels") {
		t.Errorf("bad first record: error %v", err)
	}
}

// TestDecodeRefuses: what is no picture, or a dangerous one, is a fault with a reason.
func TestDecodeRefuses(t *testing.T) {
	bomb := encode(image.NewGray(image.Rect(0, 0, 1, 1)))
	copy(bomb[16:], []byte{0, 0, 0x2e, 0xe0, 0, 0, 0x2e, 0xe0}) // IHDR: 12000×12000, and its checksum
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	jpeg, err := os.ReadFile("testdata/pillow/decode_jpeg420.jpg")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		want string
		data []byte
	}{
		{"0 bytes", nil}, {"start with 47 49 46 38", []byte("GIF89a")}, {"riff", []byte("RIFF\x00\x00\x00\x00WEBPVP8 ")},
		{"image of 12000×12000", bomb}, {"", jpeg[:200]}, {"", jpeg[:len(jpeg)/2]}, {"", encode(image.NewGray(image.Rect(0, 0, 9, 9)))[:50]},
	} {
		if _, err := decode(row.data); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("error %v, want one with %q", err, row.want)
		}
	}
}
