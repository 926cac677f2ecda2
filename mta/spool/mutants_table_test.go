package spool_test

var equivalents = []equivalent{
	{"own not to their end", "what stands there uncommitted was told to nobody: its id stays taken until its segment is gone, and then the report is made again"},
}

var mutants = []mutant{
	// ---- accepting
	{"header unsynced", "the sync of a segment's header before its name", []edit{{"spool/segment.go",
		"return g.f.Sync()\n", "if mutant(\"header unsynced\") {\n return nil\n}\nreturn g.f.Sync()\n"}}},
	{"segment name unsynced", "the sync of the folder before a segment's first record", []edit{{"spool/segment.go",
		"\t\terr = g.fs.SyncDir(g.l.dir(dir))\n", "if !mutant(\"segment name unsynced\") {\n err = g.fs.SyncDir(g.l.dir(dir))\n}\n"}}},
	{"segment unlocked", "the lock of a segment that is being written", []edit{{"spool/segment.go",
		"if err := g.f.Lock(); err != nil {", "if mutant(\"segment unlocked\") {\n} else if err := g.f.Lock(); err != nil {"}}},
	{"message unsynced", "the sync before 250", []edit{{"spool/writer.go",
		"\t\terr = g.f.Sync()", "if !mutant(\"message unsynced\") {\n err = g.f.Sync()\n}"}}},
	{"commit covers too much", "a commit record ends where its sync began", []edit{{"spool/writer.go",
		"\t\terr = g.commit(covered)", "if mutant(\"commit covers too much\") {\n covered = g.off\n}\nerr = g.commit(covered)"}}},
	{"nothing withdrawn", "the withdrawn record", []edit{{"spool/writer.go",
		"if _, err := g.append(kindWithdrawn, []byte(x.id)); err != nil {",
		"if mutant(\"nothing withdrawn\") {\n continue\n}\nif _, err := g.append(kindWithdrawn, []byte(x.id)); err != nil {"}}},
	{"withdrawal unsynced", "the sync of withdrawn records before 4xx", []edit{{"spool/writer.go",
		"if err := g.f.Sync(); err != nil {", "if mutant(\"withdrawal unsynced\") {\n} else if err := g.f.Sync(); err != nil {"}}},
	{"4xx without withdrawal", "no answer when a withdrawal failed", []edit{{"spool/writer.go",
		"x.err = fmt.Errorf(\"%w: %w, withdrawal: %w\", ErrUnknown, cause, err)",
		"x.err = fmt.Errorf(\"%w: %w, withdrawal: %w\", ErrUnknown, cause, err)\nif mutant(\"4xx without withdrawal\") {\n x.err = refusal(cause)\n}"}}},
	{"stays after failed sync", "a segment is left after a failed sync", []edit{{"spool/writer.go",
		"\tw.cur.abandon()\n", `	if g := w.cur; mutant("stays after failed sync") && g.broken == nil {
		var err error
		for _, x := range batch {
			if _, aerr := g.append(kindWithdrawn, []byte(x.id)); err == nil {
				err = aerr
			}
		}
		if err == nil {
			err = g.f.Sync()
		}
		if err == nil {
			err = g.commit(g.off)
		}
		if err == nil {
			w.pending = nil
			for _, x := range batch {
				x.done, x.err = true, refusal(cause)
			}
			return
		}
	}
	w.cur.abandon()
`}}},
	{"no spare", "the segment that is prepared for refusals", []edit{{"spool/writer.go",
		"if w.spare == nil {", "if w.spare == nil && !mutant(\"no spare\") {"}}},

	// ---- reading
	{"reads the uncommitted", "reading ends at the last commit record", []edit{{"spool/tail.go",
		"\t\t\ts.readMessage(g, off, b)\n",
		"s.readMessage(g, off, b)\nif mutant(\"reads the uncommitted\") {\n out = append(out, s.release(g, math.MaxInt64)...)\n}\n"}}},
	{"old boot not to its end", "a segment of an earlier boot is read to its end", []edit{{"spool/tail.go",
		"r.hdr.Boot != s.o.Boot", "r.hdr.Boot != s.o.Boot && !mutant(\"old boot not to its end\")"}}},
	{"own not to their end", "queue-runner's own segments are read to their end", []edit{{"spool/tail.go",
		"r.hdr.Writer == writerQueue)", "r.hdr.Writer == writerQueue && !mutant(\"own not to their end\"))"}}},
	{"all to their end", "a dead writer's segment of this boot ends at its last commit record", []edit{{"spool/tail.go",
		"toEnd: !own && (", "toEnd: !own && (mutant(\"all to their end\") || "}}},
	{"withdrawn ignored", "a withdrawn message is not delivered", []edit{{"spool/tail.go",
		".msgs[id] == nil {", ".msgs[id] == nil && !mutant(\"withdrawn ignored\") {"}}},

	// ---- large contents
	{"large unsynced", "the sync of a large content before its record", []edit{{"spool/incoming.go",
		"if err := m.f.Sync(); err != nil {", "if mutant(\"large unsynced\") {\n} else if err := m.f.Sync(); err != nil {"}}},
	{"large name unsynced", "the sync of large/ before the record", []edit{{"spool/incoming.go",
		"return m.w.fs.SyncDir(m.w.l.dir(dirLarge))", "if mutant(\"large name unsynced\") {\n return nil\n}\nreturn m.w.fs.SyncDir(m.w.l.dir(dirLarge))"}}},
	{"large unlocked", "the lock of a large content until its record is there", []edit{{"spool/incoming.go",
		"if err := f.Lock(); err != nil {", "if mutant(\"large unlocked\") {\n} else if err := f.Lock(); err != nil {"}}},
	{"large never swept", "a large content that no record names is removed", []edit{{"spool/sweep.go",
		"names, err := s.fs.ReadDir(s.l.dir(dirLarge))", "if mutant(\"large never swept\") {\n return nil\n}\nnames, err := s.fs.ReadDir(s.l.dir(dirLarge))"}}},
	{"large swept before a reading", "segments are read between finding a large content and removing it", []edit{{"spool/sweep.go",
		"case s.polls <= polls+1:", "case s.polls <= polls+1 && !mutant(\"large swept before a reading\"):"}}},
	{"large swept too early", "a large content outlasts the unlinked segments that named it", []edit{{"spool/sweep.go",
		"needed := gone || ", "needed := gone && !mutant(\"large swept too early\") || "}}},
	{"tmp never swept", "an old file in tmp/ is removed", []edit{{"spool/sweep.go",
		"names, err := s.fs.ReadDir(s.l.dir(dirTmp))", "if mutant(\"tmp never swept\") {\n return nil\n}\nnames, err := s.fs.ReadDir(s.l.dir(dirTmp))"}}},

	// ---- checkpoint
	{"withdrawal retired early", "a withdrawal outlasts the withdrawn message's own segment", []edit{{"spool/checkpoint.go",
		"m.withdrawn && !m.finished && !done[m] {", "m.withdrawn && !m.finished && !done[m] && !mutant(\"withdrawal retired early\") {"}}},
	{"incomplete retired", "a segment is read to its end before it goes", []edit{{"spool/checkpoint.go",
		"if !g.complete || g.keep", "if !g.complete && !mutant(\"incomplete retired\") || g.keep"}}},
	{"segment retired with work left", "a segment's messages are finished or spilled before it goes", []edit{{"spool/checkpoint.go",
		"g.live != settled ||", "g.live != settled && !mutant(\"segment retired with work left\") ||"},
		{"spool/checkpoint.go", "needed := g.live != 0", "needed := g.live != 0 && !mutant(\"segment retired with work left\")"}}},
	{"segments go before the sync", "spilled messages last before their segment goes", []edit{{"spool/checkpoint.go",
		"\tif redo, err = s.syncDisks(c); err != nil {", `	if mutant("segments go before the sync") {
		for _, g := range c.segs {
			_ = s.fs.Remove(s.l.file(dirIncoming, g.name))
		}
	}
	if redo, err = s.syncDisks(c); err != nil {`}}},
	{"spool's disk unsynced", "the syncfs of the spool", []edit{{"spool/checkpoint.go",
		"if err := s.fs.SyncFS(s.l.root); err != nil {", "if mutant(\"spool's disk unsynced\") {\n} else if err := s.fs.SyncFS(s.l.root); err != nil {"}}},
	{"mail's disk unsynced", "the syncfs of the mailboxes", []edit{{"spool/checkpoint.go",
		"if d == dev {", "if d == dev || mutant(\"mail's disk unsynced\") {"}}},
	{"list after the sync", "the list is taken before the sync", []edit{{"spool/checkpoint.go",
		"\tif err := s.writeDown(c); err != nil {", `	if mutant("list after the sync") {
		s.untouch(c)
		c = s.list()
	}
	if mutant("files go before finished lasts") {
		for _, m := range c.done {
			_ = s.unlinkMessage(m)
		}
	}
	if mutant("segments go before finished lasts") {
		for _, g := range c.segs {
			_ = s.fs.Remove(s.l.file(dirIncoming, g.name))
		}
	}
	if err := s.writeDown(c); err != nil {`}}},
	{"files go before finished lasts", "finished records last before files go", nil},
	{"segments go before finished lasts", "finished records last before segments go", nil},
	{"finished unsynced", "the sync of finished records", []edit{{"spool/checkpoint.go",
		"\treturn s.Flush()\n", "if mutant(\"finished unsynced\") {\n return nil\n}\nreturn s.Flush()\n"}}},
	{"nothing finished", "the finished record", []edit{{"spool/checkpoint.go",
		"s.j.add(kindFinished, m.id, []byte(m.id))", "if !mutant(\"nothing finished\") {\n s.j.add(kindFinished, m.id, []byte(m.id))\n}"}}},
	{"journal judged too late", "a journal segment outlasts the unlinks of its own checkpoint", []edit{{"spool/checkpoint.go",
		"\tfor _, j := range c.journals {\n", `	if mutant("journal judged too late") {
		s.forget(c)
		s.mu.Lock()
		s.j.rotate()
		c.journals = s.reclaimable()
		s.mu.Unlock()
	}
	for _, j := range c.journals {
`}}},
	{"journal goes freely", "a journal segment outlasts what is needed of it", []edit{{"spool/checkpoint.go",
		"\tm := s.msgs[r.id]\n", "if mutant(\"journal goes freely\") {\n return false\n}\nm := s.msgs[r.id]\n"}}},
	{"journal not rotated", "the journal's segment is closed by each checkpoint", []edit{{"spool/checkpoint.go",
		"\ts.j.rotate()\n", "if !mutant(\"journal not rotated\") {\n s.j.rotate()\n}\n"}}},
	{"lost files not rewritten", "what a failed syncfs may have lost is written anew", []edit{{"spool/checkpoint.go",
		"\t\t\ts.suspect[m] = true\n", "if !mutant(\"lost files not rewritten\") {\n s.suspect[m] = true\n}\n"}}},
	{"lost mail not redelivered", "deliveries are repeated after a failed syncfs of their disk", []edit{{"spool/checkpoint.go",
		"\tvar out []*Message\n\tfor m := range s.locals {", "if mutant(\"lost mail not redelivered\") {\n return nil\n}\nvar out []*Message\nfor m := range s.locals {"}}},
	{"lost mail believed", "a delivery after a failed syncfs writes its file anew", []edit{{"spool/checkpoint.go",
		"\t\t\tm.rcpts[i].redo = true\n", "m.rcpts[i].redo = !mutant(\"lost mail believed\")\n"}}},

	// ---- start-up
	{"journal trusted unsynced", "the journal is synced before it is believed", []edit{{"spool/start.go",
		"\t\terr = r.f.Sync()\n", "if !mutant(\"journal trusted unsynced\") {\n err = r.f.Sync()\n}\n"}}},
	{"own trusted unsynced", "own segments are synced before they are believed", []edit{{"spool/start.go",
		"if g.r.hdr.Writer == writerQueue {", "if g.r.hdr.Writer == writerQueue && !mutant(\"own trusted unsynced\") {"}}},
	{"finished ignored", "finished records are obeyed", []edit{{"spool/start.go",
		"c.finished[id] = true", "c.finished[id] = !mutant(\"finished ignored\")"}}},
	{"results ignored", "results in the journal are obeyed", []edit{{"spool/start.go",
		"c.entries[e.ID] = append(c.entries[e.ID], e)", "if !mutant(\"results ignored\") {\n c.entries[e.ID] = append(c.entries[e.ID], e)\n}"}}},
	{"deferred sum unchecked", "the checksum of a deferred file", []edit{{"spool/deferred.go",
		"castagnoli) != ft.sum {", "castagnoli) != ft.sum && !mutant(\"deferred sum unchecked\") {"}}},
	{"torn deferred file trusted", "a segment's record counts where the deferred file is not whole", []edit{{"spool/walk.go",
		"case errors.Is(d.err, errBadDeferred):", "case errors.Is(d.err, errBadDeferred) && !mutant(\"torn deferred file trusted\"):"}}},
	{"journal not copied to the log", "results that only the journal has are added to ID.log", []edit{{"spool/walk.go",
		"\t\t\t\ts.appendLog(d.m, e.bytes())\n", "if !mutant(\"journal not copied to the log\") {\n s.appendLog(d.m, e.bytes())\n}\n"}}},
	{"numbers ignored", "the result with the highest number counts", []edit{{"spool/message.go",
		"e.N <= m.rcpts[e.R].n ||", "e.N <= m.rcpts[e.R].n && !mutant(\"numbers ignored\") ||"}}},
	{"torn log line kept", "a torn line is cut off before one is appended", []edit{{"spool/walk.go",
		"\tif m.logSize < size {\n", "if mutant(\"torn log line kept\") {\n m.logSize = size\n}\nif m.logSize < size {\n"}}},
	{"parents not settled", "parents are settled from their reports", []edit{{"spool/start.go",
		"for _, env := range c.settle {", "if mutant(\"parents not settled\") {\n c.settle = nil\n}\nfor _, env := range c.settle {"}}},
	{"settling unsynced", "settled parents last before queue-runner is ready", []edit{{"spool/start.go",
		"\treturn s.Flush()\n", "if mutant(\"settling unsynced\") {\n return nil\n}\nreturn s.Flush()\n"}}},
	{"settled by all failures", "parents are settled by the report's own list", []edit{{"spool/start.go",
		"\t\ts.record(p, entry{ID: p.id, Reported: rcpts, Delayed: r.Delayed})\n", `		if mutant("settled by all failures") {
			rcpts = nil
			for i := range p.rcpts {
				if p.rcpts[i].state == rcptFailed {
					rcpts = append(rcpts, i)
				}
			}
		}
		s.record(p, entry{ID: p.id, Reported: rcpts, Delayed: r.Delayed})
`}}},

	// ---- spilling
	{"log before file", "a deferred file is renamed before its log", []edit{{"spool/spill.go",
		"\tif err := s.writeDeferred(m, rec, false); err != nil {\n\t\treturn err\n\t}\n\tif err := s.writeLog(m, false); err != nil {\n",
		`	if mutant("log before file") {
		if err := s.writeLog(m, false); err != nil {
			return err
		}
	}
	if err := s.writeDeferred(m, rec, false); err != nil {
		return err
	}
	if mutant("log before file") {
	} else if err := s.writeLog(m, false); err != nil {
`}}},
	{"log empty", "a spilled message's log has the results so far", []edit{{"spool/spill.go",
		"\tb := logBytes(m)\n", "b := logBytes(m)\nif mutant(\"log empty\") {\n b = nil\n}\n"}}},
	{"log not continued", "later results are added to the log", []edit{{"spool/result.go",
		"\t\ts.appendLog(m, b)\n", "if !mutant(\"log not continued\") {\n s.appendLog(m, b)\n}\n"}}},
	{"rewritten log unsynced", "the sync of a log that replaces another", []edit{{"spool/spill.go",
		"\t\t\tif err := s.writeLog(m, true); err != nil {", "if err := s.writeLog(m, !mutant(\"rewritten log unsynced\")); err != nil {"}}},

	// ---- reports and aliases
	{"failure reported unsynced", "failures last before their report is made", []edit{{"spool/report.go",
		"\tif err := s.Flush(); err != nil {\n\t\treturn nil, err\n", "if mutant(\"failure reported unsynced\") {\n} else if err := s.Flush(); err != nil {\nreturn nil, err\n"}}},
	{"nothing reported", "the reported record", []edit{{"spool/report.go",
		"\ts.record(m, entry{ID: m.id, Reported: rcpts, Delayed: t.Delayed})\n\ts.mu.Unlock()\n",
		"if !mutant(\"nothing reported\") {\n s.record(m, entry{ID: m.id, Reported: rcpts, Delayed: t.Delayed})\n}\ns.mu.Unlock()\nif mutant(\"reported unsynced\") {\n return child, nil\n}\n"}}},
	{"reported unsynced", "the sync of the reported record before the report is scheduled", nil},
	{"finished untold", "a success that is to be told of keeps its message", []edit{{"spool/message.go",
		"r.state.settled() && r.tell == \"\"", "r.state.settled() && (r.tell == \"\" || mutant(\"finished untold\"))"}}},
	{"delay not noted", "a report of delay is noted", []edit{{"spool/message.go",
		"\t\t\tm.rcpts[i].late = true\n", "m.rcpts[i].late = !mutant(\"delay not noted\")\n"}}},
	{"delay not settled", "parents are settled from their reports of delay", []edit{{"spool/start.go",
		"return !r.late && ", "return !mutant(\"delay not settled\") && !r.late && "}}},
	{"success not settled", "parents are settled from their reports of success", []edit{{"spool/start.go",
		"|| r.tell != \"\"", "|| r.tell != \"\" && !mutant(\"success not settled\")"}}},
	{"delay lost in the log", "a rewritten log has what was told of delays", []edit{{"spool/message.go",
		"late = append(late, i)", "if !mutant(\"delay lost in the log\") {\n late = append(late, i)\n}"}}},
	{"success lost in the log", "a rewritten log has what is still to be told", []edit{{"spool/message.go",
		"Quiet: r.quiet, Tell: r.tell}", "Quiet: r.quiet, Tell: map[bool]string{false: r.tell}[mutant(\"success lost in the log\")]}"}}},
	{"finished unreported", "a failure keeps its message until it is reported", []edit{{"spool/message.go",
		"return st == rcptLocal ||", "return st == rcptFailed && mutant(\"finished unreported\") || st == rcptLocal ||"}}},
	{"id of a failed try reused", "a report waits until an earlier try of it is gone", []edit{{"spool/report.go",
		"busy := s.msgs[id] != nil || s.strays[id] > 0 || s.j.mentions(id)", "busy := !mutant(\"id of a failed try reused\") && (s.msgs[id] != nil || s.strays[id] > 0 || s.j.mentions(id))"}}},
	{"own segments unread before a second try", "what withdrew a report is known before it is made again", []edit{{"spool/report.go",
		"\tif !s.unread {\n", "if !s.unread || mutant(\"own segments unread before a second try\") {\n"}}},
	{"withdrawn id reused", "a withdrawn id is not used again while its withdrawal is there", []edit{{"spool/tail.go",
		"\ts.strays[id]++\n\tif s", "if !mutant(\"withdrawn id reused\") {\n s.strays[id]++\n}\nif s"}}},
	{"committed report not adopted", "a committed report whose segment could not be opened arrives by reading it", []edit{{"spool/store.go",
		"a.seg.own && !s.adopt[a.id] {", "a.seg.own && (!s.adopt[a.id] || mutant(\"committed report not adopted\")) {"}}},
	{"expansion unrecorded", "an expansion is recorded before its members are delivered to", []edit{{"spool/report.go",
		"\ts.expand(m, i, members, tell)\n\ts.mu.Unlock()\n", `	if mutant("expansion unrecorded") {
		m.apply(entry{ID: m.id, R: i, N: m.rcpts[i].n + 1, State: stateExpanded, Tell: tell, Base: len(m.rcpts), Members: members}, &s.said)
	} else {
		s.expand(m, i, members, tell)
	}
	s.mu.Unlock()
	if mutant("expansion unsynced") {
		return child, nil
	}
`}}},
	{"expansion unsynced", "an expansion lasts before its members are delivered to", nil},
	{"deposit recorded at once", "a delivery without a sync is written down by the checkpoint alone", []edit{{"spool/result.go",
		"\tm.set(i, rcptLocal)\n", `	if r := m.rcpts[i]; mutant("deposit recorded at once") {
		s.record(m, entry{ID: m.id, R: i, N: r.n + 1, State: mta.Delivered.String(), Tries: r.tries + 1})
		return
	}
	m.set(i, rcptLocal)
`}}},

	// ---- local delivery
	{"no look", "the look for a file that an earlier run delivered", []edit{{"local/deliver.go",
		"\tunique := maildir.Unique(r.ID, r.Index, d.Host)\n\tpath, err := box.Find(unique)\n", `	if mutant("no look") && !r.Redo {
		return false, nil
	}
	unique := maildir.Unique(r.ID, r.Index, d.Host)
	path, err := box.Find(unique)
`}}},
	{"no comparison", "the comparison of a file that is there", []edit{{"local/deliver.go",
		"\tc := &compare{f: f}\n", "if mutant(\"no comparison\") {\n return true, nil\n}\nc := &compare{f: f}\n"}}},
	{"found file unsynced", "the sync of a whole file that an earlier run delivered", []edit{{"maildir/deliver.go",
		"\t}\n\terr = f.Sync()\n", "}\nif !mutant(\"found file unsynced\") {\n err = f.Sync()\n}\n"}}},
	{"found name unsynced", "the sync of such a file's name, and of a new mailbox's folder", []edit{{"maildir/deliver.go",
		"\tif err != nil {\n\t\treturn err\n\t}\n\treturn b.syncName(path)\n",
		"if err != nil || mutant(\"found name unsynced\") {\n return err\n}\nreturn b.syncName(path)\n"}}},
	{"completed file unsynced", "the sync of a file that replaces one cut short", []edit{{"maildir/deliver.go",
		"b.write(unique, src, true)", "b.write(unique, src, !mutant(\"completed file unsynced\"))"}}},
	{"completed name unsynced", "the sync of such a file's name", []edit{{"maildir/deliver.go",
		"\t\t_ = b.FS.Remove(tmp)\n\t\treturn err\n\t}\n\treturn b.syncName(path)\n",
		"_ = b.FS.Remove(tmp)\nreturn err\n}\nif mutant(\"completed name unsynced\") {\n return nil\n}\nreturn b.syncName(path)\n"}}},
	{"one look", "the second look", []edit{{"maildir/deliver.go",
		"for range 2 {", "for n := range 2 {\nif n > 0 && mutant(\"one look\") {\n break\n}\n"}}},
	{"mail unsynced", "the sync of a file where each is synced", []edit{{"maildir/deliver.go",
		"if err == nil && sync {", "if err == nil && sync && !mutant(\"mail unsynced\") {"}}},
	{"mail's name unsynced", "the sync of new/ where each is synced", []edit{{"maildir/deliver.go",
		"return errors.Join(b.FS.SyncDir(filepath.Dir(path)), b.FS.SyncDir(b.Path))", `var err error
	if !mutant("mail's name unsynced") {
		err = b.FS.SyncDir(filepath.Dir(path))
	}
	if err == nil && !mutant("new mailbox unsynced") {
		err = b.FS.SyncDir(b.Path)
	}
	return err`}}},
	{"new mailbox unsynced", "the sync of a new mailbox's folder, where each is synced", nil},
	{"mailbox's name unsynced", "the sync of the folder above a new mailbox", []edit{{"maildir/deliver.go",
		"\tfor dir := b.Path; ; dir = filepath.Dir(dir) {", "for dir := b.Path; !mutant(\"mailbox's name unsynced\"); dir = filepath.Dir(dir) {"}}},
	{"delivery replaces", "the rename that replaces nothing", []edit{{"maildir/deliver.go",
		"\tif err := b.FS.RenameNoReplace(tmp, to); err != nil {\n\t\t_ = b.FS.Remove(tmp)\n", `	rename := b.FS.RenameNoReplace
	if mutant("delivery replaces") {
		rename = b.FS.Rename
	}
	if err := rename(tmp, to); err != nil {
		if !mutant("tmp kept") {
			_ = b.FS.Remove(tmp)
		}
`}}},
	{"tmp kept", "what a failed delivery left in tmp/ is removed", nil},
}
