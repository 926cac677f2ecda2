package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/posthouse-mail/posthouse/filters/host"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/daemon"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// filters is filters/host as smtpd sees it.
type filters struct{ h *host.Host }

func (f filters) Session(string) smtpd.FilterSession {
	if s := f.h.Session(); s != nil {
		return s
	}
	return nil
}

// launcher is what starts filters: beside this program, or where packages put it. Where it is missing no filter starts.
func launcher() string {
	const name = "filter-run"
	if self, err := os.Executable(); err == nil {
		if path := filepath.Join(filepath.Dir(self), name); isFile(path) {
			return path
		}
	}
	return filepath.Join("/usr/lib/posthouse", name)
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

// startFilters starts what the configuration enables, and follows its changes.
func startFilters(ctx context.Context, app *daemon.App) (*host.Host, error) {
	options := func(c *config.Config) (host.Options, error) {
		o, err := host.FromConfig(c, app.Private())
		o.Log, o.Launcher = app.Log, launcher()
		return o, err
	}
	o, err := options(app.Config())
	if err != nil {
		return nil, err
	}
	h, err := host.New(ctx, o)
	if err != nil {
		return nil, err
	}
	app.OnReload(func(c *config.Config) error {
		o, err := options(c)
		if err != nil {
			return err
		}
		return h.SetOptions(o)
	})
	return h, nil
}
