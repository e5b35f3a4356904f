package event

// The most that the services take in, in characters. Whoever publishes past
// them may send more; a projection keeps what Cut leaves.
const (
	MaxTitle   = 200
	MaxContent = 10_000
)

// Cut returns the first most characters of text.
func Cut(text string, most int) string {
	if len(text) <= most { // a character has at least one byte
		return text
	}
	n := 0
	for i := range text {
		if n == most {
			return text[:i]
		}
		n++
	}
	return text
}

// TextLen returns how many bytes a text takes in JSON, at most.
func TextLen(text string) (n int) {
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ':
			n += len(`\u0000`)
		case c == '"' || c == '\\':
			n += 2
		default:
			n++
		}
	}
	return n
}
