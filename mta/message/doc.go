// Package message is what the mail system needs of a message's form (RFC 5322): the rendered message as it leaves us
// (Reader), its header fields by offset (Fields), and what smtpd must know of a content while it streams past (Scan).
// It never rewrites a message and never holds one whole. smtpd, local, remote and bounce call it; the makers of reports
// for the form of their attachments (AppendBase64).
package message
