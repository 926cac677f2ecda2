package config

import (
	"reflect"
	"strings"
	"testing"
)

// withFiles gives a text the certificate and key files that it names as CERT and KEY.
func withFiles(t *testing.T, text string) string {
	t.Helper()
	files := strings.NewReplacer("CERT", `"`+write(t, "cert.pem", "")+`"`, "KEY", `"`+write(t, "key.pem", "")+`"`)
	return write(t, "posthouse.toml", files.Replace(text))
}

func TestCertificatesForOtherNames(t *testing.T) {
	c, err := Load(withFiles(t, host+"[tls]\ncertificate = CERT\nkey = KEY\n[[tls.sni]]\nnames = [\"Mail.Example.NET\", \"*.bücher.example\"]\ncertificate = CERT\nkey = KEY"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.TLS.SNI[0].Names, []string{"mail.example.net", "*.xn--bcher-kva.example"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got names %q, want %q", got, want)
	}
}

func TestFaultsOfCertificatesForOtherNames(t *testing.T) {
	const first = host + "[tls]\ncertificate = CERT\nkey = KEY\n[[tls.sni]]\n"
	for _, c := range []struct{ name, text, want string }{
		{"no names", first + "certificate = CERT\nkey = KEY", "5 tls.sni.names: missing"},
		{"a pattern", first + "names = [\"a.example\", \"a.*.example\"]\ncertificate = CERT\nkey = KEY", "6 tls.sni.names: no domain name"},
		{"all names", first + "names = [\"*\"]\ncertificate = CERT\nkey = KEY", "6 tls.sni.names: no domain name"},
		{"no key", first + "names = [\"a.example\"]\ncertificate = CERT", "5 tls.sni.key: missing"},
		{"a file that is not there", first + "names = [\"a.example\"]\ncertificate = \"/nowhere\"\nkey = KEY", "7 tls.sni.certificate: no such file"},
		{"no [tls]", host + "[[tls.sni]]\nnames = [\"a.example\"]\ncertificate = CERT\nkey = KEY", "2 tls.sni: there is no tls.certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(withFiles(t, c.text))
			expect(t, err, c.want)
		})
	}
}
