package maildir_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/maildir"
)

// counting is a Maildir that holds three messages of ten octets, of which the quota counts two, and its Counter of 100 octets.
func counting(t *testing.T, quotaFile string) (string, maildir.Counter) {
	t.Helper()
	dir := mailbox(t, map[string]string{"new/1.a.h": "123456789\n", "cur/2.a.h:2,S": "123456789\n", "cur/3.a.h:2,ST": "123456789\n"})
	if quotaFile != "" {
		write(t, filepath.Join(dir, maildir.QuotaFile), quotaFile)
	}
	return dir, maildir.Counter{FS: durable.OS{}, Path: dir, Limit: 100, Now: time.Now}
}

func quotaFile(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, maildir.QuotaFile))
	if err != nil {
		return ""
	}
	return string(b)
}

func TestAQuotaFileThatCannotBeBelievedIsMadeAnew(t *testing.T) {
	const anew = "100S\n20 2\n"
	for name, file := range map[string]string{
		"none":              "",
		"another quota":     "200S\n5 1\n",
		"a count of files":  "100S,10C\n5 1\n",
		"no count":          "100S\n",
		"no end":            "100S\n5 1",
		"no first line":     "5 1\n",
		"three fields":      "100S\n5 1 1\n",
		"a word":            "100S\nfive 1\n",
		"negative":          "100S\n5 1\n-10 -1\n",
		"negative messages": "100S\n5 1\n5 -2\n",
		"too much":          "100S\n9223372036854775807 1\n9223372036854775807 1\n",
		"grown":             "100S\n" + strings.Repeat("1 1\n-1 -1\n", 600) + "5 1\n",
		"binary":            "\x00\x00\x00",
	} {
		dir, c := counting(t, file)
		got, err := c.Used(0)
		if want := (maildir.Usage{Messages: 2, Octets: 20}); err != nil || got != want {
			t.Errorf("%s: got %v, %v; want %v", name, got, err, want)
		}
		if got := quotaFile(t, dir); got != anew {
			t.Errorf("%s: got the file %q, want %q", name, got, anew)
		}
		if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) > 0 {
			t.Errorf("%s: got %v in tmp/, %v; want nothing", name, left, err)
		}
	}
}

func TestOneThatOthersKeepIsBelieved(t *testing.T) {
	for file, want := range map[string]maildir.Usage{
		"100S\n5 1\n":                            {Messages: 1, Octets: 5},
		"100S\n           5            1\n7 1\n": {Messages: 2, Octets: 12}, // as Courier writes it
		"100S\n50 3\n-5 -1\n":                    {Messages: 2, Octets: 45},
		"100S\n0 0\n":                            {},
	} {
		dir, c := counting(t, file)
		if got, err := c.Used(10); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", file, got, err, want)
		}
		if got := quotaFile(t, dir); got != file {
			t.Errorf("%q was written anew: %q", file, got)
		}
	}
}

func TestACountThatSaysFullIsMadeAnewUnlessSomebodyJustDid(t *testing.T) {
	for _, c := range []struct {
		file string
		age  time.Duration
		want int64
	}{
		{"100S\n95 1\n", 0, 95},
		{"100S\n95 1\n", 14 * time.Minute, 95},
		{"100S\n95 1\n", 16 * time.Minute, 20},
		{"100S\n95 1\n", -time.Hour, 20}, // the clock was set back
		{"100S\n90 1\n5 1\n", 0, 20},
		{"100S\n90 1\n", 16 * time.Minute, 90}, // there is room
	} {
		_, counter := counting(t, c.file)
		counter.Now = func() time.Time { return time.Now().Add(c.age) }
		if got, err := counter.Used(10); err != nil || got.Octets != c.want {
			t.Errorf("%q, %v old: got %v, %v; want %d octets", c.file, c.age, got, err, c.want)
		}
	}
}

func TestAddCountsOn(t *testing.T) {
	dir, c := counting(t, "")
	for range 2 {
		if err := c.Add(maildir.Usage{Messages: 1, Octets: 7}); err != nil {
			t.Fatal(err)
		}
	}
	// The first has counted what is there, its own message with it.
	if got, want := quotaFile(t, dir), "100S\n20 2\n7 1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// Without a quota of ours the count of others goes on, and is not begun.
	c.Limit = 0
	if err := c.Add(maildir.Usage{Messages: -1, Octets: -7}); err != nil || quotaFile(t, dir) != "100S\n20 2\n7 1\n-7 -1\n" {
		t.Errorf("no quota: got %q, %v", quotaFile(t, dir), err)
	}
	write(t, filepath.Join(dir, maildir.QuotaFile), strings.Repeat("x", 6000))
	for range 2 {
		if err := c.Add(maildir.Usage{Messages: 1, Octets: 7}); err != nil || quotaFile(t, dir) != "" {
			t.Errorf("no quota, and a long file: got %.20q, %v; want none", quotaFile(t, dir), err)
		}
	}
}

// TestWhatOthersAddMeanwhileIsNotLost has others deliver and count while a Counter counts.
func TestWhatOthersAddMeanwhileIsNotLost(t *testing.T) {
	dir, c := counting(t, "")
	n := 0
	c.FS = &busy{FS: durable.OS{}, read: func(path string) {
		if n < 2 && strings.HasSuffix(path, "/cur") {
			n++
			write(t, filepath.Join(dir, fmt.Sprintf("new/5.%d.h", n)), "123456789\n")
			if err := os.Chtimes(filepath.Join(dir, "new"), time.Time{}, time.Unix(int64(n), 0)); err != nil {
				t.Error(err)
			}
		}
	}}
	got, err := c.Recount()
	if want := (maildir.Usage{Messages: 4, Octets: 40}); err != nil || got != want || quotaFile(t, dir) != "100S\n40 4\n" {
		t.Errorf("got %v, %v, file %q; want %v", got, err, quotaFile(t, dir), want)
	}
	// Where it never rests nothing is left that could be wrong.
	n = -1000
	if _, err := c.Recount(); err != nil || quotaFile(t, dir) != "" {
		t.Errorf("got %v, file %q; want none", err, quotaFile(t, dir))
	}
}

// busy is a filesystem on which something happens whenever a folder is read.
type busy struct {
	durable.FS
	read func(path string)
}

func (b *busy) ReadDir(path string) ([]string, error) {
	b.read(path)
	return b.FS.ReadDir(path)
}

// stuck cannot remove.
type stuck struct{ durable.FS }

var errStuck = errors.New("cannot be removed")

func (stuck) Remove(string) error { return errStuck }

func TestACountThatMayBeWrongAndStaysIsAnError(t *testing.T) {
	dir, c := counting(t, "")
	n := 0
	c.FS = stuck{&busy{FS: durable.OS{}, read: func(path string) {
		n++
		if err := os.Chtimes(filepath.Join(dir, "new"), time.Time{}, time.Unix(int64(n), 0)); err != nil {
			t.Error(err)
		}
	}}}
	if _, err := c.Recount(); !errors.Is(err, errStuck) {
		t.Errorf("got %v, want %v", err, errStuck)
	}
}

// FuzzQuotaFile holds that a file that is believed says something that can be, and says one more after one more line.
func FuzzQuotaFile(f *testing.F) {
	for _, s := range []string{"100S\n5 1\n", "100S,10C\n 5  1 \n-5 -1\n", "1S\n1125899906842624 1\n", "\n0 0\n", "100S\n5 1", "1S\n-1 1\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		sum, ok := maildir.ParseQuotaFile(text)
		if !ok {
			return
		}
		if sum.Octets < 0 || sum.Messages < 0 {
			t.Errorf("%q: got %v", text, sum)
		}
		more, ok := maildir.ParseQuotaFile(append(text, "7 1\n"...))
		if want := (maildir.Usage{Messages: sum.Messages + 1, Octets: sum.Octets + 7}); !ok || more != want {
			t.Errorf("%q and a line: got %v, %v; want %v", text, more, ok, want)
		}
	})
}

func TestManyAddAtOnce(t *testing.T) {
	dir, c := counting(t, "100S\n0 0\n")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				if err := c.Add(maildir.Usage{Messages: 1, Octets: 3}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	got, ok, err := c.Said()
	if want := (maildir.Usage{Messages: 160, Octets: 480}); err != nil || !ok || got != want {
		t.Errorf("got %v, %v, %v; want %v\n%s", got, ok, err, want, quotaFile(t, dir))
	}
}

func TestAQuotaFileThatIsALinkIsNotFollowed(t *testing.T) {
	dir, c := counting(t, "")
	other := filepath.Join(t.TempDir(), "other")
	write(t, other, "100S\n1 1\n")
	if err := os.Symlink(other, filepath.Join(dir, maildir.QuotaFile)); err != nil {
		t.Fatal(err)
	}
	if err := c.Add(maildir.Usage{Messages: 1, Octets: 7}); err == nil {
		t.Error("Add has followed a link")
	}
	if got, err := c.Used(0); err != nil || got.Octets != 20 || quotaFile(t, dir) != "100S\n20 2\n" {
		t.Errorf("got %v, %v, file %q", got, err, quotaFile(t, dir))
	}
	if b, err := os.ReadFile(other); err != nil || string(b) != "100S\n1 1\n" {
		t.Errorf("got %q, %v in the other file", b, err)
	}
}
