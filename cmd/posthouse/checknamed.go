package main

import (
	"errors"
	"io/fs"
	"maps"
	"slices"

	"github.com/posthouse-mail/posthouse/mta/layout"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/remote"
	"github.com/posthouse-mail/posthouse/mta/sign"
)

// named reads, as the daemons do, the files that nothing else here has read: keys, logins at other hosts, the welcome message,
// and /etc/resolv.conf, without which none of them starts.
func (c *checker) named() {
	_, err := remote.ResolverFromConfig(c.cfg)
	c.unreadable("outbound.resolver", err)
	for _, name := range slices.Sorted(maps.Keys(c.cfg.Domains)) {
		for _, selector := range c.cfg.Domains[name].DKIM {
			_, err := sign.Load(name, selector, layout.KeyFile(c.cfg, name, selector))
			c.unreadable("domains."+name+".dkim", err)
		}
	}
	if path := c.cfg.Outbound.SmartHostLogin; path != "" {
		_, _, err := remote.ReadLogin(path)
		c.unreadable("outbound.smart_host_login", err)
	}
	for _, route := range c.cfg.Routes {
		if route.Login != "" {
			_, _, err := remote.ReadLogin(route.Login)
			c.unreadable("route.login", err)
		}
	}
	if path := c.cfg.Mailboxes.Welcome; path != "" {
		_, err := local.ReadWelcome(path)
		c.unreadable("mailboxes.welcome", err)
	}
}

// unreadable tells what is wrong with a file; whoever asks may not be allowed to know.
func (c *checker) unreadable(key string, err error) {
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		c.problems = append(c.problems, key+": "+err.Error())
	}
}
