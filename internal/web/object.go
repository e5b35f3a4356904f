package web

import (
	"bytes"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Object is a JSON object whose members stay in the order in which they were
// added. It must be made by NewObject.
type Object struct {
	text    bytes.Buffer
	encoder *jsontext.Encoder
}

// NewObject returns an object without members.
func NewObject() *Object {
	o := new(Object)
	o.encoder = jsontext.NewEncoder(&o.text, jsontext.AllowDuplicateNames(true)) // names are ids, so unique, and not worth a table
	o.encoder.WriteToken(jsontext.BeginObject)
	return o
}

// Add adds a member.
func (o *Object) Add(name string, value any) error {
	if err := o.encoder.WriteToken(jsontext.String(name)); err != nil {
		return err
	}
	return json.MarshalEncode(o.encoder, value)
}

// Len returns how many bytes the object has so far.
func (o *Object) Len() int { return int(o.encoder.OutputOffset()) }

// End returns the whole object and a line's end; nothing can be added after.
func (o *Object) End() []byte {
	o.encoder.WriteToken(jsontext.EndObject) // which ends the line, too, and cannot fail after whole members
	return o.text.Bytes()
}
