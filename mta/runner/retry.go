package runner

import (
	"math/rand/v2"
	"time"
)

// retryAfter returns how long to wait after the nth try of a recipient: n² times first, up to most, less a random fifth
// so that what failed together does not come back together.
func retryAfter(n int, first, most time.Duration) time.Duration {
	wait := most
	if n < 1 {
		n = 1
	}
	if n < 1000 && int64(n)*int64(n) < int64(most/first)+1 {
		wait = min(most, first*time.Duration(n*n))
	}
	return wait - time.Duration(rand.Int64N(int64(wait/5)+1))
}

// together is how much before its time a recipient is tried along with another one of its message, a part of RetryFirst.
const together = 4
