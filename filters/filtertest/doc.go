// Package filtertest holds a filter to what smtpd wants of it. An author calls Run from a test of the filter:
//
//	func TestIsAGoodFilter(t *testing.T) {
//		filtertest.Run(t, filtertest.Suite{New: func() filters.Filter { return &tag{} }})
//	}
//
// The filter is asked by gRPC and judged by smtpd's own code, in the test's process; go test -race sees it all.
//
// Files: run.go the parts of the suite, world.go a filter that is served, hostile.go the messages, replay.go the same calls
// once more, message.go a message for tests of an author's own.
package filtertest
