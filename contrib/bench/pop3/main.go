// Command pop3bench holds pop3d beside the POP3 servers of Dovecot and Courier: the same messages, the same client, one run.
//
//	go run ./contrib/bench/pop3 [--messages 10000] [--size 4096] [--rounds 3] [--servers posthouse,dovecot,courier]
//
// Each figure is taken from all servers in turn, round after round; of the rounds the best one counts, so that what else the
// machine does is felt least. Beside the time stands the processor time that the server's processes took, which other work
// on the machine disturbs less. It needs root, to start Dovecot as its packages want it; everything is in a temporary
// folder and on 127.0.0.1, and what it starts ends with it.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

// settings are the flags.
type settings struct {
	messages, size, rounds, clients, sessions, idle int
	servers                                         []string
	courier, courierTLS, courierLibs                string
	sized                                           bool
	settle                                          time.Duration // for which the folders have been left alone when they count as settled
}

func main() {
	s := settings{settle: 3 * time.Second}
	pflag.IntVar(&s.messages, "messages", 10000, "messages of the mailbox")
	pflag.IntVar(&s.size, "size", 4096, "octets of a message")
	pflag.IntVar(&s.rounds, "rounds", 3, "rounds, of which the best counts")
	pflag.IntVar(&s.clients, "clients", 10, "clients at once, for sessions a second")
	pflag.IntVar(&s.sessions, "sessions", 400, "sessions of a round, for sessions a second")
	pflag.IntVar(&s.idle, "idle", 100, "idle sessions, for the memory that one takes")
	pflag.BoolVar(&s.sized, "sized", false, "file names give the sizes (S= and W=), as posthouse and dovecot deliver them")
	pflag.StringSliceVar(&s.servers, "servers", []string{"posthouse", "dovecot", "courier"}, "who takes part: posthouse, dovecot, dovecot-plain, dovecot-tuned, courier, courier-tls")
	pflag.StringVar(&s.courier, "courierpop3d", "/usr/lib/courier/courier/courierpop3d", "Courier's server, a `PROGRAM`")
	pflag.StringVar(&s.courierTLS, "couriertls", "/usr/bin/couriertls", "Courier's TLS for courier-tls, a `PROGRAM`")
	pflag.StringVar(&s.courierLibs, "courier-libraries", "", "where its libraries are, a `PATH`")
	pflag.Parse()
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, "pop3bench:", err)
		os.Exit(1)
	}
}

func run(s settings) error {
	dir, err := os.MkdirTemp("", "pop3bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	b := &bench{settings: s, dir: dir, results: map[string]map[string]result{}}
	defer b.stopAll()
	go func() {
		<-stop
		b.stopAll()
		os.RemoveAll(dir)
		os.Exit(130)
	}()
	if err := b.prepare(); err != nil {
		return err
	}
	for round := range s.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, s.rounds)
		if err := b.round(); err != nil {
			return err
		}
	}
	fmt.Printf("%d messages of %d octets, %s; best of %d rounds\n\n", s.messages, s.size, map[bool]string{false: "names without sizes", true: "names with sizes"}[s.sized], s.rounds)
	b.print(os.Stdout)
	return nil
}

// warn tells what is left out.
func warn(format string, args ...any) {
	fmt.Fprintln(os.Stderr, strings.TrimSpace(fmt.Sprintf(format, args...)))
}
