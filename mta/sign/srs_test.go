package sign_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/sign"
)

// day is a day of which others' addresses below are.
var day = time.Unix(20785*24*60*60, 0)

func srs(at time.Time, secrets ...string) *sign.SRS {
	var all [][]byte
	for _, s := range secrets {
		all = append(all, []byte(s))
	}
	return sign.NewSRS(all, func() time.Time { return at })
}

// TestSRSMakesWhatOthersMake holds addresses against those that Mail::SRS 0.31 and postsrsd 1.10 made of the same secret that day.
func TestSRSMakesWhatOthersMake(t *testing.T) {
	s := srs(day, "secret")
	for _, c := range []struct{ sender, domain, want string }{
		{"alice@source.test", "fwd.test", "SRS0=bz+t=JR=source.test=alice@fwd.test"},
		{"SRS0=bz+t=JR=source.test=alice@fwd.test", "second.test", "SRS1=2LBM=fwd.test==bz+t=JR=source.test=alice@second.test"},
		{"SRS1=2LBM=fwd.test==bz+t=JR=source.test=alice@second.test", "third.test", "SRS1=2LBM=fwd.test==bz+t=JR=source.test=alice@third.test"},
		{"Al=Ice+x@source.test", "fwd.test", "SRS0=NQRD=JR=source.test=Al=Ice+x@fwd.test"},
	} {
		from, err := mta.ParseAddress(c.sender)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Forward(from, c.domain)
		if err != nil || got.String() != c.want {
			t.Errorf("%s: got %s, %v; want %s", c.sender, got, err, c.want)
		}
	}
}

func TestSRSFindsTheSenderAgain(t *testing.T) {
	made := srs(day, "secret")
	for _, sender := range []string{
		"alice@source.test", "a@b.c", "x=y=z@source.test", "\"a b\"@source.test", "SRS0=aaaa=bb=there.test=u@fwd.test", "srs0+aaaa=bb=there.test=u@fwd.test",
		"SRS1=x@source.test", "SRS0@source.test", "lö@source.test", "u@[192.0.2.1]",
	} {
		from, err := mta.ParseAddress(sender)
		if err != nil {
			t.Fatal(err)
		}
		to, err := made.Forward(from, "fwd.test")
		if err != nil {
			t.Errorf("%s: %v", sender, err)
			continue
		}
		want := from.String()
		if strings.HasPrefix(want, "srs0+") {
			want = "SRS0" + want[4:]
		}
		for _, c := range []struct {
			name, local string
			s           *sign.SRS
		}{
			{"at once", to.Local, made}, {"after 21 days", to.Local, srs(day.Add(21*24*time.Hour), "secret")}, {"the day before", to.Local, srs(day.Add(-24*time.Hour), "secret")},
			{"a newer secret", to.Local, srs(day, "newer", "secret")}, {"in small letters", strings.ToLower(to.Local), made},
		} {
			got, err := c.s.Reverse(c.local)
			if c.name == "in small letters" {
				want = strings.ToLower(want)
				got.Local = strings.ToLower(got.Local)
			}
			if err != nil || got.String() != want {
				t.Errorf("%s, %s: got %s, %v; want %s", to, c.name, got, err, want)
			}
		}
	}
}

func TestSRSTakesNoForgery(t *testing.T) {
	s := srs(day, "secret")
	for local, want := range map[string]error{
		"alice": sign.ErrNoSRS, "SRS0": sign.ErrNoSRS, "SRS2=aaaa=bb=c=d": sign.ErrNoSRS, "SRS0x=aaaa": sign.ErrNoSRS,
		"SRS0=XXXX=JR=source.test=alice":             sign.ErrSRSForged,
		"SRS0=bz+t=JR=source.test=bob":               sign.ErrSRSForged,
		"SRS0=bz+t=JR=other.test=alice":              sign.ErrSRSForged,
		"SRS0=bz+t=JS=source.test=alice":             sign.ErrSRSForged,
		"SRS0=bz+=JR=source.test=alice":              sign.ErrSRSForged,
		"SRS0==JR=source.test=alice":                 sign.ErrSRSForged,
		"SRS0=bz+t=JR=source.test":                   sign.ErrSRSForged,
		"SRS0=":                                      sign.ErrSRSForged,
		"SRS1=":                                      sign.ErrSRSForged,
		"SRS1=2LBM=other.test==bz+t=JR=source.test=": sign.ErrSRSForged,
	} {
		if a, err := s.Reverse(local); !errors.Is(err, want) {
			t.Errorf("%s: got %s, %v; want %v", local, a, err, want)
		}
	}
	for name, at := range map[string]time.Time{"22 days later": day.Add(22 * 24 * time.Hour), "a year later": day.Add(365 * 24 * time.Hour), "two days before": day.Add(-48 * time.Hour)} {
		if a, err := srs(at, "secret").Reverse("SRS0=bz+t=JR=source.test=alice"); !errors.Is(err, sign.ErrSRSExpired) {
			t.Errorf("%s: got %s, %v; want it expired", name, a, err)
		}
	}
	if a, err := srs(day, "another").Reverse("SRS0=bz+t=JR=source.test=alice"); !errors.Is(err, sign.ErrSRSForged) {
		t.Errorf("another's secret: got %s, %v", a, err)
	}
}

func TestSRSLeavesWhatWouldBeTooLong(t *testing.T) {
	from := mta.Address{Local: strings.Repeat("x", 254-len("SRS0=AAAA=AA=source.test=@fwd.test")+1), Domain: "source.test"}
	if got, err := srs(day, "secret").Forward(from, "fwd.test"); !errors.Is(err, sign.ErrSRSLong) || got != from {
		t.Errorf("got %s, %v", got, err)
	}
	from.Local = from.Local[1:]
	got, err := srs(day, "secret").Forward(from, "fwd.test")
	if err != nil || len(got.String()) != 254 {
		t.Errorf("just short enough: got %s, %v", got, err)
	}
	if back, err := srs(day, "secret").Reverse(got.Local); err != nil || back != from {
		t.Errorf("got %s, %v; want %s", back, err, from)
	}
}

func TestSRSSecretsAreReadFromAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "srs")
	for text, want := range map[string]string{
		"":                              "no secret",
		"# none\n\n":                    "no secret",
		"short\n":                       "shorter than 16",
		"0123456789abcdef\nshort\n":     "shorter than 16",
		strings.Repeat("x\n", 40000):    "larger",
		"# old\n0123456789abcdef\r\n\n": "",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := sign.LoadSRS(path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || err == nil && s == nil {
			t.Errorf("%.40q: got %v, want %q", text, err, want)
		}
	}
}

func FuzzSRSReverse(f *testing.F) {
	for _, s := range []string{"SRS0=bz+t=JR=source.test=alice", "SRS1=2LBM=fwd.test==bz+t=JR=source.test=alice", "SRS0=", "srs1+==="} {
		f.Add(s)
	}
	s := srs(day, "secret")
	f.Fuzz(func(t *testing.T, local string) {
		a, err := s.Reverse(local)
		if err != nil {
			return
		}
		if _, err := mta.ParseAddress(a.String()); err != nil {
			t.Errorf("%q: got %q, which is no address: %v", local, a, err)
		}
	})
}
