package tlsrpt

import (
	"net/url"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

// maxRUA bounds the places that one report goes to.
const maxRUA = 5

// target is one place that takes reports.
type target struct {
	mail  mta.Address // or
	https string
}

func (t target) String() string {
	if t.https != "" {
		return t.https
	}
	return "mailto:" + t.mail.String()
}

// Targets are the places that the texts of _smtp._tls.DOMAIN ask reports to be sent to, as URIs; none where no reporter can use them.
func Targets(texts []string) []string {
	var list []string
	for _, t := range parseRecord(texts) {
		list = append(list, t.String())
	}
	return list
}

// parseRecord reads where reports go out of the texts of _smtp._tls.DOMAIN (RFC 8460 3). A domain with several records has
// none.
func parseRecord(texts []string) []target {
	var record []string
	for _, t := range texts {
		fields := strings.Split(t, ";")
		if strings.TrimRight(fields[0], " \t") != "v=TLSRPTv1" {
			continue
		}
		if record != nil {
			return nil
		}
		record = fields
	}
	var list []target
	for i, field := range record {
		key, value, _ := strings.Cut(field, "=")
		if i == 0 || strings.Trim(key, " \t") != "rua" {
			continue
		}
		for uri := range strings.SplitSeq(value, ",") {
			if t, ok := parseTarget(strings.Trim(uri, " \t")); ok && len(list) < maxRUA {
				list = append(list, t)
			}
		}
		break
	}
	return list
}

func parseTarget(uri string) (target, bool) {
	u, err := url.Parse(uri)
	if err != nil {
		return target{}, false
	}
	switch strings.ToLower(u.Scheme) {
	case "mailto":
		s, err := url.PathUnescape(u.Opaque)
		if err != nil {
			return target{}, false
		}
		a, err := mta.ParseAddress(s)
		return target{mail: a}, err == nil && a.Domain != ""
	case "https":
		if u.Hostname() == "" || u.User != nil || u.Opaque != "" {
			return target{}, false
		}
		u.Fragment = ""
		return target{https: u.String()}, true
	}
	return target{}, false
}
