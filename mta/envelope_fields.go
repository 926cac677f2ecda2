package mta

import (
	"reflect"
	"strings"
)

// knownFields are the JSON names of Envelope's fields; all others are kept as they are.
var knownFields = jsonNames(reflect.TypeFor[Envelope]())

func jsonNames(t reflect.Type) map[string]bool {
	names := map[string]bool{}
	for i := range t.NumField() {
		if tag, ok := t.Field(i).Tag.Lookup("json"); ok {
			name, _, _ := strings.Cut(tag, ",")
			names[name] = true
		}
	}
	return names
}
