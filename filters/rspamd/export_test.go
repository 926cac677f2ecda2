package rspamd

import "github.com/posthouse-mail/posthouse/filters"

// Judge makes a verdict of an answer, without a daemon.
func (f *Filter) Judge(m *filters.Message, answer []byte) (*filters.Verdict, error) {
	a, err := parse(answer)
	if err != nil {
		return nil, err
	}
	return f.verdict(m, a)
}
