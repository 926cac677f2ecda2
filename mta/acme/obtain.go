package acme

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mholt/acmez/v3"
	rfc8555 "github.com/mholt/acmez/v3/acme"

	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// Options of Obtain.
type Options struct {
	Directory string // a URL
	Email     string
	Listen    string // for HTTP-01
	Hook      string // a program, for DNS-01; "": HTTP-01
	State     string // a folder that is there
	Output    string // acme.output
	Agent     string // who asks, as in "posthouse/1.0"

	Force  bool // also what is not due
	NewKey bool // not the key of before; implies Force

	Log *maillog.Log
	Now func() time.Time
}

// Times of the conversation with an authority.
const (
	answerTime = 30 * time.Second // for one answer
	orderTime  = 10 * time.Minute // for a certificate
)

// session is one run of Obtain.
type session struct {
	o      Options
	client *acmez.Client
	http   *httpAnswers
}

// Obtain obtains the certificates that are missing or due. One that fails does not keep the others from being obtained; the
// errors of all are joined.
func Obtain(ctx context.Context, targets []Target, o Options) error {
	release, err := lock(o.State)
	if err != nil {
		return err
	}
	defer release()
	s := &session{o: o, client: &acmez.Client{Client: &rfc8555.Client{
		Directory: o.Directory, UserAgent: o.Agent, PollTimeout: orderTime,
		HTTPClient: &http.Client{Timeout: answerTime, Transport: bounded{http.DefaultTransport}},
	}}}
	defer func() {
		if s.http != nil {
			s.http.close()
		}
	}()
	var all error
	for _, t := range targets {
		all = errors.Join(all, s.target(ctx, t))
	}
	return all
}

// bounded gives no answer more room than it can need.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, maxFile), res.Body}
	}
	return res, err
}

// target obtains one certificate, if it is due, and remembers how that went.
func (s *session) target(ctx context.Context, t Target) error {
	dir := filepath.Join(s.o.State, t.folder(s.o.Output))
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	r, err := readRecord(dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	old, why, err := s.why(ctx, dir, t, &r)
	if err == nil && why != "" {
		s.o.Log.CertificateDue(t.Names[0], why)
		err = s.order(ctx, dir, t, old, &r)
	}
	r.Tried, r.Error = s.o.Now(), ""
	if err != nil {
		err = explain(err, t)
		r.Error = err.Error()
		s.o.Log.CertificateFailed(t.Names[0], err)
	}
	return errors.Join(err, r.write(dir))
}

// why says why a certificate is to be obtained, "" where it is not; old is the one that there is.
func (s *session) why(ctx context.Context, dir string, t Target, r *Record) (old *x509.Certificate, why string, err error) {
	_, _, old, err = pair(filepath.Join(dir, chainFile), filepath.Join(dir, keyFile), t.Names)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "there is none yet", nil
	case err != nil:
		return nil, err.Error(), nil
	case r.Directory != s.o.Directory:
		return nil, "it is from another authority", nil
	case s.o.Force || s.o.NewKey:
		return old, "it was asked for", nil
	}
	// An authority that does not tell, or cannot be reached, changes nothing.
	if info, err := s.client.GetRenewalInfo(ctx, old); err == nil && info.HasWindow() {
		// A moment within the window, the same each time while the window is the same.
		if r.Renew.Before(info.SuggestedWindow.Start) || r.Renew.After(info.SuggestedWindow.End) {
			r.Renew = info.SelectedTime
		}
	}
	return old, due(old, r.Renew, s.o.Now()), nil
}

// order has the authority make a certificate, and keeps it.
func (s *session) order(ctx context.Context, dir string, t Target, old *x509.Certificate, r *Record) error {
	if err := s.solvers(ctx); err != nil {
		return err
	}
	keyPath := filepath.Join(dir, keyFile)
	account, err := s.account(ctx)
	if err != nil {
		return err
	}
	load := loadKey
	if s.o.NewKey {
		keyPath += ".new"
		load = newKey
	}
	key, err := load(keyPath, 0o640, asItComes)
	if err != nil {
		return err
	}
	csr, err := acmez.NewCSR(key, t.Names)
	if err != nil {
		return err
	}
	params, err := acmez.OrderParametersFromCSR(account, csr)
	if err != nil {
		return err
	}
	params.Replaces = old
	chains, err := s.client.ObtainCertificate(ctx, params)
	if isUnknownAccount(err) {
		if err := s.forget(); err != nil {
			return err
		}
		if params.Account, err = s.account(ctx); err != nil {
			return err
		}
		chains, err = s.client.ObtainCertificate(ctx, params)
	}
	if err != nil {
		return err
	}
	if len(chains) == 0 {
		return errors.New("the authority has sent no certificate")
	}
	return s.store(dir, t, keyPath, chains[0].ChainPEM, r)
}

func isUnknownAccount(err error) bool {
	var problem rfc8555.Problem
	return errors.As(err, &problem) && problem.Type == rfc8555.ProblemTypeAccountDoesNotExist
}

// store keeps what has come, if it is what was asked for. A new key takes the old one's place only then.
func (s *session) store(dir string, t Target, keyPath string, chain []byte, r *Record) error {
	fresh := filepath.Join(dir, chainFile+".new")
	if err := put(fresh, chain, 0o640, asItComes); err != nil {
		return err
	}
	_, key, leaf, err := pair(fresh, keyPath, t.Names)
	if err != nil {
		return fmt.Errorf("what the authority has sent is of no use: %w", err)
	}
	if keyPath != filepath.Join(dir, keyFile) {
		if err := put(filepath.Join(dir, keyFile), key, 0o640, asItComes); err != nil {
			return err
		}
		if err := os.Remove(keyPath); err != nil {
			return err
		}
	}
	if err := put(filepath.Join(dir, chainFile), chain, 0o640, asItComes); err != nil {
		return err
	}
	if err := os.Remove(fresh); err != nil {
		return err
	}
	r.Directory, r.Obtained, r.Renew = s.o.Directory, s.o.Now(), time.Time{}
	s.o.Log.CertificateObtained(t.Names[0], strings.Join(t.Names[1:], " "), leaf.NotAfter)
	return nil
}

// solvers has the authority's questions answered.
func (s *session) solvers(ctx context.Context) error {
	switch {
	case s.client.ChallengeSolvers != nil:
		return nil
	case s.o.Hook != "":
		s.client.ChallengeSolvers = map[string]acmez.Solver{rfc8555.ChallengeTypeDNS01: hook{s.o.Hook}}
		return nil
	}
	a, err := listenHTTP(ctx, s.o.Listen)
	if err != nil {
		return err
	}
	s.http = a
	s.client.ChallengeSolvers = map[string]acmez.Solver{rfc8555.ChallengeTypeHTTP01: a}
	return nil
}
