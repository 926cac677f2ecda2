package sasl

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// MaxLine bounds a response on the wire, in octets without the line end (RFC 4954 4, which lets a line have 12,288).
const MaxLine = 12288

// ErrCancelled says that the client gave up with "*": RFC 4954 4 answers 501 5.0.0.
var ErrCancelled = errors.New("cancelled by the client")

// Decode reads a response as it stands on its line: base64 (RFC 4648 4, padded, nothing else), or "*" to give up.
// It never returns nil without an error: an empty line is an empty response.
func Decode(line string) ([]byte, error) {
	if line == "*" {
		return nil, ErrCancelled
	}
	if len(line) > MaxLine {
		return nil, fmt.Errorf("longer than %d octets: %w", MaxLine, ErrMalformed)
	}
	b, err := decode(line)
	if err != nil {
		return nil, fmt.Errorf("base64: %w", ErrMalformed)
	}
	if b == nil {
		b = []byte{}
	}
	return b, nil
}

// decode takes base64 in the one form that its octets have.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // the decoder passes over them
		return nil, errors.New("line end")
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}

func isBase64(s string) bool {
	_, err := decode(s)
	return err == nil
}

// DecodeInitial reads an initial response, the argument behind the mechanism's name: "=" stands for an empty one, and ""
// for none, which is nil (RFC 4954 4).
func DecodeInitial(argument string) ([]byte, error) {
	switch argument {
	case "":
		return nil, nil
	case "=":
		return []byte{}, nil
	}
	return Decode(argument)
}

// Encode writes a challenge for its line.
func Encode(challenge []byte) string { return base64.StdEncoding.EncodeToString(challenge) }
