package directory_test

import (
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/directory"
)

const (
	argon16        = "c29tZXNhbHRzb21lc2FsdA"                      // 16 octets
	argon32        = "q6ddoSDg8HCuk2dMEOQxYv3Zc0iF4sUJc6sRkH2Z8nM" // 32 octets
	sha512OK       = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
	yescryptVector = "$y$j9T$c2FsdHNhbHRzYWx0c2Fs$.byzgDmCPieC8HVT8hfzLBJffHgvLK.DTuzcOwQDoX6"
)

func TestHostileVerifiersAreRefusedWhenTheyAreRead(t *testing.T) {
	argon := func(params string) string {
		return "{ARGON2ID}$argon2id$v=19$" + params + "$" + argon16 + "$" + argon32
	}
	bad := []struct{ field, want string }{
		{argon("m=4194304,t=2,p=1"), "m=4194304"},                                   // 4 GiB a check
		{argon("m=99999999999,t=2,p=1"), "form"},                                    // more than 32 bits
		{argon("m=262144,t=5,p=1"), "t=5"},                                          // memory times passes
		{argon("m=8,t=4294967295,p=1"), "t=4294967295"},                             // hours
		{argon("m=19456,t=2,p=255"), "p=255"},                                       // lanes
		{argon("m=8,t=2,p=2"), "m=8"},                                               // too little memory for the lanes
		{argon("m=8,t=1,p=1,m=4194304"), "form"},                                    // the last of two would count
		{argon("m=0,t=1,p=1"), "form"},                                              // the library would choose
		{argon("t=2,m=19456,p=1"), "form"},                                          // RFC 9106's order only
		{"{ARGON2ID}$argon2i$v=19$m=8,t=1,p=1$" + argon16 + "$" + argon32, "form"},  // another variant
		{"{ARGON2ID}$argon2id$v=16$m=8,t=1,p=1$" + argon16 + "$" + argon32, "form"}, // another version
		{"{ARGON2ID}$argon2id$v=19$m=8,t=1,p=1$" + argon16 + "$", "form"},           // no key: would match all
		{"{BCRYPT}$2b$31$" + strings.Repeat(".", 53), "cost 31"},                    // days
		{"{BCRYPT}$2b$00$" + strings.Repeat(".", 53), "cost 0"},                     //
		{"{BCRYPT}$2b$10$short", "form"},                                            //
		{"{BCRYPT}" + sha512OK, "form"},                                             // a hash of another scheme
		{"{SHA512-CRYPT}$6$rounds=999999999$salt$" + strings.Repeat("a", 86), "rounds=999999999"},
		{"{SHA512-CRYPT}$6$rounds=1$salt$" + strings.Repeat("a", 86), "rounds=1"},
		{"{SHA512-CRYPT}$6$salt$", "form"},
		{"{YESCRYPT}$y$jzT$salt$" + strings.Repeat("a", 43), "memory"}, // N = 2^64
		{"{YESCRYPT}$y$jLz$saltsalt$" + strings.Repeat("a", 43), "memory"},
		{"{YESCRYPT}$y$j9T$salt$", "form"},
		{"{SCRAM-SHA-256}4096,salt,short,short", "form"},
		{"{SCRAM-SHA-256}9999999," + pencil[len("4096,"):], "9999999 rounds"},    // seconds
		{"{SCRAM-SHA-256}4095," + pencil[len("4096,"):], "4095 rounds"},          // fewer than RFC 7677 allows
		{"{SCRAM-SHA-256}04096," + pencil[len("4096,"):], "form"},                //
		{"{SCRAM-SHA-256}" + strings.Replace(pencil, "gQ==", "gR==", 1), "salt"}, // bits left over
		{"{SCRAM-SHA-256}4096," + strings.Repeat("A", 100) + pencil[len("4096,W22ZaJ0SNY7soEsUEjb6gQ=="):], "salt"},
		{"{SCRAM-SHA-256}" + pencil + "=", "form"},
		{"{PLAIN}", "empty"},
		{"{MD5-CRYPT}$1$abc$def", "unknown scheme"},
		{"{plain}secret", "unknown scheme"}, // schemes are in capitals
		{"{PLAINsecret", "without }"},
		{"{PLAIN}" + strings.Repeat("x", 2000), "longer"},
	}
	for _, c := range bad {
		_, err := directory.ParseVerifier(c.field)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one with %q", c.field, err, c.want)
		}
		if _, text, ok := strings.Cut(c.field, "}"); err != nil && ok && len(text) > 3 && strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error shows the verifier: %v", c.field, err)
		}
	}
}

func TestVerifiersOfOtherProgramsAreUnderstood(t *testing.T) {
	good := []struct{ field, password, cost string }{
		// From the specification of SHA-crypt.
		{"{SHA512-CRYPT}" + sha512OK, "Hello world!", "SHA512-CRYPT 5000"},
		{"{SHA512-CRYPT}$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
			"Hello world!", "SHA512-CRYPT 10000"},
		// From the tests of OpenBSD's bcrypt.
		{"{BCRYPT}$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.", "", "BCRYPT 06"},
		{"{BCRYPT}$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe", "a", "BCRYPT 06"},
		// Made by crypt(3) of Debian 12.
		{"{YESCRYPT}" + yescryptVector, "posthouse", "YESCRYPT 12 32"},
		{"{PLAIN}se}cr#t=", "se}cr#t=", "PLAIN"},
		// From the example of RFC 7677.
		{"{SCRAM-SHA-256}" + pencil, "pencil", "SCRAM-SHA-256 4096"},
	}
	for _, c := range good {
		cost, err := directory.ParseVerifier(c.field)
		if err != nil || cost != c.cost {
			t.Errorf("%s: got cost %q, error %v; want %q", c.field, cost, err, c.cost)
			continue
		}
		if ok, _ := directory.Matches(c.field, c.password); !ok {
			t.Errorf("%s: password %q: got no, want yes", c.field, c.password)
		}
		if ok, _ := directory.Matches(c.field, c.password+"x"); ok {
			t.Errorf("%s: password %q: got yes, want no", c.field, c.password+"x")
		}
	}
}

func TestNewVerifiersAreReadBackAndTakeTheirPasswordOnly(t *testing.T) {
	want := map[string]string{
		directory.Argon2id: "ARGON2ID 19456 2 1", directory.Bcrypt: "BCRYPT 11", directory.SHA512Crypt: "SHA512-CRYPT 200000",
		directory.Yescrypt: "YESCRYPT 12 32", directory.Scram: "SCRAM-SHA-256 100000", directory.Plain: "PLAIN",
	}
	for _, scheme := range directory.Schemes() {
		field, err := directory.NewVerifier(scheme, "Grüße-42")
		if err != nil {
			t.Errorf("%s: %v", scheme, err)
			continue
		}
		if cost, err := directory.ParseVerifier(field); err != nil || cost != want[scheme] {
			t.Errorf("%s: got cost %q, error %v; want %q", field, cost, err, want[scheme])
		}
		if ok, _ := directory.Matches(field, "Grüße-42"); !ok {
			t.Errorf("%s: the password: got no, want yes", scheme)
		}
		if ok, _ := directory.Matches(field, "Grüße-43"); ok {
			t.Errorf("%s: another password: got yes, want no", scheme)
		}
	}
}

func TestPasswordsThatASchemeCannotHoldAreRefused(t *testing.T) {
	bad := []struct{ scheme, password string }{
		{directory.Argon2id, ""},
		{directory.Argon2id, "a\x00b"},
		{directory.Argon2id, "\xff"},
		{directory.Argon2id, strings.Repeat("a", directory.MaxPassword+1)},
		{directory.Bcrypt, strings.Repeat("a", 73)}, // bcrypt would cut it
		{directory.Plain, "two words"},
		{directory.Plain, "a\nbob@example.org {PLAIN}b"}, // would be a line of its own
		{"MD5", "secret"},
	}
	for _, c := range bad {
		if field, err := directory.NewVerifier(c.scheme, c.password); err == nil {
			t.Errorf("%s %q: got %s, want an error", c.scheme, c.password, field)
		}
	}
}

func TestDummyCostsWhatTheDefaultSchemeCosts(t *testing.T) {
	field, err := directory.NewVerifier(directory.Schemes()[0], "x")
	if err != nil {
		t.Fatal(err)
	}
	got, err := directory.ParseVerifier(directory.DefaultDummy)
	want, _ := directory.ParseVerifier(field)
	if err != nil || got != want {
		t.Errorf("got %q, error %v; want %q", got, err, want)
	}
}
