package pipeline
import ("testing";"math";"fmt";"encoding/binary";"sort")
func (s tensors) f64(name string) []float64 {
	raw, err := s.file.Bytes(s.lookup(name)); if err != nil { s.t.Fatal(err) }
	v := make([]float64, len(raw)/8)
	for i := range v { v[i] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:])) }
	return v
}
func TestZZ(t *testing.T) {
	forEachGolden(t, func(t *testing.T, g golden) {
		v64 := openTensors(t, "/work/scratch/"+t.Name()[len("TestZZ/"):]+"-64.safetensors")
		s := g.newStepper(t, g.options, false)
		g.feed(t, s, 0, g.options.Batch, 1)
		s.Gradients(t.Context(), true)
		type row struct{ r, a, b float64; k string }
		var rows []row
		ga, gb := 0.0, 0.0
		for _, p := range s.State.Layout.Params {
			if !p.Trained || trueZero(p.Key) { continue }
			got, _ := p.Read(s.State.Grads)
			torch := g.vectors.float32s(p.Key+".grad")
			ref := v64.f64(p.Key+".grad")
			var a, b, n float64
			for i := range ref { a += math.Pow(float64(got[i])-ref[i], 2); b += math.Pow(float64(torch[i])-ref[i], 2); n += ref[i]*ref[i] }
			a, b = math.Sqrt(a/n), math.Sqrt(b/n)
			rows = append(rows, row{a/b, a, b, p.Key}); ga += math.Log(a); gb += math.Log(b)
		}
		sort.Slice(rows, func(i, j int) bool { return rows[i].a > rows[j].a })
		fmt.Printf("%s: geometric mean relative rms error ours %.2g torch %.2g\n", t.Name(), math.Exp(ga/float64(len(rows))), math.Exp(gb/float64(len(rows))))
		for _, r := range rows[:5] { fmt.Printf("   %.2g %.2g %s\n", r.a, r.b, r.k) }
	})
}
