package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// allowed holds a value against the tags of its field.
func allowed(v reflect.Value, tag reflect.StructTag) error {
	if list := tag.Get("oneof"); list != "" {
		return oneOf(v.String(), strings.Split(list, "|"), strings.Split(tag.Get("unbuilt"), "|"))
	}
	if text, ok := tag.Lookup("off"); ok {
		off := reflect.New(v.Type()).Elem()
		if err := setText(off, text); err != nil {
			return err
		}
		if !v.Equal(off) {
			return fmt.Errorf("not built in this version; allowed: %s", show(off))
		}
		return nil
	}
	return within(v, tag)
}

func oneOf(s string, known, unbuilt []string) error {
	var built []string
	for _, k := range known {
		if !slices.Contains(unbuilt, k) {
			built = append(built, fmt.Sprintf("%q", k))
		}
	}
	list := strings.Join(built, ", ")
	switch {
	case !slices.Contains(known, s):
		return fmt.Errorf("%q is not known; allowed: %s", s, list)
	case slices.Contains(unbuilt, s):
		return fmt.Errorf("%q is not built in this version; allowed: %s", s, list)
	}
	return nil
}

func within(v reflect.Value, tag reflect.StructTag) error {
	low, high := reflect.New(v.Type()).Elem(), reflect.New(v.Type()).Elem()
	lowText, hasLow := tag.Lookup("min")
	highText, hasHigh := tag.Lookup("max")
	if !hasLow || !hasHigh {
		return nil
	}
	if err := errors.Join(setText(low, lowText), setText(high, highText)); err != nil {
		return err
	}
	if n := v.Int(); n < low.Int() || n > high.Int() {
		return fmt.Errorf("%s is out of range; allowed: %s to %s", show(v), show(low), show(high))
	}
	return nil
}

// show is a value in the form that a file has.
func show(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return `"` + FormatDuration(x) + `"`
	case fmt.Stringer:
		return `"` + x.String() + `"`
	case string:
		return fmt.Sprintf("%q", x)
	default:
		return fmt.Sprint(x)
	}
}

// suggest names the key that was probably meant, or all that the table may hold.
func suggest(key string, fields map[string]int) string {
	names := slices.Sorted(maps.Keys(fields))
	for _, name := range names {
		if strings.EqualFold(key, name) || distance(strings.ToLower(key), name) <= 2 && len(name) > 3 {
			return name
		}
	}
	return strings.Join(names, ", ")
}

// distance is how many letters must be put in, left out or changed to make b of a; long keys are simply far apart.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
