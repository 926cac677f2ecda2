# Posthouse: build, test, install. Needs Go, make and git; mandoc for the check of the manual pages, where it is there.

PREFIX     = /usr
SYSCONFDIR = /etc
SBINDIR    = $(PREFIX)/sbin
MANDIR     = $(PREFIX)/share/man
DESTDIR    =
BIN        = bin

# Of the programs and the packages; begins with a digit.
VERSION   := $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null | sed 's/^v//; s/-\([0-9]*\)-g/+\1.g/' | grep . || git log -1 --format='0.0.0~git%cd.%h' --date=format:%Y%m%d%H%M%S 2>/dev/null || echo 0.0.0)
LDFLAGS    = -s -X github.com/posthouse-mail/posthouse/mta/daemon.version=$(VERSION)

GO       = go
PROGRAMS = smtpd queue-runner pop3d posthouse sendmail as-user deliver-local
PAGES    = $(wildcard cmd/*/*.8 mta/*/*.5)
TOOL     = $(GO) tool -modfile=contrib/tools/go.mod

export CGO_ENABLED = 0

# The filters that come along: one program, and what starts them.
LIBDIR    = $(PREFIX)/lib/posthouse
FILTERS   = dnsbl spf greylist dkim arc dmarc policy exec clamav rspamd spamassassin milter
PROGRAMS += filter filter-run
PAGES    += $(wildcard cmd/*/*.7)

.PHONY: all demo downgrade version-data lab mutants testssl test check gofmt vet staticcheck race tidy manlint install clean $(PROGRAMS)

all: $(PROGRAMS)

# Go knows best what is out of date.
$(PROGRAMS):
	$(GO) build -trimpath -ldflags="$(LDFLAGS)" -o $(BIN)/$@ ./cmd/$@

# make demo ONCE=1 ends after the round trip.
demo: all
	$(GO) build -trimpath -o bin/posthouse-demo ./contrib/demo
	bin/posthouse-demo $(if $(filter-out 0 no,$(ONCE)),--once)

test:
	$(GO) test -timeout 30m $(LONGEST) ./...

# The packages whose tests take longest begin first, so that none of them is what all wait for in the end.
LONGEST = ./mta/spool ./mta/runner ./contrib/e2e ./filters/host

# Takes out each guard of the spool in turn: for each a test must fail. MUTANTS is a pattern of their names.
MUTANTS = .
mutants:
	POSTHOUSE_MUTANTS='$(MUTANTS)' $(GO) test -timeout 30m -v -run TestMutantsAreCaught ./mta/spool

# What testssl.sh finds at the ports of smtpd and pop3d; it takes minutes.
testssl:
	POSTHOUSE_TESTSSL=1 CI=true $(GO) test -timeout 30m -v -run TestTestssl ./contrib/e2e

# A network of its own, with a signed zone and mail servers that keep or break what their domains promise. As root; needs
# iproute2, knot, unbound and dig.
lab:
	POSTHOUSE_LAB=1 $(GO) test -count=1 -timeout 10m -v ./contrib/lab

# Before a release: what it has in the queue is left to another version (FROM, a git revision), and the other way; nothing may be
# lost or come twice.
FROM =
downgrade:
	@test -n "$(FROM)" || { echo "make downgrade FROM=REVISION" >&2; exit 64; }
	d=$$(mktemp -d) && trap 'git worktree remove --force "$$d/tree"; rm -rf "$$d"' EXIT && git worktree add -q --detach "$$d/tree" "$(FROM)" && \
	mkdir "$$d/programs" && (cd "$$d/tree" && $(GO) build -trimpath -o "$$d/programs/" ./cmd/...) && \
	$(GO) test -count=1 -timeout 20m -v -run '^TestChangesBetweenVersions$$' ./contrib/e2e -other-programs "$$d/programs"

# Keeps what this version writes among the test data of all later ones, under the name AS.
AS =
version-data:
	@test -n "$(AS)" || { echo "make version-data AS=VERSION" >&2; exit 64; }
	$(GO) test -count=1 -v -run '^TestDataOfThisVersionIsWritten$$' ./contrib/e2e -write-version "$(AS)"

check: gofmt vet staticcheck race tidy manlint

gofmt:
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "gofmt -w these:" >&2; echo "$$files" >&2; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck:
	$(TOOL) staticcheck ./...

# The race detector needs cgo. The scenes of crashes are long under it, and all but a few have one goroutine: `make test`
# runs them in full, and here those of TestRepeatedCrashes stand for them. What is in contrib/ starts the programs as they are
# installed, without the detector, and the packages of ONE_THREAD share nothing between goroutines; of the filters among them
# that is tested. Many tests wait for others: four packages at once keep two processors busy.
ONE_THREAD = mta/sign mta/dmarc mta/spf mta/bounce filters/dkim filters/spf
race:
	CGO_ENABLED=1 $(GO) test -p 4 -timeout 30m -race -short ./mta/runner $$($(GO) list ./... | grep -v -e /mta/spool$$ -e /contrib/ $(ONE_THREAD:%=-e /%$$))
	CGO_ENABLED=1 $(GO) test -timeout 30m -race -short -run '^TestIsAGoodFilter$$' $(addprefix ./,$(filter filters/%,$(ONE_THREAD)))
	CGO_ENABLED=1 $(GO) test -timeout 30m -race -short -skip '^Test(Crash|Mixed|ErrorThen|EveryOperation|Guard|Mutants)' ./mta/spool

tidy:
	$(GO) mod tidy -diff
	cd contrib/tools && $(GO) mod tidy -diff

# The code of the filters' protocol is what protoc makes of it.
.PHONY: generated
check: generated
generated:
	@if command -v protoc >/dev/null; then d=$$(mktemp -d) && filters/proto/generate $$d && diff -r -u -x '*.proto' -x doc.go -x generate filters/proto $$d/filters/proto && rm -r $$d; \
	elif [ "$$CI" = true ]; then echo "no protoc: the generated code cannot be checked" >&2; exit 1; else echo "no protoc: the generated code is not checked"; fi

manlint:
	@if command -v mandoc >/dev/null; then mandoc -Tlint -W warning $(PAGES); else echo "no mandoc: the manual pages are not checked"; fi

# A configuration that is there stays as it is. posthouse setup writes the first; the sample is beside the documentation.
UNITS = $(wildcard etc/systemd/system/*)
install: all
	install -d $(DESTDIR)$(SBINDIR) $(addprefix $(DESTDIR)$(MANDIR)/man,5 7 8) $(DESTDIR)$(SYSCONFDIR)/posthouse/filters.d $(DESTDIR)$(LIBDIR)/filters
	install -d $(addprefix $(DESTDIR)$(PREFIX)/lib/,systemd/system sysusers.d tmpfiles.d) $(DESTDIR)$(PREFIX)/share/doc/posthouse/examples
	for name in smtpd queue-runner pop3d; do install -m 0755 $(BIN)/$$name $(DESTDIR)$(SBINDIR)/posthouse-$$name; done
	install -m 0755 $(BIN)/posthouse $(DESTDIR)$(SBINDIR)/posthouse
	install -m 0755 $(BIN)/filter $(BIN)/filter-run $(BIN)/as-user $(BIN)/deliver-local $(DESTDIR)$(LIBDIR)
	for name in $(FILTERS); do ln -sf ../filter $(DESTDIR)$(LIBDIR)/filters/$$name; done
	for name in $(FILTERS); do f=posthouse/filters.d/$$name.toml; [ -e $(DESTDIR)$(SYSCONFDIR)/$$f ] || install -m 0644 etc/$$f $(DESTDIR)$(SYSCONFDIR)/$$f; done
	install -m 0644 cmd/filter/posthouse-filters.7 $(DESTDIR)$(MANDIR)/man7
	for page in smtpd queue-runner pop3d as-user deliver-local; do install -m 0644 cmd/$$page/$$page.8 $(DESTDIR)$(MANDIR)/man8/posthouse-$$page.8; done
	install -m 0644 cmd/posthouse/posthouse.8 $(DESTDIR)$(MANDIR)/man8/posthouse.8
	install -m 0644 mta/config/posthouse.toml.5 $(DESTDIR)$(MANDIR)/man5/posthouse.toml.5
	install -m 0644 mta/spool/spool.5 $(DESTDIR)$(MANDIR)/man5/posthouse-spool.5
	install -m 0644 mta/maillog/posthouse-log.5 $(DESTDIR)$(MANDIR)/man5/posthouse-log.5
	install -m 0644 $(UNITS) $(DESTDIR)$(PREFIX)/lib/systemd/system
	for d in sysusers.d tmpfiles.d; do install -m 0644 etc/$$d/posthouse.conf $(DESTDIR)$(PREFIX)/lib/$$d/posthouse.conf; done
	install -m 0644 etc/posthouse/posthouse.toml $(DESTDIR)$(PREFIX)/share/doc/posthouse/examples/posthouse.toml
	install -m 0755 contrib/checkpassword/checkpassword-pam $(DESTDIR)$(PREFIX)/share/doc/posthouse/examples/checkpassword-pam
	install -d $(DESTDIR)$(PREFIX)/share/doc/posthouse/guide
	install -m 0644 contrib/guide/*.md $(DESTDIR)$(PREFIX)/share/doc/posthouse/guide
	GOARCH= $(GO) build -trimpath -ldflags="$(LDFLAGS)" -o $(BIN)/complete ./cmd/posthouse
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions zsh/vendor-completions fish/vendor_completions.d)
	$(BIN)/complete completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/posthouse
	$(BIN)/complete completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_posthouse
	$(BIN)/complete completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/posthouse.fish

# Packages for Debian and its kin, and for Fedora and its kin, in PACKAGES.
MAINTAINER = Posthouse maintainers <posthouse-mail@users.noreply.github.com>
PACKAGES   = bin/packages
ARCHS      = amd64 arm64
.PHONY: deb rpm
deb rpm:
	@mkdir -p $(PACKAGES)
	for arch in $(ARCHS); do VERSION='$(VERSION)' MAINTAINER='$(MAINTAINER)' OUT='$(PACKAGES)' contrib/package/build $@ $$arch || exit 1; done
	@ls -l $(PACKAGES)

# The sendmail command, which install puts beside the programs of the package alone; and the names under which programs look
# for it, where it is the mail system of the machine. A package makes these links and conflicts with others. Within PREFIX they
# are relative (Debian policy 10.5).
MTA_LINKS = $(SBINDIR)/sendmail $(PREFIX)/lib/sendmail $(PREFIX)/bin/mailq $(PREFIX)/bin/newaliases
FROM_BIN  = $(patsubst $(PREFIX)/%,../%,$(LIBDIR))
FROM_LIB  = $(patsubst $(PREFIX)/lib/%,%,$(LIBDIR))
.PHONY: install-sendmail install-mta
install: install-sendmail
install-sendmail: all
	install -d $(DESTDIR)$(LIBDIR) $(DESTDIR)$(MANDIR)/man8
	install -m 0755 $(BIN)/sendmail $(DESTDIR)$(LIBDIR)/sendmail
	install -m 0644 cmd/sendmail/sendmail.8 $(DESTDIR)$(MANDIR)/man8/posthouse-sendmail.8

install-mta: install-sendmail
	@for link in $(MTA_LINKS); do \
		if [ -e $(DESTDIR)$$link ] || [ -L $(DESTDIR)$$link ]; then \
			case "$$(readlink $(DESTDIR)$$link)" in \
			$(LIBDIR)/sendmail | $(FROM_BIN)/sendmail | $(FROM_LIB)/sendmail) ;; \
			*) echo "$(DESTDIR)$$link is another mail system's: remove that first" >&2; exit 1 ;; esac; \
		fi; \
	done
	for link in $(MTA_LINKS); do install -d $(DESTDIR)$$(dirname $$link) || exit 1; \
		case $$link in $(PREFIX)/lib/sendmail) to=$(FROM_LIB) ;; $(PREFIX)/bin/* | $(PREFIX)/sbin/*) to=$(FROM_BIN) ;; *) to=$(LIBDIR) ;; esac; \
		ln -sf $$to/sendmail $(DESTDIR)$$link || exit 1; done
	install -d $(addprefix $(DESTDIR)$(MANDIR)/man,1 8)
	for page in man8/sendmail.8 man1/mailq.1 man1/newaliases.1; do echo '.so man8/posthouse-sendmail.8' >$(DESTDIR)$(MANDIR)/$$page; done

# Installs the packages in a fresh root with a systemd of its own, and uses, upgrades, removes and purges them. As root; needs
# debootstrap, systemd-container, protoc and lintian. FORMATS may be one of these; ARCHS is what is built, and AGAIN=no does not
# build it twice.
FORMATS = deb rpm
.PHONY: package-test package-root package-built
package-root:
	for format in $(FORMATS); do contrib/package/base $$format || exit 1; done

package-built:
	rm -rf bin/package-test
	$(MAKE) $(FORMATS) PACKAGES=bin/package-test VERSION='$(VERSION)'
	AGAIN='$(AGAIN)' contrib/package/reproducible bin/package-test '$(VERSION)' '$(MAINTAINER)'

package-test: package-root package-built
	case ' $(FORMATS) ' in *' deb '*) contrib/package/test bin/package-test/posthouse_*_$$(dpkg --print-architecture).deb ;; esac
	case ' $(FORMATS) ' in *' rpm '*) \
		$(MAKE) rpm PACKAGES=bin/package-test/later VERSION='$(VERSION)+later' ARCHS="$$(dpkg --print-architecture)" && \
		contrib/package/test bin/package-test/posthouse-*.$$(uname -m).rpm bin/package-test/later/posthouse-*.$$(uname -m).rpm ;; esac

clean:
	rm -rf bin
	$(GO) clean -testcache
