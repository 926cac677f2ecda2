package config

import "strings"

func (r *reader) checkTLS() {
	c := r.cfg
	switch {
	case c.TLS.Certificate != "" && c.TLS.Key == "":
		r.fault(r.root.get("tls", "certificate"), "tls.key", "not set, though there is a certificate; allowed: both, or neither")
	case c.TLS.Certificate == "" && c.TLS.Key != "":
		r.fault(r.root.get("tls", "key"), "tls.certificate", "not set, though there is a key; allowed: both, or neither")
	case c.TLS.Certificate == "":
		r.warn("no tls.certificate: no TLS is offered, and nobody can log in over the network")
	}
	list := r.root.get("tls", "sni")
	for i := range c.TLS.SNI {
		r.checkSNI(list.item(i), &c.TLS.SNI[i])
	}
}

func (r *reader) checkSNI(n *node, s *SNI) {
	if r.cfg.TLS.Certificate == "" {
		r.fault(n, "tls.sni", "there is no tls.certificate, for clients that name no host")
	}
	for i, name := range s.Names {
		suffix, wild := strings.CutPrefix(name, "*.")
		ascii, _, err := domainName(suffix)
		if err != nil {
			r.fault(n.get("names").item(i), "tls.sni.names", "%q: %v; allowed: a name, or \"*.\" and a name", name, err)
		}
		if s.Names[i] = ascii; wild {
			s.Names[i] = "*." + ascii
		}
	}
	if len(s.Names) == 0 {
		r.fault(n, "tls.sni.names", "missing; allowed: the names that the certificate is for")
	}
	for key, path := range map[string]string{"certificate": s.Certificate, "key": s.Key} {
		if path == "" {
			r.fault(n, "tls.sni."+key, "missing; allowed: a file")
		}
		r.absoluteAt(n.get(key), "tls.sni."+key, path)
	}
}
