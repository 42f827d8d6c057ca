// Package runlog writes what a run says of itself: log.jsonl with a line a
// step (the interface that other tools read, so its fields are stable),
// TensorBoard events, sample grids as PNG, and a progress bar.
//
// It is told numbers and writes them; it computes nothing that training uses.
// Nothing in it is safe for use by several goroutines at once.
package runlog
