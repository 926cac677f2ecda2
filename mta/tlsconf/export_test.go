package tlsconf

// OpenAt is Open with a clock.
var OpenAt = open
