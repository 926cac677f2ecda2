package main

import (
	"os"
	"regexp"
	"testing"
)

func TestEachOptionIsInTheManual(t *testing.T) {
	page, err := os.ReadFile("sendmail.8")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range withValue + withoutSpace + without {
		if !regexp.MustCompile(`(?m)^\.It Fl (.* (, )?(Fl )?)?` + string(c) + `( |$)`).Match(page) {
			t.Errorf("-%c is not in sendmail.8", c)
		}
	}
}
