//go:build !linux

package harness

import "syscall"

func child() *syscall.SysProcAttr { return nil }
