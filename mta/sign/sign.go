package sign

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/emersion/go-msgauth/dkim"
)

// sealed are the fields that a signature covers once more than they are there, so that none can be added (RFC 6376 8.15).
var sealed = []string{"From", "Reply-To", "Subject", "Date", "Message-ID", "To", "Cc", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"}

// covered are signed where they are there (RFC 6376 5.4.1); a mailing list may add them where they are not.
var covered = []string{
	"Sender", "In-Reply-To", "References", "List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe", "List-Post",
	"List-Owner", "List-Archive", "Resent-From", "Resent-To", "Resent-Date", "Resent-Message-ID",
}

// fieldsOf is what a signature names, for a message whose header has fields of these names.
func fieldsOf(names []string) []string {
	count := map[string]int{}
	for _, n := range names {
		count[strings.ToLower(n)]++
	}
	var list []string
	for _, f := range sealed {
		list = append(list, slices.Repeat([]string{f}, count[strings.ToLower(f)]+1)...)
	}
	for _, f := range covered {
		list = append(list, slices.Repeat([]string{f}, count[strings.ToLower(f)])...)
	}
	return list
}

// Ending goes behind a message that is signed or verified: a header without a body gets its empty line by it, and for a body
// empty lines at its end do not count (RFC 6376 3.4.3, 3.4.4).
const Ending = "\r\n\r\n"

// Message signs the message that r gives, whose header has fields of these names, with each of the keys. It returns the
// values of the fields DKIM-Signature, in the order of the keys and folded.
func Message(r io.Reader, names []string, keys []Key) ([]string, error) {
	return message(r, keys, fieldsOf(names))
}

// message signs with signatures that cover these fields.
func message(r io.Reader, keys []Key, covers []string) ([]string, error) {
	var signers []*dkim.Signer
	defer func() {
		for _, s := range signers {
			_ = s.Close() // again where all is well, which does no harm; without it a goroutine would wait for ever
		}
	}()
	var all []io.Writer
	for _, k := range keys {
		s, err := dkim.NewSigner(&dkim.SignOptions{
			Domain: k.Domain, Selector: k.Selector, Signer: k.Signer, HeaderKeys: covers,
			HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		})
		if err != nil {
			return nil, fmt.Errorf("sign for %s: %w", k.Name(), err)
		}
		signers, all = append(signers, s), append(all, s)
	}
	if _, err := io.Copy(io.MultiWriter(all...), io.MultiReader(r, strings.NewReader(Ending))); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	var fields []string
	for i, s := range signers {
		if err := s.Close(); err != nil {
			return nil, fmt.Errorf("sign for %s: %w", keys[i].Name(), err)
		}
		_, value, ok := bytes.Cut([]byte(s.Signature()), []byte(": "))
		if !ok {
			return nil, errors.New("sign: no signature")
		}
		fields = append(fields, string(bytes.TrimRight(value, "\r\n")))
	}
	return fields, nil
}
