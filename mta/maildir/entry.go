package maildir

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"math/bits"
	"slices"
)

// entry is a message as the snapshot keeps it. A mailbox may have a million: it holds no pointer, and its name stands in
// one long slice with all others.
type entry struct {
	ino    uint64
	size   int64  // octets of the file
	wire   int64  // octets as POP3 sends them
	mtime  int64  // nanoseconds since 1970
	time   int64  // of arrival, seconds since 1970
	name   uint32 // where its file name begins in names
	length uint8  // of the file name: NAME_MAX is 255
	unique uint8  // length of the name's unique part
	state  uint8  // bits below
}

const (
	inNew     = 1 << iota // the file is in new/, not in cur/
	twin                  // another message has the same unique part
	gone                  // it was looked for under all names and is not there
	measured              // the file was read for its size on the wire: its name does not give it
	retrieved             // RETR has sent it; Close sets the flag S
	wrong                 // the file is not what the snapshot says
)

// kept are the bits that outlive a session.
const kept = inNew | twin | measured

func (e *entry) is(bit uint8) bool { return e.state&bit != 0 }

// list is messages and their names.
type list struct {
	names []byte
	all   []entry
}

func (l *list) file(e *entry) []byte   { return l.names[e.name : e.name+uint32(e.length)] }
func (l *list) unique(e *entry) []byte { return l.names[e.name : e.name+uint32(e.unique)] }

// rename gives a message another file name; the old one stays where it is until the session ends.
func (l *list) rename(e *entry, file []byte) {
	e.name, e.length = uint32(len(l.names)), uint8(len(file))
	l.names = append(l.names, file...)
}

// compact forgets names that messages had before, once they are the most: another program may rename for as long as a
// session lasts.
func (l *list) compact() {
	used := 0
	for i := range l.all {
		used += int(l.all[i].length)
	}
	if len(l.names) <= 2*used {
		return
	}
	names := make([]byte, 0, used)
	for i := range l.all {
		e := &l.all[i]
		at := uint32(len(names))
		names = append(names, l.file(e)...)
		e.name = at
	}
	l.names = names
}

// compare orders messages by arrival.
func (l *list) compare(a, b *entry) int {
	if a.time != b.time {
		return cmp.Compare(a.time, b.time)
	}
	return cmp.Or(bytes.Compare(l.unique(a), l.unique(b)), cmp.Compare(a.ino, b.ino))
}

// sort puts entries of l in order.
func (l *list) sort(some []entry) {
	slices.SortFunc(some, func(a, b entry) int { return l.compare(&a, &b) })
}

// index finds messages by their unique part. It is a hash table in one slice: half a million lookups are to be cheap.
type index struct {
	l     *list
	seed  maphash.Seed
	mask  uint32
	slots []int32 // number of a message plus one; 0 is free
}

func newIndex(l *list, room int) *index {
	size := uint32(1) << bits.Len32(uint32(max(8, room*3/2)))
	return &index{l: l, seed: maphash.MakeSeed(), mask: size - 1, slots: make([]int32, size)}
}

// newFullIndex has all messages of a list in it.
func newFullIndex(l *list) *index {
	x := newIndex(l, len(l.all))
	for i := range l.all {
		x.add(i)
	}
	return x
}

// add puts message i in, behind those with the same unique part.
func (x *index) add(i int) {
	at := uint32(maphash.Bytes(x.seed, x.l.unique(&x.l.all[i]))) & x.mask
	for x.slots[at] != 0 {
		at = (at + 1) & x.mask
	}
	x.slots[at] = int32(i + 1)
}

// each calls do for each message that has the unique part, until do returns false.
func (x *index) each(unique []byte, do func(i int) bool) {
	at := uint32(maphash.Bytes(x.seed, unique)) & x.mask
	for ; x.slots[at] != 0; at = (at + 1) & x.mask {
		i := int(x.slots[at] - 1)
		if bytes.Equal(x.l.unique(&x.l.all[i]), unique) && !do(i) {
			return
		}
	}
}
