package message_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/message"
)

// headOf writes a content through a Head, in pieces of a size.
func headOf(content string, size int) *message.Head {
	h := &message.Head{}
	for rest := content; rest != ""; {
		n := min(size, len(rest))
		_, _ = h.Write([]byte(rest[:n]))
		rest = rest[n:]
	}
	h.End()
	return h
}

func TestHead(t *testing.T) {
	long := strings.Repeat("x", 17<<10)
	for _, c := range []struct {
		name, in string
		want     message.Head
	}{
		{"nothing", "", message.Head{}},
		{"a body alone", "\r\nFrom: a\r\nBcc: b\r\n", message.Head{}},
		{"behind what is no field", "X: y\r\nno field\r\nFrom: a\r\n", message.Head{Broken: true}},
		{"the last line is no field", "From: a\r\nBcc", message.Head{From: []string{"a"}, Broken: true}},
		{"behind a folded line without a field", " x\r\nFrom: a\r\n", message.Head{Broken: true}},
		{"blank in the name", "Fr om: a\r\nBcc: b\r\n", message.Head{Broken: true}},
		{"longer and shorter names", "XFrom: a\r\nFromX: a\r\nBc: b\r\nDate-X: c\r\n", message.Head{}},
		{"a name of 998 octets", strings.Repeat("x", 998) + ": y\r\nFrom: a\r\n", message.Head{Broken: true}},
		{"a name of 997 octets", strings.Repeat("x", 997) + ": y\r\nFrom: a\r\n", message.Head{From: []string{"a"}}},
		{"a From without an end", "From: " + long + "\r\n\r\n", message.Head{From: []string{long[:16<<10]}, TooMuch: true}},
		{"two From, and more", "From: a\r\nfrom: b\r\nFROM: c\r\n", message.Head{From: []string{"a", "b"}}},
		{"blanks before the colon", "From \t     \t    : a\r\nBcc : b\r\n", message.Head{From: []string{"a"}, Bcc: []mta.Range{{Off: 21, Len: 9}}}},
		{"folded", "From:\r\n\ta\r\n b\r\nBcc: c,\r\n d\r\nDate: x\r\n\r\n", message.Head{From: []string{"a b"}, Date: true, Bcc: []mta.Range{{Off: 15, Len: 13}}}},
		{"neighbours", "Bcc: a\r\nResent-Bcc: b\r\nTo: c\r\nbcc:\r\n\r\n", message.Head{Bcc: []mta.Range{{Off: 0, Len: 23}, {Off: 30, Len: 6}}}},
		{"the last line has no end", "Message-ID: x\r\nBcc: b", message.Head{MessageID: true, Bcc: []mta.Range{{Off: 15, Len: 6}}}},
		{"all of it is Bcc", "Bcc: b\r\n", message.Head{Bcc: []mta.Range{{Off: 0, Len: 8}}}},
		{"LF", "From: a\nDate: b\n\nBcc: c\n", message.Head{From: []string{"a"}, Date: true}},
	} {
		for _, size := range []int{1, 5, 1 << 20} {
			got := headOf(c.in, size)
			want := c.want
			if c.want.TooMuch { // what is kept of it is not said
				want.From, got.From = nil, nil
			}
			if diff := cmp.Diff(want, *got, cmpopts.IgnoreUnexported(message.Head{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s by %d: %s", c.name, size, diff)
			}
		}
	}
	if h := headOf(strings.Repeat("Bcc: a\r\nX: y\r\n", 200), 100); !h.TooMuch || len(h.Bcc) > 100 {
		t.Errorf("200 places with Bcc: got %d and TooMuch %v, want a bound", len(h.Bcc), h.TooMuch)
	}
}

// FuzzHead: it finds what Fields finds, and without its Bcc ranges nothing of Bcc is left.
func FuzzHead(f *testing.F) {
	f.Add([]byte("From: a\r\n b\r\nBcc : c\r\nBcc: d\r\nDate: e\r\n\r\nBcc: f\r\n"), uint8(3))
	f.Add([]byte("Resent-Bcc: a\n\tb\nMessage-ID:\n"), uint8(200))
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		h := headOf(string(in), int(size)+1)
		if h.TooMuch {
			return
		}
		count := map[string]int{}
		for fd, err := range message.Fields(bytes.NewReader(in), int64(len(in)), 1<<30) {
			if err != nil {
				t.Fatal(err)
			}
			count[strings.ToLower(fd.Name)]++
		}
		if h.Date != (count["date"] > 0) || h.MessageID != (count["message-id"] > 0) || len(h.From) != min(2, count["from"]) {
			t.Fatalf("%q: got %+v, Fields has %v", in, h, count)
		}
		r := message.NewReader("", h.Bcc, bytes.NewReader(in), int64(len(in)))
		var rest bytes.Buffer
		if _, err := r.WriteTo(&rest); err != nil {
			t.Fatal(err)
		}
		kept := 0
		for fd, err := range message.Fields(bytes.NewReader(rest.Bytes()), int64(rest.Len()), 1<<30) {
			if err != nil || strings.EqualFold(fd.Name, "bcc") || strings.EqualFold(fd.Name, "resent-bcc") {
				t.Fatalf("%q: left %q, %v", in, rest.Bytes(), err)
			}
			kept++
		}
		if all := count["bcc"] + count["resent-bcc"]; kept != sum(count)-all {
			t.Fatalf("%q: %d fields are left in %q, want %d", in, kept, rest.Bytes(), sum(count)-all)
		}
	})
}

func sum(m map[string]int) int {
	n := 0
	for _, v := range m {
		n += v
	}
	return n
}
