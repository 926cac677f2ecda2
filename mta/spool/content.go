package spool

// Content gives what was written so far: mem while it is in memory, else the path of a file in tmp/ that holds it and
// that nobody may change. Both are good until the next Write, Restart, Commit or Abort.
func (m *Incoming) Content() (mem []byte, path string, err error) {
	switch {
	case m.err != nil:
		return nil, "", m.err
	case m.f == nil:
		return m.mem, "", nil
	}
	if err := m.flush(); err != nil {
		return nil, "", m.failed(err)
	}
	return nil, m.w.l.tmp(string(m.id)), nil
}

// Restart forgets what was written, so that another content can take its place under the same id.
func (m *Incoming) Restart() {
	if m.over || m.err != nil {
		return
	}
	m.drop()
	m.size, m.sum = 0, 0
}
