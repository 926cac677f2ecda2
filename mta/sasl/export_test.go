package sasl

// SetNonce gives a SCRAM exchange the server's part of the nonce.
func SetNonce(s Server, nonce string) {
	if s, ok := s.(*scramServer); ok {
		s.nonce = func() string { return nonce }
	}
}
