package local

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/conffile"
	"github.com/posthouse-mail/posthouse/mta/maildir"
)

// text is a message of our own: a Source with LF line ends.
type text string

func (t text) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(t))
	return int64(n), err
}

// warn tells a user of a mailbox that has just come to hold so much of its quota, in the mailbox itself: once, until it holds
// less again. No message is lost with a warning, so that nobody is told of one that cannot be written.
func (d Deliverer) warn(c maildir.Counter, r Request, before, after int64) {
	if d.QuotaWarning == 0 {
		return
	}
	mark := c.Limit / 100 * int64(d.QuotaWarning)
	if before >= mark || after < mark {
		return
	}
	inbox := maildir.Mailbox{FS: d.FS, Path: r.Mailbox}
	full := "waits with its sender's server for some days, and then goes back"
	if d.QuotaBounces {
		full = "goes back to its sender"
	}
	body := fmt.Sprintf("Your mailbox %s holds %s of the %s that it may hold.\n\nWhen it is full, new mail to you %s.\n"+
		"Please remove what you no longer need, or fetch it from the server.\n", r.Login, octets(after), octets(c.Limit), full)
	size := int64(0)
	inbox.Admit = func(n int64) error { size = n; return nil }
	subject := fmt.Sprintf("Your mailbox is %d %% full", after*100/c.Limit)
	now := d.Quotas.Now()
	src := text(d.notice(r.Login, now, "quota."+string(r.ID), "Subject: "+subject+"\nAuto-Submitted: auto-generated\n", body))
	if inbox.Deliver(maildir.UniqueNotice(r.ID, r.Index, "quota", d.Host), src, false) == nil {
		_ = c.Add(maildir.Usage{Messages: 1, Octets: size})
	}
}

// octets shows a size to a user.
func octets(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"GB", 1 << 30}, {"MB", 1 << 20}, {"KB", 1 << 10}} {
		if n >= u.size {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/float64(u.size)), ".0") + " " + u.name
		}
	}
	return fmt.Sprintf("%d octets", n)
}

// notice completes a message of our own to a user. Fields end in LF; those that they do not have are added.
func (d Deliverer) notice(to mta.Address, now time.Time, id, fields, body string) string {
	has := func(name string) bool {
		return strings.Contains("\n"+strings.ToLower(fields), "\n"+strings.ToLower(name)+":")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Return-Path: <>\nDelivered-To: %s\n", to)
	for _, f := range []struct{ name, value string }{
		{"Date", now.Format("Mon, 2 Jan 2006 15:04:05 -0700")},
		{"From", "Postmaster <postmaster@" + d.Host + ">"},
		{"To", "<" + to.String() + ">"},
		{"Message-ID", "<" + id + "@" + d.Host + ">"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "8bit"},
	} {
		if !has(f.name) && !(strings.HasPrefix(f.name, "Content-") && has("MIME-Version")) {
			fmt.Fprintf(&b, "%s: %s\n", f.name, f.value)
		}
	}
	return b.String() + fields + "\n" + body
}

// maxWelcome bounds a welcome message.
const maxWelcome = 1 << 20

// ReadWelcome reads the file of a welcome message: header fields, an empty line and a text, or a text alone, in UTF-8.
func ReadWelcome(path string) ([]byte, error) {
	b, _, err := conffile.Read(path, maxWelcome)
	switch {
	case err != nil:
		return nil, err
	case !utf8.Valid(b):
		return nil, fmt.Errorf("%s: not UTF-8", path)
	case bytes.IndexByte(b, 0) >= 0:
		return nil, fmt.Errorf("%s: a NUL in it", path)
	case len(bytes.TrimSpace(b)) == 0:
		return nil, fmt.Errorf("%s: empty", path)
	}
	return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), nil
}

// begin makes a mailbox, with the welcome message where there is one.
func (d Deliverer) begin(box maildir.Mailbox, r Request) error {
	if d.Welcome == nil || box.Path != r.Mailbox {
		return box.Make()
	}
	if d.Quotas != nil { // of two messages at once one begins the mailbox
		defer d.Quotas.lock(box.Path).Unlock()
		if box.Exists() {
			return nil
		}
	}
	fields, body := splitWelcome(string(d.Welcome))
	now := r.ID.Time()
	src := text(d.notice(r.Login, now, "welcome."+string(r.ID), fields, body))
	return box.MakeWith(maildir.UniqueNotice(r.ID, r.Index, "welcome", d.Host), src)
}

// splitWelcome takes the header from a welcome message; one that is a text alone gets a subject.
func splitWelcome(s string) (fields, body string) {
	if head, rest, ok := strings.Cut(s, "\n\n"); ok && isHeader(head) {
		return head + "\n", rest
	}
	return "Subject: Welcome\n", s
}

// isHeader says whether each line is a field's, or goes on with one (RFC 5322 2.2).
func isHeader(head string) bool {
	for i, line := range strings.Split(head, "\n") {
		if i > 0 && line != "" && (line[0] == ' ' || line[0] == '\t') {
			continue
		}
		name, _, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return false
		}
	}
	return true
}
