// Command filter-run starts a filter for smtpd with less than smtpd has: no descriptors but three, no capabilities, and a
// view of the filesystem that holds no password and no key. Then it becomes the filter. filters/host starts it;
// posthouse-filters(7) says what a filter may reach.
//
//	filter-run [--read=PATH]... [--write=PATH]... -- PROGRAM [ARGUMENT]...
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// exitStart is what a shell says of a program that could not be started.
const exitStart = 126

// system is what any program needs to run at all: no file with a secret is among it. /etc itself is not, for it holds ours.
var system = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/nix/store", "/gnu/store",
	"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/alternatives", "/etc/localtime", "/etc/timezone",
	"/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols",
	"/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ca-certificates", "/etc/pki/tls/certs", "/etc/pki/ca-trust", "/etc/crypto-policies",
	"/etc/mime.types", "/etc/magic", "/etc/python3", "/etc/perl",
	"/proc", "/sys/devices/system/cpu", "/sys/kernel/mm/transparent_hugepage", "/sys/fs/cgroup",
	"/run/systemd/resolve", "/run/resolvconf", "/dev/random", "/dev/urandom", "/dev/zero",
}

// devices may be written to as well.
var devices = []string{"/dev/null", "/dev/tty", "/dev/full"}

type request struct {
	read, write []string
	command     []string
}

func main() {
	runtime.LockOSThread() // what is set for a thread is to be set for the one that becomes the filter
	r, err := parse(os.Args[1:])
	if err == nil {
		err = r.become()
	}
	fmt.Fprintf(os.Stderr, "filter-run: %v\n", err)
	os.Exit(exitStart)
}

func parse(args []string) (request, error) {
	var r request
	for i, a := range args {
		switch {
		case a == "--" && i+1 < len(args):
			r.command = args[i+1:]
			return r, nil
		case strings.HasPrefix(a, "--read=/"):
			r.read = append(r.read, strings.TrimPrefix(a, "--read="))
		case strings.HasPrefix(a, "--write=/"):
			r.write = append(r.write, strings.TrimPrefix(a, "--write="))
		default:
			return r, fmt.Errorf("bad argument %q", a)
		}
	}
	return r, errors.New("no program given: filter-run [--read=PATH]... [--write=PATH]... -- PROGRAM [ARGUMENT]... is how it is started")
}

// become takes away what the filter is not to have, and runs it in this process. It returns only where that failed.
func (r request) become() error {
	null, err := unix.Open("/dev/null", unix.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open /dev/null: %w", err)
	}
	if err := unix.Dup2(null, 0); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil && !errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("close_range: %w", err)
	}
	unix.Umask(0o077)
	// The kernel is to choose a filter before smtpd, when memory runs out. Where this is refused it chooses by size.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0)
	if err := r.confine(); err != nil {
		return err
	}
	if err := dropCapabilities(); err != nil {
		return err
	}
	// The wish to die with smtpd does not outlive a change of credentials.
	parent := os.Getppid()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	if os.Getppid() != parent {
		return errors.New("smtpd has ended")
	}
	return fmt.Errorf("exec %s: %w", r.command[0], syscall.Exec(r.command[0], r.command, os.Environ()))
}

// confine leaves the system's folders and what was asked for, where the kernel has Landlock; signals to processes outside
// and their memory are out of reach too.
func (r request) confine() error {
	config := landlock.V6.BestEffort()
	var rules []landlock.Rule
	add := func(paths []string, dir, file func(...string) landlock.FSRule) {
		for _, p := range paths {
			st, err := os.Stat(p)
			switch {
			case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
			case err == nil && st.IsDir():
				rules = append(rules, dir(p))
			default:
				rules = append(rules, file(p))
			}
		}
	}
	add(system, landlock.RODirs, landlock.ROFiles)
	add(devices, landlock.RWDirs, landlock.RWFiles)
	add(r.read, landlock.RODirs, landlock.ROFiles)
	add(r.write, func(p ...string) landlock.FSRule { return landlock.RWDirs(p...).WithRefer() }, landlock.RWFiles)
	if err := config.RestrictPaths(rules...); err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	if err := config.RestrictScoped(); err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	return nil
}

// dropCapabilities leaves none, also where smtpd runs as root or may bind low ports.
func dropCapabilities() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("ambient capabilities: %w", err)
	}
	for c := range uintptr(unix.CAP_LAST_CAP + 1) { // or root's would be back after exec
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			break // not allowed to: then there are none that exec could give back, under no_new_privs
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return nil
}
