package tlsrpt

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// The files: DATE.json holds a day's counters, DATE.sent the domains whose report of it is done, a line each; history.json
// the levels.
const (
	counterExt  = ".json"
	sentExt     = ".sent"
	historyFile = "history.json"
	maxFile     = 256 << 20
)

// pending is a day that has ended.
type pending struct {
	*day
	sent    map[string]bool
	failed  map[string]failure // domains that could not be told yet
	unsaved bool
}

type failure struct {
	next time.Time
	err  error
}

func (r *Recorder) path(start time.Time, ext string) string {
	return filepath.Join(r.opt.Dir, start.Format(time.DateOnly)+ext)
}

// save writes what has changed.
func (r *Recorder) save() {
	files, err := r.changed()
	errs := []error{err}
	for _, p := range r.pending {
		if p.unsaved {
			b, err := p.encode()
			files, errs = append(files, file{r.path(p.Start, counterExt), b}), append(errs, err)
		}
	}
	for _, f := range files {
		errs = append(errs, renameio.WriteFile(f.path, f.data, 0o600))
	}
	err = errors.Join(errs...)
	if err != nil && !r.badDisk {
		r.opt.Log.TLSReportError("", "save", err)
	}
	r.badDisk = err != nil
	for _, p := range r.pending {
		p.unsaved = p.unsaved && r.badDisk
	}
	if r.badDisk {
		r.mu.Lock()
		r.dirty, r.history.dirty = true, true
		r.mu.Unlock()
	}
}

// changed takes over the days that have ended, and returns what is to be written of what goes on.
func (r *Recorder) changed() (files []file, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roll(r.opt.Now())
	for _, d := range r.closed {
		r.pending = append(r.pending, &pending{day: d, sent: map[string]bool{}, failed: map[string]failure{}, unsaved: true})
	}
	r.closed = nil
	if r.dirty {
		b, err := r.today.encode()
		if err != nil {
			return nil, err
		}
		files = append(files, file{r.path(r.today.Start, counterExt), b})
	}
	if r.history.dirty {
		b, err := json.Marshal(r.history.domains)
		if err != nil {
			return nil, err
		}
		files = append(files, file{filepath.Join(r.opt.Dir, historyFile), b})
	}
	r.dirty, r.history.dirty = false, false
	return files, nil
}

type file struct {
	path string
	data []byte
}

// load reads the files of an earlier run.
func (r *Recorder) load() error {
	names, err := os.ReadDir(r.opt.Dir)
	if err != nil {
		return err
	}
	today := dayOf(r.opt.Now())
	for _, n := range names {
		date, ok := strings.CutSuffix(n.Name(), counterExt)
		start, err := time.Parse(time.DateOnly, date)
		if !ok || err != nil {
			continue
		}
		d := &day{}
		err = readJSON(filepath.Join(r.opt.Dir, n.Name()), d)
		if err == nil && !d.Start.Equal(start) {
			err = fmt.Errorf("%s: is of another day", n.Name())
		}
		if err != nil {
			r.opt.Log.TLSReportError("", "read", err)
			continue
		}
		d.tidy()
		if start.Before(today) {
			r.pending = append(r.pending, &pending{day: d, sent: r.loadSent(start), failed: map[string]failure{}})
		} else if start.Equal(today) {
			r.today = d
		}
	}
	err = readJSON(filepath.Join(r.opt.Dir, historyFile), &r.history.domains)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.opt.Log.TLSReportError("", "read", err)
	}
	if err != nil || r.history.domains == nil {
		r.history = newHistory()
	}
	maps.DeleteFunc(r.history.domains, func(_ string, k known) bool { return k.Level < Clear || k.Level > Authenticated })
	return nil
}

// tidy puts right what only a file that somebody else has written can have.
func (d *day) tidy() {
	if d.Domains == nil {
		d.Domains = map[string][]*tally{}
	}
	for name, list := range d.Domains {
		d.Domains[name] = slices.DeleteFunc(list, func(t *tally) bool { return t == nil })
	}
}

func readJSON(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	if err := json.NewDecoder(io.LimitReader(f, maxFile)).Decode(v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (r *Recorder) loadSent(start time.Time) map[string]bool {
	sent := map[string]bool{}
	b, err := os.ReadFile(r.path(start, sentExt))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.opt.Log.TLSReportError("", "read", err)
	}
	for line := range strings.Lines(string(b)) {
		if domain, whole := strings.CutSuffix(line, "\n"); whole {
			sent[domain] = true
		}
	}
	return sent
}

// markDone writes down that a domain's report is done, and makes it last where somebody was sent it.
func (r *Recorder) markDone(p *pending, domain string, sent bool) {
	p.sent[domain] = true
	delete(p.failed, domain)
	f, err := os.OpenFile(r.path(p.Start, sentExt), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err == nil {
		_, err = f.WriteString(domain + "\n")
		if sent && err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		r.opt.Log.TLSReportError(domain, "save", err)
	}
}

// remove forgets a day that is done.
func (r *Recorder) remove(p *pending) {
	for _, ext := range []string{counterExt, sentExt} {
		if err := os.Remove(r.path(p.Start, ext)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.opt.Log.TLSReportError("", "remove", err)
		}
	}
}
