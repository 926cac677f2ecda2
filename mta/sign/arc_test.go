package sign_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/sign"
)

// keyOf makes a key, and its record.
func keyOf(t testing.TB, r mtatest.Texts, domain, selector string, ed bool) sign.Key {
	t.Helper()
	signer, _, err := sign.Generate(ed)
	if err != nil {
		t.Fatal(err)
	}
	k := sign.Key{Domain: domain, Selector: selector, Signer: signer}
	if r[k.Name()], err = k.Record(); err != nil {
		t.Fatal(err)
	}
	return k
}

// split is a message as fields and body.
func split(message string) (header []string, body string) {
	head, body, _ := strings.Cut(message, "\r\n\r\n")
	for line := range strings.SplitAfterSeq(head+"\r\n", "\r\n") {
		switch {
		case line == "":
		case (line[0] == ' ' || line[0] == '\t') && len(header) > 0:
			header[len(header)-1] += line
		default:
			header = append(header, line)
		}
	}
	return header, body
}

func seal(t testing.TB, message, results string, cv sign.CV, k sign.Key) string {
	t.Helper()
	header, body := split(message)
	set, err := sign.Seal(header, strings.NewReader(body), results, cv, k, time.Unix(1795737600, 0))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(set, "") + message
}

func validate(message string, r mtatest.Texts) string {
	header, body := split(message)
	c := sign.ReadChain(header)
	if len(c.Sets) == 0 && c.Err == nil {
		return "none"
	}
	if err := c.Validate(context.Background(), r.TXT, header, strings.NewReader(body)); err != nil {
		return err.Error()
	}
	var who []string
	for _, s := range c.Sets {
		who = append(who, s.Domain)
	}
	return "pass " + strings.Join(who, " ")
}

const letter = "DKIM-Signature: v=1; d=here.test\r\nFrom: Alice <alice@here.test>\r\nTo: bob@away.test\r\nSubject: folded\r\n  and  wide\r\n\r\nbody \t x \r\n\r\n \r\nend  \r\n\r\n\r\n"

func TestChainsThatAreSealedValidate(t *testing.T) {
	r := mtatest.Texts{}
	rsa, ed := keyOf(t, r, "list.test", "rsa", false), keyOf(t, r, "forward.test", "ed", true)
	for name, message := range map[string]string{
		"letter": letter, "empty body": "From: a@here.test\r\n\r\n", "no line end": "From: a@here.test\r\n\r\nx", "bare CR": "From: a@here.test\r\n\r\na\rb\r\r\n",
		"blanks alone": "From: a@here.test\r\n\r\n \t\r\n \r\n", "many of a name": strings.Repeat("List-Id: x\r\n", 2000) + "From: a@here.test\r\n\r\nx\r\n",
	} {
		one := seal(t, message, "list.test;\r\n\tspf=pass smtp.mailfrom=a@here.test; dmarc=pass header.from=here.test", sign.CVNone, rsa)
		two := seal(t, "Received: by list.test\r\n"+one, "forward.test; arc=pass", sign.CVPass, ed)
		three := seal(t, "Received: by forward.test\r\n"+two, "list.test; arc=pass", sign.CVPass, rsa)
		for m, want := range map[string]string{message: "none", one: "pass list.test", two: "pass list.test forward.test", three: "pass list.test forward.test list.test"} {
			if got := validate(m, r); got != want {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
		}
	}
	header, _ := split(seal(t, letter, "list.test;\r\n\tspf=pass;  dmarc=pass", sign.CVNone, rsa))
	if got := sign.ReadChain(header).Sets[0].Results; got != "list.test; spf=pass; dmarc=pass" {
		t.Errorf("got the results %q", got)
	}
}

func TestChainsThatAreBroken(t *testing.T) {
	r := mtatest.Texts{}
	k := keyOf(t, r, "list.test", "rsa", false)
	one := seal(t, letter, "list.test; dmarc=fail", sign.CVNone, k)
	two := seal(t, one, "list.test; arc=pass", sign.CVPass, k)
	failed := seal(t, one, "list.test; arc=fail", sign.CVFail, k)
	field := func(message, name string, i int) string {
		header, _ := split(message)
		for _, h := range header {
			if strings.HasPrefix(h, name+": i="+fmt.Sprint(i)+";") {
				return h
			}
		}
		t.Fatalf("no %s i=%d", name, i)
		return ""
	}
	for _, c := range []struct {
		name, message string
		records       mtatest.Texts
		want          string
	}{
		{"another body", strings.Replace(two, "end", "END", 1), r, "i=2: message: the body has changed"},
		{"another subject", strings.Replace(two, "Subject: folded", "Subject: gelded", 1), r, "i=2: message: the signature does not fit"},
		{"other results", strings.Replace(two, "dmarc=fail", "dmarc=pass", 1), r, "i=2: seal: the signature does not fit"},
		{"results of the newest", strings.Replace(two, "arc=pass", "arc=none", 1), r, "i=2: seal: the signature does not fit"},
		{"a seal is gone", strings.Replace(two, field(two, "ARC-Seal", 1), "", 1), r, "i=1: a field of the three is missing"},
		{"a set is gone", strings.NewReplacer(field(two, "ARC-Seal", 1), "", field(two, "ARC-Message-Signature", 1), "", field(two, "ARC-Authentication-Results", 1), "").Replace(two), r, "i=1 is missing"},
		{"a seal is there twice", field(two, "ARC-Seal", 1) + two, r, "i=1: two fields ARC-Seal"},
		{"a chain of one that claims to have passed", strings.Replace(one, "cv=none", "cv=pass", 1), r, "i=1: cv=pass, want none"},
		{"one that begins anew", strings.Replace(two, "cv=pass", "cv=none", 1), r, "i=2: cv=none, want pass"},
		{"found broken before", failed, r, "i=2: cv=fail"},
		{"i=0", strings.ReplaceAll(one, "i=1;", "i=0;"), r, "ARC-Seal: i=0"},
		{"i=51", strings.ReplaceAll(one, "i=1;", "i=51;"), r, "ARC-Seal: i=51"},
		{"i=99999999999999999999", strings.ReplaceAll(one, "i=1;", "i=99999999999999999999;"), r, "ARC-Seal: i=99999999999999999999"},
		{"no i", strings.ReplaceAll(one, "i=1;", ""), r, "ARC-Seal: no i="},
		{"a part of the body", strings.Replace(one, "c=relaxed/relaxed", "l=1; c=relaxed/relaxed", 1), r, "i=1: a signature of a part of the body"},
		{"a seal with h", strings.Replace(one, "cv=none", "cv=none; h=from", 1), r, "i=1: a seal with h="},
		{"a tag twice", strings.Replace(one, "cv=none", "cv=none; cv=none", 1), r, "i=1: a tag that is none, or is there twice"},
		{"From is not signed", strings.Replace(one, "h=From:", "h=X:", 1), r, "i=1: message: the From field is not signed"},
		{"the seal is signed", strings.Replace(one, "h=From:", "h=From:arc-SEAL:", 1), r, "i=1: message: h= names ARC-Seal"},
		{"another hash", strings.ReplaceAll(one, "a=rsa-sha256", "a=rsa-sha1"), r, "i=1: message: a=rsa-sha1"},
		{"another form", strings.ReplaceAll(one, "c=relaxed/relaxed", "c=relaxed/nofws"), r, "i=1: message: c=relaxed/nofws"},
		{"no key", one, mtatest.Texts{}, "i=1: message: no such key"},
		{"no key now", one, mtatest.Texts{k.Name(): "later"}, "i=1: message: " + sign.ErrKeyLater.Error()},
		{"a revoked key", one, mtatest.Texts{k.Name(): "v=DKIM1; p="}, "i=1: message: the key is revoked, or is none"},
		{"a key of another kind", one, mtatest.Texts{k.Name(): "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}, "i=1: message: a key of another kind"},
		{"a key that is none", one, mtatest.Texts{k.Name(): "v=DKIM1; p=AAAA"}, "i=1: message: the key is none"},
		{"a key for other services", one, mtatest.Texts{k.Name(): r[k.Name()] + "; s=tlsrpt"}, "i=1: message: a key for other services"},
	} {
		if got := validate(c.message, c.records); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	header, body := split(failed)
	if _, err := sign.Seal(header, strings.NewReader(body), "x.test; none", sign.CVPass, k, time.Now()); !errors.Is(err, sign.ErrSealed) {
		t.Errorf("a chain that has failed was sealed: %v", err)
	}
	header, body = split(one)
	if _, err := sign.Seal(header, strings.NewReader(body), "x.test; none", sign.CVNone, k, time.Now()); !errors.Is(err, sign.ErrSealed) {
		t.Errorf("a chain was begun anew: %v", err)
	}
}

func FuzzChain(f *testing.F) {
	r := mtatest.Texts{}
	k := keyOf(f, r, "list.test", "ed", true)
	one := seal(f, letter, "list.test; dmarc=fail", sign.CVNone, k)
	f.Add(one)
	f.Add(seal(f, one, "list.test; arc=pass", sign.CVPass, k))
	f.Add("ARC-Seal: i=1\r\nARC-Message-Signature: i=1;b\r\nARC-Authentication-Results: i=1\r\n\r\n")
	f.Fuzz(func(t *testing.T, message string) {
		header, body := split(message)
		c := sign.ReadChain(header)
		if len(c.Sets) > 0 && c.Err == nil && c.Validate(t.Context(), r.TXT, header, strings.NewReader(body)) == nil && !strings.Contains(strings.ToLower(message), "arc-seal") {
			t.Errorf("%q passes", message)
		}
	})
}

// debianPython is the interpreter that Debian's packages of modules are for; another may come first in PATH.
const debianPython = "/usr/bin/python3"

func dkimpy(t *testing.T, program, stdin string, args ...string) string {
	t.Helper()
	if out, err := exec.Command(debianPython, "-c", "import dkim, nacl, authres").CombinedOutput(); err != nil {
		mtatest.Lacking(t, "no python3-dkim, python3-nacl and python3-authres: %v: %s", err, out)
	}
	cmd := exec.Command(debianPython, append([]string{"-c", program}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// records are given to the program as pairs of arguments.
const dkimpyVerify = `
import dkim, sys
rec = dict(zip(sys.argv[1::2], sys.argv[2::2]))
def txt(name, timeout=5): return rec.get(name.decode().rstrip("."), "").encode()
cv, results, reason = dkim.arc_verify(sys.stdin.buffer.read(), dnsfunc=txt)
print(cv.decode(), reason)`

const dkimpySign = `
import dkim, sys
m = sys.stdin.buffer.read()
rec = dict(zip(sys.argv[3::2], sys.argv[4::2]))
class D(dkim.ARC): pass
import dkim.dnsplug
dkim.dnsplug._get_txt = lambda name, timeout=5: rec.get(name.decode().rstrip("."), "").encode()
out = dkim.arc_sign(m, b"py", b"py.test", open(sys.argv[1], "rb").read(), b"py.test", timestamp="1795737600", standardize=(sys.argv[2] == "y"))
sys.stdout.buffer.write(b"".join(out) + m)`

func TestDkimpyAndWeSealForEachOther(t *testing.T) {
	r := mtatest.Texts{}
	k := keyOf(t, r, "list.test", "rsa", false)
	signer, text, err := sign.Generate(false)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "py.pem")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	py := sign.Key{Domain: "py.test", Selector: "py", Signer: signer}
	if r[py.Name()], err = py.Record(); err != nil {
		t.Fatal(err)
	}
	var args []string
	for name, text := range r {
		args = append(args, name, text)
	}
	verify := func(what, message, want string) {
		t.Helper()
		if got := dkimpy(t, dkimpyVerify, message, args...); !strings.HasPrefix(got, "pass ") {
			t.Errorf("%s: dkimpy says %s", what, got)
		}
		if got := validate(message, r); got != want {
			t.Errorf("%s: we say %s, want %s", what, got, want)
		}
	}
	ours := seal(t, letter, "list.test; dmarc=pass header.from=here.test", sign.CVNone, k)
	verify("ours", ours, "pass list.test")
	verify("ours twice", seal(t, ours, "list.test; arc=pass", sign.CVPass, k), "pass list.test list.test")
	theirs := dkimpy(t, dkimpySign, "Authentication-Results: py.test; spf=pass smtp.mailfrom=a@here.test\r\n"+letter, append([]string{path, "n"}, args...)...)
	verify("theirs", theirs, "pass py.test")
	verify("ours on theirs", seal(t, theirs, "list.test; arc=pass", sign.CVPass, k), "pass py.test list.test")
	mixed := dkimpy(t, dkimpySign, "Authentication-Results: py.test; arc=pass\r\n"+ours, append([]string{path, "y"}, args...)...)
	verify("theirs on ours", mixed, "pass list.test py.test")
	if got := dkimpy(t, dkimpyVerify, strings.Replace(ours, "end", "END", 1), args...); strings.HasPrefix(got, "pass") {
		t.Errorf("dkimpy passes a changed body: %s", got)
	}
}
