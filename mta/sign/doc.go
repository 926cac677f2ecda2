// Package sign makes DKIM signatures (RFC 6376; RFC 8463 for Ed25519), makes and validates ARC chains (RFC 8617), and knows their keys:
// files of PEM, and the record that DNS is to have for each. The filters dkim and arc call it, and `posthouse dkim`. It reads a
// message once for all keys.
package sign
