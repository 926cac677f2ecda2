package config

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	portType     = reflect.TypeFor[netip.AddrPort]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// isTable says whether the values of a type are tables with a key a field.
func isTable(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(textType)
}

// setDefaults gives every field of the struct at p the value of its default tag.
func setDefaults(p any) error {
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		f, tag := v.Field(i), v.Type().Field(i).Tag
		if isTable(f.Type()) && f.CanSet() {
			if err := setDefaults(f.Addr().Interface()); err != nil {
				return err
			}
		}
		text, ok := tag.Lookup("default")
		if !ok {
			continue
		}
		if f.Kind() == reflect.Slice {
			item := reflect.New(f.Type().Elem()).Elem()
			if err := setText(item, text); err != nil {
				return fmt.Errorf("default of %s: %w", tag.Get("toml"), err)
			}
			f.Set(reflect.Append(f, item))
			continue
		}
		if err := setText(f, text); err != nil {
			return fmt.Errorf("default of %s: %w", tag.Get("toml"), err)
		}
	}
	return nil
}

// setText sets a field from the form that a value has in a file, without quotation marks.
func setText(v reflect.Value, text string) error {
	switch v.Type() {
	case durationType:
		d, err := ParseDuration(text)
		v.SetInt(int64(d))
		return err
	case prefixType:
		return setPrefix(v, text)
	case portType:
		return setAddrPort(v, text)
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	var err error
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(text)
		v.SetBool(b)
	case reflect.Int:
		var n int64
		n, err = strconv.ParseInt(text, 10, strconv.IntSize)
		v.SetInt(n)
	case reflect.Float64:
		var f float64
		f, err = strconv.ParseFloat(text, 64)
		v.SetFloat(f)
	default:
		err = fmt.Errorf("no such value: %s", v.Type())
	}
	return err
}

// setPrefix takes a network, or an address for a network of one.
func setPrefix(v reflect.Value, text string) error {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		v.Set(reflect.ValueOf(netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())))
		return nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return fmt.Errorf("%q is no network; allowed: an address, or a network as in \"192.0.2.0/24\" or \"2001:db8::/32\"", text)
	}
	if p != p.Masked() {
		return fmt.Errorf("%q has bits after its prefix; allowed: %q", text, p.Masked())
	}
	v.Set(reflect.ValueOf(p))
	return nil
}

// setAddrPort takes a name server: an address, with port 53 where it names none.
func setAddrPort(v reflect.Value, text string) error {
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		var ip netip.Addr
		ip, err = netip.ParseAddr(text)
		a = netip.AddrPortFrom(ip, 53)
	}
	if err != nil || a.Port() == 0 {
		return fmt.Errorf("%q is no name server; allowed: an address, with a port or without, as in \"127.0.0.1:53\"", text)
	}
	v.Set(reflect.ValueOf(a))
	return nil
}

// reject notes what is wrong with the form of a value; what the checks after the binding would say of it is silenced.
func (r *reader) reject(n *node, key, format string, args ...any) {
	r.fault(n, key, format, args...)
	r.broken[n] = true
}

// bindStruct fills the struct at p from a table; what is wrong becomes a problem, and the field keeps its default.
func (r *reader) bindStruct(n *node, table string, p any) {
	v := reflect.ValueOf(p).Elem()
	fields := map[string]int{}
	for i := range v.NumField() {
		if name := v.Type().Field(i).Tag.Get("toml"); name != "" && name != "-" {
			fields[name] = i
		}
	}
	for _, k := range n.keys() {
		key := joinKey(table, k)
		i, ok := fields[k]
		if !ok {
			r.reject(n.table[k], key, "unknown key; allowed: %s", suggest(k, fields))
			continue
		}
		r.bind(n.table[k], key, v.Field(i), v.Type().Field(i).Tag)
	}
}

// bind fills one field.
func (r *reader) bind(n *node, key string, v reflect.Value, tag reflect.StructTag) {
	_, off := tag.Lookup("off")
	switch {
	case isTable(v.Type()):
		if n.table == nil {
			r.reject(n, key, "%s where a table is wanted", n.what())
			return
		}
		r.bindStruct(n, key, v.Addr().Interface())
	case v.Kind() == reflect.Map:
		r.bindMap(n, key, v)
		if off && v.Len() > 0 {
			r.reject(n, key, "not built in this version; allowed: no such table")
		}
	case v.Kind() == reflect.Slice:
		r.bindSlice(n, key, v)
		if off && v.Len() > 0 {
			r.reject(n, key, "not built in this version; allowed: []")
		}
	default:
		r.bindLeaf(n, key, v, tag)
	}
}

func (r *reader) bindMap(n *node, key string, v reflect.Value) {
	if n.table == nil {
		r.reject(n, key, "%s where a table is wanted", n.what())
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, k := range n.keys() {
		item, inner := n.table[k], joinKey(key, k)
		if item.table == nil {
			r.reject(item, inner, "%s where a table is wanted", item.what())
			continue
		}
		elem := v.Type().Elem()
		pointer := elem.Kind() == reflect.Pointer
		if pointer {
			elem = elem.Elem()
		}
		p := reflect.New(elem)
		r.bindNew(item, inner, p)
		if !pointer {
			p = p.Elem()
		}
		v.SetMapIndex(reflect.ValueOf(k), p)
	}
}

func (r *reader) bindSlice(n *node, key string, v reflect.Value) {
	if !n.array {
		r.reject(n, key, "%s where an array is wanted", n.what())
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, len(n.list)))
	elem := v.Type().Elem()
	for _, item := range n.list {
		p := reflect.New(elem)
		switch {
		case !isTable(elem):
			r.bindLeaf(item, key, p.Elem(), "")
		case item.table == nil:
			r.reject(item, key, "%s where a table is wanted", item.what())
		default:
			r.bindNew(item, key, p)
		}
		v.Set(reflect.Append(v, p.Elem())) // also where it is wrong: the checks find item i of the file as item i
	}
}

func (r *reader) bindNew(n *node, key string, p reflect.Value) {
	if err := setDefaults(p.Interface()); err != nil {
		r.reject(n, key, "%v", err)
		return
	}
	r.bindStruct(n, key, p.Interface())
}

// bindLeaf fills a field that is no table and no array.
func (r *reader) bindLeaf(n *node, key string, v reflect.Value, tag reflect.StructTag) {
	fresh := reflect.New(v.Type()).Elem()
	if err := setLeaf(n, fresh); err != nil {
		r.reject(n, key, "%v", err)
		return
	}
	if err := allowed(fresh, tag); err != nil {
		r.reject(n, key, "%v", err)
		return
	}
	v.Set(fresh)
}

// setLeaf is strict about types: a number is no text, and a text no number.
func setLeaf(n *node, v reflect.Value) error {
	switch s := n.scalar.(type) {
	case string:
		if strings.ContainsFunc(s, unicode.IsControl) {
			return errors.New("a control character; allowed: text of one line")
		}
		if k := v.Kind(); v.Type() == durationType || k == reflect.String || k == reflect.Struct || reflect.PointerTo(v.Type()).Implements(textType) {
			return setText(v, s)
		}
	case int64:
		switch {
		case v.Type() == reflect.TypeFor[int]() && !v.OverflowInt(s):
			v.SetInt(s)
			return nil
		case v.Kind() == reflect.Float64:
			v.SetFloat(float64(s))
			return nil
		}
	case float64:
		if v.Kind() == reflect.Float64 {
			v.SetFloat(s)
			return nil
		}
	case bool:
		if v.Kind() == reflect.Bool {
			v.SetBool(s)
			return nil
		}
	}
	return fmt.Errorf("%s where %s is wanted", n.what(), wanted(v.Type()))
}

func wanted(t reflect.Type) string {
	switch t {
	case durationType:
		return `a time in quotation marks, as in "5m",`
	case reflect.TypeFor[Size]():
		return `a size in quotation marks, as in "50MB",`
	case reflect.TypeFor[Rate]():
		return `a rate in quotation marks, as in "100/h",`
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	}
	return "a string"
}
