package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// sender is an instance with a sendmail for it, which users of this machine can call.
type sender struct {
	*peers
	sendmail, aliases string
}

// stranger is a uid that has no name here.
const stranger = "54321"

func startSender(t *testing.T) *sender {
	t.Helper()
	t.Parallel()
	s := &sender{peers: &peers{newInstance(t, options{top: `origin = "here.test"`, inside: fmt.Sprintf("aliases = %q", filepath.Join(t.TempDir(), "aliases"))}), t.TempDir()}}
	s.aliases, _, _ = strings.Cut(strings.Split(s.text, "aliases = \"")[1], "\"")
	mtatest.Write(t, s.aliases, "root: alice\nmine: "+stranger+"\n"+stranger+": bob\n")
	s.startAll()
	s.sendmail = filepath.Join(s.dir, "sendmail")
	mtatest.Write(t, s.sendmail, fmt.Sprintf("#!/bin/sh\nexec %s/sendmail -C %s \"$@\"\n", bin, s.conf))
	for path, mode := range map[string]os.FileMode{bin: 0o755, s.dir: 0o711, s.dir + "/run": 0o711, s.dir + "/run/smtpd": 0o711, s.dir + "/run/queue": 0o711, s.conf: 0o644, s.sendmail: 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// as runs a program as another user of this machine.
func (s *sender) as(t *testing.T, uid, stdin string, args ...string) (int, string) {
	t.Helper()
	needRoot(t)
	return s.run(t, stdin, "setpriv", append([]string{"--reuid=" + uid, "--regid=" + uid, "--clear-groups", "--"}, args...)...)
}

// want waits for the message with a subject in a mailbox, and returns it.
func (s *sender) want(t *testing.T, local, subject string) string {
	t.Helper()
	var text string
	mtatest.Eventually(t, func() error {
		for _, f := range s.files(local) {
			b, err := os.ReadFile(f)
			if err == nil && strings.Contains(string(b), "Subject: "+subject+"\n") {
				text = string(b)
				return nil
			}
		}
		return fmt.Errorf("%s has no message %q", local, subject)
	})
	return text
}

func wantIn(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in\n%s", w, text)
		}
	}
}

func wantNotIn(t *testing.T, text string, without ...string) {
	t.Helper()
	for _, w := range without {
		if strings.Contains(text, w) {
			t.Errorf("%q is in\n%s", w, text)
		}
	}
}

func TestSendmailSends(t *testing.T) {
	s := startSender(t)
	// cron's way
	s.good(t, "From: root (Cron Daemon)\nTo: root\nSubject: cron\n\n.\nlast\n", s.sendmail, "-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-f", "root")
	m := s.want(t, "alice", "cron")
	wantIn(t, m, "Return-Path: <root@here.test>\n", "From: root@here.test (Cron Daemon)\n", "To: root@here.test\n", "Date: ", "Message-ID: <", "\n.\nlast\n", "(from uid 0)")
	if strings.Count(m, "\nFrom: ")+strings.Count(m, "\nDate: ") != 2 {
		t.Errorf("From and Date are not there once:\n%s", m)
	}
	// logwatch's
	s.good(t, "To: root\nFrom: Logwatch\nSubject: logwatch\n\nx\n", s.sendmail, "-t")
	wantIn(t, s.want(t, "alice", "logwatch"), "From: Logwatch@here.test\n")
	// Bcc gets it and nobody sees it; recipients on the command line get it too
	s.good(t, "Subject: blind\nTo: a group: alice@localhost;\nBcc: Bob\n <bob@here.test>\n\nx\n", s.sendmail, "-ti", "-F", "Jörg R.")
	for _, who := range []string{"alice", "bob"} {
		m := s.want(t, who, "blind")
		wantIn(t, m, "From: =?utf-8?b?SsO2cmcgUi4=?= <root@here.test>\n")
		wantNotIn(t, m, "Bcc", "Bob")
	}
	// a trusted user may send as anybody, and as nobody
	s.good(t, "Subject: trusted\n\nx\n", s.sendmail, "-f", "x@away.test", "bob")
	wantIn(t, s.want(t, "bob", "trusted"), "Return-Path: <x@away.test>\n", "From: <x@away.test>\n")
	s.good(t, "Subject: null\n\nx\n", s.sendmail, "-f", "<>", "bob")
	wantIn(t, s.want(t, "bob", "null"), "Return-Path: <>\n")
	// a large one, beyond what is kept in memory
	line := strings.Repeat("0123456789", 7) + "\n"
	s.good(t, "Subject: large\n\n"+strings.Repeat(line, 20_000), s.sendmail, "bob")
	if m := s.want(t, "bob", "large"); strings.Count(m, line) != 20_000 {
		t.Errorf("got %d lines of the large message, want 20000", strings.Count(m, line))
	}
	// a job that prints one line, such as JSON
	s.good(t, "Subject: long line\n\n"+strings.Repeat("0123456789", 20_000), s.sendmail, "bob")
	if m := s.want(t, "bob", "long line"); strings.Count(m, "0123456789") < 19_990 {
		t.Errorf("got %d octets of the long line", len(m))
	}
	// without sending
	if status, out := s.run(t, "", s.sendmail, "-bv", "bob", "nobody"); status != 67 || !strings.Contains(out, "bob@here.test... deliverable\nnobody@here.test... 550 5.1.1") {
		t.Errorf("-bv: got status %d and %q", status, out)
	}
	// as an SMTP server
	out := s.good(t, "EHLO x\r\nMAIL FROM:<alice@here.test>\r\nRCPT TO:<bob@here.test>\r\nDATA\r\nSubject: smtp\r\n\r\nx\r\n.\r\nQUIT\r\n", s.sendmail, "-bs")
	wantIn(t, out, "354 ", "250 2.0.0 ", "221 ")
	s.want(t, "bob", "smtp")
}

func TestSendmailSaysWhyNot(t *testing.T) {
	s := startSender(t)
	for _, c := range []struct {
		stdin  string
		args   []string
		status int
		says   string
	}{
		{"Subject: some\n\nx\n", []string{"bob", "nobody", "noone"}, 67, "nobody@here.test"},
		{"Subject: some\n\nx\n", []string{"bob", "nobody", "noone"}, 67, "and 1 more"},
		{"To: x y\n\n", []string{"-t"}, 65, "field to"},
		{"Subject: x\n\n", []string{"-t"}, 64, "no recipients"},
		{"x", nil, 64, "no recipients"},
		{"x", []string{"-bd"}, 64, "systemctl"},
		{"x", []string{"-f", "a b", "bob"}, 64, "-f a b"},
		{strings.Repeat(strings.Repeat("x", 99)+"\n", 600_000), []string{"bob"}, 65, "too large"},
		{strings.Repeat("x", 100_000), []string{"bob"}, 65, "line too long"},
	} {
		if status, out := s.run(t, c.stdin, s.sendmail, c.args...); status != c.status || !strings.Contains(out, c.says) {
			t.Errorf("sendmail %q: got status %d and %q, want %d and %q", c.args, status, out, c.status, c.says)
		}
	}
	s.smtpd.Terminate(t)
	if status, out := s.run(t, "Subject: away\n\nx\n", s.sendmail, "bob"); status != 75 || !strings.Contains(out, "is it running?") {
		t.Errorf("without smtpd: got status %d and %q, want 75", status, out)
	}
	// one that comes back in time
	mtatest.Eventually(t, func() error { // a busy machine may need longer for the start than sendmail waits
		if s.smtpd.Running() {
			s.smtpd.Terminate(t)
		}
		cmd := exec.Command(s.sendmail, "bob")
		cmd.Stdin = strings.NewReader("Subject: back\n\nx\n")
		if err := cmd.Start(); err != nil {
			return err
		}
		s.restart(&s.smtpd)
		return cmd.Wait()
	})
	s.want(t, "bob", "back")
	if n := len(s.files("bob")); n != 1 {
		t.Errorf("bob has %d messages, want the last one alone", n)
	}
}

func TestSendmailKnowsItsCaller(t *testing.T) {
	needRoot(t)
	s := startSender(t)
	send := func(subject string, args ...string) string {
		t.Helper()
		if status, out := s.as(t, stranger, "Subject: "+subject+"\n\nx\n", append([]string{s.sendmail}, args...)...); status != 0 {
			t.Fatalf("%s: got status %d: %s", subject, status, out)
		}
		return s.want(t, "bob", subject)
	}
	own := "Return-Path: <" + stranger + "@here.test>\n"
	wantIn(t, send("plain", "bob"), own, "From: <"+stranger+"@here.test>\n", "(from uid "+stranger+")")
	wantIn(t, send("alias", "-f", "mine", "bob"), "Return-Path: <mine@here.test>\n")
	forged := send("forged", "-f", "alice@here.test", "bob")
	wantIn(t, forged, own, "X-Authentication-Warning: here.test: "+stranger+" set sender to\n\talice@here.test using -f\n", "From: <"+stranger+"@here.test>\n")
	wantNotIn(t, send("again", "bob"), "X-Authentication-Warning")

	// mailq is for all, flushing for the operator
	if status, out := s.as(t, stranger, "", s.sendmail, "-bp"); status != 0 || !strings.Contains(out, "Mail queue is empty") {
		t.Errorf("mailq: got status %d and %q", status, out)
	}
	if status, out := s.as(t, stranger, "", s.sendmail, "-q"); status != 0 {
		t.Errorf("-q with nothing to do: got status %d and %q", status, out)
	}
	if status, out := s.run(t, "", s.sendmail, "-bi", "-v"); status != 0 || !strings.Contains(out, "aliases: good") {
		t.Errorf("newaliases: got status %d and %q", status, out)
	}
	mtatest.Write(t, s.aliases, "root: alice\nring1: ring2\nring2: ring1\nbob: bob, ops\nops: gone\n")
	if status, out := s.run(t, "", s.sendmail, "-bi"); status != 65 || strings.Count(out, "alias loop: ") != 2 || strings.Contains(out, "bob") || strings.Contains(out, "good") {
		t.Errorf("newaliases of a loop: got status %d and %q", status, out)
	}
}

// TestTheSystemsOwnProgramsSendThroughSendmail: those that call /usr/sbin/sendmail and nothing else. Each has ours there, in a mount
// namespace of its own.
func TestTheSystemsOwnProgramsSendThroughSendmail(t *testing.T) {
	needRoot(t)
	mtatest.Need(t, "unshare")
	if _, err := os.Stat("/usr/sbin/sendmail"); err != nil {
		mtatest.Lacking(t, "a program to mount ours over: %v", err)
	}
	s := startSender(t)
	const place = `set -e; mount --make-rprivate /; mount --bind "$0" /usr/sbin/sendmail; `
	ours := func(script string) *exec.Cmd {
		return exec.Command("unshare", "--mount", "sh", "-c", place+script, s.sendmail)
	}
	t.Run("cron", func(t *testing.T) {
		mtatest.Need(t, "cron")
		cron := ours(`for d in /run /var/spool/cron/crontabs /etc/cron.d; do mount -t tmpfs none $d; done; mount --bind /dev/null /etc/crontab
			printf 'MAILTO=bob\n@reboot echo hello; echo .; echo more\n' >/var/spool/cron/crontabs/root; chmod 600 /var/spool/cron/crontabs/root; exec cron -f`)
		if err := cron.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cron.Process.Kill(); _ = cron.Wait() }()
		text := ""
		mtatest.Eventually(t, func() error {
			for _, f := range s.files("bob") {
				if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "\nSubject: Cron <root@") {
					text = string(b)
					return nil
				}
			}
			return fmt.Errorf("no mail of cron's")
		})
		wantIn(t, text, "From: root@here.test (Cron Daemon)\n", "To: bob@here.test\n", "\nhello\n.\nmore\n")
	})
	t.Run("logwatch", func(t *testing.T) {
		mtatest.Need(t, "logwatch")
		if out, err := ours(`exec logwatch --output mail --mailto bob@here.test --range all --service zz-network --service zz-sys --hostname here.test`).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		wantIn(t, s.want(t, "bob", "Logwatch for here.test (Linux)"), "To: bob@here.test\n", "From: root@here.test\n", " Logwatch End ")
	})
}

// TestProgramsSendThroughSendmail: those that have no SMTP of their own.
func TestProgramsSendThroughSendmail(t *testing.T) {
	s := startSender(t)
	rc := s.file(t, ".mailrc", "set sendmail="+s.sendmail+"\n")
	t.Run("bsd-mailx", func(t *testing.T) {
		mtatest.Need(t, "bsd-mailx")
		s.good(t, "hello\n.\nmore\n", "env", "MAILRC="+rc, "bsd-mailx", "-s", "bsd-mailx", "-c", "alice", "bob")
		wantIn(t, s.want(t, "bob", "bsd-mailx"), "To: bob@here.test\n", "Cc: alice@here.test\n", "hello\n")
		s.want(t, "alice", "bsd-mailx")
	})
	t.Run("s-nail", func(t *testing.T) {
		mtatest.Need(t, "s-nail")
		s.good(t, "hello\n", "s-nail", "-n", "-S", "mta="+s.sendmail, "-s", "s-nail", "-b", "alice@here.test", "bob@here.test")
		wantNotIn(t, s.want(t, "bob", "s-nail"), "Bcc")
		s.want(t, "alice", "s-nail")
	})
	t.Run("mutt", func(t *testing.T) {
		muttrc := s.file(t, ".muttrc", fmt.Sprintf("set sendmail=%q use_envelope_from=yes from=root@here.test record=\"\"\n", s.sendmail+" -oem -oi"))
		s.good(t, "hello\n.\nmore\n", "mutt", "-n", "-F", muttrc, "-s", "mutt", "--", "bob@here.test")
		wantIn(t, s.want(t, "bob", "mutt"), "hello\n.\nmore\n", "Return-Path: <root@here.test>\n")
	})
	t.Run("git", func(t *testing.T) {
		mtatest.Need(t, "git")
		if out, err := exec.Command("git", "send-email", "-h").CombinedOutput(); strings.Contains(string(out), "is not a git command") {
			mtatest.Lacking(t, "git send-email: %v", err)
		}
		patch := s.file(t, "p.patch", "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\nFrom: Alice <alice@here.test>\nDate: Mon, 1 Jan 2024 00:00:00 +0000\nSubject: [PATCH] git\n\nWhy.\n---\n a | 1 +\n")
		s.good(t, "", "git", "-c", "user.name=Alice", "-c", "user.email=alice@here.test", "send-email", "--quiet", "--confirm=never", "--suppress-cc=all", "--from=alice@here.test", "--to=bob@here.test", "--smtp-server="+s.sendmail, patch)
		wantIn(t, s.want(t, "bob", "[PATCH] git"), "Why.\n")
	})
	t.Run("php", func(t *testing.T) {
		mtatest.Need(t, "php")
		s.good(t, "", "php", "-d", "sendmail_path="+s.sendmail+" -t -i", "-r", `exit(mail("bob@here.test", "php", "hello\r\n.\r\nmore", "X-A: b\r\nCc: alice@here.test", "-fweb@here.test") ? 0 : 1);`)
		wantIn(t, s.want(t, "bob", "php"), "X-A: b\n", "hello\n.\nmore\n", "Return-Path: <web@here.test>\n")
		s.want(t, "alice", "php")
	})
	t.Run("a slow program", func(t *testing.T) {
		cmd := exec.Command(s.sendmail, "-oi", "bob")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(in, "Subject: slow\n\none\n")
		time.Sleep(10 * time.Millisecond) // so that it comes in two pieces; nothing depends on it
		fmt.Fprint(in, "two\n")
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		wantIn(t, s.want(t, "bob", "slow"), "one\ntwo\n")
	})
}
