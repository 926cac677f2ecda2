package maildir_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse-mail/posthouse/mta/maildir"
)

func TestParseName(t *testing.T) {
	for file, want := range map[string]maildir.Name{
		"1.a.h":                        {Unique: "1.a.h", Size: -1, Wire: -1},
		"1.a.h,S=10,W=12":              {Unique: "1.a.h", Size: 10, Wire: 12},
		"1.a.h,W=12,S=10:2,FS":         {Unique: "1.a.h", Size: 10, Wire: 12, Flags: []maildir.Flag{'F', 'S'}},
		"1.a.h:2,":                     {Unique: "1.a.h", Size: -1, Wire: -1, Flags: []maildir.Flag{}},
		"1.a.h,U=7,S=10,FMD5=x:2,Sa":   {Unique: "1.a.h", Size: 10, Wire: -1, Flags: []maildir.Flag{'S', 'a'}},
		"1.a.h:2,S,foreign=S":          {Unique: "1.a.h", Size: -1, Wire: -1, Flags: []maildir.Flag{'S'}},
		"1.a.h:1,experimental":         {Unique: "1.a.h", Size: -1, Wire: -1},
		"1.a.h,S=-1,W=+2":              {Unique: "1.a.h", Size: -1, Wire: -1},
		"1.a.h,S=0x10,W=1 2":           {Unique: "1.a.h", Size: -1, Wire: -1},
		"1.a.h,S=99999999999999999999": {Unique: "1.a.h", Size: -1, Wire: -1},
		"1.a.h,S=1,S=2":                {Unique: "1.a.h", Size: 1, Wire: -1}, // the first one counts
		"1.a.h,,,S=1,":                 {Unique: "1.a.h", Size: 1, Wire: -1},
		"a b\x01\xff":                  {Unique: "a b\x01\xff", Size: -1, Wire: -1},
	} {
		got, ok := maildir.ParseName(file)
		if !ok {
			t.Errorf("%q: got refused, want %+v", file, want)
		} else if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q (-want +got):\n%s", file, d)
		}
	}
	for _, file := range []string{"", ".", "..", ".hidden", ",S=1", ":2,S", "../x", "a/b", "a\x00b", "1.a:2,/"} {
		if got, ok := maildir.ParseName(file); ok {
			t.Errorf("%q: got %+v, want it refused", file, got)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Fuzz(func(t *testing.T, file string) {
		n, ok := maildir.ParseName(file)
		if !ok {
			return
		}
		if n.Unique == "" || n.Unique[0] == '.' || strings.ContainsAny(n.Unique, "/,:\x00") || !strings.HasPrefix(file, n.Unique) {
			t.Errorf("%q: unique part %q", file, n.Unique)
		}
		if n.Size < -1 || n.Wire < -1 {
			t.Errorf("%q: sizes %d, %d", file, n.Size, n.Wire)
		}
		if n.Size < 0 || n.Wire < 0 {
			return
		}
		// What our own deliveries write reads back.
		again, ok := maildir.ParseName(maildir.FileName(n.Unique, n.Size, n.Wire))
		again.Flags = n.Flags
		if d := cmp.Diff(n, again); !ok || d != "" {
			t.Errorf("%q: written again (-first +second):\n%s", file, d)
		}
	})
}
