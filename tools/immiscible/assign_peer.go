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
	"strings"
	"time"

	"immiscible/pipeline/npy"
)

// lapPeer is another program's assignment solvers.
type lapPeer struct {
	command string
	solvers []string
	process *exec.Cmd
	in      io.WriteCloser
	out     *json.Decoder
	said    *bytes.Buffer // its standard error
	dir     string        // holds the matrix of the moment
}

// lapAnswer is what one solver says of one matrix.
type lapAnswer struct {
	Solver  string  `json:"solver"`
	SolveMS float64 `json:"solve_ms"`
	Total   float64 `json:"total"`
}

// startLapPeer starts the command and waits until it is ready.
func startLapPeer(ctx context.Context, command string, stderr io.Writer) (p *lapPeer, err error) {
	p = &lapPeer{command: command, said: &bytes.Buffer{}}
	if p.dir, err = os.MkdirTemp("", "immiscible-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.stop()
		}
	}()
	process := exec.CommandContext(ctx, "sh", "-c", command)
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
	var ready struct {
		Ready   bool     `json:"ready"`
		Solvers []string `json:"solvers"`
	}
	if err = p.read(&ready); err == nil && (!ready.Ready || len(ready.Solvers) == 0) {
		err = fmt.Errorf("-peer %s: its first line lacks \"ready\": true and \"solvers\"", command)
	}
	p.solvers = ready.Solvers
	return p, err
}

// read takes the peer's next line. Where there is none, its last words on
// standard error say why.
func (p *lapPeer) read(line any) error {
	err := p.out.Decode(line)
	if err == nil {
		return nil
	}
	p.in.Close()
	waited := p.process.Wait()
	p.process = nil
	words := strings.Split(strings.TrimSpace(p.said.String()), "\n")
	return fmt.Errorf("-peer %s: no line of JSON (%w, %v): %s", p.command, err, waited, words[len(words)-1])
}

// solve hands the peer a matrix [n, n] and returns its solvers' answers.
func (p *lapPeer) solve(cost []float32, n int) ([]lapAnswer, error) {
	path := filepath.Join(p.dir, "cost.npy")
	if err := npy.Write(path, []int{n, n}, cost); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(p.in, path+"\n"); err != nil {
		return nil, fmt.Errorf("-peer %s: %w", p.command, err)
	}
	answers := make([]lapAnswer, len(p.solvers))
	for k := range answers {
		if err := p.read(&answers[k]); err != nil {
			return nil, err
		}
		if answers[k].Solver != p.solvers[k] || answers[k].SolveMS <= 0 {
			return nil, fmt.Errorf("-peer %s: line %+v, want solver %s and solve_ms", p.command, answers[k], p.solvers[k])
		}
	}
	return answers, nil
}

// stop ends the peer and removes the matrix.
func (p *lapPeer) stop() {
	if p.process != nil {
		p.in.Close()
		p.process.Wait()
	}
	os.RemoveAll(p.dir)
}
