package clamav_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/clamav"
	"github.com/posthouse-mail/posthouse/filters/daemon/daemontest"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
)

const message = "From: a@far.test\r\nSubject: x\r\n\r\nbody\r\n"

// take reads what INSTREAM sends, whole.
func take(c net.Conn) []byte {
	head := make([]byte, len("zINSTREAM\x00"))
	if _, err := io.ReadFull(c, head); err != nil || string(head) != "zINSTREAM\x00" {
		return nil
	}
	var all []byte
	for {
		var n uint32
		if err := binary.Read(c, binary.BigEndian, &n); err != nil || n > 1<<20 {
			return nil
		}
		if n == 0 {
			return all
		}
		chunk := make([]byte, n)
		if _, err := io.ReadFull(c, chunk); err != nil {
			return nil
		}
		all = append(all, chunk...)
	}
}

// says takes the message and answers with the text.
func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		take(c)
		_, _ = io.WriteString(c, text)
	}
}

func judge(t *testing.T, settings, text string) (*filters.Verdict, error) {
	t.Helper()
	f := &clamav.Filter{}
	if err := f.Configure(&filters.Site{}, filters.NewSettings("[settings]\n"+settings)); err != nil {
		t.Fatal(err)
	}
	v, err := f.Message(t.Context(), &filters.Event{Message: filtertest.Message(t, text)})
	if v == nil {
		v = &filters.Verdict{}
	}
	return v, err
}

func TestWhatClamdAnswers(t *testing.T) {
	endless := func(c net.Conn) {
		take(c)
		for {
			if _, err := c.Write(bytes.Repeat([]byte("x"), 1024)); err != nil {
				return
			}
		}
	}
	silent := func(c net.Conn) {
		take(c)
		_, _ = io.Copy(io.Discard, c)
	}
	early := func(text string) func(net.Conn) { // it reads no more than the command
		return func(c net.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 10))
			_, _ = io.WriteString(c, text)
			_ = c.(interface{ CloseRead() error }).CloseRead()
		}
	}
	big := message + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 100_000)
	for _, c := range []struct {
		name   string
		serve  func(net.Conn)
		text   string
		more   string
		action filters.Action
		said   string
		err    string
	}{
		{"no answer", silent, message, "timeout = \"200ms\"", 0, "", "has not answered within 200ms"},
		{"an endless answer", endless, message, "", 0, "", "more than 4096 octets"},
		{"it hangs up", func(net.Conn) {}, message, "", 0, "", "127.0.0.1:"},
		{"an empty answer", says(""), message, "", 0, "", "without an answer"},
		{"half an answer", says("stream: OK"), message, "", 0, "", `within its answer "stream: OK"`},
		{"nothing but an end", says("\x00"), message, "", 0, "", `it says ""`},
		{"another protocol", says("220 mx.far.test ESMTP\r\n\x00"), message, "", 0, "", "it says"},
		{"no name", says("stream:  FOUND\x00"), message, "", 0, "", "it says"},
		{"OK, and more", says("stream: OK maybe\x00"), message, "", 0, "", "it says"},
		{"an error", says("stream: Can't allocate memory ERROR\x00"), message, "", 0, "", "Can't allocate memory"},
		{"clean before it has seen it", early("stream: OK\x00"), big, "", 0, "", "127.0.0.1:"},
		{"clean", says("stream: OK\x00"), message, "", filters.Continue, "", ""},
		{"a virus", says("stream: Eicar-Test FOUND\x00"), message, "", filters.Reject, "The message holds a virus: Eicar-Test", ""},
		{"a virus with an odd name", says("stream: a\r\n250 ok\xff FOUND\x00"), message, "", filters.Reject, "The message holds a virus: a??250 ok?", ""},
		{"a virus for Junk", says("stream: X FOUND\x00"), message, "on_virus = \"quarantine\"", filters.Quarantine, "The message holds a virus: X", ""},
		{"a virus thrown away", says("stream: X FOUND\x00"), message, "on_virus = \"discard\"", filters.Discard, "The message holds a virus: X", ""},
		{"larger than we ask for", says("stream: X FOUND\x00"), message, "max_size = \"10\"", filters.Continue, "", ""},
		{"larger, and refused", says(""), message, "max_size = \"10\"\non_too_large = \"reject\"", filters.Reject, "The message is too large to be checked for viruses", ""},
		{"larger, and for Junk", says(""), message, "max_size = \"10\"\non_too_large = \"quarantine\"", filters.Quarantine, "too large to be checked for viruses", ""},
		{"larger than clamd takes", says("INSTREAM size limit exceeded. ERROR\x00"), message, "", filters.Continue, "", ""},
		{"larger than clamd takes, refused", says("INSTREAM size limit exceeded. ERROR\x00"), message, "on_too_large = \"reject\"", filters.Reject, "The message is too large to be checked for viruses", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := judge(t, "address = \""+daemontest.Serve(t, "tcp", c.serve)+"\"\n"+c.more, c.text)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %+v, %v; want the error %s", v, err, c.err)
				}
				return
			}
			if err != nil || v.Action != c.action || v.Text != c.said {
				t.Fatalf("got %+v, %v; want action %d, %q", v, err, c.action, c.said)
			}
		})
	}
}

func TestOneThatReadsNothing(t *testing.T) {
	end := make(chan struct{})
	address := daemontest.Serve(t, "unix", func(net.Conn) { <-end })
	defer close(end)
	_, err := judge(t, "address = \""+address+"\"\ntimeout = \"200ms\"", message+strings.Repeat(strings.Repeat("x", 76)+"\r\n", 100_000))
	if err == nil || !strings.Contains(err.Error(), "has not answered within 200ms") {
		t.Fatalf("got %v, want that it has not answered", err)
	}
}

func TestTheWholeMessageIsShown(t *testing.T) {
	want := message + strings.Repeat("a line of text\r\n", 20_000)
	seen := make(chan []byte, 1)
	address := daemontest.Serve(t, "unix", func(c net.Conn) {
		seen <- take(c)
		_, _ = io.WriteString(c, "stream: OK\x00")
	})
	if v, err := judge(t, "address = \""+address+"\"", want); err != nil || v.Action != filters.Continue {
		t.Fatalf("got %+v, %v", v, err)
	}
	if got := string(<-seen); got != want {
		t.Errorf("it was shown %d octets, want %d", len(got), len(want))
	}
}

func TestNobodyThere(t *testing.T) {
	_, err := judge(t, "address = \"unix:"+filepath.Join(t.TempDir(), "none")+"\"", message)
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v, want that there is no such file", err)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"address = \"\"", "line 2: address"},
		{"address = \"clamd\"", "line 2: address"},
		{"address = \":3310\"", "line 2: address"},
		{"address = \"h:0\"", "line 2: address"},
		{"address = \"h:99999\"", "line 2: address"},
		{"address = \"unix:clamd.ctl\"", "line 2: address"},
		{"\ntimeout = \"0s\"", "line 3: timeout"},
		{"timeout = \"1h\"", "line 2: timeout"},
		{"max_size = \"0\"", "line 2: max_size"},
		{"max_size = \"-1\"", "line 2: max_size"},
		{"max_size = \"5GB\"", "line 2: max_size"},
		{"max_size = \"9223372036854775807GB\"", "line 2: max_size"},
		{"max_size = \"big\"", "line 2: max_size"},
		{"on_virus = \"none\"", "line 2: on_virus"},
		{"on_virus = \"delete\"", "line 2: on_virus"},
		{"on_too_large = \"discard\"", "line 2: on_too_large"},
		{"adress = \"h:1\"", "unknown key"},
	} {
		err := (&clamav.Filter{}).Configure(&filters.Site{}, filters.NewSettings("[settings]\n"+c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
}

func TestAMessageThatCannotBeRead(t *testing.T) {
	f := &clamav.Filter{}
	if err := f.Configure(&filters.Site{}, filters.NewSettings("[settings]\naddress = \""+daemontest.Serve(t, "tcp", says("stream: OK\x00"))+"\"")); err != nil {
		t.Fatal(err)
	}
	path := daemontest.Write(t, t.TempDir(), "message", message)
	m, err := filters.FileMessage("1K0ZRAC0VZ7FB7X7", path, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil { // it can be opened, and not be read
		t.Fatal(err)
	}
	if _, err := f.Message(t.Context(), &filters.Event{Message: m}); err == nil || !strings.HasPrefix(err.Error(), "reading the message: read "+path) {
		t.Errorf("got %v, want the file's error and no word of clamd", err)
	}
}
