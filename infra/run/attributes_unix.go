//go:build unix && !linux

package main

import "syscall"

// attributes keep a Ctrl-C in the terminal from reaching the children, which
// are stopped in order instead. If we die first, their output breaks, and the
// next line that they log ends them.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
