package main

import (
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/daemon"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// socketMode lets every user of the machine send mail: the kernel says who it is.
const socketMode = 0o666

// listen opens the sockets of the configuration, all or none. Those for implicit TLS stay closed without a certificate.
func listen(app *daemon.App) ([]smtpd.Listener, error) {
	c := app.Config()
	var all []smtpd.Listener
	for _, l := range c.SMTPD.Listen {
		mode := tlsMode(l.TLS)
		if mode == smtpd.Implicit && c.TLS.Certificate == "" {
			app.Decline(l.Address)
			continue
		}
		ln, err := app.Listen(l.Address, socketMode)
		if err != nil {
			for _, open := range all {
				_ = open.Close()
			}
			return nil, err
		}
		all = append(all, smtpd.Listener{Listener: ln, Name: l.Address, Role: l.Role, TLS: mode, MaxMessageSize: int64(l.MaxMessageSize)})
	}
	if len(all) == 0 {
		return nil, config.Errors{{File: app.Path, Key: "smtpd.listen", Msg: "no socket to listen on; allowed: one [[smtpd.listen]] or more, those with tls = \"implicit\" only beside a [tls] certificate"}}
	}
	return all, nil
}

func tlsMode(s string) smtpd.TLSMode {
	switch s {
	case "implicit":
		return smtpd.Implicit
	case "none":
		return smtpd.NoTLS
	}
	return smtpd.StartTLS
}
