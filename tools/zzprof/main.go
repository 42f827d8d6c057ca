package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sort"
	"time"

	"immiscible/models/engine"
	"immiscible/models/onnx"
	"immiscible/models/unet"
	"immiscible/pipeline"
	"immiscible/pipeline/diffusion"
)

func main() {
	native := flag.Bool("native", false, "")
	prof := flag.String("prof", "", "")
	preset := flag.String("preset", "", "")
	batch := flag.Int("batch", 64, "")
	n := flag.Int("n", 8, "")
	dump := flag.String("dump", "", "")
	flag.Parse()
	c, err := pipeline.LoadConfig(*preset, "", flag.Args())
	ck(err)
	txt, err := c.Model.UNetJSON()
	ck(err)
	u, err := unet.ParseConfig("x", txt)
	ck(err)
	s, err := diffusion.New(diffusion.DefaultConfig())
	ck(err)
	g, err := pipeline.TrainingGraph(u, s, pipeline.GraphOptions{Batch: *batch, Height: c.Data.Resolution, Width: c.Data.Resolution})
	ck(err)
	e, err := engine.Open(context.Background(), engine.Options{Provider: "cpu"})
	ck(err)
	model := g.Model
	if *native {
		model = g.NativeModel
	}
	m, err := model()
	ck(err)
	raw, err := onnx.Marshal(m)
	ck(err)
	if *dump != "" {
		os.WriteFile(*dump, raw, 0o644)
	}
	se, err := e.NewSession(raw, engine.SessionOptions{Name: "t", Profile: *prof})
	ck(err)
	for _, in := range append(append([]engine.Info{}, se.Inputs...), se.Outputs...) {
		t, err := e.NewTensor(in.DType, in.Shape...)
		ck(err)
		if in.DType == engine.Float32 {
			v := make([]float32, t.Len())
			for i := range v {
				v[i] = float32(i%17)/17 - 0.5
			}
			t.SetFloat32(v)
		}
		ck(se.Bind(in.Name, t))
	}
	var ms []float64
	for range *n {
		t := time.Now()
		ck(se.Run(context.Background()))
		ms = append(ms, time.Since(t).Seconds()*1e3)
	}
	sort.Float64s(ms)
	fmt.Printf("min %.1f q25 %.1f median %.1f\n", ms[0], ms[len(ms)/4], ms[len(ms)/2])
	b, _ := os.ReadFile("/proc/self/status")
	for _, l := range splitLines(string(b)) {
		if len(l) > 6 && l[:6] == "VmHWM:" {
			fmt.Println(l)
		}
	}
	se.Close()
}
func splitLines(s string) (r []string) {
	for i, j := 0, 0; i < len(s); i++ {
		if s[i] == '\n' {
			r = append(r, s[j:i])
			j = i + 1
		}
	}
	return
}
func ck(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
