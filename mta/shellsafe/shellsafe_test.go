package shellsafe_test

import (
	"os/exec"
	"strings"
	"testing"
	"unicode"

	"github.com/posthouse-mail/posthouse/mta/shellsafe"
)

func TestWord(t *testing.T) {
	for _, c := range []struct{ in, also, want string }{
		{"$(touch /tmp/x)@far.test", "", "__touch__tmp_x_@far.test"},
		{"$(touch /tmp/x)@far.test", "/", "__touch_/tmp/x_@far.test"},
		{"`id`;&|<>(){}[]*?~#!'\"\\^", "/", "_id_____________________"},
		{"a b\tc\nd\re\x00f\x7fg\u00a0h\u2028i", "", "a_b_c_d_e_f_g_h_i"},
		{"\xff\xfe", "", "__"},
		{"-rf", "", "_rf"},
		{"--", "", "_-"},
		{".profile", "", "_profile"},
		{"../../etc/passwd", "", "_._.._etc_passwd"},
		{"", "/", ""},
		// What real ones have stays as it is.
		{"SRS0=4+y/=TT=x.test=bob@a.test", "/", "SRS0=4+y/=TT=x.test=bob@a.test"},
		{"jürgen%x@bücher.test", "", "jürgen%x@bücher.test"},
		{"प्रेम", "", "प्रेम"},
		{"2001:db8::1,x", "", "2001:db8::1,x"},
	} {
		if got := shellsafe.Word(c.in, c.also); got != c.want {
			t.Errorf("Word(%q, %q): got %q, want %q", c.in, c.also, got, c.want)
		}
	}
}

// A real shell takes every character of the first planes that stays for one word, and for itself.
func TestAShellMakesNothingOfAWord(t *testing.T) {
	var all strings.Builder
	for c := rune(1); c <= unicode.MaxLatin1+0x100; c++ {
		all.WriteRune(c)
	}
	word := shellsafe.Word(all.String(), "/")
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "set -- $WORD; echo $#; echo $WORD; eval echo $WORD")
	cmd.Env, cmd.Dir = []string{"WORD=" + word, "PATH=/usr/bin:/bin"}, t.TempDir()
	out, err := cmd.CombinedOutput()
	if want := "1\n" + word + "\n" + word + "\n"; err != nil || string(out) != want {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
}
