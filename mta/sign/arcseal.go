package sign

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// CV is what the sealing host has found of a chain (RFC 8617 4.4).
type CV string

// Values of CV.
const (
	CVNone CV = "none" // there was no chain
	CVPass CV = "pass"
	CVFail CV = "fail"
)

// ErrSealed says that nothing may be added to a chain.
var ErrSealed = errors.New("the chain has failed, or is full")

// Seal adds a set to the chain of a message (RFC 8617 5.1). header are the fields, with their line ends; results is what was found
// out about the message, beginning with the authserv-id; cv is what was found of the chain. It returns fields to be put on
// top, in this order and each with its line end.
func Seal(header []string, body io.Reader, results string, cv CV, key Key, now time.Time) ([]string, error) {
	c := ReadChain(header)
	n := len(c.Sets) + 1
	if c.Failed() || n > maxSets || (n == 1) != (cv == CVNone) {
		return nil, ErrSealed
	}
	a := "rsa-sha256"
	if _, ok := key.Signer.Public().(ed25519.PublicKey); ok {
		a = "ed25519-sha256"
	}
	h := newBodyHash(true)
	if _, err := io.Copy(h, body); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	set := Set{CV: string(cv)}
	set.raw[0] = fmt.Sprintf("%s: i=%d; %s\r\n", arcResults, n, strings.TrimRight(results, "\r\n"))
	names := sealNames(header)
	set.raw[1] = fmt.Sprintf("%s: i=%d; a=%s; c=relaxed/relaxed;\r\n\td=%s; s=%s; t=%d;\r\n\th=%s;\r\n\tbh=%s;\r\n\tb=\r\n",
		arcSignature, n, a, key.Domain, key.Selector, now.Unix(), foldNames(names), base64.StdEncoding.EncodeToString(h.sum()))
	var err error
	if set.raw[1], err = key.complete(set.raw[1], signed(header, names, set.raw[1], true)); err != nil {
		return nil, err
	}
	set.raw[2] = fmt.Sprintf("%s: i=%d; a=%s; cv=%s; d=%s; s=%s; t=%d;\r\n\tb=\r\n", arcSeal, n, a, cv, key.Domain, key.Selector, now.Unix())
	c.Sets = append(c.Sets, set)
	if set.raw[2], err = key.complete(set.raw[2], c.sealed(n-1)); err != nil {
		return nil, err
	}
	return []string{set.raw[2], set.raw[1], set.raw[0]}, nil
}

// complete puts the signature of what a field covers behind its b=, at its end.
func (k Key) complete(raw, covered string) (string, error) {
	sum := sha256.Sum256([]byte(covered))
	hash := crypto.SHA256
	if _, ok := k.Signer.Public().(ed25519.PublicKey); ok {
		hash = 0 // RFC 8463 3: the hash is the message
	}
	sig, err := k.Signer.Sign(rand.Reader, sum[:], hash)
	if err != nil {
		return "", fmt.Errorf("sign for %s: %w", k.Name(), err)
	}
	text := base64.StdEncoding.EncodeToString(sig)
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(raw, "\r\n"))
	for first := true; text != ""; first = false {
		if !first {
			b.WriteString("\r\n\t ")
		}
		part := text[:min(len(text), 72)]
		b.WriteString(part)
		text = text[len(part):]
	}
	b.WriteString("\r\n")
	return b.String(), nil
}

// sealNames are the fields that a message signature covers: those that a DKIM signature does, and the DKIM signatures (RFC 8617
// 4.1.2). None is named more often than it is there: the next host may add some.
func sealNames(header []string) []string {
	count := map[string]int{}
	for _, raw := range header {
		name, _, _ := strings.Cut(raw, ":")
		count[strings.ToLower(strings.TrimRight(name, " \t"))]++
	}
	var names []string
	for _, n := range append(append(slices.Clone(sealed), covered...), "DKIM-Signature") {
		names = append(names, slices.Repeat([]string{n}, min(count[strings.ToLower(n)], maxSigned/len(covered)))...)
	}
	return names
}

func foldNames(names []string) string {
	var b strings.Builder
	width := 0
	for i, n := range names {
		if i > 0 {
			b.WriteByte(':')
			if width > 60 {
				b.WriteString("\r\n\t ")
				width = 0
			}
		}
		b.WriteString(n)
		width += len(n) + 1
	}
	return b.String()
}
