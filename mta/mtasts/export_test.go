package mtasts

import "context"

// Sweep is what Run does each hour.
func (c *Cache) Sweep(ctx context.Context) { c.sweep(ctx) }
