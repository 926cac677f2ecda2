// Package mtatest holds what the tests of several packages share: certificates, dialogue transcripts, a DNS zone and
// peers that play a part. Only external test packages import it. What it starts, it stops at the end of the test.
package mtatest
