package sasl

import (
	"bytes"
	"fmt"
)

// The challenges of LOGIN, which some clients compare letter by letter.
const (
	askUser     = "Username:"
	askPassword = "Password:"
)

// login is LOGIN: a challenge and a response each for name and password; the name may come as initial response.
type login struct {
	*password
	step loginStep
	user string
}

type loginStep uint8

const (
	loginBegins loginStep = iota
	loginUser
	loginPassword
	loginOver
)

func (s *login) Next(response []byte) (challenge []byte, done bool, err error) {
	step := s.step
	s.step = loginOver // until this step has gone well
	if step == loginOver || step != loginBegins && response == nil {
		return nil, false, fmt.Errorf("exchange is over: %w", ErrMalformed)
	}
	if err := checkResponse(response); err != nil {
		return nil, false, err
	}
	if bytes.IndexByte(response, 0) >= 0 {
		return nil, false, fmt.Errorf("NUL: %w", ErrMalformed)
	}
	switch {
	case response == nil:
		s.step = loginUser
		return []byte(askUser), false, nil
	case step != loginPassword:
		s.step, s.user = loginPassword, string(response)
		return []byte(askPassword), false, nil
	}
	if err := s.check("", s.user, string(response)); err != nil {
		return nil, false, err
	}
	return nil, true, nil
}
