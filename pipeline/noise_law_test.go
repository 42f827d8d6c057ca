package pipeline

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// A run leaves the law of its noise: independent noise is Gaussian and tells
// nothing, within what that many draws can say (4 standard errors); a pairing
// leads along what tells an image from others of its class.
func TestNoiseLaw(t *testing.T) {
	for _, pairing := range []string{"independent", "linear"} {
		out := train(t, "", tinySets(plainSource(t), "noise.pairing="+pairing, "train.max_steps=16", "checkpoint.every_steps=0"))
		text, err := os.ReadFile(filepath.Join(out, noiseLawFile))
		if err != nil {
			t.Fatal(err)
		}
		var l NoiseLaw
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatal(err)
		}
		e := l.StandardError
		if l.N != 16*8 || l.Dim != 64 || len(l.LeadingVariance) != 5 || l.ClassProbe == nil {
			t.Fatalf("%s: the law is %s", pairing, text)
		}
		if math.Abs(float64(l.NoiseSecondMoment)-1) > 4*float64(e.NoiseSecondMoment) || math.Abs(float64(l.MeanShift)) > 4*float64(e.MeanShift) {
			t.Errorf("%s: second moment %v ± %v, shift %v ± %v", pairing, l.NoiseSecondMoment, e.NoiseSecondMoment, l.MeanShift, e.MeanShift)
		}
		if along := float64(l.AlongResidual) > 4*float64(e.AlongResidual); along != (pairing == "linear") {
			t.Errorf("%s: %v ± %v along the image less its class", pairing, l.AlongResidual, e.AlongResidual)
		}
	}
}
