package main

import (
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/smtp"
)

// mode is what the program is called for.
type mode uint8

const (
	modeDeliver mode = iota // -bm
	modeSMTP                // -bs
	modeQueue               // -bp, mailq
	modeAliases             // -bi, newaliases
	modeFlush               // -q
	modeVerify              // -bv
)

// options are what the command line says.
type options struct {
	mode    mode
	config  string // -C; "": the usual one
	flush   string // what -q names: I and an id, R or S and a part of an address; "": all
	extract bool   // -t
	dots    bool   // a line of a single dot is text: -i
	verbose bool   // -v
	from    *string
	name    string // -F
	notify  string // -N
	ret     string // -R
	envID   string // -V
	args    []string
}

// Letters of options: with a value, with a value that is never in an argument of its own, and without. Those that
// options.set does not know mean something to other programs of this name, and nothing here.
const (
	withValue    = "ABCFLNORVXbefhopr"
	withoutSpace = "dq"
	without      = "EGIUcimnstvx"
)

// eximValues are options of Exim that have their value in an argument of its own: it is no recipient. They tell where a
// message came from, and here the kernel does.
var eximValues = []string{"Ma", "Maa", "Mai", "Mas", "Mi", "Mm", "Mr", "Ms", "Mt"}

// parseOptions reads a command line as getopt(3) does, options behind operands too.
func parseOptions(name string, args []string) (options, error) {
	var o options
	switch name {
	case "mailq":
		o.mode = modeQueue
	case "newaliases":
		o.mode = modeAliases
	}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			o.args = append(o.args, args...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			o.args = append(o.args, arg)
			continue
		}
		var err error
		if args, err = o.cluster(arg[1:], args); err != nil {
			return o, err
		}
	}
	return o, nil
}

// cluster reads the letters behind one dash, and takes the value of the last of them from args where it needs one.
func (o *options) cluster(letters string, args []string) ([]string, error) {
	for i := 0; i < len(letters); i++ {
		c, value := letters[i], letters[i+1:]
		switch {
		case strings.IndexByte(without, c) >= 0:
			if err := o.set(c, ""); err != nil {
				return nil, err
			}
			continue
		case strings.IndexByte(withoutSpace, c) >= 0:
		case strings.IndexByte(withValue, c) < 0:
			return nil, failure(exitUsage, "unknown option -%c; sendmail(8) names those that there are", c)
		case value == "" && len(args) == 0:
			return nil, failure(exitUsage, "option -%c needs a value", c)
		case value == "":
			value, args = args[0], args[1:]
		}
		if c == 'o' && slices.Contains(eximValues, value) && len(args) > 0 {
			args = args[1:]
		}
		return args, o.set(c, value)
	}
	return args, nil
}

func (o *options) set(c byte, value string) error {
	switch c {
	case 'C':
		o.config = value
	case 'F':
		o.name = value
	case 'I':
		o.mode = modeAliases
	case 'b':
		return o.setMode(value)
	case 'f', 'r':
		o.from = &value
	case 'i':
		o.dots = true
	case 'q':
		return o.setFlush(value)
	case 't':
		o.extract = true
	case 'v':
		o.verbose = true
	case 'o':
		return o.setOld(value)
	case 'O':
		return o.setLong(value)
	case 'X':
		return failure(exitUsage, "-X: there is no log of a session to be had; see the log of posthouse-smtpd")
	case 'N', 'R', 'V':
		return o.setReport(c, value)
	}
	return nil
}

func (o *options) setMode(value string) error {
	switch value {
	case "m":
		o.mode = modeDeliver
	case "s":
		o.mode = modeSMTP
	case "p":
		o.mode = modeQueue
	case "i":
		o.mode = modeAliases
	case "v":
		o.mode = modeVerify
	case "d", "D", "l":
		return failure(exitUsage, "-b%s: this program is no daemon; posthouse-smtpd(8) takes mail from the network: systemctl start posthouse-smtpd", value)
	case "t":
		return failure(exitUsage, "-bt: not here; 'posthouse explain' and 'posthouse check' tell where mail goes")
	default:
		return failure(exitUsage, "-b%s: unknown; allowed: -bm, -bs, -bp, -bi, -bv", value)
	}
	return nil
}

// setFlush is -q alone, or with what messages it means; with a time it would be a daemon.
func (o *options) setFlush(value string) error {
	switch {
	case value == "" || strings.Trim(value, "f") == "": // f: in the foreground
	case len(value) > 1 && strings.IndexByte("IRS", value[0]) >= 0:
		o.flush = value
	default:
		return failure(exitUsage, "-q%s: this program is no daemon, and posthouse-queue-runner(8) looks after the queue by itself; -q alone has all of it tried now", value)
	}
	o.mode = modeFlush
	return nil
}

// setOld is -o with a letter and its value. Those that name files would make others of the mail system's.
func (o *options) setOld(value string) error {
	switch {
	case value == "":
		return failure(exitUsage, "option -o needs a value")
	case value[0] == 'i':
		o.dots = true
	case value[0] == 'A' || value[0] == 'Q':
		return failure(exitUsage, "-o%c: the configuration alone says where that is: posthouse.toml(5)", value[0])
	}
	return nil
}

// setLong is -O name=value.
func (o *options) setLong(value string) error {
	name, value, _ := strings.Cut(value, "=")
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "ignoredots":
		o.dots = !strings.EqualFold(value, "false")
	case "aliasfile", "queuedirectory":
		return failure(exitUsage, "-O%s: the configuration alone says where that is: posthouse.toml(5)", name)
	}
	return nil
}

// setReport is what reports the sender wants (RFC 3461).
func (o *options) setReport(c byte, value string) error {
	switch c {
	case 'N':
		n, ok := smtp.ParseNotify(strings.ToUpper(value))
		if !ok {
			return failure(exitUsage, "-N %s: allowed: never, or some of success, failure and delay, with commas", value)
		}
		o.notify = n.String()
	case 'R':
		o.ret = map[string]string{"full": "FULL", "hdrs": "HDRS"}[strings.ToLower(value)]
		if o.ret == "" {
			return failure(exitUsage, "-R %s: allowed: full, hdrs", value)
		}
	case 'V':
		if o.envID = xtext(value); len(o.envID) > 100 || smtp.CheckEnvID(o.envID) != nil {
			return failure(exitUsage, "-V %s: allowed: up to 100 printable characters", value)
		}
	}
	return nil
}

// xtext encodes a value of RFC 3461 4.
func xtext(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		const hex = "0123456789ABCDEF"
		if c := s[i]; c > ' ' && c <= '~' && c != '+' && c != '=' {
			b.WriteByte(c)
		} else {
			b.WriteString("+" + string(hex[c>>4]) + string(hex[c&15]))
		}
	}
	return b.String()
}
