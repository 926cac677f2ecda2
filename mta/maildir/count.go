package maildir

import "bytes"

// grown returns by how much b grows when each LF without a CR before it becomes CR LF; last is the octet before b.
func grown(b []byte, last byte) int64 {
	n := bytes.Count(b, lf) - bytes.Count(b, crlf)
	if len(b) > 0 && b[0] == '\n' && last == '\r' {
		n--
	}
	return int64(n)
}

var lf, crlf = []byte("\n"), []byte("\r\n")
