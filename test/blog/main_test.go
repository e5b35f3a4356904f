// Package blog tests the promises of the whole blog on its real processes and
// in a real browser.
package blog

import (
	"testing"

	"miniblog/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
