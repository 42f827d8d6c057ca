package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"immiscible/pipeline"
)

// peer is another program's training step, which runs when it is told to.
type peer struct {
	command string
	process *exec.Cmd
	in      io.WriteCloser
	out     *json.Decoder
	said    *bytes.Buffer // its standard error
	dir     string        // holds the model's config.json
}

// peerLine is any line that a peer prints.
type peerLine struct {
	Ready     bool    `json:"ready"`
	StepMS    float64 `json:"step_ms"`
	PeakRSSMB float64 `json:"peak_rss_mb"`
	Torch     string  `json:"torch"`
	Threads   int     `json:"threads"`
}

// startPeer starts the command on b's model and waits until it is ready.
func startPeer(ctx context.Context, command string, b *pipeline.StepBench, stderr io.Writer) (p *peer, err error) {
	p = &peer{command: command, said: &bytes.Buffer{}}
	if p.dir, err = os.MkdirTemp("", "immiscible-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.stop()
		}
	}()
	config := filepath.Join(p.dir, "config.json")
	if err = os.WriteFile(config, b.ModelConfig, 0o666); err != nil {
		return nil, err
	}
	// The shell splits the command and passes on the arguments behind it whole.
	process := exec.CommandContext(ctx, "sh", "-c", command+` "$@"`, "peer", "--model", config, "--batch", strconv.Itoa(b.Batch),
		"--resolution", strconv.Itoa(b.Resolution), "--threads", strconv.Itoa(b.Threads), "--turns")
	process.Stderr, process.WaitDelay = p.said, 2*time.Second
	if p.in, err = process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = json.NewDecoder(out)
	if err = process.Start(); err != nil {
		return nil, fmt.Errorf("-peer %s: %w", command, err)
	}
	p.process = process
	fmt.Fprintf(stderr, "waiting for the peer: %s\n", command)
	line, err := p.read()
	if err == nil && !line.Ready {
		err = fmt.Errorf("-peer %s: its first line lacks \"ready\": true", command)
	}
	return p, err
}

// read takes the peer's next line. Where there is none, its last words on
// standard error say why.
func (p *peer) read() (peerLine, error) {
	var line peerLine
	err := p.out.Decode(&line)
	if err == nil {
		return line, nil
	}
	p.in.Close()
	waited := p.process.Wait()
	p.process = nil
	words := strings.Split(strings.TrimSpace(p.said.String()), "\n")
	return line, fmt.Errorf("-peer %s: no line of JSON (%w, %v): %s", p.command, err, waited, words[len(words)-1])
}

// step has the peer run a step; the result is in milliseconds.
func (p *peer) step() (float64, error) {
	if _, err := io.WriteString(p.in, "go\n"); err != nil {
		return 0, fmt.Errorf("-peer %s: %w", p.command, err)
	}
	line, err := p.read()
	if err == nil && line.StepMS <= 0 {
		err = fmt.Errorf("-peer %s: its line lacks \"step_ms\"", p.command)
	}
	return line.StepMS, err
}

// finish ends the peer's input and reads what it says of the whole.
func (p *peer) finish() (*peerReport, error) {
	p.in.Close()
	line, err := p.read()
	if err != nil {
		return nil, err
	}
	if line.PeakRSSMB <= 0 {
		return nil, fmt.Errorf("-peer %s: its last line lacks \"peak_rss_mb\"", p.command)
	}
	return &peerReport{Version: "PyTorch " + line.Torch, Threads: line.Threads, PeakRSSMB: line.PeakRSSMB}, nil
}

// stop ends the peer and removes its configuration.
func (p *peer) stop() {
	if p.process != nil {
		p.in.Close()
		p.process.Wait()
	}
	os.RemoveAll(p.dir)
}
