// Package layout is the table of an installed system: its users and groups, and the owner and mode of each of its folders
// and secrets. It is the only place that knows them. sysusers.d and tmpfiles.d are rendered from it, `posthouse setup` and
// `posthouse folders` make what it lists, and `posthouse check` holds the machine against it.
//
// A private instance, where one user runs all, has no use for it.
package layout
