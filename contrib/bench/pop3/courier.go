package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// courierLogin is a shell's script that takes USER and PASS and then is courierpop3d. $1 is the folder of the mailboxes, $2
// the program. It forks nothing.
const courierLogin = `printf '+OK ready\r\n'; read -r verb user; printf '+OK\r\n'; read -r pass; exec "$2" "$1/${user%%@*}"`

// startCourier serves by courierpop3d, which takes its connection as standard input and output from whoever has checked the
// password: here from us, who take any. It is spared TLS and login. With TLS a process of Courier's couriertls stands before
// it, as in its own pop3d-ssl, and a shell takes USER and PASS, where Courier has courierpop3login and asks authdaemond: it
// is spared the password check.
func (b *bench) startCourier(s *server) error {
	programs := []string{b.courier}
	if s.tls {
		programs = append(programs, b.courierTLS)
	}
	for _, p := range programs {
		if _, err := os.Stat(p); err != nil {
			return err
		}
	}
	ln, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	s.ln = ln
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go b.serveCourier(s, c.(*net.TCPConn))
		}
	}()
	return nil
}

func (b *bench) serveCourier(s *server, c *net.TCPConn) {
	defer c.Close()
	var cmd *exec.Cmd
	if s.tls {
		cmd = exec.Command(b.courierTLS, "-server", "-tcpd", "/bin/sh", "-c", courierLogin, "sh", filepath.Dir(s.mailbox), b.courier)
	} else {
		_, _ = c.Write([]byte("+OK ready\r\n"))
		cmd = exec.Command(b.courier, s.user(readLogin(c)))
	}
	f, err := c.File()
	if err != nil {
		return
	}
	defer f.Close()
	cmd.Stdin, cmd.Stdout = f, f
	cmd.Env = []string{"AUTHENTICATED=" + login, "AUTHADDR=" + login, "TCPREMOTEIP=127.0.0.1", "LD_LIBRARY_PATH=" + b.courierLibs,
		"TLS_CERTFILE=" + filepath.Join(b.dir, bothFile), "TLS_VERIFYPEER=NONE"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if cmd.Start() != nil {
		return
	}
	s.mu.Lock()
	s.children[cmd] = true
	s.mu.Unlock()
	_ = cmd.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.children, cmd)
	s.spent += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// readLogin takes USER and PASS, octet by octet: what follows is not ours.
func readLogin(c net.Conn) (user string) {
	line := func() string {
		var l []byte
		for one := make([]byte, 1); ; {
			if _, err := c.Read(one); err != nil || one[0] == '\n' {
				return strings.TrimRight(string(l), "\r")
			}
			l = append(l, one[0])
		}
	}
	user, _, _ = strings.Cut(strings.TrimPrefix(line(), "USER "), "@")
	_, _ = c.Write([]byte("+OK\r\n"))
	line()
	return user
}
