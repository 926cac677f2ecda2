package spool

import (
	"fmt"
	"os"
	"strings"
)

// BootID returns the running kernel's boot id (random(4)): what a segment of another boot holds behind its last commit
// record may have been answered before the power went.
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(b))
	if id == "" {
		return "", fmt.Errorf("/proc/sys/kernel/random/boot_id: empty")
	}
	return id, nil
}
