package directory_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/directory"
)

// BenchmarkScram is what a login costs until the salt is out: the same for one who is there and one who is not.
func BenchmarkScram(b *testing.B) {
	var all strings.Builder
	all.WriteString("* salt_key=" + key32 + "\n")
	for i := range 1000 {
		fmt.Fprintf(&all, "u%d@example.org {SCRAM-SHA-256}%s\n", i, pencil)
	}
	path := filepath.Join(b.TempDir(), "users")
	if err := os.WriteFile(path, []byte(all.String()), 0o640); err != nil {
		b.Fatal(err)
	}
	f, err := directory.Open(path, directory.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, login := range []string{"u500@example.org", "mallory@example.org"} {
		b.Run(login, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := f.Scram(b.Context(), login); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkNewVerifier is what posthouse user makes.
func BenchmarkNewVerifier(b *testing.B) {
	for _, scheme := range []string{directory.Argon2id, directory.Scram} {
		b.Run(scheme, func(b *testing.B) {
			for b.Loop() {
				if _, err := directory.NewVerifier(scheme, "correct horse"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
