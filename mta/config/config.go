package config

import (
	"net/netip"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// Config is the whole configuration, as the files and the defaults make it. It does not change once it is read.
type Config struct {
	Hostname   string             `toml:"hostname"`                        // filled: the machine's name where no file sets it; lower case, A-labels
	Origin     string             `toml:"origin"`                          // filled: Hostname where no file sets it
	Postmaster string             `toml:"postmaster" default:"postmaster"` // an address or a local part; see PostmasterAddress
	Include    []string           `toml:"include"`
	State      string             `toml:"state" default:"/var/lib/posthouse"`
	Run        string             `toml:"run" default:"/run/posthouse"`
	Spool      Spool              `toml:"spool"`
	Log        Log                `toml:"log"`
	TLS        TLS                `toml:"tls"`
	Domains    map[string]*Domain `toml:"domains"` // by name in A-labels and lower case; Hostname is always among them
	Users      Users              `toml:"users"`
	Mailboxes  Mailboxes          `toml:"mailboxes"`
	Programs   map[string]Program `toml:"programs"`
	SRS        SRS                `toml:"srs"`
	SMTPD      SMTPD              `toml:"smtpd"`
	Shared     Shared             `toml:"shared"`
	Filters    Filters            `toml:"filters"`
	Queue      Queue              `toml:"queue"`
	Outbound   Outbound           `toml:"outbound"`
	Routes     []Route            `toml:"route"` // in the order of the file: the first that matches wins
	POP3D      POP3D              `toml:"pop3d"`
	Metrics    Metrics            `toml:"metrics"`
	ACME       ACME               `toml:"acme"`

	warnings []string
}

// Spool is the table [spool].
type Spool struct {
	Path string `toml:"path" default:"/var/spool/posthouse"`
	Sync string `toml:"sync" default:"auto" oneof:"auto|batched|each"`
}

// Log is the table [log].
type Log struct {
	Level  string `toml:"level" default:"info" oneof:"debug|info|warn|error"`
	Format string `toml:"format" default:"auto" oneof:"auto|text|json"`
}

// TLS is the table [tls]. Certificate and Key are both set or both empty; empty means that no TLS is offered.
type TLS struct {
	Certificate string `toml:"certificate"`
	Key         string `toml:"key"`
	MinVersion  string `toml:"min_version" default:"1.2" oneof:"1.2|1.3"`
	SNI         []SNI  `toml:"sni"`
}

// SNI is one [[tls.sni]]: another certificate for clients that ask for one of its names.
type SNI struct {
	Names       []string `toml:"names"` // in A-labels and lower case; "*.example.org" is any name of one label more
	Certificate string   `toml:"certificate"`
	Key         string   `toml:"key"`
}

// Domain is one table [domains."NAME"].
type Domain struct {
	Name     string `toml:"-"` // in A-labels and lower case
	Unicode  string `toml:"-"` // the same name in U-labels (RFC 5890)
	Implicit bool   `toml:"-"` // no file gives it: it is there because it is the host's name

	Mailboxes  string   `toml:"mailboxes" default:"virtual" oneof:"virtual|system|relay"`
	AliasOf    string   `toml:"alias_of"`  // the Name of another domain, never itself an alias
	CatchAll   string   `toml:"catch_all"` // an address or a local part in this domain; see CatchAllAddress
	Aliases    string   `toml:"aliases"`   // a file
	Delimiter  string   `toml:"delimiter" default:"+"`
	Recipients string   `toml:"recipients" default:"users" oneof:"users|any|verify"`
	DKIM       []string `toml:"dkim"` // selectors
}

// Users is the table [users].
type Users struct {
	Driver        string        `toml:"driver" default:"file" oneof:"file|sqlite|postgres|ldap|checkpassword" unbuilt:"sqlite"`
	File          string        `toml:"file" default:"/etc/posthouse/users"`
	Scram         string        `toml:"scram" default:"auto" oneof:"auto|always|never"`
	ScramPlus     bool          `toml:"scram_plus" default:"true"`
	Checkpassword Checkpassword `toml:"checkpassword"`
	Postgres      Postgres      `toml:"postgres"`
	LDAP          LDAP          `toml:"ldap"`
}

// Checkpassword is the table [users.checkpassword].
type Checkpassword struct {
	Command []string `toml:"command"` // a program's path and its arguments
}

// Postgres is the table [users.postgres].
type Postgres struct {
	URLFile string `toml:"url_file"`
	User    string `toml:"user"`  // queries
	Alias   string `toml:"alias"` // "" = there are none
	List    string `toml:"list"`  // "" = nobody can tell
}

// LDAP is the table [users.ldap].
type LDAP struct {
	URLFile  string `toml:"url_file"`
	StartTLS bool   `toml:"starttls" default:"true"`
	Base     string `toml:"base"`
	User     string `toml:"user"`  // filters
	Alias    string `toml:"alias"` // "" = there are none
	List     string `toml:"list"`  // "" = nobody can tell

	Target   string `toml:"target" default:"mail"` // attributes
	Address  string `toml:"address" default:"mail"`
	Password string `toml:"password"` // "" = the server checks passwords
	Quota    string `toml:"quota"`
	Forward  string `toml:"forward"`
	SendAs   string `toml:"send_as"`
	Disabled string `toml:"disabled"`
}

// Mailboxes is the table [mailboxes].
type Mailboxes struct {
	Path            string        `toml:"path" default:"/var/mail/posthouse/{domain}/{local}"`
	Quota           Size          `toml:"quota" default:"0" min:"0" max:"1048576GB"`
	QuotaFull       string        `toml:"quota_full" default:"452" oneof:"452|552"`
	QuotaWarning    int           `toml:"quota_warning" default:"90" min:"0" max:"99"` // percent; 0 = never
	SystemPath      string        `toml:"system_path" default:"~/Maildir"`
	SystemMinUID    int           `toml:"system_min_uid" default:"1000" min:"1" max:"2147483647"`
	JunkExpire      time.Duration `toml:"junk_expire" default:"30d" min:"0" max:"3650d"`
	Welcome         string        `toml:"welcome"` // a file
	SystemAccounts  string        `toml:"system_accounts" default:"files" oneof:"files|nss"`
	SystemPasswords string        `toml:"system_passwords" default:"shadow" oneof:"shadow|checkpassword"`
}

// Program is one table [programs.NAME].
type Program struct {
	Command     []string      `toml:"command"`
	User        string        `toml:"user"`
	Timeout     time.Duration `toml:"timeout" default:"60s" min:"1s" max:"1h"`
	Environment []string      `toml:"environment"`
}

// SRS is the table [srs].
type SRS struct {
	Enabled bool `toml:"enabled" default:"true"` // where there is a secret
}

// SMTPD is the table [smtpd].
type SMTPD struct {
	MaxMessageSize Size          `toml:"max_message_size" default:"50MB" min:"64KB" max:"1024GB"`
	MaxRecipients  int           `toml:"max_recipients" default:"1000" min:"100" max:"100000"`
	MaxConnections int           `toml:"max_connections" default:"2000" min:"1" max:"100000"`
	MaxPerClient   int           `toml:"max_per_client" default:"50" min:"1" max:"100000"`
	MaxErrors      int           `toml:"max_errors" default:"10" min:"1" max:"1000"`
	MaxLine        Size          `toml:"max_line" default:"64KB" min:"1000" max:"1MB"`
	BareNewline    string        `toml:"bare_newline" default:"reject" oneof:"reject|normalize"`
	IdleTimeout    time.Duration `toml:"idle_timeout" default:"5m" min:"1s" max:"1h"`
	// SessionTimeout's bound stays below spool.TmpAge: what a session is still writing is not swept.
	SessionTimeout      time.Duration  `toml:"session_timeout" default:"1h" min:"1s" max:"1d"`
	MinRate             Size           `toml:"min_rate" default:"1KB" min:"0" max:"1MB"` // octets a second; 0 = no minimum
	DrainTimeout        time.Duration  `toml:"drain_timeout" default:"60s" min:"0" max:"1h"`
	GreetDelay          time.Duration  `toml:"greet_delay" default:"0s" min:"0" max:"1m"`
	TrustedNetworks     []netip.Prefix `toml:"trusted_networks"`
	ProxyProtocolFrom   []netip.Prefix `toml:"proxy_protocol_from"`
	XclientFrom         []netip.Prefix `toml:"xclient_from"`
	TrustedUsers        []string       `toml:"trusted_users" default:"root"`
	RequireSenderDomain bool           `toml:"require_sender_domain" default:"true"`
	RequireHeloName     bool           `toml:"require_helo_name" default:"true"`
	RejectOwnDomains    bool           `toml:"reject_own_domains" default:"false"`
	FutureReleaseMax    time.Duration  `toml:"future_release_max" default:"30d" min:"0" max:"365d"`
	ReserveDisk         Size           `toml:"reserve_disk" default:"100MB" min:"0" max:"1024GB"`
	MaxQueue            int            `toml:"max_queue" default:"1000000" min:"0" max:"1000000000"`
	Listen              []SMTPListen   `toml:"listen"`
	Rate                SMTPRate       `toml:"rate"`
}

// SMTPListen is one [[smtpd.listen]].
type SMTPListen struct {
	Address        string `toml:"address"` // ":25", "192.0.2.1:25", "[2001:db8::1]:25" or "unix:/path"
	Role           string `toml:"role" oneof:"mx|submission|local|lmtp"`
	TLS            string `toml:"tls" oneof:"starttls|implicit|none"`       // filled: starttls with a certificate, else none
	MaxMessageSize Size   `toml:"max_message_size" min:"64KB" max:"1024GB"` // filled: that of [smtpd]
}

// SMTPRate is the table [smtpd.rate].
type SMTPRate struct {
	MessagesPerClient  Rate `toml:"messages_per_client"`
	MessagesPerLogin   Rate `toml:"messages_per_login" default:"500/h"`
	RecipientsPerLogin Rate `toml:"recipients_per_login" default:"2000/h"`
}

// Shared is the table [shared].
type Shared struct {
	RedisURLFile string `toml:"redis_url_file"`
}

// Filters is the table [filters].
type Filters struct {
	Directory   string        `toml:"directory" default:"/usr/lib/posthouse/filters"`
	Settings    string        `toml:"settings" default:"/etc/posthouse/filters.d"`
	Enabled     []string      `toml:"enabled"`
	Timeout     time.Duration `toml:"timeout" default:"30s" min:"1s" max:"10m"`
	OnFailure   string        `toml:"on_failure" default:"tempfail" oneof:"tempfail|accept"`
	ScoreJunk   float64       `toml:"score_junk" default:"0"`
	ScoreReject float64       `toml:"score_reject" default:"0"`
	Quarantine  string        `toml:"quarantine" default:"junk" oneof:"junk|hold"`
}

// Queue is the table [queue].
type Queue struct {
	Lifetime          time.Duration `toml:"lifetime" default:"5d" min:"1m" max:"60d"`
	BounceLifetime    time.Duration `toml:"bounce_lifetime" default:"2d" min:"1m" max:"60d"`
	DelayNotice       time.Duration `toml:"delay_notice" default:"4h" min:"0" max:"60d"`
	RetryFirst        time.Duration `toml:"retry_first" default:"5m" min:"1s" max:"1d"`
	RetryMax          time.Duration `toml:"retry_max" default:"4h" min:"1s" max:"7d"`
	MaxDeliveries     int           `toml:"max_deliveries" default:"200" min:"1" max:"10000"`
	MaxPerDestination int           `toml:"max_per_destination" default:"20" min:"1" max:"1000"`
	MaxLocal          int           `toml:"max_local" default:"16" min:"1" max:"1000"`
	MaxHops           int           `toml:"max_hops" default:"100" min:"10" max:"1000"`
}

// Outbound is the table [outbound].
type Outbound struct {
	Resolver       []netip.AddrPort `toml:"resolver"` // empty: those of /etc/resolv.conf
	DNSSEC         string           `toml:"dnssec" default:"auto" oneof:"auto|always|never"`
	Source         []netip.Addr     `toml:"source"`
	Helo           string           `toml:"helo"` // filled: Hostname where no file sets it
	IPv6           bool             `toml:"ipv6" default:"true"`
	Port           int              `toml:"port" default:"25" min:"1" max:"65535"`
	TLS            string           `toml:"tls" default:"opportunistic" oneof:"verify|encrypt|opportunistic|none"`
	DANE           bool             `toml:"dane" default:"true"`
	MTASTS         bool             `toml:"mta_sts" default:"true"`
	TLSRPT         bool             `toml:"tlsrpt" default:"true"`
	MaxLine        Size             `toml:"max_line" default:"0" min:"0" max:"1MB"`
	ReuseMax       int              `toml:"reuse_max" default:"100" min:"1" max:"10000"`
	ReuseIdle      time.Duration    `toml:"reuse_idle" default:"5s" min:"0" max:"5m"`
	SmartHost      Target           `toml:"smart_host"` // the zero Target: none
	SmartHostLogin string           `toml:"smart_host_login"`
}

// Route is one [[route]].
type Route struct {
	Domain string `toml:"domain"` // a name in A-labels, ".suffix", or "*"; see Matches
	To     Target `toml:"to"`
	TLS    string `toml:"tls" oneof:"verify|encrypt|opportunistic|none"` // "": what [outbound] says; verify where there is a Login
	Login  string `toml:"login"`
}

// POP3D is the table [pop3d].
type POP3D struct {
	MaxConnections int           `toml:"max_connections" default:"1000" min:"1" max:"100000"`
	MaxPerClient   int           `toml:"max_per_client" default:"50" min:"1" max:"100000"`
	IdleTimeout    time.Duration `toml:"idle_timeout" default:"10m" min:"1s" max:"1d"`
	LoginTimeout   time.Duration `toml:"login_timeout" default:"60s" min:"1s" max:"1h"`
	LoginAttempts  int           `toml:"login_attempts" default:"3" min:"1" max:"100"`
	LoginDelay     time.Duration `toml:"login_delay" default:"0s" min:"0s" max:"1d"`
	DefaultDomain  string        `toml:"default_domain"` // filled: the only domain with mailboxes, if there is just one
	UIDL           string        `toml:"uidl" default:"filename" oneof:"filename|dovecot|courier"`
	UTF8Headers    string        `toml:"utf8_headers" default:"send" oneof:"send|refuse"`
	Expire         string        `toml:"expire" default:"never"` // "never", or whole days: "30d"
	Listen         []POP3Listen  `toml:"listen"`
}

// POP3Listen is one [[pop3d.listen]].
type POP3Listen struct {
	Address string `toml:"address"`                            // as in SMTPListen, without unix:
	TLS     string `toml:"tls" oneof:"starttls|implicit|none"` // filled: starttls with a certificate, else none
}

// Metrics is the table [metrics].
type Metrics struct {
	SMTPD       string `toml:"smtpd"` // an address as in SMTPListen; "": none
	QueueRunner string `toml:"queue_runner"`
	POP3D       string `toml:"pop3d"`
}

// ACME is the table [acme]. It is in use where Email is set.
type ACME struct {
	Email     string `toml:"email"`
	Directory string `toml:"directory" default:"letsencrypt"`
	Listen    string `toml:"listen" default:":80"`
	DNSHook   string `toml:"dns_hook"`
	Output    string `toml:"output" default:"/etc/posthouse/tls"`
}

// PostmasterAddress is where double bounces go: Postmaster, completed with Origin where it has no domain.
func (c *Config) PostmasterAddress() mta.Address { return c.complete(c.Postmaster, c.Origin) }

// CatchAllAddress is where a domain's mail for unknown names goes; ok is false where the domain has no catch_all.
func (c *Config) CatchAllAddress(d *Domain) (a mta.Address, ok bool) {
	if d.CatchAll == "" {
		return mta.Address{}, false
	}
	return c.complete(d.CatchAll, d.Name), true
}

// complete reads what a check has found to be an address or a local part.
func (c *Config) complete(s, domain string) mta.Address {
	if a, err := mta.ParseAddress(s); err == nil {
		return a
	}
	a, _ := mta.ParseAddress(s + "@" + domain)
	return a
}
