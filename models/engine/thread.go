package engine

import "runtime"

// thread runs functions one after another on one thread of the system. A
// recorded run needs it: ONNX Runtime's CUDA provider keeps a recording for each
// thread, and Go moves goroutines between threads, each of which would record
// anew.
type thread chan func()

func newThread() thread {
	t := make(thread)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		for f := range t {
			f()
		}
	}()
	return t
}

// call waits for f. A nil thread is the caller's.
func (t thread) call(f func() error) (err error) {
	if t == nil {
		return f()
	}
	done := make(chan struct{})
	t <- func() {
		defer close(done)
		err = f()
	}
	<-done
	return err
}
