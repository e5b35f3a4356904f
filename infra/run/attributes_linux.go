package main

import "syscall"

// attributes keep a Ctrl-C in the terminal from reaching the children, which
// are stopped in order instead, and make the kernel kill them if we die first.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
