package maildir

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

// ErrBadMailbox says that an address cannot be the name of a folder.
var ErrBadMailbox = errors.New("address cannot name a mailbox")

// Path fills {domain} and {local} of a template such as /var/mail/posthouse/{domain}/{local} with the address's parts.
// A local part or domain that would lead elsewhere (a slash, a leading dot, a control character, more than 255 octets)
// is ErrBadMailbox.
func Path(template string, a mta.Address) (string, error) {
	for _, part := range []string{a.Local, a.Domain} {
		if part == "" || part[0] == '.' || len(part) > 255 || strings.ContainsFunc(part, func(r rune) bool { return r == '/' || r < ' ' || r == 0x7f }) {
			return "", fmt.Errorf("%w: %q", ErrBadMailbox, a)
		}
	}
	return filepath.Clean(strings.NewReplacer("{domain}", a.Domain, "{local}", a.Local).Replace(template)), nil
}

// FolderPath returns the Maildir++ folder of a mailbox: its name's parts with dots between, behind a dot. A name that
// would lead elsewhere is ErrBadMailbox.
func FolderPath(mailbox, folder string) (string, error) {
	if folder == "" {
		return mailbox, nil
	}
	if len(folder) > 200 || folder[0] == '.' || folder[len(folder)-1] == '.' || strings.Contains(folder, "..") ||
		strings.ContainsFunc(folder, func(r rune) bool { return r == '/' || r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("%w: folder %q", ErrBadMailbox, folder)
	}
	return filepath.Join(mailbox, "."+folder), nil
}
