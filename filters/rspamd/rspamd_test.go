package rspamd_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon/daemontest"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
	"github.com/posthouse-mail/posthouse/filters/rspamd"
)

const message = "Received: here\r\nX-Spam: No\r\nX-Old: 1\r\nX-Old: 2\r\nFrom: a@far.test\r\nSubject: x\r\n\r\nbody\r\n"

func judge(t *testing.T, settings string, e filters.Event, text string) (*filters.Verdict, error) {
	t.Helper()
	f := &rspamd.Filter{Version: "1"}
	if err := f.Configure(&filters.Site{Hostname: "mx.here.test"}, filters.NewSettings("[settings]\n"+settings)); err != nil {
		t.Fatal(err)
	}
	e.Message = filtertest.Message(t, text)
	v, err := f.Message(t.Context(), &e)
	if v == nil {
		v = &filters.Verdict{}
	}
	return v, err
}

// says takes a request and answers with a status and a body.
func says(status int, body string) func(net.Conn) {
	return func(c net.Conn) {
		take(c)
		_, _ = fmt.Fprintf(c, "HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
	}
}

func take(c net.Conn) (*http.Request, string) {
	q, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return nil, ""
	}
	b, _ := io.ReadAll(q.Body)
	return q, string(b)
}

func raw(text string) func(net.Conn) {
	return func(c net.Conn) {
		take(c)
		_, _ = io.WriteString(c, text)
	}
}

func TestWhatIsNoAnswer(t *testing.T) {
	endless := func(c net.Conn) {
		take(c)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n{\"action\":\"")
		for {
			if _, err := io.WriteString(c, strings.Repeat("x", 4096)); err != nil {
				return
			}
		}
	}
	silent := func(c net.Conn) {
		take(c)
		_, _ = io.Copy(io.Discard, c)
	}
	early := func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 10))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{\"action\":\"no action\"}")
		_ = c.(interface{ CloseRead() error }).CloseRead()
	}
	for _, c := range []struct {
		name  string
		serve func(net.Conn)
		more  string
		want  string
	}{
		{"nothing", silent, "timeout = \"200ms\"", "has not answered within 200ms"},
		{"an endless answer", endless, "", "more than 1048576 octets"},
		{"an endless header", raw("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 200)), "", "header"},
		{"it hangs up", func(net.Conn) {}, "", "127.0.0.1:"},
		{"no HTTP", raw("220 mx.far.test ESMTP\r\n"), "", "malformed HTTP"},
		{"less than it has promised", raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"action\":\"no action\"}"), "", "unexpected EOF"},
		{"an answer to the half", early, "", "127.0.0.1:"},
		{"elsewhere", raw("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"), "", "it says 302"},
		{"a wrong password", says(403, "{\"error\":\"Unauthorized\\r\\n\"}"), "password = \"x\"", `it says 403 "Unauthorized??"`},
		{"an error without words", says(500, ""), "", "it says 500"},
		{"no JSON", says(200, "<html>"), "", "cannot be read"},
		{"JSON, and more", says(200, "{\"action\":\"no action\"}{}"), "", "cannot be read"},
		{"a list", says(200, "[]"), "", "cannot be read"},
		{"nothing at all", says(200, "null"), "", "no action"},
		{"no action", says(200, "{\"score\":1}"), "", "no action"},
		{"an action that is none", says(200, "{\"action\":5}"), "", "cannot be read"},
		{"a score beyond numbers", says(200, "{\"action\":\"no action\",\"score\":1e999}"), "", "cannot be read"},
		{"deeper than anybody looks", says(200, strings.Repeat("[", 500_000)), "", "cannot be read"},
		{"more changes than anybody makes", says(200, "{\"action\":\"no action\",\"milter\":{\"add_headers\":{\"X\":["+strings.Repeat("\"x\",", 600)+"\"x\"]}}}"), "", "more than 500 changes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := message
			if strings.Contains(c.name, "half") { // more than the network holds while nobody reads
				text += strings.Repeat(strings.Repeat("x", 76)+"\r\n", 100_000)
			}
			v, err := judge(t, "address = \""+daemontest.Serve(t, "tcp", c.serve)+"\"\n"+c.more, filters.Event{}, text)
			if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 400 {
				t.Fatalf("got %+v, %v; want the error %s", v, err, c.want)
			}
		})
	}
}

func TestWhatActionsDo(t *testing.T) {
	for _, c := range []struct {
		name, settings, answer string
		action                 filters.Action
		text, edits            string
	}{
		{"nothing", "", `{"action":"no action","score":0.5}`, filters.Continue, "", ""},
		{"one that the site has made", "", `{"action":"shrug\r\n"}`, filters.Continue, "", ""},
		{"reject", "", `{"action":"reject"}`, filters.Reject, "Spam message rejected", ""},
		{"reject, with a text", "", `{"action":"reject","messages":{"smtp_message":"No\r\n250 ok\u00e9"}}`, filters.Reject, "No??250 ok?", ""},
		{"reject, with a text that is none", "", `{"action":"reject","messages":{"smtp_message":[1]}}`, filters.Reject, "Spam message rejected", ""},
		{"reject, to be discarded", "", `{"action":"reject","milter":{"reject":"discard"}}`, filters.Discard, "Rspamd: reject, 0.00 of 0.00", ""},
		{"reject, for quarantine", "", `{"action":"reject","milter":{"reject":"quarantine"}}`, filters.Quarantine, "Rspamd: reject, 0.00 of 0.00", ""},
		{"discard what is good", "", `{"action":"no action","milter":{"reject":"discard"}}`, filters.Continue, "", ""},
		{"reject, by setting for Junk", "on_reject = \"quarantine\"", `{"action":"reject","score":20,"required_score":15}`, filters.Quarantine, "Rspamd: reject, 20.00 of 15.00", ""},
		{"reject, by setting not", "on_reject = \"none\"", `{"action":"reject"}`, filters.Continue, "", ""},
		{"no edits for what nobody sees", "", `{"action":"reject","milter":{"add_headers":{"X":"x"}}}`, filters.Reject, "Spam message rejected", ""},
		{"soft reject", "", `{"action":"soft reject"}`, filters.TempFail, "Try again later", ""},
		{"greylist", "", `{"action":"greylist"}`, filters.Continue, "", ""},
		{"greylist, by setting", "on_greylist = \"tempfail\"", `{"action":"greylist","messages":{"smtp_message":"Greylisted"}}`, filters.TempFail, "Greylisted", ""},
		{"quarantine", "", `{"action":"quarantine"}`, filters.Quarantine, "Rspamd: quarantine, 0.00 of 0.00", ""},
		{"discard", "", `{"action":"discard"}`, filters.Discard, "Rspamd: discard, 0.00 of 0.00", ""},
		{"add header", "", `{"action":"add header","score":7,"required_score":15}`, filters.Quarantine, "Rspamd: add-header, 7.00 of 15.00", "-X-Spam[0] +X-Spam=Yes"},
		{"add header, and no more", "on_add_header = \"header\"\nspam_header = \"X-Junk\"", `{"action":"add header"}`, filters.Continue, "", "-X-Junk[0] +X-Junk=Yes"},
		{"add header, with a value", "on_add_header = \"header\"", `{"action":"add header","milter":{"spam_header":"Very"}}`, filters.Continue, "", "-X-Spam[0] +X-Spam=Very"},
		{"add header, with names", "on_add_header = \"header\"", `{"action":"add header","milter":{"spam_header":{"B":"b","A":"a"}}}`, filters.Continue, "", "-A[0] +A=a -B[0] +B=b"},
		{"add header, with nonsense", "on_add_header = \"header\"", `{"action":"add header","milter":{"spam_header":[7]}}`, filters.Continue, "", "-X-Spam[0] +X-Spam=Yes"},
		{"rewrite subject", "", `{"action":"rewrite subject","subject":"*** x"}`, filters.Continue, "", "Subject[1]=*** x"},
		{"rewrite subject, not in ASCII", "", `{"action":"rewrite subject","subject":"é\r\nBcc: x"}`, filters.Continue, "", "Subject[1]==?utf-8?q?=C3=A9=0D=0ABcc:_x?="},
		{"rewrite subject, to nothing", "", `{"action":"rewrite subject"}`, filters.Continue, "", ""},
		{"no action, whatever it says", "", `{"action":"reject","milter":{"no_action":true}}`, filters.Continue, "", "X-Rspamd-Action=reject+"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := judge(t, "address = \""+daemontest.Serve(t, "unix", says(200, c.answer))+"\"\n"+c.settings, filters.Event{}, message)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(v.Edits(), " "); v.Action != c.action || v.Text != c.text || got != c.edits {
				t.Fatalf("got %d %q, edits %q; want %d %q, %q", v.Action, v.Text, got, c.action, c.text, c.edits)
			}
		})
	}
}

func TestWhatIsToChange(t *testing.T) {
	for _, c := range []struct{ name, milter, want string }{
		{"nothing", `"milter":null`, ""},
		{"Lua's empty tables", `"milter":{"add_headers":[],"remove_headers":[],"add_rcpt":{}}, "messages":[]`, ""},
		{"the three forms of a field", `"milter":{"add_headers":{"A":"a","B":{"value":"b","order":0},"C":["c",{"value":"d","order":-1},{"value":"e","index":1}]}}`, "A=a+ +B=b C=c+ C=d+ +C=e"},
		{"a number for a value", `"milter":{"add_headers":{"A":5.5}}`, "A=5.5+"},
		{"names that are none", `"milter":{"add_headers":{"":"a","A B":"a","A:":"a","A\r\nB":"a","é":"a","` + strings.Repeat("x", 77) + `":"a"},"remove_headers":{"A B":0}}`, ""},
		{"values that would break out", `"milter":{"add_headers":{"A":"a\r\n\r\nbody","B":"b\nX-C: c","C":"\u0000\u007f\rc\n \n","D":"\r\n\td"}}`, `A=a\n\tbody+ B=b\n\tX-C: c+ C=???c+ D=d+`},
		{"removed by their place", `"milter":{"remove_headers":{"x-old":[1,2,1],"X-Spam":-1,"X-None":-1,"Z":7}}`, "-X-Spam[1] -Z[7] -x-old[2] -x-old[1]"},
		{"removed from the end", `"milter":{"remove_headers":{"X-Old":-2}}`, "-X-Old[1]"},
		{"places beyond numbers", `"milter":{"remove_headers":{"X-Old":[1e300,-1e300]}}`, "-X-Old[65536]"},
		{"the envelope", `"milter":{"change_from":"<b@far.test>","add_rcpt":["c@here.test"],"del_rcpt":["<d@here.test>"]}`, "from=b@far.test +to=c@here.test -to=d@here.test"},
		{"the null sender", `"milter":{"change_from":""}`, "from="},
		{"a signature", `"dkim-signature":"v=1;\r\n\ts=x"`, `+DKIM-Signature=v=1;\n\ts=x`},
		{"signatures", `"dkim-signature":["a","b"]`, "+DKIM-Signature=a +DKIM-Signature=b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := judge(t, "address = \""+daemontest.Serve(t, "tcp", says(200, `{"action":"no action",`+c.milter+"}"))+"\"", filters.Event{}, message)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(strings.ReplaceAll(strings.Join(v.Edits(), " "), "\n", `\n`), "\t", `\t`); got != c.want {
				t.Fatalf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestScoreAndNote(t *testing.T) {
	for _, c := range []struct {
		answer string
		score  float64
		note   string
	}{
		{`{"action":"add header","score":7.5}`, 15, "add-header 7.50"},
		{`{"action":"no action","score":-1e300}`, -200_000, "no-action -100000.00"},
		{`{"action":"\r\n ","score":0}`, 0, "unknown 0.00"},
	} {
		v, err := judge(t, "score = 2\naddress = \""+daemontest.Serve(t, "tcp", says(200, c.answer))+"\"", filters.Event{}, message)
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Notes[0].Result + " " + v.Notes[0].Get("policy", "score"); v.Score != c.score || got != c.note || !v.Notes[0].Hidden {
			t.Errorf("%s: got %v, %s; want %v, %s", c.answer, v.Score, got, c.score, c.note)
		}
	}
}

func TestWhatRspamdIsTold(t *testing.T) {
	type told struct {
		q    *http.Request
		body string
	}
	seen := make(chan told, 1)
	address := daemontest.Serve(t, "tcp", func(c net.Conn) {
		q, body := take(c)
		seen <- told{q, body}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n{\"action\":\"no action\"}")
	})
	e := filters.Event{
		Client: netip.MustParseAddrPort("[::ffff:192.0.2.1]:25"), ClientName: "c.far.test", Helo: "h\r\nPassword: y", Login: "ann", TLSVersion: "TLS1.3", TLSCipher: "X",
		Sender: "a@far.test", Recipients: []string{"b@here.test", "é@here.test"},
	}
	if _, err := judge(t, "password = \"hunter2\"\naddress = \""+address+"\"", e, message); err != nil {
		t.Fatal(err)
	}
	got := <-seen
	for name, want := range map[string]string{
		"Ip": "192.0.2.1", "Hostname": "c.far.test", "Helo": "hPassword: y", "User": "ann", "Tls-Version": "TLS1.3", "Tls-Cipher": "X", "From": "<a@far.test>",
		"Rcpt": "<b@here.test>|<é@here.test>", "Queue-Id": "1K0ZRAC0VZ7FB7X7", "Password": "hunter2", "Mta-Name": "mx.here.test", "User-Agent": "Posthouse/1",
	} {
		if have := strings.Join(got.q.Header[name], "|"); have != want {
			t.Errorf("%s: got %q, want %q", name, have, want)
		}
	}
	if got.body != message || got.q.Method != "POST" || got.q.URL.Path != "/checkv2" {
		t.Errorf("got %s %s, %q", got.q.Method, got.q.URL, got.body)
	}
	// From this machine, the null sender, and more recipients than anybody can be told of.
	e = filters.Event{Local: true, Recipients: make([]string, 50_000)}
	for i := range e.Recipients {
		e.Recipients[i] = fmt.Sprintf("user%d@here.test", i)
	}
	if _, err := judge(t, "address = \""+address+"\"", e, message); err != nil {
		t.Fatal(err)
	}
	got = <-seen
	if h := got.q.Header; h.Get("IP") != "127.0.0.1" || h.Get("From") != "<>" || len(h["Rcpt"]) < 1000 || len(h["Rcpt"]) > 3000 || h["User"] != nil || h["Password"] != nil {
		t.Errorf("got %v of %d recipients", h.Get("IP"), len(h["Rcpt"]))
	}
}

func TestOneThatIsTooLargeIsNotShown(t *testing.T) {
	if v, err := judge(t, "address = \"unix:/nonexistent\"\nmax_size = \"10\"", filters.Event{}, message); err != nil || v.Action != filters.Continue {
		t.Errorf("got %+v, %v", v, err)
	}
}

func TestAMessageThatCannotBeRead(t *testing.T) {
	address := daemontest.Serve(t, "tcp", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	f := &rspamd.Filter{}
	if err := f.Configure(&filters.Site{}, filters.NewSettings("[settings]\naddress = \""+address+"\"")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Message(t.Context(), &filters.Event{Message: filtertest.Lost(t)}); err == nil || !strings.HasPrefix(err.Error(), "reading the message: open ") {
		t.Errorf("got %v, want the file's error and no word of Rspamd", err)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"address = \"rspamd\"", "line 2: address"},
		{"timeout = \"0s\"", "line 2: timeout"},
		{"max_size = \"0\"", "line 2: max_size"},
		{"on_reject = \"tempfail\"", "line 2: on_reject"},
		{"on_add_header = \"none\"", "line 2: on_add_header"},
		{"on_greylist = \"reject\"", "line 2: on_greylist"},
		{"spam_header = \"X Spam\"", "line 2: spam_header"},
		{"spam_header = \"\"", "line 2: spam_header"},
		{"score = -1.0", "line 2: score"},
		{"score = nan", "line 2: score"},
		{"score = 1001.0", "line 2: score"},
		{"password = \"hunter2\\u000a\"", "line 2: password"},
		{"pasword = \"hunter2\"", "unknown key"},
		{"password = 5", "password"},
	} {
		err := (&rspamd.Filter{}).Configure(&filters.Site{}, filters.NewSettings("[settings]\n"+c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
}
