package message

import "encoding/base64"

// maxEncoded is how many characters a line of base64 has (RFC 2045 6.8).
const maxEncoded = 76

// AppendBase64 appends data as the body of a part in base64 (RFC 2045 6.8): lines that end in CR LF, the last one too; of no
// data, nothing.
func AppendBase64(b, data []byte) []byte {
	const octets = maxEncoded / 4 * 3 // of a line
	for len(data) > 0 {
		n := min(len(data), octets)
		b = append(base64.StdEncoding.AppendEncode(b, data[:n]), '\r', '\n')
		data = data[n:]
	}
	return b
}
