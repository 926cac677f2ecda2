package config

import "testing"

func TestFaultsOfACME(t *testing.T) {
	const (
		ours  = host + "[tls]\ncertificate = \"/o/c\"\nkey = \"/o/k\"\n"
		email = "[acme]\noutput = \"/o\"\nemail = \"a@example.org\"\n"
	)
	sni := func(name, cert, key string) string {
		return "[[tls.sni]]\nnames = [\"" + name + "\"]\ncertificate = \"" + cert + "\"\nkey = \"" + key + "\"\n"
	}
	for _, c := range []struct{ name, text, want string }{
		{"an authority in the clear", host + "[acme]\ndirectory = \"http://ca.example/dir\"", `3 acme.directory: allowed: "letsencrypt"`},
		{"an authority with a password", host + "[acme]\ndirectory = \"https://a:b@ca.example/dir\"", `3 acme.directory: allowed: "letsencrypt"`},
		{"a socket for HTTP-01", host + "[acme]\nlisten = \"unix:/run/x\"", "3 acme.listen: allowed"},
		{"a program that is where one stands", host + "[acme]\ndns_hook = \"hook\"", "3 acme.dns_hook: not absolute"},
		{"no certificate to obtain", host + email, "4 acme.email: no certificate of [tls] is under"},
		{"a certificate elsewhere", host + "[tls]\ncertificate = \"/oo/c\"\nkey = \"/oo/k\"\n" + email, "7 acme.email: no certificate of [tls] is under"},
		{"an email that is none", ours + "[acme]\nemail = \"a\"\noutput = \"/o\"", "6 acme.email: allowed: an address"},
		{"a key beside the output", host + "[tls]\ncertificate = \"/o/c\"\nkey = \"/o/../k\"\n" + email, "3 tls.certificate: allowed: both, or neither"},
		{"a wildcard without DNS-01", ours + sni("*.example.org", "/o/d", "/o/e") + email, `5 tls.sni: needs acme.dns_hook`},
		{"one file for two certificates", ours + sni("b.example.org", "/o/c", "/o/k") + email, `5 tls.sni.certificate: already written for other names`},
		{"a host's name that no authority knows", "hostname = \"mail\"\n[tls]\ncertificate = \"/o/c\"\nkey = \"/o/k\"\n" + email, `3 tls.certificate: no authority makes`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Read(write(t, "posthouse.toml", c.text))
			expect(t, err, c.want)
		})
	}
	if _, err := Read(write(t, "posthouse.toml", ours+sni("*.example.org", "/o/d", "/o/e")+email+"dns_hook = \"/h\"\n")); err != nil {
		t.Errorf("with DNS-01: got %v", err)
	}
}
