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

// isKnown says whether encoding/json has put the value of key k into a field: it does not tell capitals from small
// letters. Kept beside that field, an old value would come back with the next reading.
func isKnown(k string) bool {
	if knownFields[k] {
		return true
	}
	for name := range knownFields {
		if strings.EqualFold(name, k) {
			return true
		}
	}
	return false
}
