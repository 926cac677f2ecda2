package e2e_test

import (
	"flag"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// otherPrograms is for make downgrade, which builds them.
var otherPrograms = flag.String("other-programs", "", "the folder of another version's `PROGRAMS`, to change between it and this one")

// TestChangesBetweenVersions leaves mail in each state to the programs of the other version, one way, the other way, and
// there and back. Nothing may be lost, or come twice.
func TestChangesBetweenVersions(t *testing.T) {
	if *otherPrograms == "" {
		t.Skip("without -other-programs")
	}
	other, err := filepath.Abs(*otherPrograms)
	if err != nil {
		t.Fatal(err)
	}
	filterless := withoutFilters(t, bin, other)
	for _, c := range []struct {
		name string
		way  []string
	}{
		{"down", []string{bin, other}},
		{"up", []string{other, bin}},
		{"down and up again", []string{bin, other, bin}},
		{"up and down again", []string{other, bin, other}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			i := versionInstance(t, bin, nowhere)
			lacks := i.suit(bin, other)
			if filterless {
				lacks = append(lacks, "filters.enabled")
				i.text = regexp.MustCompile(`(?m)^enabled = .*$`).ReplaceAllString(i.text, "")
				mtatest.Write(t, i.conf, i.text)
			}
			t.Logf("keys that one of them has not: %q", lacks)
			i.bin = c.way[0]
			i.linkFilters()
			n := i.leaveMail(t, lacks)
			for _, i.bin = range c.way[1 : len(c.way)-1] {
				i.passesOn(t, &n)
			}
			i.bin = c.way[len(c.way)-1]
			sink := versionSink(t)
			i.comeTo(sink)
			i.wantSound()
			i.startAll()
			i.takesUp(t, n, sink)
		})
	}
}

var unknownKey = regexp.MustCompile(`(?m)^.*posthouse\.toml:(\d+): ([\w.]+): .*$`)

// suit takes keys out of the configuration that these programs refuse, and says which they were.
func (i *instance) suit(programs ...string) (lacks []string) {
	i.t.Helper()
	for _, i.bin = range programs {
		for {
			status, out := i.posthouse("", "user", "list", "--config", i.conf)
			found := unknownKey.FindAllStringSubmatch(out, -1)
			if len(found) == 0 || status == 0 {
				break
			}
			lines := strings.Split(i.text, "\n")
			for _, m := range found {
				n, _ := strconv.Atoi(m[1]) // digits
				lines[n-1], lacks = "", append(lacks, m[2])
			}
			i.text = strings.Join(lines, "\n")
			mtatest.Write(i.t, i.conf, i.text)
		}
	}
	return lacks
}

// withoutFilters says whether one of these programs does not run the filters.
func withoutFilters(t *testing.T, programs ...string) bool {
	t.Helper()
	for _, dir := range programs {
		i := versionInstance(t, bin, nowhere)
		i.suit(programs...)
		i.bin = dir
		i.linkFilters()
		i.smtpd = i.launch("smtpd")
		i.smtpd.Await(t, "event=ready")
		c := i.connect(t)
		_, _, err := c.send([]byte("Subject: x\r\n\r\nx\r\n"), "x@away.test", "postmaster@"+i.domain)
		c.close()
		i.smtpd.Terminate(t)
		if err != nil {
			return true
		}
	}
	return false
}

// comeTo has what is for others go to a sink.
func (i *instance) comeTo(sink *mtatest.Sink) {
	i.linkFilters()
	i.text = strings.ReplaceAll(i.text, nowhere, sink.Addr())
	mtatest.Write(i.t, i.conf, i.text)
}

// passesOn has a version try all that waits, in vain, take more, and end in the midst of it.
func (i *instance) passesOn(t *testing.T, n *versionNote) {
	t.Helper()
	i.linkFilters()
	i.wantSound()
	i.startAll()
	f := &filling{i, t, *n}
	i.tryAsk("retry", "--all", "--yes")
	i.wait(f.remote("deferred by the one between"), "u@away.test")
	i.delivered(i.deposit(t, f.local("delivered by the one between"), "bob"), "bob")
	i.queue.Kill()
	c := i.submit(t, "alice")
	if _, _, err := c.send([]byte(f.remote("taken by the one between")), i.address("alice"), "u@away.test"); err != nil {
		t.Fatal(err)
	}
	c.close()
	i.smtpd.Terminate(t)
	i.pop3d.Terminate(t)
	*n = f.n
}
