package dns

import (
	"fmt"
	"testing"
	"time"
)

func TestCacheNeverGrowsPastItsBound(t *testing.T) {
	c := cache{max: 10, entries: map[question]entry{}}
	now := time.Unix(0, 0)
	for i := range 1000 {
		c.put(question{fmt.Sprint(i), typeA}, entry{until: now.Add(time.Duration(1+i%7) * time.Second)}, now)
		if len(c.entries) > 10 {
			t.Fatalf("%d entries after %d answers, want at most 10", len(c.entries), i+1)
		}
	}
	if _, ok := c.get(question{"999", typeA}, now); !ok {
		t.Error("the newest entry is gone")
	}
	none := cache{max: -1, entries: map[question]entry{}}
	none.put(question{"a", typeA}, entry{until: now.Add(time.Hour)}, now)
	if len(none.entries) != 0 {
		t.Error("a cache that is off holds something")
	}
}
