package spool

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
)

// A line of ID.log that has gone bad costs what it said alone: the journal has long lost what stands behind it, and a recipient
// who has the message is not to get it again.
func TestALogIsReadBehindDamage(t *testing.T) {
	env := []byte(`{"v":1,"id":"` + string(idA) + `","arrived":"2026-01-02T03:04:05Z","role":"mx","sender":"a@far.test","size":7,` +
		`"rcpts":[{"address":"b@here.test"},{"address":"c@here.test"},{"address":"d@here.test"}]}`)
	line := func(r int) string {
		return fmt.Sprintf(`{"id":"%s","r":%d,"n":1,"state":"delivered","tries":1}`+"\n", idA, r)
	}
	for name, c := range map[string]struct {
		log     string
		told    []int  // the recipients who have it
		corrupt string // what is kept of the log
	}{
		"good":                   {line(0) + line(1), []int{0, 1}, ""},
		"torn":                   {line(0) + line(1)[:20], []int{0}, ""},
		"torn behind a line end": {line(0) + "x\n" + line(1)[:20], []int{0}, ""},
		"at the begin":           {"x" + line(0) + line(1) + line(2)[:9], []int{1}, "x" + line(0)},
		"two lines":              {line(0) + "\n" + strings.ToUpper(line(1)) + line(2), []int{0, 2}, "\n" + strings.ToUpper(line(1))},
		"a loss of power":        {line(0)[:9] + "\x00\x00" + line(0)[20:] + line(1), []int{1}, ""},
		"another message's":      {strings.Replace(line(0), string(idA), string(idC), 1) + line(1), []int{1}, strings.Replace(line(0), string(idA), string(idC), 1)},
	} {
		m := newMachine(t)
		path := "deferred/" + idA.Shard() + "/" + string(idA)
		if err := m.disk.Process("hand").Mkdir(root+"/deferred/"+idA.Shard(), 0o700); err != nil {
			t.Fatal(err)
		}
		m.write(path, encodeDeferred(env, messageRecord{content: []byte("first\r\n"), size: 7}))
		m.write(path+".log", []byte(c.log))
		for start := range 2 {
			var log bytes.Buffer
			s := m.open(&log)
			l, err := s.Load(s.Outstanding()[0])
			if err != nil {
				t.Fatal(err)
			}
			var told []int
			for i, r := range l.Rcpts {
				if r.State == Told {
					told = append(told, i)
				}
			}
			l.Close()
			if !slices.Equal(told, c.told) {
				t.Errorf("%s, start %d: %v have it, want %v", name, start, told, c.told)
			}
			if got, want := strings.Contains(log.String(), "event=spool-damaged"), c.corrupt != "" && start == 0; got != want {
				t.Errorf("%s, start %d: told of damage: %v, want %v\n%s", name, start, got, want, log.String())
			}
			m.tidy(s)
			s.Close()
		}
		var kept string
		for _, file := range m.list("corrupt") {
			kept += string(m.octets("corrupt/" + file))
		}
		if kept != c.corrupt {
			t.Errorf("%s: kept %q, want %q", name, kept, c.corrupt)
		}
		want := ""
		for _, r := range c.told {
			want += line(r)
		}
		if got := string(m.octets(path + ".log")); got != want {
			t.Errorf("%s: the log is then\n%s\nwant\n%s", name, got, want)
		}
	}
}

// What is no file, where others may write, must not keep queue-runner from the files beside it.
func TestWhatIsNoFileIsPassedOver(t *testing.T) {
	m := newMachine(t)
	w := m.writer()
	before := m.put(w, "before\r\n")
	hand := m.disk.Process("hand")
	for _, path := range []string{"incoming/" + string(idA) + ".seg", "large/" + string(idA)} {
		if err := hand.Mkdir(root+"/"+path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	s := m.open(&log)
	if got := s.Outstanding(); len(got) != 1 || got[0].ID() != before {
		t.Errorf("got %v, want %s", got, before)
	}
	if err := hand.Mkdir(root+"/incoming/"+string(idC)+".seg", 0o700); err != nil {
		t.Fatal(err)
	}
	after := m.put(w, "after\r\n")
	var ids []mta.ID
	for range 3 {
		fresh, _, err := s.Poll(10)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range fresh {
			ids = append(ids, x.ID())
		}
		m.tidy(s)
	}
	if !slices.Equal(ids, []mta.ID{after}) {
		t.Errorf("got %v, want %s", ids, after)
	}
	if n := strings.Count(log.String(), "event=spool-skipped"); n != 2 || strings.Contains(log.String(), "event=spool-error") {
		t.Errorf("got %d lines of what was passed over, want 2 and no error:\n%s", n, log.String())
	}
}
