//go:build !unix

package main

import "syscall"

// attributes has nothing to add: where there are no signals, a stop is a kill.
func attributes() *syscall.SysProcAttr { return nil }
