// Package api holds the descriptions in docs/api to what the programs do.
package api

import (
	"testing"

	"miniblog/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
