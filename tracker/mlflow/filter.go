package mlflow

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"hrlab/tracker"
)

// comparison is one of those that a filter of MLflow joins by AND
// (https://mlflow.org/docs/latest/ml/search/search-runs).
type comparison struct {
	text     string // as it was written
	of, key  string // of is metrics, params, tags or attributes
	operator string // = != < <= > >= LIKE ILIKE IN NOT IN, IS NULL, IS NOT NULL
	values   []string
	quoted   bool // the value was
}

const (
	identifier = "([A-Za-z_]+)(?:\\.(\"[^\"]*\"|'[^']*'|`[^`]*`|[^\\s=!<>\"'`(),]+))?"
	text       = `'[^']*'|"[^"]*"`
)

var (
	clause = regexp.MustCompile(`^\s*` + identifier + `\s*(?:(?i:(is\s+not\s+null|is\s+null)\b)|(!=|<=|>=|=|<|>|(?i:not\s+in|in|i?like)\b)\s*` +
		`(` + text + `|[^\s"'(),]+|\(\s*(?:` + text + `)(?:\s*,\s*(?:` + text + `))*\s*,?\s*\)))`)
	and     = regexp.MustCompile(`^\s+(?i:and)\s+`)
	order   = regexp.MustCompile(`^\s*` + identifier + `(?:\s+(?i:(asc|desc)))?\s*$`)
	literal = regexp.MustCompile(text)
)

// parse splits a filter into its comparisons.
func parse(filter string) (all []comparison, err error) {
	for rest := filter; strings.TrimSpace(rest) != ""; {
		m := clause.FindStringSubmatch(rest)
		if m == nil {
			return nil, invalid("filter, at %q: allowed: comparisons joined by AND, such as metrics.m > 1, params.p = 'text', tags.t ILIKE '%%text%%', attributes.status = 'FINISHED'", shorten(rest))
		}
		c := comparison{text: strings.TrimSpace(m[0])}
		if c.of, c.key, err = field(m[1], m[2]); err != nil {
			return nil, err
		}
		c.operator = strings.ToUpper(strings.Join(strings.Fields(m[3]+m[4]), " "))
		switch {
		case strings.HasSuffix(c.operator, "IN"):
			for _, v := range literal.FindAllString(m[5], -1) {
				c.values = append(c.values, unquote(v))
			}
			if !strings.HasPrefix(m[5], "(") {
				return nil, invalid("filter, at %q: allowed after %s: ('text', 'text')", c.text, c.operator)
			}
		case strings.HasPrefix(m[5], "("):
			return nil, invalid("filter, at %q: a list is for IN and NOT IN", c.text)
		default:
			c.values, c.quoted = []string{unquote(m[5])}, unquote(m[5]) != m[5]
		}
		all = append(all, c)
		rest = rest[len(m[0]):]
		joint := and.FindString(rest)
		if joint == "" && strings.TrimSpace(rest) != "" {
			return nil, invalid("filter, at %q: allowed: AND, or the end", shorten(rest))
		}
		rest = rest[len(joint):]
		if joint != "" && strings.TrimSpace(rest) == "" {
			return nil, invalid("filter: a comparison is missing after the last AND")
		}
	}
	return all, nil
}

// shorten is the beginning of a text, for messages.
func shorten(text string) string {
	const longest = 60
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return text
}

func unquote(text string) string {
	if text != "" && strings.ContainsAny(text[:1], "\"'`") {
		return text[1 : len(text)-1]
	}
	return text
}

// field is what an identifier means. Without a key it is an attribute.
func field(of, key string) (string, string, error) {
	if key == "" {
		of, key = "attributes", of
	}
	switch of {
	case "metric":
		of = "metrics"
	case "parameter", "parameters", "param":
		of = "params"
	case "tag":
		of = "tags"
	case "attribute", "attr", "run":
		of = "attributes"
	case "metrics", "params", "tags", "attributes":
	default:
		return "", "", invalid("%q is no field; allowed: metrics.NAME, params.NAME, tags.NAME, attributes.NAME", of+"."+unquote(key))
	}
	return of, unquote(key), nil
}

// attributes are the tracker's fields by MLflow's names.
var attributes = map[string]string{
	"run_id": "id", "run_name": "name", "run name": "name", "Run name": "name", "Run Name": "name", "status": "status",
	"start_time": "started", "created": "started", "Created": "started", "end_time": "ended", "user_id": `tags."` + userTag + `"`,
}

// column is a field in the tracker's filters.
func column(of, key string) (string, error) {
	if of != "attributes" {
		return of + "." + quote(key), nil
	}
	name, ok := attributes[key]
	if !ok {
		return "", invalid("%q is no attribute; allowed: run_id, run_name, status, start_time, end_time, user_id", key)
	}
	return name, nil
}

// quote writes a text in the tracker's filters.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// where translates a filter to the tracker's.
func where(filter string) (string, error) {
	comparisons, err := parse(filter)
	var parts []string
	for _, c := range comparisons {
		part, err := c.translate()
		if err != nil {
			return "", err
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " and "), err
}

// translate is the comparison in the tracker's language.
func (c comparison) translate() (string, error) {
	name, err := column(c.of, c.key)
	switch {
	case err != nil:
		return "", err
	case c.of == "metrics":
		return c.number(name)
	case name == "started" || name == "ended":
		return c.time(name)
	}
	switch c.operator {
	case "=", "!=":
		if !c.quoted {
			return "", invalid("filter, at %q: a text needs quotes", c.text)
		}
		return equal(name, c.operator, c.values[0]), nil
	case "IN":
		return "(" + joined(name, "=", c.values, " or ") + ")", nil
	case "NOT IN":
		return joined(name, "!=", c.values, " and "), nil
	}
	if name == "id" || name == "status" {
		return "", invalid("filter, at %q: allowed: = != IN, NOT IN", c.text)
	}
	switch c.operator {
	case "IS NULL":
		return "not " + name + ` ~ ""`, nil
	case "IS NOT NULL":
		return name + ` ~ ""`, nil
	case "LIKE":
		if !strings.Contains(c.values[0], "%") {
			return equal(name, "=", c.values[0]), nil
		}
	case "ILIKE":
		inner, ok := strings.CutPrefix(c.values[0], "%")
		inner, closed := strings.CutSuffix(inner, "%")
		if ok && closed && !strings.Contains(inner, "%") {
			return fmt.Sprintf("%s ~ %s", name, quote(inner)), nil
		}
	}
	return "", invalid("filter, at %q: allowed: = != IN, NOT IN, LIKE without %%, ILIKE '%%text%%', IS NULL, IS NOT NULL", c.text)
}

// joined compares a field with each of the values.
func joined(name, operator string, values []string, between string) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = equal(name, operator, v)
	}
	return strings.Join(parts, between)
}

// equal compares a field with a text by = or !=.
func equal(name, operator, value string) string {
	switch name {
	case "id":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			n = 0 // which no run has
		}
		return fmt.Sprintf("id %s %d", operator, n)
	case "status":
		var parts []string
		for _, s := range []tracker.Status{tracker.Queued, tracker.Running, tracker.Finished, tracker.Failed, tracker.Stopped, tracker.Lost} {
			if status[s] == value {
				parts = append(parts, "status = "+string(s))
			}
		}
		either := "(" + strings.Join(parts, " or ") + ")"
		if parts == nil { // a status that no run has
			either = "id = 0"
		}
		if operator == "!=" {
			return "not " + either
		}
		return either
	}
	return fmt.Sprintf("%s %s %s", name, operator, quote(value))
}

// number translates a comparison with a number.
func (c comparison) number(name string) (string, error) {
	v, err := strconv.ParseFloat(c.values[0], 64)
	if !slices.Contains([]string{"=", "!=", "<", "<=", ">", ">="}, c.operator) || c.quoted || err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return "", invalid("filter, at %q: allowed: = != < <= > >= and a number", c.text)
	}
	return fmt.Sprintf("%s %s %s", name, c.operator, strconv.FormatFloat(v, 'g', -1, 64)), nil
}

// time translates a comparison with a time in milliseconds since 1970. The tracker's times are finer: they begin with it.
func (c comparison) time(name string) (string, error) {
	ms, err := strconv.ParseInt(c.values[0], 10, 64)
	const year9999 = 253_370_764_800_000
	if c.quoted || err != nil || ms < 0 || ms > year9999 {
		return "", invalid("filter, at %q: allowed: milliseconds since 1970", c.text)
	}
	at := func(ms int64) string { return time.UnixMilli(ms).Format("2006-01-02T15:04:05.000") } // local, as the tracker's filters are
	from, to := fmt.Sprintf("%s >= %s", name, quote(at(ms))), fmt.Sprintf("%s < %s", name, quote(at(ms+1)))
	switch c.operator {
	case "=":
		return from + " and " + to, nil
	case "!=":
		return fmt.Sprintf("(%s < %s or %s >= %s)", name, quote(at(ms)), name, quote(at(ms+1))), nil
	case "<":
		return fmt.Sprintf("%s < %s", name, quote(at(ms))), nil
	case "<=":
		return to, nil
	case ">":
		return fmt.Sprintf("%s >= %s", name, quote(at(ms+1))), nil
	case ">=":
		return from, nil
	}
	return "", invalid("filter, at %q: allowed: = != < <= > >=", c.text)
}

// sorting translates the fields that runs are to be sorted by.
func sorting(by []string) (string, error) {
	var keys []string
	for _, text := range by {
		m := order.FindStringSubmatch(text)
		if m == nil {
			return "", invalid("order_by, at %q: allowed: a field such as metrics.m, then ASC or DESC", shorten(text))
		}
		of, key, err := field(m[1], m[2])
		if err != nil {
			return "", err
		}
		name, err := column(of, key)
		if err != nil {
			return "", err
		}
		if strings.EqualFold(m[3], "desc") {
			name = "-" + name
		}
		keys = append(keys, name)
	}
	return strings.Join(keys, ","), nil
}

// experimentsAre says that a run's experiment is one of some.
func experimentsAre(among []experiment) string {
	names := make([]string, len(among))
	for i, e := range among {
		names[i] = e.Name
	}
	return "(" + joined("experiment", "=", names, " or ") + ")"
}
