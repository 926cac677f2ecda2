package sign

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" // what the hash of SRS is; as an HMAC it is sound
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/conffile"
)

// Errors of SRS.
var (
	ErrNoSRS      = errors.New("not an address of the sender rewriting scheme")
	ErrSRSForged  = errors.New("the return address was not made here")
	ErrSRSExpired = errors.New("the return address is too old")
	ErrSRSLong    = errors.New("the rewritten sender would be longer than an address may be")
)

const (
	srsHash    = 4        // characters of base64 that an address has of its HMAC
	srsAge     = 21       // days for which reports come back
	srsDays    = 1 << 10  // after so many days the time stamps begin anew
	MaxSRSFile = 64 << 10 // octets that a file of secrets may have
	srsMin     = 16       // octets of a secret
	srsBase    = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)

// SRS rewrites the senders of what is forwarded, so that a forwarder vouches with a domain of its own, and finds them again when
// a report comes back: the sender rewriting scheme in its guarded form, as libsrs2, Mail::SRS and postsrsd have it.
type SRS struct {
	secrets [][]byte // the first makes addresses, any may have made one that comes back
	now     func() time.Time
}

// NewSRS takes secrets, the newest first.
func NewSRS(secrets [][]byte, now func() time.Time) *SRS { return &SRS{secrets, now} }

// OpenSRS is LoadSRS where the file may be missing: then it returns nil, and nothing is rewritten.
func OpenSRS(path string) (*SRS, error) {
	s, err := LoadSRS(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return s, err
}

// LoadSRS reads a file of secrets: one a line, the newest first, of 16 octets at the least.
func LoadSRS(path string) (*SRS, error) {
	text, _, err := conffile.Read(path, MaxSRSFile)
	if err != nil {
		return nil, err
	}
	var secrets [][]byte
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		if len(line) < srsMin {
			return nil, fmt.Errorf("%s: a secret is shorter than %d octets", path, srsMin)
		}
		secrets = append(secrets, line)
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%s: no secret in it", path)
	}
	return NewSRS(secrets, time.Now), nil
}

// IsSRS says whether a local part has the form of a rewritten one: SRS0 or SRS1, then a separator.
func IsSRS(local string) bool { return srsTag(local) != "" }

// srsTag is SRS0 or SRS1, as some make small letters of it.
func srsTag(local string) string {
	if len(local) > 4 && strings.IndexByte("=+-", local[4]) >= 0 {
		if tag := strings.ToUpper(local[:4]); tag == "SRS0" || tag == "SRS1" {
			return tag
		}
	}
	return ""
}

// Forward returns the sender to use in a domain of ours. One that another forwarder has rewritten becomes SRS1, which leads back
// to the first forwarder, however many there were. It often
// has more than the 64 octets before its @ that RFC 5321 4.5.3.1.1 is sure of, as that of nearly every bulk sender has: hardly a host
// refuses these, and many would refuse what SPF does not allow. ErrSRSLong: it would be no address, and the sender stays.
func (s *SRS) Forward(sender mta.Address, domain string) (mta.Address, error) {
	local := ""
	switch host, rest, ok := s.guarded(sender); {
	case ok:
		local = "SRS1=" + s.hash(s.secrets[0], host, rest) + "=" + host + "=" + rest
	default:
		day := s.day()
		stamp := string([]byte{srsBase[day>>5], srsBase[day&31]})
		local = "SRS0=" + s.hash(s.secrets[0], stamp, sender.Domain, sender.Local) + "=" + stamp + "=" + sender.Domain + "=" + sender.Local
	}
	to := mta.Address{Local: local, Domain: domain}
	if len(to.String()) > mta.MaxPathLen {
		return sender, ErrSRSLong
	}
	return to, nil
}

// guarded takes a sender apart that is rewritten already: who did it first, and what stands behind SRS0 there.
func (s *SRS) guarded(sender mta.Address) (host, rest string, ok bool) {
	switch srsTag(sender.Local) {
	case "SRS0":
		return sender.Domain, sender.Local[4:], true
	case "SRS1":
		parts := strings.SplitN(sender.Local[5:], "=", 3)
		if len(parts) == 3 && parts[1] != "" && parts[2] != "" {
			return parts[1], parts[2], true
		}
	}
	return "", "", false
}

// Reverse returns the address that a rewritten local part stands for.
func (s *SRS) Reverse(local string) (mta.Address, error) {
	tag := srsTag(local)
	if tag == "" {
		return mta.Address{}, ErrNoSRS
	}
	if tag == "SRS1" {
		parts := strings.SplitN(local[5:], "=", 3)
		if len(parts) < 3 || !s.made(parts[0], parts[1], parts[2]) {
			return mta.Address{}, ErrSRSForged
		}
		return target("SRS0"+parts[2], parts[1])
	}
	parts := strings.SplitN(local[5:], "=", 4)
	if len(parts) < 4 || !s.made(parts[0], parts[1], parts[2], parts[3]) {
		return mta.Address{}, ErrSRSForged
	}
	if !s.current(parts[1]) {
		return mta.Address{}, ErrSRSExpired
	}
	return target(parts[3], parts[2])
}

// target is an address that Forward was given; another's, who knows the secret, may be none.
func target(local, domain string) (mta.Address, error) {
	a, err := mta.ParseAddress(mta.Address{Local: local, Domain: domain}.String())
	if err != nil {
		return mta.Address{}, fmt.Errorf("%w: %w", ErrSRSForged, err)
	}
	return a, nil
}

// hash is what an address of parts has to show. Case makes no difference, as some servers on the way change it.
func (s *SRS) hash(secret []byte, parts ...string) string {
	h := hmac.New(sha1.New, secret)
	for _, p := range parts {
		_, _ = io.WriteString(h, mta.LowerASCII(p)) // a hash takes all
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil))[:srsHash]
}

// made says whether one of the secrets gives the hash.
func (s *SRS) made(hash string, parts ...string) bool {
	ok := false
	for _, secret := range s.secrets {
		want := mta.LowerASCII(s.hash(secret, parts...))
		ok = hmac.Equal([]byte(mta.LowerASCII(hash)), []byte(want)) || ok
	}
	return ok
}

func (s *SRS) day() int64 { return s.now().Unix() / (24 * 60 * 60) % srsDays }

// current says whether a time stamp is young enough. One of tomorrow is: clocks differ.
func (s *SRS) current(stamp string) bool {
	if len(stamp) != 2 {
		return false
	}
	high, low := strings.IndexByte(srsBase, upper(stamp[0])), strings.IndexByte(srsBase, upper(stamp[1]))
	if high < 0 || low < 0 {
		return false
	}
	age := (s.day() - int64(high<<5|low) + srsDays) % srsDays
	return age <= srsAge || age == srsDays-1
}

func upper(c byte) byte { return strings.ToUpper(string(rune(c)))[0] }
