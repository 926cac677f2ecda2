package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// siteTime bounds the lookup of Site: a delivery that comes after it finds out again what is wrong with the domain.
const siteTime = 30 * time.Second

// maxSite bounds a name that Site gives.
const maxSite = 256

// Site names the set of hosts that take mail for a destination, so that what is true of them (how many connections they
// stand, that they are down) counts for all domains that they serve: the mail exchangers in the order of preference,
// those of equal preference in alphabetical order with "|" between them, then what else sets the connections apart. A
// domain whose exchangers cannot be had is a site of its own.
func (c *Client) Site(ctx context.Context, dest mta.Destination) string {
	ctx, cancel := context.WithTimeout(ctx, siteTime)
	defer cancel()
	d := &delivery{c: c, opt: &c.opt, r: Request{Dest: dest}}
	name := dest.String()
	if !dest.Named() {
		if groups, bad := d.exchangers(ctx); bad == nil {
			var ranks []string
			for _, g := range groups {
				slices.Sort(g)
				ranks = append(ranks, strings.Join(g, "|"))
			}
			name = strings.Join(ranks, ",")
		}
		if dest.Port != 0 {
			name += ":" + strconv.Itoa(dest.Port)
		}
	}
	if len(name) > maxSite {
		sum := sha256.Sum256([]byte(name))
		name = name[:maxSite] + "..." + hex.EncodeToString(sum[:8])
	}
	if dest.TLS != "" {
		name += " tls=" + string(dest.TLS)
	}
	if dest.Login != "" {
		name += " login=" + dest.Login
	}
	return name
}
