package route_test

import (
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/route"
	"github.com/posthouse-mail/posthouse/mta/sign"
)

func TestReturnAddressesLeadToTheFirstSender(t *testing.T) {
	now := time.Now()
	o := options(t)
	secrets := [][]byte{[]byte("0123456789abcdef")}
	o.Returns = sign.NewSRS(secrets, func() time.Time { return now })
	r, err := route.New(o)
	if err != nil {
		t.Fatal(err)
	}
	made := func(at time.Time, sender, domain string) string {
		a, err := sign.NewSRS(secrets, func() time.Time { return at }).Forward(addr(sender), domain)
		if err != nil {
			t.Fatal(err)
		}
		return a.String()
	}
	for to, want := range map[string]string{
		made(now, "bob@far.test", "example.test"):                       "alias: bob@far.test remote far.test",
		made(now, "bob@far.test", "aka.test"):                           "alias: bob@far.test remote far.test",
		made(now, "SRS0=a=b=c.test=d@between.test", "host.test"):        "alias: SRS0=a=b=c.test=d@between.test remote between.test",
		made(now, "alice@example.test", "example.test"):                 "mailbox alice@example.test",
		made(now.Add(-30*24*time.Hour), "bob@far.test", "example.test"): "refused 550 5.1.1 this return address is too old",
		made(now.Add(-30*24*time.Hour), "bob@far.test", "far-all.test"): "refused 550 5.1.1 this return address is too old", // and not the catch_all's
		"SRS0=aaaa=AA=victim.test=eve@example.test":                     "refused 550 5.1.1 no such return address here",
		"srs1+aaaa=victim.test==x@example.test":                         "refused 550 5.1.1 no such return address here",
		"SRS0=aaaa=AA=victim.test=eve@far.test":                         "remote far.test",
		"srs0@example.test":                                             "refused 550 5.1.1 no such user here",
	} {
		d := r.Route(t.Context(), addr(to))
		got := show(d)
		if d.Kind == route.Refused {
			got += " " + d.Reply.Text
		}
		if d.Kind == route.Alias && len(d.Members) == 1 {
			got = "alias: " + d.Members[0].Address.String() + " " + show(d.Members[0].Decision)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", to, got, want)
		}
		if acc := r.Accept(t.Context(), addr(to)); (acc.Reply.Code != 0) != (d.Kind == route.Refused) {
			t.Errorf("%s: accepted with %v", to, acc)
		}
	}
	o.Returns = nil
	if r, err = route.New(o); err != nil {
		t.Fatal(err)
	}
	if d := r.Route(t.Context(), addr(made(now, "bob@far.test", "example.test"))); d.Kind != route.Refused {
		t.Errorf("without a secret: got %s", show(d))
	}
}
