package main

import (
	"fmt"
	"os/user"
	"strconv"
)

// account is a user of the machine.
type account struct {
	name, home string
	uid, gid   uint32
	groups     []uint32
}

// nobody is the first of the uids that are nobody's: 65534, and those that overflow or mean "no change".
const nobody = 65534

// lookup reads /etc/passwd and /etc/group.
func lookup(name string) (account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return account{}, err
	}
	a := account{name: u.Username, home: u.HomeDir}
	for i, text := range append([]string{u.Uid, u.Gid}, ids...) {
		n, err := strconv.ParseUint(text, 10, 32)
		switch {
		case err != nil:
			return account{}, fmt.Errorf("user %s: %w", name, err)
		case i == 0:
			a.uid = uint32(n)
		case i == 1:
			a.gid = uint32(n)
		default:
			a.groups = append(a.groups, uint32(n))
		}
	}
	return a, nil
}

// person is an account that gets mail: its uid is least or more.
func person(name string, least int) (account, error) {
	a, err := lookup(name)
	switch {
	case err != nil:
		return account{}, err
	case int64(a.uid) < int64(least), a.uid >= nobody && a.uid <= nobody+1, a.uid == 0, a.uid == ^uint32(0):
		return account{}, fmt.Errorf("user %s has uid %d; mailboxes.system_min_uid is %d", name, a.uid, least)
	}
	return a, nil
}
