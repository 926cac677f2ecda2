package route

import (
	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
)

// FromConfig returns the Options that a configuration asks for, less Users and AliasError.
func FromConfig(c *config.Config) Options {
	o := Options{Hostname: c.Hostname, Origin: c.Origin, Postmaster: c.PostmasterAddress(), Quota: int64(c.Mailboxes.Quota), Programs: map[string]bool{}}
	for _, d := range c.Domains {
		v := Domain{
			Name: d.Name, AliasOf: d.AliasOf, Aliases: d.Aliases, Delimiter: d.Delimiter,
			Relay: d.Mailboxes == "relay", Any: d.Recipients != "users", Verify: d.Recipients == "verify",
		}
		v.CatchAll, _ = c.CatchAllAddress(d)
		o.Domains = append(o.Domains, v)
	}
	for name := range c.Programs {
		o.Programs[name] = true
	}
	for _, t := range c.Routes {
		o.Routes = append(o.Routes, Route{
			Domain:  t.Domain,
			Discard: t.To.Kind == config.ToDiscard,
			Program: t.To.Name,
			Reply:   t.To.Reply,
			Dest:    destination(t.To, mta.TLSLevel(t.TLS), t.Login, mta.TLSLevel(c.Outbound.TLS)),
		})
	}
	if c.Outbound.SmartHost.Kind != "" {
		o.SmartHost = destination(c.Outbound.SmartHost, "", c.Outbound.SmartHostLogin, mta.TLSLevel(c.Outbound.TLS))
	}
	return o
}

// destination makes a place out of a host that the configuration names. A password goes over verified TLS only.
func destination(t config.Target, level mta.TLSLevel, login string, floor mta.TLSLevel) mta.Destination {
	switch {
	case login != "":
		level = mta.TLSVerify
	case level == "":
		level = floor
	}
	if t.Path != "" {
		level = mta.TLSNone // what does not leave the host needs none
	}
	return mta.Destination{
		Host: t.Host, Port: t.Port, Path: t.Path, LMTP: t.Kind == config.ToLMTP, Implicit: t.Kind == config.ToSMTPS, TLS: level, Login: login,
	}
}
