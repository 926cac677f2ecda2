package dkim_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/dkim"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/sign"
)

func configured(t *testing.T, z mtatest.Texts, keys ...filters.DKIMKey) *dkim.Filter {
	t.Helper()
	f := &dkim.Filter{Resolver: z}
	if err := f.Configure(&filters.Site{DKIMKeys: keys}, filters.NewSettings("")); err != nil {
		t.Fatal(err)
	}
	return f
}

func judge(t *testing.T, f *dkim.Filter, role, message string) *filters.Verdict {
	t.Helper()
	v, err := f.Message(t.Context(), &filters.Event{Role: role, Message: filtertest.Message(t, message)})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func show(v *filters.Verdict) string {
	var list []string
	for _, n := range v.Notes {
		list = append(list, strings.TrimSpace(n.Result+" "+n.Get("header", "d")+" "+n.Get("header", "s")+" "+n.Get("header", "a")))
	}
	return strings.Join(list, ", ")
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\n", "\r\n")
}

// rfc8463 are the records of its appendix A.2.
var rfc8463 = mtatest.Texts{
	"brisbane._domainkey.football.example.com": "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
	"test._domainkey.football.example.com": "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR" +
		"iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC" +
		"DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3" +
		"Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
}

func TestVerifyTheExampleOfRFC8463(t *testing.T) {
	const both = "football.example.com brisbane ed25519-sha256, %s football.example.com test rsa-sha256"
	message := read(t, "rfc8463.eml")
	for _, c := range []struct {
		name, message string
		zone          mtatest.Texts
		want          string
	}{
		{"as it is", message, rfc8463, "pass " + fmt.Sprintf(both, "pass")},
		{"another body", strings.Replace(message, "Are you hungry", "Are you angry", 1), rfc8463, "fail " + fmt.Sprintf(both, "fail")},
		{"another subject", strings.Replace(message, "dinner", "supper", 1), rfc8463, "fail " + fmt.Sprintf(both, "fail")},
		{"a second From on top", strings.Replace(message, "From: Joe", "From: x@evil.example\r\nFrom: Joe", 1), rfc8463, "fail " + fmt.Sprintf(both, "fail")},
		{"no keys", message, mtatest.Texts{}, "permerror " + fmt.Sprintf(both, "permerror")},
		{"keys that cannot be looked up", message, mtatest.Texts{"test._domainkey.football.example.com": "later"}, "permerror " + fmt.Sprintf(both, "temperror")},
		{"a revoked key", message, mtatest.Texts{"brisbane._domainkey.football.example.com": rfc8463["brisbane._domainkey.football.example.com"], "test._domainkey.football.example.com": "v=DKIM1; p="}, "pass " + fmt.Sprintf(both, "permerror")},
		{"without a signature", "From: a@b.example\r\n\r\nx\r\n", rfc8463, "none"},
		{"a signature that is none", "DKIM-Signature: =;;=\r\nFrom: a@b.example\r\n\r\nx\r\n", rfc8463, "permerror"},
		{"too many", strings.Repeat("DKIM-Signature: v=1; d=a.example\r\n", 30) + "From: a@b.example\r\n\r\nx\r\n", rfc8463, strings.TrimSuffix(strings.Repeat("permerror a.example, ", 5), ", ")},
		{"empty", "", rfc8463, "none"},
	} {
		v := judge(t, configured(t, c.zone), filters.RoleMX, c.message)
		if got := show(v); got != c.want {
			t.Errorf("%s: got %s (%v), want %s", c.name, got, v.Notes, c.want)
		}
	}
}

// A field's lines cost the library their square: such a header takes the time of hours where nobody counts them.
func TestAHeaderThatTakesTooLong(t *testing.T) {
	list, z := keys(t)
	f := configured(t, z, list...)
	text := "DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; h=from; bh=x; b=x\r\nFrom: a@here.test\r\nX: " + strings.Repeat("x\r\n ", 200_000) + "x\r\n\r\nbody\r\n"
	if v := judge(t, f, filters.RoleMX, text); len(v.Notes) != 1 || v.Notes[0].Result != "permerror" || !strings.Contains(v.Notes[0].Reason, "200001 lines") {
		t.Errorf("verified: got %+v", v)
	}
	if v := judge(t, f, filters.RoleSubmission, text); v.Action != filters.Reject || v.Code != 554 || v.Enhanced != "5.6.0" || !strings.Contains(v.Text, "200001 lines") {
		t.Errorf("signed: got %+v", v)
	}
}

// keys makes a key of each kind for here.test, with the records.
func keys(t *testing.T) ([]filters.DKIMKey, mtatest.Texts) {
	t.Helper()
	var list []filters.DKIMKey
	z := mtatest.Texts{}
	for _, sel := range []string{"rsa", "ed"} {
		signer, text, err := sign.Generate(sel == "ed")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), sel)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		k := sign.Key{Domain: "here.test", Selector: sel, Signer: signer}
		record, err := k.Record()
		if err != nil {
			t.Fatal(err)
		}
		z[k.Name()] = record
		list = append(list, filters.DKIMKey{Domain: "here.test", Selector: sel, Path: path})
	}
	return list, z
}

const letter = "From: Alice <alice@HERE.test>\r\nTo: bob@away.test\r\nSubject: folded\r\n  and  wide\r\n\r\nbody \r\n\r\n\r\n"

func TestWhatIsSignedVerifies(t *testing.T) {
	list, z := keys(t)
	f := configured(t, z, list...)
	for name, message := range map[string]string{
		"letter": letter, "no body": "From: alice@here.test\r\n", "no line end": "From: alice@here.test\r\n\r\nx", "empty body": "From: alice@here.test\r\n\r\n",
	} {
		for _, role := range []string{filters.RoleSubmission, filters.RoleLocal} {
			v := judge(t, f, role, message)
			added := v.Added()
			if len(added) != 2 || len(v.Notes) != 0 {
				t.Fatalf("%s: got %d fields, notes %v; want two signatures", name, len(added), v.Notes)
			}
			got := show(judge(t, f, filters.RoleMX, added[1].Raw+added[0].Raw+message))
			if got != "pass here.test rsa rsa-sha256, pass here.test ed ed25519-sha256" {
				t.Errorf("%s: got %s", name, got)
			}
			if got := show(judge(t, f, filters.RoleMX, "Subject: one more\r\n"+added[1].Raw+added[0].Raw+message)); strings.Contains(got, "pass") {
				t.Errorf("%s: with a field that was put in front: got %s", name, got)
			}
		}
	}
	for field, passes := range map[string]bool{"Subject: one more\r\n": false, "From: x@evil.test\r\n": false, "Reply-To: x@evil.test\r\n": false, "List-Id: <x>\r\n": true, "Resent-From: x@here.test\r\n": true} {
		a := judge(t, f, filters.RoleLocal, letter).Added()
		if got := show(judge(t, f, filters.RoleMX, field+a[0].Raw+letter)); strings.HasPrefix(got, "pass") != passes {
			t.Errorf("with %q in front: got %s, want that it passes: %v", field, got, passes)
		}
	}
	for _, other := range []string{"From: a@other.test\r\n\r\n", "To: x@here.test\r\n\r\n", "From: a@here.test, b@other.test\r\n\r\n", "From: <<\r\n\r\n", "From: a@sub.here.test\r\n\r\n"} {
		if v := judge(t, f, filters.RoleSubmission, other); len(v.Added()) != 0 {
			t.Errorf("%q was signed", other)
		}
	}
	if v := judge(t, f, filters.RoleMX, letter); len(v.Added()) != 0 {
		t.Error("what comes in was signed")
	}
}

// debianPython is the interpreter that Debian's packages of modules are for; another may come first in PATH.
const debianPython = "/usr/bin/python3"

// dkimpy runs a program of python3-dkim's module.
func dkimpy(t *testing.T, program, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command(debianPython, append([]string{"-c", program}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func needDkimpy(t *testing.T) {
	t.Helper()
	if out, err := exec.Command(debianPython, "-c", "import dkim, nacl").CombinedOutput(); err != nil {
		mtatest.Lacking(t, "no python3-dkim: %v: %s", err, out)
	}
}

func TestDkimpyVerifiesOurs(t *testing.T) {
	needDkimpy(t)
	list, z := keys(t)
	added := judge(t, configured(t, z, list...), filters.RoleSubmission, letter).Added()
	for i, sel := range []string{"ed", "rsa"} {
		const program = `
import dkim, sys
def txt(name, timeout=5): return sys.argv[1].encode()
print(dkim.verify(sys.stdin.buffer.read(), dnsfunc=txt))`
		if out := dkimpy(t, program, added[i].Raw+letter, z[sel+"._domainkey.here.test"]); out != "True\n" {
			t.Errorf("%s: dkimpy says %q of %q", sel, out, added[i].Raw)
		}
	}
}

func TestOursVerifiesDkimpys(t *testing.T) {
	needDkimpy(t)
	list, z := keys(t)
	for _, canon := range []string{"simple", "relaxed"} {
		const program = `
import dkim, sys
m = sys.stdin.buffer.read()
c = sys.argv[2].encode()
sys.stdout.buffer.write(dkim.sign(m, b"rsa", b"here.test", open(sys.argv[1], "rb").read(), canonicalize=(c, c)) + m)`
		if got := show(judge(t, configured(t, z), filters.RoleMX, dkimpy(t, program, letter, list[0].Path, canon))); got != "pass here.test rsa rsa-sha256" {
			t.Errorf("%s: got %s", canon, got)
		}
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"[settings]\nmax_signatures = 0", "line 2: max_signatures = 0"},
		{"[settings]\n\nsing = [\"mx\"]", "line 3: unknown key"},
		{"[settings]\nsign = 1", "incompatible"},
	} {
		err := (&dkim.Filter{Resolver: mtatest.Texts{}}).Configure(&filters.Site{}, filters.NewSettings(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
	err := (&dkim.Filter{Resolver: mtatest.Texts{}}).Configure(&filters.Site{DKIMKeys: []filters.DKIMKey{{Domain: "a.test", Selector: "x", Path: "/nowhere/a.test.x.pem"}}}, filters.NewSettings(""))
	if err == nil || !strings.Contains(err.Error(), "/nowhere/a.test.x.pem") {
		t.Errorf("got %v, want the key's path", err)
	}
}
