package dmarc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta/dns"
)

// When the reports of a day are sent: from a moment after it on that is each host's own, and until when that is tried.
const (
	spreadFrom  = 5 * time.Minute
	spreadOver  = 4 * time.Hour
	retryEvery  = time.Hour
	giveUpAfter = 48 * time.Hour
)

// allSent ends the file that says to whom a day's reports went.
const allSent = "."

// Sender sends what a Collector has kept. It belongs to one goroutine, which calls Tick every minute or so.
type Sender struct {
	Dir      string
	Reporter Reporter
	Resolver Resolver
	Post     func(ctx context.Context, to string, message []byte) error // the null sender is its envelope's
	Now      func() time.Time
	Log      *slog.Logger

	next map[string]time.Time // by day, after a failure
}

// Tick sends what is due, and removes what is too old.
func (s *Sender) Tick(ctx context.Context) {
	days, err := Days(s.Dir)
	if err != nil {
		s.Log.Error("dmarc reports", "err", err)
	}
	if s.next == nil {
		s.next = map[string]time.Time{}
	}
	for _, day := range days {
		start, _ := time.Parse(time.DateOnly, day) // Days has parsed it
		end := start.Add(24 * time.Hour)
		if s.Now().After(end.AddDate(0, 0, keepDays)) {
			s.forget(day)
			continue
		}
		due := end.Add(s.spread())
		if at, ok := s.next[day]; ok {
			due = at
		}
		if s.Reporter.From == "" || s.Now().Before(due) || s.Now().After(end.Add(giveUpAfter)) || ctx.Err() != nil {
			continue
		}
		s.next[day] = s.Now().Add(retryEvery)
		if err := s.sendDay(ctx, day); err != nil {
			s.Log.Warn("dmarc reports", "day", day, "err", err)
		}
	}
}

// spread keeps all the world's hosts from coming at once.
func (s *Sender) spread() time.Duration {
	h := fnv.New64a()
	_, _ = io.WriteString(h, s.Reporter.Hostname) // cannot fail
	return spreadFrom + time.Duration(h.Sum64()%uint64(spreadOver))
}

func (s *Sender) forget(day string) {
	delete(s.next, day)
	for _, path := range []string{sentFile(s.Dir, day), rowsFile(s.Dir, day)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.Log.Error("dmarc reports", "err", err)
		}
	}
}

// Sent are the domains that have their reports of a day, with the addresses; done says that all have.
func Sent(dir, day string) (to map[string][]string, done bool, err error) {
	f, err := os.Open(sentFile(dir, day))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	to = map[string][]string{}
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		domain, addresses, _ := strings.Cut(sc.Text(), " ")
		done = done || domain == allSent
		to[domain] = strings.Fields(addresses)
	}
	return to, done, sc.Err()
}

// sendDay sends the reports of a day that were not sent yet. Each is written down when it is under way.
func (s *Sender) sendDay(ctx context.Context, day string) error {
	sent, done, err := Sent(s.Dir, day)
	if err != nil || done {
		return err
	}
	all, err := Load(s.Dir, day)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(sentFile(s.Dir, day), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	var failed []error
	for _, domain := range slices.Sorted(maps.Keys(all)) {
		if _, ok := sent[domain]; ok || ctx.Err() != nil {
			continue
		}
		to, err := s.sendOne(ctx, day, all[domain])
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", domain, err))
			continue
		}
		if _, err := fmt.Fprintln(f, strings.Join(append([]string{domain}, to...), " ")); err != nil {
			return err
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case len(failed) > 0:
		return fmt.Errorf("%d of %d could not be sent, the first: %w", len(failed), len(all), failed[0])
	}
	_, err = fmt.Fprintln(f, allSent)
	return err
}

// sendOne sends a report to all who want it and may have it. It fails when nobody got it, and asking again may help.
func (s *Sender) sendOne(ctx context.Context, day string, a *Aggregate) (to []string, err error) {
	var errs []error
	for _, asked := range a.RUA {
		address, err := s.allowed(ctx, a.Domain, asked)
		if err == nil && address != "" && !slices.Contains(to, address) {
			var m []byte
			if m, err = s.Reporter.Mail(day, a, address, s.Now()); err == nil {
				err = s.Post(ctx, address, m)
			}
			if err == nil {
				to = append(to, address)
				s.Log.Info("dmarc report sent", "day", day, "domain", a.Domain, "to", address, "rows", len(a.Rows))
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", asked, err))
		}
	}
	if len(to) > 0 {
		if len(errs) > 0 {
			s.Log.Warn("dmarc reports", "day", day, "domain", a.Domain, "err", errors.Join(errs...))
		}
		return to, nil
	}
	return nil, errors.Join(errs...)
}

// allowed is the address that a report may go to, "" where there is none: another organization has to want it (RFC 9990 4).
func (s *Sender) allowed(ctx context.Context, domain, address string) (string, error) {
	host, err := hostOf(address)
	if err != nil {
		return "", nil
	}
	if host == domain {
		return address, nil
	}
	ours, err := Organization(ctx, s.Resolver, domain)
	if err != nil {
		return "", err
	}
	theirs, err := Organization(ctx, s.Resolver, host)
	if err != nil {
		return "", err
	}
	if ours == theirs {
		return address, nil
	}
	texts, err := s.Resolver.TXT(ctx, domain+"._report._dmarc."+host)
	if dns.Permanent(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	wanted := false
	for _, text := range texts {
		r, ok := parseRecord(text)
		if !ok {
			continue
		}
		wanted = true
		for _, other := range r.RUA { // instead of the one that was asked for, at the same host
			if h, err := hostOf(other); err != nil || h != host {
				return "", nil
			}
			address = other
		}
	}
	if !wanted {
		return "", nil
	}
	return address, nil
}

func hostOf(address string) (string, error) {
	return dns.ASCII(address[strings.LastIndexByte(address, '@')+1:])
}
