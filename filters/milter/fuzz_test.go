package milter_test

import (
	"io"
	"net"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon/daemontest"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
)

// FuzzMilter has a milter say anything at all, all at once, and hang up.
func FuzzMilter(f *testing.F) {
	begin := options(6, all, 0x7f|0x200, "") // it wants nothing but the end
	for _, s := range []string{
		"", "\x00\x00\x00\x00", "\xff\xff\xff\xffO", options(6, all, 0, "\x00\x00\x00\x00i\x00") + packet('y', "550 5.7.1 no\x00"),
		begin + packet('p', "") + packet('h', "A\x00b\x00") + packet('b', "x") + packet('b', "y") + packet('c', ""),
		begin + packet('m', "\x00\x00\x00\x01A\x00\x00") + packet('+', "<a@b>\x00") + packet('q', "why\x00") + packet('a', ""),
		begin + packet('i', "\xff\xff\xff\xffA\x00b\n\n\xff\x00") + packet('e', "<>\x00x\x00") + packet('y', "421-a\r\n421 b\x00"),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		address := daemontest.Serve(t, "unix", func(c net.Conn) {
			_, _ = c.Write(said)
			if half, ok := c.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
			_, _ = io.Copy(io.Discard, c)
		})
		e := event()
		e.Message = filtertest.Message(t, text)
		v, err := configured(t, "address = \""+address+"\"").Message(t.Context(), e)
		if err != nil || v == nil {
			return
		}
		if v.Action < filters.Continue || v.Action > filters.Quarantine || v.Code != 0 && v.Code/100 != map[filters.Action]int{filters.Reject: 5, filters.TempFail: 4}[v.Action] {
			t.Errorf("got %+v", v)
		}
		if v.Action != filters.Continue && v.Action != filters.Quarantine && len(v.Edits()) > 0 {
			t.Errorf("got %+v, with edits %q", v, v.Edits())
		}
	})
}
