// Package sign makes DKIM signatures (RFC 6376; RFC 8463 for Ed25519) and knows their keys: files of PEM, and the record that
// DNS is to have for each. The dkim filter calls it, and `posthouse dkim`. It reads a message once for all keys.
package sign
