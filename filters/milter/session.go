package milter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon"
)

// What is negotiated (libmilter's mfdef.h and mfapi.h).
const (
	ourVersion = 6
	oldest     = 2

	// allActions: add header fields, replace the body, add and remove recipients, change header fields, quarantine, change
	// the sender, recipients with parameters, and a list of macros.
	allActions = 0x1ff
	// allOptions: all commands may be left out and may go without a reply, SKIP, and header fields with the blank in front.
	allOptions = 0x1fffff &^ rejectedToo

	rejectedToo  = 0x800 // SMFIP_RCPT_REJ: recipients that were refused are not shown
	canSkip      = 0x400
	leadingSpace = 0x100000
)

// command is one that a milter may not want, or not answer.
type command struct {
	code   byte
	stage  uint32 // of its macros
	unwant uint32 // SMFIP_NO...
	mute   uint32 // SMFIP_NR_...
	skip   bool   // the answer may be that no more of it is wanted
}

var (
	connect   = command{code: 'C', stage: 0, unwant: 0x1, mute: 0x1000}
	helo      = command{code: 'H', stage: 1, unwant: 0x2, mute: 0x2000}
	mailFrom  = command{code: 'M', stage: 2, unwant: 0x4, mute: 0x4000}
	rcptTo    = command{code: 'R', stage: 3, unwant: 0x8, mute: 0x8000, skip: true}
	dataBegin = command{code: 'T', stage: 4, unwant: 0x200, mute: 0x10000}
	field     = command{code: 'L', stage: noMacros, unwant: 0x20, mute: 0x80, skip: true}
	headerEnd = command{code: 'N', stage: 6, unwant: 0x40, mute: 0x40000}
	bodyChunk = command{code: 'B', stage: noMacros, unwant: 0x10, mute: 0x80000, skip: true}
	bodyEnd   = command{code: 'E', stage: 5}
)

const (
	noMacros  = ^uint32(0)
	maxMacros = 100 // of a stage
)

// Commands without an answer.
const (
	cmdNegotiate = 'O'
	cmdMacros    = 'D'
	cmdAbort     = 'A'
	cmdQuit      = 'Q'
)

// What a milter says.
const (
	saysContinue   = 'c'
	saysAccept     = 'a'
	saysReject     = 'r'
	saysTempFail   = 't'
	saysDiscard    = 'd'
	saysReply      = 'y'
	saysConnFail   = 'f'
	saysShutdown   = '4'
	saysSkip       = 's'
	saysProgress   = 'p'
	saysAdd        = 'h'
	saysInsert     = 'i'
	saysChange     = 'm'
	saysBody       = 'b'
	saysSender     = 'e'
	saysAddRcpt    = '+'
	saysAddRcptPar = '2'
	saysDelRcpt    = '-'
	saysQuarantine = 'q'
)

// session is a conversation about one message or one recipient.
type session struct {
	wire
	version, options uint32
	macros           map[string]string
	wanted           map[uint32][]string // the macros of a stage
	mailed           bool
}

// negotiate agrees on what is said, and how.
func (s *session) negotiate() error {
	offer := binary.BigEndian.AppendUint32(nil, ourVersion)
	offer = binary.BigEndian.AppendUint32(offer, allActions)
	offer = binary.BigEndian.AppendUint32(offer, allOptions)
	if err := s.write(cmdNegotiate, offer); err != nil {
		return err
	}
	code, data, err := s.read()
	if err != nil {
		return err
	}
	if code != cmdNegotiate || len(data) < 12 {
		return fmt.Errorf("it begins with %q: is it a milter?", daemon.OneLine(string(code)+string(data)))
	}
	actions := binary.BigEndian.Uint32(data[4:])
	s.version, s.options = binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[8:])
	switch {
	case s.version < oldest || s.version > ourVersion:
		return fmt.Errorf("it speaks version %d of the milter protocol, want %d to %d", s.version, oldest, ourVersion)
	case actions&^allActions != 0:
		return fmt.Errorf("it wants actions that are not known (%#x)", actions&^allActions)
	case s.options&^allOptions != 0:
		return fmt.Errorf("it wants protocol options that are not known (%#x)", s.options&^allOptions)
	}
	if s.version < 4 { // it knows no DATA
		s.options |= dataBegin.unwant
	}
	return s.wantMacros(data[12:])
}

var errCut = errors.New("its list of macros is cut off")

// wantMacros takes the macros that the milter wants, by their stages, in the place of those that all get.
func (s *session) wantMacros(data []byte) error {
	for len(data) > 0 {
		if len(data) < 5 {
			return errCut
		}
		stage := binary.BigEndian.Uint32(data)
		list, rest, ok := strings.Cut(string(data[4:]), "\x00")
		if !ok {
			return errCut
		}
		names := strings.FieldsFunc(list, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' })
		s.wanted[stage] = names[:min(len(names), maxMacros)]
		data = []byte(rest)
	}
	return nil
}

func (s *session) sees(c command) bool { return s.options&c.unwant == 0 }

// decides says whether the milter can answer the command.
func (s *session) decides(c command) bool { return s.sees(c) && s.options&c.mute == 0 }

// send puts a command to the milter, and gives its answer, saysContinue where it wants to give none.
func (s *session) send(c command, data []byte) (*answer, error) {
	if !s.sees(c) {
		return &answer{code: saysContinue}, nil
	}
	if err := s.sendMacros(c); err != nil {
		return nil, err
	}
	if err := s.write(c.code, data); err != nil {
		return nil, err
	}
	if !s.decides(c) {
		return &answer{code: saysContinue}, nil
	}
	code, data, err := s.read()
	if err != nil {
		return nil, err
	}
	if code == saysSkip && (!c.skip || s.options&canSkip == 0) {
		return nil, fmt.Errorf("it wants to skip what cannot be skipped, at %q", c.code)
	}
	return newAnswer(code, data)
}

func (s *session) sendMacros(c command) error {
	data := []byte{c.code}
	for _, name := range s.wanted[c.stage] {
		value, ok := s.macros[bare(name)]
		if !ok {
			continue
		}
		next := appendString(appendString(data, name), value)
		if len(next) > maxCommand {
			break
		}
		data = next
	}
	if len(data) == 1 {
		return nil
	}
	return s.write(cmdMacros, data)
}

// end takes leave. The milter may have gone, and nobody minds.
func (s *session) end() {
	if s.mailed {
		_ = s.write(cmdAbort, nil)
	}
	_ = s.write(cmdQuit, nil)
	_ = s.out.Flush()
	_ = s.c.Close()
}

// answer is what a milter decides.
type answer struct {
	code byte
	text string // of saysReply
}

func newAnswer(code byte, data []byte) (*answer, error) {
	switch code {
	case saysContinue, saysAccept, saysReject, saysTempFail, saysDiscard, saysConnFail, saysShutdown, saysSkip:
		return &answer{code: code}, nil
	case saysReply:
		all, err := stringsOf(data, 1)
		if err != nil {
			return nil, err
		}
		return &answer{code: code, text: all[0]}, nil
	}
	return nil, fmt.Errorf("it says %q, which is no answer", code)
}

// verdict is that of an answer, nil where the conversation goes on or the milter has no more to say.
func (a *answer) verdict() (*filters.Verdict, error) {
	switch a.code {
	case saysReject:
		return &filters.Verdict{Action: filters.Reject}, nil
	case saysTempFail, saysConnFail, saysShutdown:
		return &filters.Verdict{Action: filters.TempFail}, nil
	case saysDiscard:
		return &filters.Verdict{Action: filters.Discard}, nil
	case saysReply:
		return parseReply(a.text)
	}
	return nil, nil
}
