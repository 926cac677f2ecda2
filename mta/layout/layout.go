package layout

import (
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/config"
)

// The users of the three daemons, and of who obtains certificates. Each has a group of its name, too.
const (
	UserSMTPD = "posthouse-smtpd"
	UserQueue = "posthouse-queue"
	UserMail  = "posthouse-mail" // pop3d; its group may read and change virtual mailboxes
	UserACME  = "posthouse-acme" // obtains certificates; of what daemons use it may change nothing
)

// Groups by which the daemons share; none of them is a user's own.
const (
	GroupSpool = "posthouse-spool" // may add messages to the spool, and read what waits
	GroupUsers = "posthouse-users" // may read the users file
	GroupTLS   = "posthouse-tls"   // may read the keys of certificates
	GroupKeys  = "posthouse-keys"  // may read the keys of DKIM
)

// User is a system user that a daemon runs as.
type User struct {
	Name    string
	Comment string
	Groups  []string // beside the one of its name
}

// Users are the users of an installed system.
func Users() []User {
	return []User{
		{UserSMTPD, "Posthouse SMTP server", []string{GroupSpool, GroupUsers, GroupTLS, GroupKeys}},
		{UserQueue, "Posthouse queue", []string{GroupSpool, GroupUsers, UserMail, GroupKeys}},
		{UserMail, "Posthouse mailboxes", []string{GroupUsers, GroupTLS}},
		{UserACME, "Posthouse certificates", nil},
	}
}

// Groups are the groups that are nobody's own.
func Groups() []string { return []string{GroupSpool, GroupUsers, GroupTLS, GroupKeys} }

// Entry is a folder or a file of an installed system.
type Entry struct {
	Path         string
	Owner, Group string
	Mode         fs.FileMode // of the permission bits, fs.ModeSetgid and fs.ModeSticky
	File         bool        // a file, which whoever needs it makes; all others are folders
	Volatile     bool        // gone after a boot
	Alone        bool        // all that is below it belongs to its owner
	Why          string      // what the owner and the mode are for
}

// Of lists what a configuration needs, each folder behind those above it.
func Of(c *config.Config) []Entry {
	all := append(spool(c), mail(c)...)
	all = append(all, run(c)...)
	all = append(all, state(c)...)
	return append(all, secrets(c)...)
}

const (
	shared  = fs.ModeSetgid | 0o770 // what is made in it belongs to its group
	drop    = shared | fs.ModeSticky
	private = fs.FileMode(0o700)
	public  = fs.FileMode(0o755)
)

// spool is what spool(5) says.
func spool(c *config.Config) []Entry {
	at := func(name string) string { return filepath.Join(c.Spool.Path, name) }
	return []Entry{
		{Path: c.Spool.Path, Owner: UserQueue, Group: GroupSpool, Mode: fs.ModeSetgid | 0o750, Why: "the trigger made in it is for the writers"},
		{Path: at("incoming"), Owner: UserQueue, Group: GroupSpool, Mode: drop, Why: "writers add their own, the queue removes all"},
		{Path: at("large"), Owner: UserQueue, Group: GroupSpool, Mode: drop, Why: "as incoming"},
		{Path: at("tmp"), Owner: UserQueue, Group: GroupSpool, Mode: drop, Why: "as incoming"},
		{Path: at("deferred"), Owner: UserQueue, Group: UserQueue, Mode: private, Why: "accepted mail is the queue's alone"},
		{Path: at("journal"), Owner: UserQueue, Group: UserQueue, Mode: private, Why: "the queue's alone"},
		{Path: at("corrupt"), Owner: UserQueue, Group: UserQueue, Mode: private, Why: "the queue's alone"},
	}
}

// mail is the folder that holds all virtual mailboxes. What is in it is made by deliveries.
func mail(c *config.Config) []Entry {
	return []Entry{{Path: MailRoot(c), Owner: "root", Group: UserMail, Mode: shared, Why: "the queue writes, pop3d removes"}}
}

// MailRoot is the folder above the first {domain} or {local} of mailboxes.path.
func MailRoot(c *config.Config) string {
	before, _, _ := strings.Cut(c.Mailboxes.Path, "{")
	return filepath.Dir(before + "x")
}

func run(c *config.Config) []Entry {
	at := func(name string) string { return filepath.Join(c.Run, name) }
	return []Entry{
		{Path: c.Run, Owner: "root", Group: "root", Mode: public, Volatile: true, Why: "a folder for each daemon"},
		{Path: at("smtpd"), Owner: UserSMTPD, Group: UserSMTPD, Mode: public, Volatile: true, Why: "everybody may reach its sockets"},
		{Path: at("smtpd/filters"), Owner: UserSMTPD, Group: UserSMTPD, Mode: private, Volatile: true, Why: "messages on their way through filters"},
		{Path: at("smtpd/plugins"), Owner: UserSMTPD, Group: UserSMTPD, Mode: private, Volatile: true, Why: "sockets of the filters"},
		{Path: at("queue"), Owner: UserQueue, Group: UserQueue, Mode: public, Volatile: true, Why: "everybody may reach its socket, and smtpd reads its status"},
		{Path: at("as-user"), Owner: "root", Group: "root", Mode: public, Volatile: true, Why: "the kernel tells as-user who asks at its socket"},
	}
}

func state(c *config.Config) []Entry {
	at := func(name string) string { return filepath.Join(c.State, name) }
	return []Entry{
		{Path: c.State, Owner: "root", Group: "root", Mode: public, Why: "a folder for each daemon"},
		{Path: at("smtpd"), Owner: UserSMTPD, Group: UserSMTPD, Mode: private, Alone: true, Why: "its alone"},
		{Path: at("queue"), Owner: UserQueue, Group: UserQueue, Mode: private, Alone: true, Why: "its alone"},
		{Path: at("pop3d"), Owner: UserMail, Group: UserMail, Mode: private, Alone: true, Why: "its alone"},
		{Path: at("filters"), Owner: UserSMTPD, Group: UserSMTPD, Mode: private, Alone: true, Why: "a folder for each filter"},
		{Path: at("acme"), Owner: UserACME, Group: "root", Mode: fs.ModeSetgid | 0o750, Alone: true, Why: "who obtains certificates writes; root, without any capability, reads them from here"},
		{Path: at("keys"), Owner: "root", Group: GroupKeys, Mode: 0o750, Why: "root makes keys, who signs reads them"},
	}
}

// secrets are files that root writes and daemons read. They belong to root: a daemon takes no file of a stranger.
func secrets(c *config.Config) []Entry {
	secret := func(path, group, why string) Entry {
		return Entry{Path: path, Owner: "root", Group: group, Mode: 0o640, File: true, Why: why}
	}
	all := []Entry{secret(c.Users.File, GroupUsers, "verifiers of passwords")}
	switch c.Users.Driver {
	case "postgres":
		all[0] = secret(c.Users.Postgres.URLFile, GroupUsers, "the daemons log in to the database with it")
	case "ldap":
		all[0] = secret(c.Users.LDAP.URLFile, GroupUsers, "the daemons log in to the directory with it")
	}
	if c.Shared.RedisURLFile != "" {
		all = append(all, secret(c.Shared.RedisURLFile, GroupUsers, "smtpd and pop3d log in to the shared store with it"))
	}
	if c.TLS.Key != "" {
		all = append(all, secret(c.TLS.Key, GroupTLS, "smtpd and pop3d read it"))
	}
	for _, s := range c.TLS.SNI {
		all = append(all, secret(s.Key, GroupTLS, "smtpd and pop3d read it"))
	}
	if c.Outbound.SmartHostLogin != "" {
		all = append(all, secret(c.Outbound.SmartHostLogin, UserQueue, "the queue logs in with it"))
	}
	for _, r := range c.Routes {
		if r.Login != "" {
			all = append(all, secret(r.Login, UserQueue, "the queue logs in with it"))
		}
	}
	if c.SRS.Enabled {
		all = append(all, secret(SRSFile(c), GroupKeys, "who forwards signs with it, and smtpd checks what comes back"))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Domains)) {
		for _, selector := range c.Domains[name].DKIM {
			all = append(all, secret(KeyFile(c, name, selector), GroupKeys, "who signs reads it"))
		}
	}
	return all
}

// SRSFile is where the secrets for rewritten senders are kept. It need not be there.
func SRSFile(c *config.Config) string { return filepath.Join(c.State, "keys", "srs") }

// KeyFile is where the key of a selector is kept.
func KeyFile(c *config.Config, domain, selector string) string {
	return filepath.Join(c.State, "keys", domain+"."+selector+".pem")
}
