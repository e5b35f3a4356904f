// Package description holds the description of the services' HTTP, for the
// program that shows it to people.
//
// Its law: it is the file that the tests hold the services to.
package description

import _ "embed"

// OpenAPI is openapi.yaml.
//
//go:embed openapi.yaml
var OpenAPI []byte
