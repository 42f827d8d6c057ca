package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// peer is another program that a bench command takes turns with: it prints a
// line of JSON when it is ready, and answers each line that it reads with lines
// of JSON.
type peer struct {
	command string
	dir     string // a folder for what both read; removed at the end
	process *exec.Cmd
	in      io.WriteCloser
	out     *json.Decoder
	said    *bytes.Buffer // its standard error
}

// newPeer makes the peer's folder. launch starts it; stop must follow.
func newPeer(command string) (*peer, error) {
	dir, err := os.MkdirTemp("", "immiscible-bench-")
	return &peer{command: command, dir: dir, said: &bytes.Buffer{}}, err
}

// launch gives the command to the shell with arguments behind it, and reads its
// first line into ready.
func (p *peer) launch(ctx context.Context, stderr io.Writer, ready any, args ...string) error {
	script := p.command
	if len(args) > 0 { // the shell splits the command and passes these on whole
		script += ` "$@"`
	}
	process := exec.CommandContext(ctx, "sh", append([]string{"-c", script, "peer"}, args...)...)
	process.Stderr, process.WaitDelay = p.said, 2*time.Second
	var err error
	if p.in, err = process.StdinPipe(); err != nil {
		return err
	}
	out, err := process.StdoutPipe()
	if err != nil {
		return err
	}
	p.out = json.NewDecoder(out)
	if err := process.Start(); err != nil {
		return fmt.Errorf("-peer %s: %w", p.command, err)
	}
	p.process = process
	fmt.Fprintf(stderr, "waiting for the peer: %s\n", p.command)
	return p.read(ready)
}

// tell hands the peer a line.
func (p *peer) tell(line string) error {
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		return fmt.Errorf("-peer %s: %w", p.command, err)
	}
	return nil
}

// read takes the peer's next line. Where there is none, its last words on
// standard error say why.
func (p *peer) read(line any) error {
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

// stop ends the peer and removes its folder.
func (p *peer) stop() {
	if p.process != nil {
		p.in.Close()
		p.process.Wait()
	}
	os.RemoveAll(p.dir)
}
