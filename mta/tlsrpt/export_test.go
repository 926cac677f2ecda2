package tlsrpt

import (
	"context"
	"time"
)

// Tick is what Run does each minute.
func (r *Recorder) Tick(ctx context.Context) {
	r.save()
	r.send(ctx)
}

// DueAt is when the report of the day of start goes out to a domain.
func (r *Recorder) DueAt(start time.Time, domain string) time.Time {
	return r.set.dueAt(&day{Start: start}, domain)
}
