package sasl

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"

	"github.com/posthouse-mail/posthouse/mta"
)

// scramServer is SCRAM-SHA-256 or SCRAM-SHA-256-PLUS (RFC 5802, 7677). The library holds the conversation: it checks the
// nonce, the binding's data and the proof. It knows neither which of the two mechanisms was asked for nor that there may
// be several bindings, and it takes names and nonces that the grammar has not, so the client's first message is read here
// before it goes there.
type scramServer struct {
	ctx      context.Context
	accounts Accounts
	plus     bool
	bind     Bindings
	nonce    func() string // nil: the library's, of 24 random octets

	step     scramStep
	conv     *scram.ServerConversation
	login    string // as the client said it
	user     string // the canonical login; "" where there is none, and then no proof is right
	identity string
}

type scramStep uint8

const (
	scramBegins   scramStep = iota
	scramAsked              // without an initial response: an empty challenge has asked for it
	scramAnswered           // the salt is out
	scramProven             // our signature is out
	scramOver
)

func (s *scramServer) Identity() string { return s.identity }

func (s *scramServer) Next(response []byte) (challenge []byte, done bool, err error) {
	step := s.step
	s.step = scramOver // until this step has gone well
	switch {
	case step == scramBegins && response == nil: // the client begins (RFC 5802 5)
		s.step = scramAsked
		return []byte{}, false, nil
	case step == scramOver || response == nil:
		return nil, false, fmt.Errorf("exchange is over: %w", ErrMalformed)
	}
	if err := checkResponse(response); err != nil {
		return nil, false, err
	}
	if bytes.IndexByte(response, 0) >= 0 {
		return nil, false, fmt.Errorf("NUL: %w", ErrMalformed)
	}
	switch step {
	case scramBegins, scramAsked:
		challenge, err = s.first(string(response))
		s.advance(scramAnswered, err)
	case scramAnswered:
		challenge, err = s.final(string(response))
		s.advance(scramProven, err)
	default:
		if len(response) > 0 {
			return nil, false, fmt.Errorf("text where an empty line was due: %w", ErrMalformed)
		}
		s.identity, done = s.user, true
	}
	return challenge, done, err
}

func (s *scramServer) advance(to scramStep, err error) {
	if err == nil {
		s.step = to
	}
}

// first answers client-first-message with the salt.
func (s *scramServer) first(message string) ([]byte, error) {
	flag, err := parseClientFirst(message)
	if err != nil {
		return nil, err
	}
	bind, err := s.binding(flag)
	if err != nil {
		return nil, err
	}
	var fault error
	server, err := scram.SHA256.NewServer(func(login string) (scram.StoredCredentials, error) {
		var v mta.ScramVerifier
		s.login = login
		s.user, v, fault = s.accounts.Scram(s.ctx, login)
		return scram.StoredCredentials{KeyFactors: scram.KeyFactors{Salt: string(v.Salt), Iters: v.Iterations},
			StoredKey: v.StoredKey[:], ServerKey: v.ServerKey[:]}, fault
	})
	if err != nil {
		return nil, err
	}
	if s.nonce != nil {
		server.WithNonceGenerator(s.nonce)
	}
	s.conv = server.NewConversationWithChannelBinding(bind)
	challenge, err := s.conv.Step(message)
	switch {
	case fault != nil:
		return nil, fault
	case err != nil: // the library's words repeat what the client sent
		return nil, fmt.Errorf("client-first-message: %w", ErrMalformed)
	}
	return []byte(challenge), nil
}

// binding chooses what the client binds to by its flag (RFC 5802 section 6); none for a client that does not.
func (s *scramServer) binding(flag string) (scram.ChannelBinding, error) {
	name, binds := strings.CutPrefix(flag, "p=")
	switch {
	case binds && !s.plus:
		return scram.ChannelBinding{}, fmt.Errorf("channel binding without -PLUS: %w", ErrMalformed)
	case binds && len(s.bind[name]) == 0:
		return scram.ChannelBinding{}, fmt.Errorf("%w: %.32q", ErrBindingType, name)
	case binds:
		return scram.ChannelBinding{Type: scram.ChannelBindingType(name), Data: s.bind[name]}, nil
	case s.plus:
		return scram.ChannelBinding{}, fmt.Errorf("-PLUS without channel binding: %w", ErrMalformed)
	case flag == "y" && len(s.bind) > 0:
		return scram.ChannelBinding{}, fmt.Errorf("-PLUS was offered, and the client did not see it: %w", ErrBinding)
	}
	return scram.ChannelBinding{}, nil
}

// final answers client-final-message with our signature, when its proof is right.
func (s *scramServer) final(message string) ([]byte, error) {
	// The library is content with base64 in more than one form.
	if i := strings.LastIndex(message, ",p="); i < 0 || !isBase64(message[i+len(",p="):]) {
		return nil, fmt.Errorf("client-final-message: %w", ErrMalformed)
	}
	answer, err := s.conv.Step(message)
	switch {
	case err == nil && s.conv.Valid() && s.user != "":
	case err == nil, answer == scram.ErrInvalidProof:
		return nil, ErrCredentials
	case answer == scram.ErrChannelBindingsDontMatch:
		return nil, fmt.Errorf("the client is at the end of another connection: %w", ErrBinding)
	default:
		return nil, fmt.Errorf("client-final-message: %w", ErrMalformed)
	}
	if !mayActAs(s.conv.AuthzID(), s.login, s.user) {
		return nil, fmt.Errorf("to act for another: %w", ErrCredentials)
	}
	return []byte(answer), nil
}

// parseClientFirst holds client-first-message to the grammar of RFC 5802 section 7, and returns its flag: n, y or p=type.
func parseClientFirst(message string) (flag string, err error) {
	flag, rest, ok := strings.Cut(message, ",")
	authzid, bare, ok2 := strings.Cut(rest, ",")
	name, rest, ok3 := strings.Cut(bare, ",")
	nonce, _, _ := strings.Cut(rest, ",")
	good := ok && ok2 && ok3 && (flag == "n" || flag == "y" || isBindingFlag(flag)) &&
		(authzid == "" || hasField(authzid, "a=")) && hasField(name, "n=") && hasField(nonce, "r=") && isNonce(nonce)
	if !good {
		return "", fmt.Errorf("client-first-message: %w", ErrMalformed)
	}
	return flag, nil
}

// hasField says whether a field has this name, and a value.
func hasField(field, name string) bool {
	return strings.HasPrefix(field, name) && len(field) > len(name)
}

func isBindingFlag(s string) bool {
	name, ok := strings.CutPrefix(s, "p=")
	return ok && name != "" && strings.Trim(name, "-.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// isNonce takes printable characters of ASCII.
func isNonce(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < 0x21 || r > 0x7e }) < 0
}
