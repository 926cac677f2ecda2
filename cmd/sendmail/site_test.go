package main

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/config"
)

// TestUnreadableConfiguration: smtpd's greeting tells what completes an address.
func TestUnreadableConfiguration(t *testing.T) {
	for _, c := range []struct {
		name, greeting, want string
		cfg                  *config.Config
	}{
		{"no domain", "220 -- ESMTP", "machine", nil},
		{"refused", "421 mx.here.test busy", "machine", nil},
		{"readable", "220 mx.here.test ESMTP", "machine", &config.Config{}},
		{"unreadable", "220 mx.here.test ESMTP", "mx.here.test", nil},
	} {
		socket := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "%s\r\n", c.greeting)
			for s := bufio.NewScanner(conn); s.Scan(); {
				fmt.Fprint(conn, "250 OK\r\n")
				if strings.HasPrefix(s.Text(), "QUIT") {
					return
				}
			}
		}()
		x := &command{site: site{cfg: c.cfg, socket: socket, origin: "machine", login: "jim"}}
		x.askName(t.Context())
		if got, want := x.self().String(), "jim@"+c.want; got != want {
			t.Errorf("%s: got %s, want %s", c.name, got, want)
		}
		l.Close()
		<-done
	}
	x := &command{site: site{socket: filepath.Join(t.TempDir(), "absent"), origin: "machine"}}
	if x.askName(t.Context()); x.origin != "machine" {
		t.Errorf("without smtpd: got %s, want the machine's name", x.origin)
	}
}
