// Package filters is what a filter in Go is made with: a type with a method for each stage of a session that it cares for,
// and one call in main.
//
//	type tag struct{}
//
//	func (tag) Describe() filters.Info { return filters.Info{Name: "tag", Edits: true} }
//
//	func (tag) Message(ctx context.Context, e *filters.Event) (*filters.Verdict, error) {
//		v := &filters.Verdict{}
//		v.AddHeader("X-Tag", "seen")
//		return v, nil
//	}
//
//	func main() { filters.Serve(tag{}) }
//
// README.md beside this file is the guide for authors. smtpd starts the program, asks it at the stages that it has methods
// for, from many sessions at once, and starts it again when it dies. This package is kept compatible.
package filters
