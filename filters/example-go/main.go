// Command example-go is the filter of filters/README.md: it puts a word in front of the subject.
package main

import (
	"context"

	"github.com/posthouse-mail/posthouse/filters"
)

type tag struct{ mark string }

func (t *tag) Describe() filters.Info {
	return filters.Info{Name: "tag", Version: "1.0", Summary: "puts a word in front of the subject", Edits: true}
}

func (t *tag) Configure(_ *filters.Site, s filters.Settings) error {
	set := struct {
		Mark string `toml:"mark"`
	}{"[tag]"}
	err := s.Decode(&set)
	t.mark = set.Mark
	return err
}

func (t *tag) Message(_ context.Context, e *filters.Event) (*filters.Verdict, error) {
	header, err := e.Message.Header()
	if err != nil {
		return nil, err
	}
	v := &filters.Verdict{}
	v.ReplaceHeader("Subject", 1, t.mark+" "+filters.Get(header, "Subject"))
	return v, nil
}

func main() { filters.Serve(&tag{}) }
