package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"immiscible/pipeline/npy"
)

// lapPeer is another program's assignment solvers.
type lapPeer struct {
	*peer
	solvers []string
}

// lapAnswer is what one solver says of one matrix.
type lapAnswer struct {
	Solver  string  `json:"solver"`
	SolveMS float64 `json:"solve_ms"`
	Total   float64 `json:"total"`
}

// startLapPeer starts the command and waits until it is ready.
func startLapPeer(ctx context.Context, command string, stderr io.Writer) (*lapPeer, error) {
	p, err := newPeer(command)
	if err != nil {
		return nil, err
	}
	var ready struct {
		Ready   bool     `json:"ready"`
		Solvers []string `json:"solvers"`
	}
	if err = p.launch(ctx, stderr, &ready); err == nil && (!ready.Ready || len(ready.Solvers) == 0) {
		err = fmt.Errorf("-peer %s: its first line lacks \"ready\": true and \"solvers\"", command)
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return &lapPeer{p, ready.Solvers}, nil
}

// solve hands the peer a matrix [n, n] and returns its solvers' answers.
func (p *lapPeer) solve(cost []float32, n int) ([]lapAnswer, error) {
	path := filepath.Join(p.dir, "cost.npy")
	if err := npy.Write(path, []int{n, n}, cost); err != nil {
		return nil, err
	}
	if err := p.tell(path); err != nil {
		return nil, err
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
