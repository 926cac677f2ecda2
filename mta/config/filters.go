package config

import (
	"math"
	"slices"
	"strings"
)

// checkFilters holds names to what may become part of a path, and scores to what can be compared.
func (r *reader) checkFilters() {
	f := &r.cfg.Filters
	n := r.root.get("filters", "enabled")
	for i, name := range f.Enabled {
		at := n.item(i)
		if at == nil {
			at = n
		}
		switch {
		case name == "" || len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
			r.fault(at, "filters.enabled", "%q; allowed: a name of the letters a to z, digits and hyphens", name)
		case slices.Contains(f.Enabled[:i], name):
			r.fault(at, "filters.enabled", "%q stands there twice; allowed: once", name)
		}
	}
	for key, v := range map[string]float64{"score_junk": f.ScoreJunk, "score_reject": f.ScoreReject} {
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			r.fault(r.root.get("filters", key), "filters."+key, "%v; allowed: 0 (off), or a number above it", v)
		}
	}
}
