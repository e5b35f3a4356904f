package page

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestVendoredFileIsTheOneThatIsDescribed(t *testing.T) {
	file, err := os.ReadFile("vendor/preact-htm.js")
	if err != nil {
		t.Fatal(err)
	}
	description, err := os.ReadFile("vendor/README.md")
	if err != nil {
		t.Fatal(err)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(file)); !strings.Contains(string(description), sum) {
		t.Errorf("preact-htm.js has the sha256 %s, which its README does not name", sum)
	}
}
