package pop3d_test

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/pop3d"
)

// TestDialogs plays the transcripts in testdata. A line of a transcript is one of
//
//	# a remark
//	listen starttls|implicit|none      before all else; starttls without it
//	login-delay DURATION, uidl FORMAT  options, before all else
//	refuse-utf8                        an option, before all else
//	scram                              SCRAM is offered; before all else
//	SCRAM MECHANISM|login|password[|elsewhere] an exchange, up to its end
//	file PATH "content"                a message in alice's mailbox, before or during the dialogue
//	rename PATH PATH, remove PATH, link TARGET PATH   by another program
//	there PATH, gone PATH              what must or must not be in the mailbox now
//	connect                            from here on a new connection
//	tls                                the client's side of a handshake
//	login                              alice logs in
//	C: line                            the client sends it with CR LF
//	C" "octets"                        the client sends them as they are
//	S: line                            the server's answer; "..." at its end is any rest
//	end                                the server closes the connection
//	drop                               the client closes it
//	log text                           stands in the log, now or soon
func TestDialogs(t *testing.T) {
	files, err := filepath.Glob("testdata/*.dialog")
	if err != nil || len(files) == 0 {
		t.Fatalf("transcripts: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".dialog"), func(t *testing.T) { play(t, file) })
	}
}

func play(t *testing.T, file string) {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := &player{t: t, mode: pop3d.StartTLS}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		p.where = file + ":" + strconv.Itoa(n)
		t.Logf("%s: %s", p.where, lines.Text())
		p.step(lines.Text())
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

type player struct {
	t     *testing.T
	where string
	mode  pop3d.TLSMode
	opt   []func(*pop3d.Options)
	h     *host
	c     *client
}

func (p *player) host() *host {
	if p.h == nil {
		p.h = start(p.t, p.mode, func(o *pop3d.Options) {
			for _, change := range p.opt {
				change(o)
			}
		})
	}
	return p.h
}

func (p *player) step(line string) {
	p.t.Helper()
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "", "#":
	case "listen":
		p.mode = map[string]pop3d.TLSMode{"starttls": pop3d.StartTLS, "implicit": pop3d.Implicit, "none": pop3d.NoTLS}[rest]
	case "login-delay":
		p.opt = append(p.opt, func(o *pop3d.Options) { o.LoginDelay = p.duration(rest) })
	case "scram":
		p.opt = append(p.opt, offerScram)
	case "refuse-utf8":
		p.opt = append(p.opt, func(o *pop3d.Options) { o.RefuseUTF8 = true })
	case "uidl":
		p.opt = append(p.opt, func(o *pop3d.Options) { o.UIDL = rest })
	case "file":
		name, content, _ := strings.Cut(rest, " ")
		p.host().put(p.t, name, p.unquote(content))
	case "connect":
		p.c = p.host().dial(p.t)
	case "tls":
		p.c.startTLS(p.h.certs)
	case "login":
		p.c.send("USER alice\r\nPASS open sesame\r\n")
		p.c.expect("+OK send the password")
		p.c.expect("+OK...")
	case "C:":
		p.c.send(rest + "\r\n")
	case `C"`:
		p.c.send(p.unquote(rest))
	case "S:":
		p.c.expect(rest)
	case "SCRAM":
		args := strings.Split(rest, "|")
		p.c.scram(args[0], args[1], args[2], strings.Join(args[3:], ""))
	case "end":
		p.c.expectEOF()
	case "drop":
		_ = p.c.Close()
	default:
		p.look(verb, rest)
	}
}

// look does the steps that act on files and on the log.
func (p *player) look(verb, rest string) {
	p.t.Helper()
	from, to, _ := strings.Cut(rest, " ")
	var err error
	switch verb {
	case "rename":
		err = os.Rename(filepath.Join(p.h.mailbox(), from), filepath.Join(p.h.mailbox(), to))
	case "link":
		err = os.Symlink(from, filepath.Join(p.h.mailbox(), to))
	case "remove":
		err = os.Remove(filepath.Join(p.h.mailbox(), from))
	case "there", "gone":
		if got, want := p.h.exists(from), verb == "there"; got != want {
			p.t.Fatalf("%s: %s exists: got %v, want %v", p.where, from, got, want)
		}
	case "log":
		p.h.log.waitFor(p.t, rest)
	default:
		p.t.Fatalf("%s: unknown step %q", p.where, verb)
	}
	if err != nil {
		p.t.Fatalf("%s: %v", p.where, err)
	}
}

func (p *player) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		p.t.Fatalf("%s: %v", p.where, err)
	}
	return d
}

func (p *player) unquote(s string) string {
	p.t.Helper()
	u, err := strconv.Unquote(s)
	if err != nil {
		p.t.Fatalf("%s: %s: %v", p.where, s, err)
	}
	return u
}
