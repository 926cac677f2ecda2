package spool

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
)

func page(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("spool.5")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// jsonFields adds the JSON names of a type's fields, and of those inside it.
func jsonFields(typ reflect.Type, out map[string]bool) {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct || typ.PkgPath() == "time" {
		return
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			out[name] = true
			if f.Type != reflect.TypeFor[mta.Address]() {
				jsonFields(f.Type, out)
			}
		}
	}
}

func TestThePageNamesEachField(t *testing.T) {
	text := page(t)
	for section, typ := range map[string]reflect.Type{
		"ENVELOPE": reflect.TypeFor[mta.Envelope](), "SEGMENTS": reflect.TypeFor[entry](), "SEGMENTS\n": reflect.TypeFor[segmentHeader](),
	} {
		_, in, found := strings.Cut(text, "\n.Sh "+strings.TrimSpace(section)+"\n")
		if !found {
			t.Fatalf("spool.5 has no section %s", section)
		}
		in, _, _ = strings.Cut(in, "\n.Sh ")
		names := map[string]bool{}
		jsonFields(typ, names)
		if len(names) < 5 {
			t.Fatalf("%v: got the fields %v", typ, names)
		}
		for name := range names {
			if typ == reflect.TypeFor[entry]() && (name == "address" || name == "notify" || name == "orcpt" || name == "folder" || name == "final" || name == "program" || name == "user" || name == "target" || name == "via" || name == "left" || name == "alias") {
				continue // members have the form of the envelope's recipients
			}
			if !regexp.MustCompile(`(?m)^\.(Li|It Li)( .* ,)? ?(.* )?` + name + `( |$)`).MatchString(in) {
				t.Errorf("spool.5, %s: the field %s of %v is missing", strings.TrimSpace(section), name, typ)
			}
		}
	}
}

func TestThePageNamesEachKindOfRecord(t *testing.T) {
	src, err := os.ReadFile("record.go")
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`(?m)^\tkind(\w+) +(?:kind )?= '(.)'`).FindAllStringSubmatch(string(src), -1)
	if len(kinds) != 8 {
		t.Fatalf("record.go: got %d kinds, want 8", len(kinds))
	}
	text := page(t)
	for _, k := range kinds {
		if want := "\n.It Sy " + k[2] + " No " + strings.ToLower(k[1]) + "\n"; !strings.Contains(text, want) {
			t.Errorf("spool.5: %q is missing", want)
		}
	}
}

func TestThePageNamesEachFolderAndBound(t *testing.T) {
	text := page(t)
	for _, want := range []string{dirIncoming + "/", dirLarge + "/", dirDeferred + "/", dirJournal + "/", dirTmp + "/", dirCorrupt + "/", nameLock, nameTrigger} {
		if !strings.Contains(text, ".It Pa "+want) {
			t.Errorf("spool.5: %s is missing", want)
		}
	}
	for phrase, holds := range map[string]bool{
		"more than 256 KB":                 LargeSize == 256<<10,
		"256 KB of room allocated":         firstRoom == 256<<10,
		"after 3 seconds or at 64 MB":      rotateAfter.Seconds() == 3 && maxSegment == 64<<20,
		"at most 32 MB":                    maxPayload == 32<<20,
		"footer of 40 octets":              footerSize == 40,
		"older than 36 hours":              TmpAge.Hours() == 36,
		"Every 10 minutes":                 sweepEvery.Minutes() == 10,
		"Past 64 KB and 1 KB for each":     maxLog(&Message{rcpts: make([]rcpt, 3)}) == 64<<10+3*1024,
		"at most 48 characters":            mta.MaxIDLen == 48,
		"magic: B7 50 48 31 (hexadecimal)": string(recordMagic) == "\xb7PH1",
	} {
		if !holds || !strings.Contains(text, phrase) {
			t.Errorf("spool.5 says %q: on the page %v, true %v", phrase, strings.Contains(text, phrase), holds)
		}
	}
}
