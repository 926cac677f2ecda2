package asuser

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// SocketName is the socket's name in <run>/as-user.
const SocketName = "as-user.sock"

// Op is what is asked for.
type Op string

// The operations, and the descriptors that come with each.
const (
	Deliver Op = "deliver" // start deliver-local as User: its standard input, its standard output
	Program Op = "program" // start the configured program Program: as Deliver
	Session Op = "session" // check Password and start a POP3 session as User: the connection
	Check   Op = "check"   // check Password of User: none
)

// Descriptors is how many an operation comes with.
func (o Op) Descriptors() int {
	switch o {
	case Deliver, Program:
		return 2
	case Session:
		return 1
	}
	return 0
}

// Request is what a client asks for. Which fields count stands beside each Op; the others are empty.
type Request struct {
	Op       Op     `json:"op"`
	User     string `json:"user,omitempty"`
	Program  string `json:"program,omitempty"`
	Password string `json:"password,omitempty"`
}

// Reply is an answer. The first one says whether the request was granted; the second, how a process that was started ended.
type Reply struct {
	Granted bool   `json:"granted"`
	Why     string `json:"why,omitempty"`    // it was not: one of the Why words; it was killed: the reason
	Text    string `json:"text,omitempty"`   // local detail, for the log
	Status  int    `json:"status,omitempty"` // with which the process ended; -1 after a signal
}

// Why a request is not granted.
const (
	WhyPassword  = "password"  // it is wrong, or there is no such user
	WhyUser      = "user"      // there is no such user, or nothing is started as this one
	WhyForbidden = "forbidden" // this is not for who asks
	WhyFault     = "fault"     // it would be granted and cannot be done now
)

// Bounds of a request.
const (
	maxFrame    = 8 << 10
	maxName     = 64
	maxPassword = 1024
)

// ErrMalformed says that a frame is none of this protocol.
var ErrMalformed = errors.New("malformed frame")

// ReadRequest reads one frame. A request that it returns is whole: its Op is known and has the fields that it needs.
func ReadRequest(r io.Reader) (Request, error) {
	var req Request
	if err := readFrame(r, &req); err != nil {
		return Request{}, err
	}
	return req, req.check()
}

// check holds names to what names of users and programs can be, and each Op to its own fields.
func (r Request) check() error {
	user, program, password := r.User != "", r.Program != "", r.Password != ""
	ok := false
	switch r.Op {
	case Deliver:
		ok = user && !program && !password
	case Program:
		ok = program && !user && !password
	case Session, Check:
		ok = user && password && !program
	}
	switch {
	case !ok:
		return fmt.Errorf("%w: operation %.16q with fields that are not its own", ErrMalformed, r.Op)
	case user && !isName(r.User), program && !isName(r.Program):
		return fmt.Errorf("%w: a name that none can be", ErrMalformed)
	case len(r.Password) > maxPassword || strings.ContainsRune(r.Password, 0):
		return fmt.Errorf("%w: a password that none can be", ErrMalformed)
	}
	return nil
}

// isName says whether s can be the name of a user or a program: no path, no option, nothing that a shell would look at.
func isName(s string) bool {
	if len(s) > maxName || strings.HasPrefix(s, "-") || strings.HasPrefix(s, ".") {
		return false
	}
	for _, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("_.-", rune(c)) {
			return false
		}
	}
	return true
}

// WriteReply writes one frame.
func WriteReply(w io.Writer, r Reply) error {
	if len(r.Text) > maxText {
		r.Text = r.Text[:maxText]
	}
	b, err := frame(r)
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}

// maxText bounds Reply.Text, so that no frame is too long.
const maxText = 1000

func frame(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(b) > maxFrame {
		return nil, fmt.Errorf("%w: %d octets", ErrMalformed, len(b))
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...), nil
}

// readFrame reads into v. JSON that says more than v has, or says it twice behind its end, is refused.
func readFrame(r io.Reader, v any) error {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint16(head[:])
	if n > maxFrame {
		return fmt.Errorf("%w: %d octets", ErrMalformed, n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if !utf8.Valid(b) { // JSON would put other letters in their place, and a password would be another
		return fmt.Errorf("%w: no UTF-8", ErrMalformed)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %T", ErrMalformed, err) // its words may quote a password
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: something behind it", ErrMalformed)
	}
	return nil
}
