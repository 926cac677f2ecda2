package dmarc

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Bounds of what is kept for reports.
const (
	maxBuffered = 1000     // rows between two writes
	maxDayFile  = 32 << 20 // octets of a day
	maxName     = 255      // octets of a domain or selector in a row
	keepDays    = 14
)

// Row is what messages with the same findings have in common (RFC 9990 3.1.1).
type Row struct {
	Domain       string       `json:"domain"` // that has the record
	Published    Published    `json:"published"`
	RUA          []string     `json:"rua"`
	Source       string       `json:"source"`      // the client's address
	Disposition  string       `json:"disposition"` // none, pass, quarantine or reject
	DKIM         bool         `json:"dkim"`        // aligned
	SPF          bool         `json:"spf"`         // aligned
	Reason       string       `json:"reason,omitempty"`
	Comment      string       `json:"comment,omitempty"`
	HeaderFrom   string       `json:"header_from"`
	EnvelopeFrom string       `json:"envelope_from,omitempty"`
	DKIMResults  []DKIMResult `json:"dkim_results,omitempty"`
	SPFResult    *SPFResult   `json:"spf_result,omitempty"`
	Count        int64        `json:"count"`
}

// Published is the policy as a report shows it.
type Published struct {
	P       Policy `json:"p"`
	SP      Policy `json:"sp,omitempty"`
	NP      Policy `json:"np,omitempty"`
	FO      string `json:"fo"`
	ADKIM   string `json:"adkim"`
	ASPF    string `json:"aspf"`
	Testing string `json:"t"`
}

// DKIMResult is a signature that was verified.
type DKIMResult struct {
	Domain   string `json:"d"`
	Selector string `json:"s"`
	Result   string `json:"result"`
}

// SPFResult is what SPF said of the sender's domain, or of HELO's.
type SPFResult struct {
	Domain string `json:"domain"`
	Scope  string `json:"scope"` // mfrom or helo
	Result string `json:"result"`
}

// Published is the record as a report shows it.
func (r Record) Published() Published {
	word := func(yes bool, a, b string) string {
		if yes {
			return a
		}
		return b
	}
	return Published{r.P, r.SP, r.NP, r.FO, word(r.StrictDKIM, "s", "r"), word(r.StrictSPF, "s", "r"), word(r.Testing, "y", "n")}
}

// Collector keeps rows, a file of JSON lines a day of UTC. What was not yet written when the machine stops is lost: it counts
// for statistics alone.
type Collector struct {
	dir string
	now func() time.Time

	mu   sync.Mutex // guards below
	day  string
	rows map[string]*Row
	full bool // the day's file has reached its bound
}

// NewCollector keeps rows in a folder that is there.
func NewCollector(dir string, now func() time.Time) *Collector {
	return &Collector{dir: dir, now: now, rows: map[string]*Row{}}
}

// Add counts one message. It fails when what was kept so far cannot be written.
func (c *Collector) Add(r Row) error {
	r.Count = 0
	r.clip()
	key, err := json.Marshal(r)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if day := c.now().UTC().Format(time.DateOnly); day != c.day {
		err = c.flush()
		c.day, c.full = day, false
	}
	have, ok := c.rows[string(key)]
	if !ok {
		if len(c.rows) >= maxBuffered {
			err = errors.Join(err, c.flush())
		}
		have = &r
		c.rows[string(key)] = have
	}
	have.Count++
	return err
}

// clip bounds what came from outside.
func (r *Row) clip() {
	for _, s := range []*string{&r.HeaderFrom, &r.EnvelopeFrom} {
		*s = clipped(*s)
	}
	r.DKIMResults = append([]DKIMResult(nil), r.DKIMResults[:min(len(r.DKIMResults), 20)]...)
	for i := range r.DKIMResults {
		d := &r.DKIMResults[i]
		d.Domain, d.Selector = clipped(d.Domain), clipped(d.Selector)
	}
	if r.SPFResult != nil {
		s := *r.SPFResult
		s.Domain = clipped(s.Domain)
		r.SPFResult = &s
	}
}

func clipped(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxName)], "?") }

// Flush writes what was counted.
func (c *Collector) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flush()
}

// flush forgets the rows even where they cannot be written: memory is bounded.
func (c *Collector) flush() error {
	if len(c.rows) == 0 {
		return nil
	}
	rows := c.rows
	c.rows = map[string]*Row{}
	if c.full {
		return nil
	}
	f, err := os.OpenFile(rowsFile(c.dir, c.day), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() >= maxDayFile {
		c.full = true
		return fmt.Errorf("%s has %d octets: what comes on this day is not reported any more", f.Name(), st.Size())
	}
	w := bufio.NewWriter(f)
	e := json.NewEncoder(w)
	for _, r := range rows {
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	return w.Flush()
}

func rowsFile(dir, day string) string { return filepath.Join(dir, day+".rows") }
func sentFile(dir, day string) string { return filepath.Join(dir, day+".sent") }

// Days are those of which a folder has rows, the oldest first. A folder that is not there has none.
func Days(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var days []string
	for _, e := range list {
		day, ok := strings.CutSuffix(e.Name(), ".rows")
		if _, err := time.Parse(time.DateOnly, day); ok && err == nil {
			days = append(days, day)
		}
	}
	return days, err
}

// maxRows bounds the rows of one domain's report.
const maxRows = 10_000

// Aggregate is what was seen of a domain on a day.
type Aggregate struct {
	Domain    string
	Published Published // the last one of the day
	RUA       []string
	Rows      []Row
	Lost      int64 // messages beyond the bound of rows

	index map[string]int
}

// Load reads what was kept of a day, by domain. A line that cannot be read, as the last one may be after a crash, is passed over.
func Load(dir, day string) (map[string]*Aggregate, error) {
	f, err := os.Open(rowsFile(dir, day))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all := map[string]*Aggregate{}
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 256<<10)
	for sc.Scan() {
		var r Row
		if json.Unmarshal(sc.Bytes(), &r) != nil || r.Domain == "" || r.Count < 1 {
			continue
		}
		a := all[r.Domain]
		if a == nil {
			a = &Aggregate{Domain: r.Domain, index: map[string]int{}}
			all[r.Domain] = a
		}
		a.add(r)
	}
	return all, sc.Err()
}

func (a *Aggregate) add(r Row) {
	a.Published, a.RUA = r.Published, r.RUA
	count := r.Count
	r.Published, r.RUA, r.Count = Published{}, nil, 0
	key, _ := json.Marshal(r) // it came from JSON
	i, ok := a.index[string(key)]
	switch {
	case !ok && len(a.Rows) == maxRows:
		a.Lost += count
		return
	case !ok:
		i = len(a.Rows)
		a.Rows, a.index[string(key)] = append(a.Rows, r), i
	}
	a.Rows[i].Count += count
}
