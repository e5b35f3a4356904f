// Package fault is the vocabulary of errors between a service and what it
// depends on.
//
// Its law: a fault says what went wrong in a sentence for whoever asked, and
// knows nothing of HTTP; internal/web maps each kind to a status in one table.
package fault

// Kind says what can be done about a fault.
type Kind int

const (
	// Unavailable: what is needed does not work at the moment; trying again helps.
	Unavailable Kind = iota + 1
	// Refused: what is needed answered that it will not do this; trying again
	// does not help.
	Refused
)

// Fault is an error of one kind.
type Fault struct {
	Kind   Kind
	Detail string // a sentence for whoever asked
	Cause  error  // for the log; may be nil
}

// Error implements error.
func (f *Fault) Error() string {
	if f.Cause != nil {
		return f.Detail + ": " + f.Cause.Error()
	}
	return f.Detail
}

// Unwrap returns what caused the fault.
func (f *Fault) Unwrap() error { return f.Cause }
