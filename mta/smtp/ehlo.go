package smtp

import (
	"strconv"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

// Extensions are the keywords of an EHLO reply, in capitals, with their parameters.
type Extensions map[string]string

// maxKeywords bounds what a hostile server can make us remember.
const maxKeywords = 100

// ParseExtensions reads the lines behind the first of a reply to EHLO (RFC 5321 4.1.1.1). Lines that are no keyword
// are passed over; "AUTH=" is read as "AUTH", which old servers meant.
func ParseExtensions(r mta.Reply) Extensions {
	x := Extensions{}
	_, rest, _ := strings.Cut(r.Text, "\n")
	for line := range strings.SplitSeq(rest, "\n") {
		word, params, _ := strings.Cut(strings.TrimSpace(line), " ")
		word = strings.ToUpper(word)
		if after, ok := strings.CutPrefix(word, "AUTH="); ok {
			word, params = "AUTH", after+" "+params
		}
		if !isKeyword(word) || len(x) == maxKeywords {
			continue
		}
		params = strings.TrimSpace(params)
		if old := x[word]; old != "" {
			params = strings.TrimSpace(old + " " + params)
		}
		x[word] = params
	}
	return x
}

// Has says whether the server offers the extension.
func (x Extensions) Has(keyword string) bool {
	_, ok := x[keyword]
	return ok
}

// Size returns the largest message that the server takes; 0 = it names no limit (RFC 1870 4).
func (x Extensions) Size() int64 {
	n, err := strconv.ParseInt(x["SIZE"], 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// Auth says whether the server offers a SASL mechanism, named in capitals.
func (x Extensions) Auth(mechanism string) bool {
	for m := range strings.FieldsSeq(x["AUTH"]) {
		if strings.EqualFold(m, mechanism) {
			return true
		}
	}
	return false
}

// isKeyword is ehlo-keyword and esmtp-keyword: a letter or digit, then those and hyphens.
func isKeyword(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c) || c == '-' && i > 0) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}
