package smtpc

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtp"
)

// Bounds of RFC 3461 4.2 and 4.4, in octets.
const (
	maxORcpt = 500
	maxEnvID = 100
)

// reportParams are MAIL's parameters for a server that sends reports as the sender wants them (RFC 3461 5.2.1). What does
// not have the form of its parameter is left out: a report that says less is better than a refused message.
func (c *Client) reportParams(ret, envID string) string {
	if !c.ext.Has("DSN") {
		return ""
	}
	s := ""
	if ret == "FULL" || ret == "HDRS" {
		s += " RET=" + ret
	}
	if isXtext(envID) && len(envID) <= maxEnvID {
		s += " ENVID=" + envID
	}
	return s
}

// rcptParams are RCPT's.
func (c *Client) rcptParams(r mta.Recipient, utf8 bool) string {
	if !c.ext.Has("DSN") {
		return ""
	}
	s := ""
	if n, ok := smtp.ParseNotify(r.Notify); ok {
		s += " NOTIFY=" + n.String()
	}
	if o, ok := orcpt(r.ORcpt, utf8); ok {
		s += " ORCPT=" + o
	}
	return s
}

// orcpt gives ORCPT the form that the transaction can carry: where it does not have SMTPUTF8, an address beyond ASCII
// becomes utf-8-addr-xtext (RFC 6533 3).
func orcpt(s string, utf8 bool) (string, bool) {
	kind, addr, ok := strings.Cut(s, ";")
	if !ok || kind == "" || addr == "" || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return "", false
	}
	if strings.EqualFold(kind, "utf-8") {
		if !utf8 && strings.ContainsFunc(addr, func(c rune) bool { return c > 0x7f }) { // what is escaped in it already must not be escaped again
			addr = smtp.ASCIIAddress(smtp.UnicodeAddress(addr))
		}
	} else if !isXtext(addr) {
		return "", false
	}
	s = kind + ";" + addr
	return s, len(s) <= maxORcpt
}

func isXtext(s string) bool {
	v, err := smtp.DecodeXtext(s)
	return err == nil && v != ""
}

// checkDeadline says whether a message with a deadline may go to the server. One that is to come back when it is late
// goes only where that is promised (RFC 2852 4.1); one whose sender only wants to know goes everywhere.
func (c *Client) checkDeadline(by *mta.DeliverBy) error {
	if by == nil || !by.Return() {
		return nil
	}
	if !c.ext.Has("DELIVERBY") {
		return fmt.Errorf("%w: it has no DELIVERBY", ErrDeadline)
	}
	left := seconds(by)
	least, _, _ := strings.Cut(c.ext["DELIVERBY"], ",")
	if n, err := strconv.ParseInt(strings.TrimSpace(least), 10, 64); err == nil && left < n {
		return fmt.Errorf("%w: it needs %d seconds, and %d are left", ErrDeadline, n, left)
	}
	if left < 1 {
		return fmt.Errorf("%w: it is too late", ErrDeadline)
	}
	return nil
}

// deadlineParam is BY with the time that is left now.
func (c *Client) deadlineParam(by *mta.DeliverBy) string {
	if by == nil || !c.ext.Has("DELIVERBY") {
		return ""
	}
	return fmt.Sprintf(" BY=%d;%s", seconds(by), by.Mode)
}

// priorityParam is MT-PRIORITY (RFC 6710 4); 0 is what a server takes without it.
func (c *Client) priorityParam(p int) string {
	if p == 0 || !c.ext.Has("MT-PRIORITY") {
		return ""
	}
	return fmt.Sprintf(" MT-PRIORITY=%d", max(-9, min(p, 9)))
}

// seconds that are left, in the range of BY.
func seconds(by *mta.DeliverBy) int64 {
	const most = 999999999 // nine digits
	return max(-most, min(most, int64(time.Until(by.At)/time.Second)))
}
