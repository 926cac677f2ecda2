package dmarc

import "context"

// Tick is what happens every minute.
func (f *Filter) Tick(ctx context.Context) { f.reports.tick(ctx) }
