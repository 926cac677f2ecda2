package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestTurnsAreBoundedForEachUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns()
		for range maxPerUser {
			if !turns.take(t.Context(), "bob") {
				t.Fatal("no turn")
			}
		}
		if !turns.take(t.Context(), "alice") {
			t.Error("alice waits for bob")
		}
		began := time.Now()
		if turns.take(t.Context(), "bob") || time.Since(began) != turnTime {
			t.Errorf("got a turn too many, or none after %v", time.Since(began))
		}
		go func() {
			time.Sleep(time.Second)
			turns.give("bob")
		}()
		if !turns.take(t.Context(), "bob") {
			t.Error("got no turn, though one was given back")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if turns.take(ctx, "bob") {
			t.Error("got a turn after the end")
		}
		for range maxPerUser {
			turns.give("bob")
		}
		turns.give("alice")
		if len(turns.open) != 0 {
			t.Errorf("got %v left", turns.open)
		}
	})
}

// TestWhoHangsIsNotWaitedFor keeps the room of all for who can use it.
func TestWhoHangsIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns()
		for range maxPerUser {
			turns.take(t.Context(), "bob")
		}
		time.Sleep(turnTime + time.Second)
		began := time.Now()
		if turns.take(t.Context(), "bob") || time.Since(began) != 0 {
			t.Errorf("got a turn too many, or none after %v", time.Since(began))
		}
		turns.give("bob")
		if !turns.take(t.Context(), "bob") {
			t.Error("got no turn, though one was given back")
		}
		for range maxPerUser {
			turns.give("bob")
		}
		if len(turns.open) != 0 {
			t.Errorf("got %v left", turns.open)
		}
	})
}
