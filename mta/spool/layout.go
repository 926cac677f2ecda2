package spool

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

// The folders and files of a spool (spool.5).
const (
	dirIncoming = "incoming"
	dirLarge    = "large"
	dirDeferred = "deferred"
	dirJournal  = "journal"
	dirTmp      = "tmp"
	dirCorrupt  = "corrupt"
	nameLock    = "lock"
	nameTrigger = "trigger"

	segSuffix = ".seg"
	logSuffix = ".log"
)

// LargeSize is the size in octets up to which a content stands in its segment record; a larger one is a file of its own.
const LargeSize = 256 << 10

// MakeDirs makes the folders that are missing, for their owner alone. An installed spool has them already, with the
// owners and modes of spool.5.
func MakeDirs(fsys durable.FS, root string) error {
	made := false
	for _, d := range []string{"", dirIncoming, dirLarge, dirDeferred, dirJournal, dirTmp, dirCorrupt} {
		err := fsys.Mkdir(filepath.Join(root, d), 0o700)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		made = made || err == nil
	}
	if !made {
		return nil
	}
	if err := fsys.SyncDir(root); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(root))
}

// paths of one spool.
type layout struct{ root string }

func (l layout) dir(name string) string       { return filepath.Join(l.root, name) }
func (l layout) file(dir, name string) string { return filepath.Join(l.root, dir, name) }
func (l layout) large(id mta.ID) string       { return l.file(dirLarge, string(id)) }
func (l layout) tmp(name string) string       { return l.file(dirTmp, name) }
func (l layout) shard(id mta.ID) string       { return l.file(dirDeferred, id.Shard()) }
func (l layout) deferred(id mta.ID) string    { return filepath.Join(l.shard(id), string(id)) }
func (l layout) deferredLog(id mta.ID) string { return l.deferred(id) + logSuffix }

// deferredName reads the name of a file in a shard: whose it is, and whether it is the log; ok is false where no message of
// the shard has such a name.
func deferredName(shard, name string) (id mta.ID, isLog, ok bool) {
	base, isLog := strings.CutSuffix(name, logSuffix)
	id, err := mta.ParseID(base)
	return id, isLog, err == nil && id.Shard() == shard
}
func segmentName(file string) (name string, ok bool) { return strings.CutSuffix(file, segSuffix) }
