package pop3d

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/sasl"
)

// auth is AUTH (RFC 5034): a mechanism of SASL, perhaps with an initial response. Without an argument it lists them, which
// mail programs from before CAPA ask for (RFC 1734 had it so).
func (s *session) auth(ctx context.Context, arg string) error {
	if s.tls == nil {
		return s.err(needTLS)
	}
	mechanism, initial, _ := strings.Cut(arg, " ")
	if mechanism == "" {
		return s.listMechanisms()
	}
	g := &gate{Accounts: s.opt.Auth, s: s}
	bounded, cancel := context.WithDeadline(ctx, s.loginBy)
	defer cancel()
	exchange, err := sasl.New(bounded, mechanism, g, sasl.BindingsOf(s.tls))
	if err != nil {
		return s.badCommand("no such mechanism here; there are " + strings.Join(s.mechanisms(), " "))
	}
	s.mech = strings.ToUpper(mechanism)
	response, err := sasl.DecodeInitial(initial)
	if err == nil {
		err = s.exchange(exchange, response)
	}
	switch {
	case err == nil:
		s.attempts++
		g.succeeded()
		return s.open(ctx, exchange.Identity(), exchange.Identity())
	case errors.Is(err, errConn):
		return err
	case errors.Is(err, sasl.ErrCancelled):
		return s.badCommand("cancelled")
	case errors.Is(err, sasl.ErrMalformed):
		return s.badCommand("malformed response")
	}
	s.attempts++
	return s.refuse(bounded, g, err)
}

func (s *session) mechanisms() []string {
	return sasl.Mechanisms(s.opt.Auth, sasl.BindingsOf(s.tls))
}

func (s *session) listMechanisms() error {
	if err := s.ok("mechanisms follow"); err != nil {
		return err
	}
	for _, m := range s.mechanisms() {
		if err := s.line(m); err != nil {
			return err
		}
	}
	return s.endList()
}

// errConn wraps what ends the connection in the middle of an exchange.
var errConn = errors.New("broken off in the middle of a login")

// exchange lets client and mechanism talk until the client is logged in or refused.
func (s *session) exchange(x sasl.Server, response []byte) error {
	for {
		challenge, done, err := x.Next(response)
		if err != nil || done {
			return err
		}
		if err := s.line("+ " + sasl.Encode(challenge)); err != nil {
			return errors.Join(errConn, err)
		}
		if err := s.await(); err != nil {
			return errors.Join(errConn, err)
		}
		line, err := readResponse(s.r)
		if err != nil {
			return errors.Join(errConn, err)
		}
		if response, err = sasl.Decode(line); err != nil {
			return err
		}
	}
}

// readResponse reads one line of an exchange, which may be longer than a command.
func readResponse(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return string(bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))), nil
		case errors.Is(err, bufio.ErrBufferFull) && len(line) <= sasl.MaxLine:
		case errors.Is(err, bufio.ErrBufferFull):
			return "", errFlood
		case err == io.EOF:
			return "", io.ErrUnexpectedEOF
		default:
			return "", err
		}
	}
}
