package engine

import "runtime"

// thread runs functions one after another on one thread of the system. A session
// on a GPU needs it: ONNX Runtime gives each thread that runs it a stream of its
// own, in which alone runs follow each other, and keeps a recording for each
// thread; and Go moves goroutines between threads. [M] On the stand-in of package
// fakegpu, 103 runs of an optimizer's session in turn changed stream after 59.
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
