package control_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/control"
)

func TestMailqIsTheTraditionalForm(t *testing.T) {
	at := time.Date(2026, 1, 5, 7, 8, 9, 0, time.Local)
	const busy, long = "450 4.2.0 busy", "this is why the message waits, in very many words that do not fit into a line of 80 columns"
	var b bytes.Buffer
	f := control.NewMailq(&b)
	var errs []error
	for _, m := range []*control.Message{
		{ID: "1K1A87VHD8BJE5ZP", Arrived: at, Sender: "alice@here.test", Size: 1234, Status: control.StatusDeferred, Rcpts: []control.Rcpt{
			{Address: "x@far.test", State: "waiting", Reply: busy, Host: "mx.far.test"},
			{Address: "y@far.test", State: "waiting", Reply: busy, Host: "mx.far.test"},
			{Address: "z@far.test", State: "done", Reply: "250 ok"},
			{Address: "\x1b[2J@far.test", State: "waiting"},
		}},
		{ID: "1K1A87VHD8BJE5ZQ", Arrived: at, Size: 1 << 20, Status: control.StatusHeld, Why: long, Rcpts: []control.Rcpt{{Address: "x@far.test", State: "waiting"}}},
		{ID: "1K1A87VHD8BJE5ZR", Arrived: at.AddDate(0, 0, 20), Sender: "b@here.test", Size: 1, Status: control.StatusActive},
	} {
		errs = append(errs, f.Message(m))
	}
	if err := errors.Join(append(errs, f.End())...); err != nil {
		t.Fatal(err)
	}
	const want = `----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------
1K1A87VHD8BJE5ZP      1234 Mon Jan  5 07:08:09 alice@here.test
                                       (host mx.far.test said: 450 4.2.0 busy)
                                               x@far.test
                                               y@far.test
                                               ?[2J@far.test

1K1A87VHD8BJE5ZQ!  1048576 Mon Jan  5 07:08:09 MAILER-DAEMON
(` + long + `)
                                               x@far.test

1K1A87VHD8BJE5ZR*        1 Sun Jan 25 07:08:09 b@here.test

-- 1026 Kbytes in 3 Requests.
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
