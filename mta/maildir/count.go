package maildir

import "bytes"

var lf = []byte{'\n'}

func countLF(b []byte) int64 { return int64(bytes.Count(b, lf)) }
