// Package observability tests what an operator sees of the blog's real
// processes: traces and metrics.
package observability

import (
	"testing"

	"miniblog/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
