package smtpc

import "encoding/base64"

// plain is the message of RFC 4616 2, with the authorization identity left to the server.
func plain(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}
