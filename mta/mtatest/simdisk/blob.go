package simdisk

// blob is a file's bytes: zeros at the end are not stored.
type blob struct {
	b    []byte
	size int64
}

func (x blob) clone() blob { return blob{append([]byte(nil), x.b...), x.size} }

func (x *blob) grow(size int64) { x.size = max(x.size, size) }

func (c change) end() int64 {
	if c.bytes == nil {
		return c.size
	}
	return c.off + int64(len(c.bytes))
}

func (x *blob) apply(c change) {
	if c.bytes == nil {
		x.size = c.size
		if int64(len(x.b)) > x.size {
			x.b = x.b[:x.size]
		}
		return
	}
	end := c.end()
	if int64(len(x.b)) < end {
		x.b = append(x.b, make([]byte, end-int64(len(x.b)))...)
	}
	copy(x.b[c.off:], c.bytes)
	x.grow(end)
}

// read copies what is at off and returns how much of p lies inside the file.
func (x *blob) read(p []byte, off int64) int {
	if off >= x.size {
		return 0
	}
	n := int(min(int64(len(p)), x.size-off))
	clear(p[:n])
	if off < int64(len(x.b)) {
		copy(p[:n], x.b[off:])
	}
	return n
}
