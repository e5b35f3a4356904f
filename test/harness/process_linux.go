package harness

import "syscall"

// child makes the kernel end a process when the thread that started it ends.
func child() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
