package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"immiscible/pipeline"
)

// stepPeer is another program's training step, which runs when it is told to.
type stepPeer struct{ *peer }

// stepLine is any line that a step peer prints.
type stepLine struct {
	Ready     bool    `json:"ready"`
	StepMS    float64 `json:"step_ms"`
	PeakRSSMB float64 `json:"peak_rss_mb"`
	DeviceMB  float64 `json:"peak_device_mb"`
	Torch     string  `json:"torch"`
	Threads   int     `json:"threads"`
}

// startStepPeer starts the command on b's model and waits until it is ready.
func startStepPeer(ctx context.Context, command string, b *pipeline.StepBench, stderr io.Writer) (*stepPeer, error) {
	p, err := newPeer(command)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(p.dir, "config.json")
	if err = os.WriteFile(config, b.ModelConfig, 0o666); err == nil {
		var line stepLine
		err = p.launch(ctx, stderr, &line, "--model", config, "--batch", strconv.Itoa(b.Batch),
			"--resolution", strconv.Itoa(b.Resolution), "--threads", strconv.Itoa(b.Threads), "--turns")
		if err == nil && !line.Ready {
			err = fmt.Errorf("-peer %s: its first line lacks \"ready\": true", command)
		}
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return &stepPeer{p}, nil
}

// step has the peer run a step; the result is in milliseconds.
func (p *stepPeer) step() (float64, error) {
	var line stepLine
	err := p.tell("go")
	if err == nil {
		err = p.read(&line)
	}
	if err == nil && line.StepMS <= 0 {
		err = fmt.Errorf("-peer %s: its line lacks \"step_ms\"", p.command)
	}
	return line.StepMS, err
}

// finish ends the peer's input and reads what it says of the whole.
func (p *stepPeer) finish() (*peerReport, error) {
	p.in.Close()
	var line stepLine
	if err := p.read(&line); err != nil {
		return nil, err
	}
	if line.PeakRSSMB <= 0 {
		return nil, fmt.Errorf("-peer %s: its last line lacks \"peak_rss_mb\"", p.command)
	}
	return &peerReport{Version: "PyTorch " + line.Torch, Threads: line.Threads, PeakRSSMB: line.PeakRSSMB, DeviceMB: line.DeviceMB}, nil
}
