package maildir_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse-mail/posthouse/mta/maildir"
)

func TestUIDLLists(t *testing.T) {
	for _, c := range []struct {
		name, format, file, text string
		want                     maildir.UIDLs // nil: an error
	}{
		{"Dovecot", maildir.DovecotUIDLs, "dovecot-uidlist",
			"3 V1700000000 N5 G01\n1 W3 S2 :1.a.h,S=2,W=3\n2 Pold.name W9 :2.a.h\n3 :3.a.h\n10 :4.a.h\n",
			maildir.UIDLs{"1.a.h": "000000016553f100", "2.a.h": "old.name", "3.a.h": "000000036553f100", "4.a.h": "0000000a6553f100"}},
		// As Dovecot 2.3.19 has written it, and what it answered to UIDL.
		{"a true one of Dovecot", maildir.DovecotUIDLs, "dovecot-uidlist",
			"3 V1795841031 N4 Gfb8a6815075c0a6bfe58000083ecc375\n1 W19 :1700000001.M1P7.host\n2 :1700000002.M2P7.host,S=16,W=19\n3 W21 :1700000003.M3P7.host\n",
			maildir.UIDLs{"1700000001.M1P7.host": "000000016b0a5c07", "1700000002.M2P7.host": "000000026b0a5c07", "1700000003.M3P7.host": "000000036b0a5c07"}},
		// As Courier 1.0.16 has written it, and what it answered to UIDL.
		{"a true one of Courier", maildir.CourierUIDLs, "courierpop3dsizelist",
			"/3 4 1795841032\n1700000001.M1P7.host:2, 19 1:1795841032:0\n1700000002.M2P7.host,S=16,W=19:2,S 19 2:1795841032:0\n1700000003.M3P7.host:2,FR 21 3:1795841032:0\n",
			maildir.UIDLs{"1700000001.M1P7.host": "UID1-1795841032", "1700000002.M2P7.host": "UID2-1795841032", "1700000003.M3P7.host": "UID3-1795841032"}},
		{"Dovecot's first version", maildir.DovecotUIDLs, "dovecot-uidlist", "1 1700000000 3\n1 1.a.h\n2 2.a.h,S=4\n",
			maildir.UIDLs{"1.a.h": "000000016553f100", "2.a.h": "000000026553f100"}},
		{"lines that say nothing", maildir.DovecotUIDLs, "dovecot-uidlist",
			"3 V1 N5\n\nx :1.a.h\n1\n2 :\n3 :.hidden\n4 P\x01 :4.a.h\n5 P" + strings.Repeat("x", 71) + " :5.a.h\n6 :6.a.h\n7 :6.a.h\n99999999999 :7.a.h",
			maildir.UIDLs{"6.a.h": "0000000600000001"}},
		{"another version", maildir.DovecotUIDLs, "dovecot-uidlist", "4 V1 N2\n1 :1.a.h\n", nil},
		{"no header", maildir.DovecotUIDLs, "dovecot-uidlist", "", nil},
		{"no UIDVALIDITY", maildir.DovecotUIDLs, "dovecot-uidlist", "3 N2\n1 :1.a.h\n", nil},
		{"Courier", maildir.CourierUIDLs, "courierpop3dsizelist",
			"/3 4 1795836185\n1.a.h:2, 17 1:1795836185:0\n2.a.h,S=14:2,S 17 2:1795836185:0\n3.a b.h:2,S 17 3:1795836185:1\n",
			maildir.UIDLs{"1.a.h": "UID1-1795836185", "2.a.h": "UID2-1795836185", "3.a b.h": "UID3-1795836185"}},
		{"older ones of Courier", maildir.CourierUIDLs, "courierpop3dsizelist", "/2 3 7\n1.a.h:2, 17 1:0\n2.a'h,S=3:2, 17 0:0\n\n3.a.h:2,\n4.a.h x y:z\n",
			maildir.UIDLs{"1.a.h": "UID1", "2.a'h": "2.a+27h,S=3"}},
		{"no list of Courier's", maildir.CourierUIDLs, "courierpop3dsizelist", "3 V1\n", nil},
		{"none there", maildir.CourierUIDLs, "dovecot-uidlist", "3 V1\n1 :1.a.h\n", maildir.UIDLs{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := mailbox(t, nil)
			write(t, filepath.Join(dir, c.file), c.text)
			got, err := open(t, dir).UIDLs(c.format)
			if (err == nil) != (c.want != nil) {
				t.Fatalf("got %v, %v; want %v", got, err, c.want)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestUIDLsAreTakenOverOnce(t *testing.T) {
	dir := mailbox(t, map[string]string{"cur/1.a.h:2,": "x\n"})
	list := filepath.Join(dir, "dovecot-uidlist")
	write(t, list, "3 V1 N2\n1 :1.a.h\n")
	m := open(t, dir)
	first, err := m.UIDLs(maildir.DovecotUIDLs)
	if err != nil {
		t.Fatal(err)
	}
	write(t, list, "3 V2 N2\n1 :1.a.h\n2 :2.a.h\n")
	for range 2 {
		again, err := m.UIDLs(maildir.DovecotUIDLs)
		if d := cmp.Diff(first, again); d != "" || err != nil {
			t.Errorf("%v (-first +again):\n%s", err, d)
		}
		if err := os.Remove(list); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
}

func FuzzUIDLLists(f *testing.F) {
	f.Fuzz(func(t *testing.T, text []byte) {
		dovecot, courier, own := maildir.ParseUIDLs(text)
		for _, u := range []maildir.UIDLs{dovecot, courier, own} {
			for unique, uidl := range u {
				if !maildir.FitsUIDL(uidl) || unique == "" || strings.ContainsAny(unique, ",:\n\t") {
					t.Errorf("%q: got %q for %q", text, uidl, unique)
				}
			}
			if u == nil {
				continue
			}
			if _, _, again := maildir.ParseUIDLs(u.Encode()); cmp.Diff(u, again) != "" {
				t.Errorf("%q: got %v, and again %v", text, u, again)
			}
		}
	})
}
