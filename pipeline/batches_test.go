package pipeline

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"immiscible/models/engine/enginetest"
	"immiscible/pipeline/checkpoint"
)

// trainLikeGPU is train with what a GPU is given: inputs that are filled while
// the step before runs, and products by a session.
func trainLikeGPU(t *testing.T, out string, sets []string) string {
	t.Helper()
	if out == "" {
		out = filepath.Join(t.TempDir(), "run")
	}
	c, err := LoadConfig("", "", sets)
	if err != nil {
		t.Fatal(err)
	}
	if err := Train(t.Context(), c, TrainOptions{Out: out, Resume: "auto", Messages: io.Discard, likeGPU: true}); err != nil {
		t.Fatal(err)
	}
	return out
}

// Inputs that come ahead change no bit of a run, and neither do products by a
// session: no two pairings of these pools are as near to each other as the
// products' rounding. With micro-batches, dropout, class labels dropped at random,
// input perturbation, a pool across epochs, captions, and a run that goes on.
func TestLikeGPUChangesNoBit(t *testing.T) {
	pixels := tinySets(plainSource(t), "train.micro_batch=4", "model.unet.dropout=0.1", "train.conditioning_dropout=0.2",
		"train.input_perturbation=0.1", "train.noise_offset=0.05", "sample.every_steps=3", "checkpoint.keep=0", "log.tensorboard=false")
	for name, sets := range map[string][]string{
		"pixels": slices.Concat(pixels, []string{"train.max_steps=6"}),
		"knn":    slices.Concat(pixels, []string{"train.max_steps=3", "noise.pairing=knn", "noise.per_class=false", "sample.every_steps=0"}),
		"text":   sdSets(t, "train.max_steps=3", "sample.every_steps=2"),
	} {
		t.Run(name, func(t *testing.T) {
			want := train(t, "", sets)
			steps := len(readLog(t, want))
			sameRun(t, want, trainLikeGPU(t, "", sets), steps)
			if name == "pixels" {
				out := trainLikeGPU(t, "", slices.Concat(sets, []string{"train.max_steps=3"}))
				sameRun(t, want, trainLikeGPU(t, out, sets), steps)
			}
		})
	}
}

// A micro-batch is asked for while the one before is used, and none behind the
// end; what goes wrong with it is told when it is its turn; closing ends a wait.
func TestBatchesComeAhead(t *testing.T) {
	for _, ahead := range []bool{false, true} {
		c, err := LoadConfig("", "", tinySets(plainSource(t), "train.micro_batch=4", "train.batch_size=8", "noise.per_class=false", "noise.pairing=independent"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := openSubject(c)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		tr, err := newTrainer(enginetest.Open(t), c, s, ahead)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.close()
		var asked []int64
		torn := errors.New("torn")
		more := func(ctx context.Context) (*pool, error) {
			at := int64(8 * len(asked))
			asked = append(asked, at)
			switch at {
			case 24:
				return nil, torn
			case 32:
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return pairingPool(at, 8, 64), nil
		}
		b := startBatches(t.Context(), c, tr.feed, tr.step, more, 0, 16)
		for i, want := range []int64{0, 0, 8, 8} {
			p, _, err := b.next()
			if err != nil || p.position != want {
				t.Fatalf("ahead %v: micro-batch %d is of the pool at %d (%v), want %d", ahead, i, p.position, err, want)
			}
			if got := tr.step.Input("sample").GetFloat32(); got[0] != p.images[(i%2)*4*64] {
				t.Errorf("ahead %v: micro-batch %d has another's images", ahead, i)
			}
		}
		b.close()
		if len(asked) != 2 {
			t.Errorf("ahead %v: pools at %v were asked for, and the run ends at 16", ahead, asked)
		}

		b = startBatches(t.Context(), c, tr.feed, tr.step, more, 16, 64)
		for range 2 {
			if p, _, err := b.next(); err != nil || p.position != 16 {
				t.Fatalf("ahead %v: %v", ahead, err)
			}
		}
		if _, _, err := b.next(); !errors.Is(err, torn) {
			t.Errorf("ahead %v: got %v, want the pool's error", ahead, err)
		}
		b.close()

		b = startBatches(t.Context(), c, tr.feed, tr.step, more, 32, 64) // waits for ever
		ended := make(chan error)
		go func() {
			_, _, err := b.next()
			ended <- err
		}()
		time.Sleep(time.Millisecond)
		b.cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ahead %v: got %v, want the wait's end", ahead, err)
		}
		b.close()
	}
}

// An error of the next pool ends the run after the steps before it, whose work is
// kept, as it does without a GPU.
func TestLikeGPUErrorComesInTurn(t *testing.T) {
	source := tarSource(t, func(i int) int { return i % 4 * (1 + i/30) }, -1) // from record 30 on labels reach 6
	c, err := LoadConfig("", "", tinySets(source, "train.max_steps=20", "checkpoint.every_steps=0", "data.prefetch=1", "log.tensorboard=false"))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	var steps []int
	for _, likeGPU := range []bool{false, true} {
		out := filepath.Join(t.TempDir(), "run")
		err := Train(t.Context(), c, TrainOptions{Out: out, Resume: "auto", Messages: io.Discard, likeGPU: likeGPU})
		if err == nil {
			t.Fatal("the labels pass")
		}
		_, step, _, latestErr := checkpoint.Latest(out)
		if latestErr != nil || step != len(readLog(t, out)) {
			t.Errorf("the checkpoint is of step %d, and %d are logged (%v)", step, len(readLog(t, out)), latestErr)
		}
		said, steps = append(said, err.Error()), append(steps, step)
	}
	if said[0] != said[1] || steps[0] != steps[1] {
		t.Errorf("it ends with %q after %d steps, on a GPU with %q after %d", said[0], steps[0], said[1], steps[1])
	}
}
