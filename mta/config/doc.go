// Package config reads posthouse.toml: the struct, the defaults, the bounds, and a strict reader that reports every
// fault of a configuration at once, each with the file and the line where it stands. Every program of cmd/ calls it,
// and the packages from floor 2 up take parts of Config; posthouse.toml(5) describes each key.
//
// A field's tags hold its contract:
//
//	toml     the key
//	default  the value when no file sets the key, in the form that a file would have
//	min max  bounds, both allowed, in the same form
//	oneof    the values that are allowed, with | between them
//	unbuilt  values of the contract that this version refuses, with | between them
//	off      the only value that this version takes: what the key switches on is not built yet
//	unit     what the manual calls the value
//
// The package opens no socket and asks no name server: what delivers mail to disk imports it.
package config
