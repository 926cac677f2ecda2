package runner

// Windows. The numbers are those of TCP, whose problem it is (RFC 5681): nobody tells how much the other end stands, but
// it shows.
const firstWindow = 2

// window is how many transactions with one site may be under way at once. It begins small, doubles with each round of
// successes up to the size that was too much last time, grows by one a round from there, and halves with each failure.
// It is never below 1 and never above its ceiling.
type window struct {
	size    float64
	careful float64 // from here on it grows by one a round; 0: it has never been too large
}

func newWindow() window { return window{size: firstWindow} }

// allowed is the number of transactions, at most ceiling.
func (w *window) allowed(ceiling int) int { return max(1, min(int(w.size), ceiling)) }

// grow is called for each transaction that went well.
func (w *window) grow(ceiling int) {
	step := 1.0
	if w.careful > 0 && w.size >= w.careful {
		step = 1 / w.size
	}
	w.size = max(1, min(w.size+step, float64(ceiling)))
}

// shrink is called for each that did not; busy is how many others are still under way.
func (w *window) shrink(busy int) {
	w.size = max(1, min(w.size/2, float64(busy)))
	w.careful = w.size
}

// restart is for a site that has been away.
func (w *window) restart() { *w = window{size: 1, careful: w.careful} }
