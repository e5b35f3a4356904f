package disk

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// syncAside is fdatasync, done by a thread of the kernel's that is told to by
// io_submit(2): the goroutine waits for it as for a socket. Where the kernel does
// not do it, it is fdatasync.
func syncAside(f *os.File) error {
	q, err := queue()
	if err == nil {
		err = q.sync(f)
	}
	if errors.Is(err, errNoQueue) {
		return fdatasync(f)
	}
	return os.NewSyscallError("fdatasync", err)
}

// errNoQueue says that nothing was begun.
var errNoQueue = errors.New("the kernel does not sync asynchronously")

// queue returns the queue of this process, which lasts as long as it.
var queue = sync.OnceValues(openQueue)

// kernelQueue is an asynchronous I/O context that has one request at a time; what
// the kernel looks at is in the heap, which does not move.
type kernelQueue struct {
	mu      sync.Mutex
	context uintptr  // aio_context_t
	done    *os.File // an eventfd, which can be read when a request is done
	fd      int      // of done
	request *iocb
	event   ioEvent
}

// iocb is struct iocb of linux/aio_abi.h. What has no name here stays zero; the order
// of key and rw_flags is that of the machine's bytes.
type iocb struct {
	_        [2]uint64 // data, key, rw_flags
	opcode   uint16
	_        int16
	file     uint32
	_        [4]uint64 // buf, nbytes, offset, reserved
	flags    uint32
	resultFD uint32
}

// ioEvent is struct io_event of linux/aio_abi.h.
type ioEvent struct {
	_      [2]uint64 // data, obj
	result int64     // 0, or an errno, negative
	_      int64
}

const (
	commandFdsync = 3 // IOCB_CMD_FDSYNC
	flagResultFD  = 1 // IOCB_FLAG_RESFD
)

func openQueue() (*kernelQueue, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, errNoQueue
	}
	q := &kernelQueue{fd: fd, done: os.NewFile(uintptr(fd), "eventfd"), request: new(iocb)}
	if _, _, errno := unix.Syscall(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&q.context)), 0); errno != 0 {
		q.done.Close()
		return nil, errNoQueue
	}
	return q, nil
}

func (q *kernelQueue) sync(f *os.File) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer runtime.KeepAlive(f) // of which the kernel knows the number alone
	*q.request = iocb{opcode: commandFdsync, file: uint32(f.Fd()), flags: flagResultFD, resultFD: uint32(q.fd)}
	// Raw, as it does not block, nor does what reaps: the scheduler need not look after them.
	begun, _, _ := unix.RawSyscall(unix.SYS_IO_SUBMIT, q.context, 1, uintptr(unsafe.Pointer(&q.request)))
	if begun != 1 {
		return errNoQueue
	}
	reap := unix.RawSyscall6
	var count [8]byte
	if _, err := q.done.Read(count[:]); err != nil {
		reap = unix.Syscall6 // then io_getevents(2) waits for it
	}
	for {
		n, _, errno := reap(unix.SYS_IO_GETEVENTS, q.context, 1, 1, uintptr(unsafe.Pointer(&q.event)), 0, 0)
		switch {
		case n == 1 && q.event.result < 0:
			return unix.Errno(-q.event.result)
		case n == 1:
			return nil
		case errno != unix.EINTR:
			return errno // it is not known whether it is done
		}
	}
}
