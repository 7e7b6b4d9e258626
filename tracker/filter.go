package tracker

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The grammar, which the package comment describes for users:
//
//	filter      = conjunction { "or" conjunction }
//	conjunction = term { "and" term }
//	term        = "not" term | "(" filter ")" | field operator value
//	field       = word { "." word }, a word being letters, digits and _ - + : /, or a quoted text
//	value       = word { "." word } | quoted text
//
// The names and values in a filter reach the database only as parameters of statements.

const (
	maxFilter     = 10_000 // bytes
	maxConditions = 200    // SQLite's expressions are at most 1000 deep
)

// parser translates a filter or a list of sort keys to SQL.
type parser struct {
	what   string // "filter" or "sort", for messages
	text   string
	tokens []token
	args   []any
	first  int // the number of the parameter args[0]
	depth  int
	count  int
}

type tokenKind int

const (
	end tokenKind = iota
	word
	quoted
	symbol
)

type token struct {
	kind   tokenKind
	text   string // without quotes
	column int    // from 1, in characters
}

// QueryError says what is wrong with a filter, an order or a list of columns.
type QueryError struct {
	What    string // filter, sort or columns
	Column  int    // from 1, in characters; 0 where it is about the whole text
	Problem string
}

func (e *QueryError) Error() string {
	if e.Column == 0 {
		return e.What + ": " + e.Problem
	}
	return fmt.Sprintf("%s, column %d: %s", e.What, e.Column, e.Problem)
}

func (p *parser) fail(t token, format string, args ...any) error {
	return &QueryError{p.what, t.column, fmt.Sprintf(format, args...)}
}

// parseFilter returns the condition that a filter stands for, and its parameters, the first of which is $first.
func parseFilter(filter string, first int) (condition string, args []any, err error) {
	p := &parser{what: "filter", text: filter, first: first}
	if err := p.split(); err != nil {
		return "", nil, err
	}
	condition, err = p.filter()
	if err == nil && p.peek().kind != end {
		err = p.fail(p.peek(), "%q; expected and, or, or the end", p.peek().text)
	}
	return condition, p.args, err
}

// parseSort returns a list of sort keys, each followed by a comma, and their parameters, the first of which is $first.
func parseSort(sort string, first int) (keys string, args []any, err error) {
	p := &parser{what: "sort", text: sort, first: first}
	if err := p.split(); err != nil || p.peek().kind == end {
		return "", nil, err
	}
	var list []string
	for {
		if p.count++; p.count > maxConditions {
			return "", nil, p.fail(p.peek(), "too many fields; allowed: %d", maxConditions)
		}
		direction := ""
		if t := p.peek(); t.kind == word && strings.HasPrefix(t.text, "-") {
			direction = sqlDescending
			p.tokens[0] = token{word, t.text[1:], t.column + 1}
		}
		f, err := p.field()
		if err != nil {
			return "", nil, err
		}
		if f.number != "" {
			list = append(list, fmt.Sprintf(sqlSortNumber, p.expression(f, f.number), direction))
		}
		if f.text != "" {
			list = append(list, fmt.Sprintf(sqlSortText, p.expression(f, f.text), direction))
		}
		switch t := p.next(); {
		case t.kind == end:
			return strings.Join(list, ""), p.args, nil
		case t.text != "," || t.kind != symbol:
			return "", nil, p.fail(t, "%q; expected a comma or the end", t.text)
		}
	}
}

func wordRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-+:/", r)
}

// split cuts the text into tokens.
func (p *parser) split() error {
	if len(p.text) > maxFilter {
		return &QueryError{p.what, 0, fmt.Sprintf("%d bytes; allowed: %d", len(p.text), maxFilter)}
	}
	text := []rune(clean(p.text))
	for i := 0; i < len(text); {
		begin, r := i, text[i]
		at := token{column: i + 1}
		switch {
		case unicode.IsSpace(r):
			i++
			continue
		case r == '"' || r == '\'':
			for i++; ; i++ {
				if i >= len(text) {
					return p.fail(at, "the text has no closing %c", r)
				}
				if text[i] == r {
					break
				}
				if text[i] == '\\' && i+1 < len(text) {
					i++
				}
				at.text += string(text[i])
			}
			i++
			at.kind = quoted
		case wordRune(r) || r == '.' && i+1 < len(text) && unicode.IsDigit(text[i+1]):
			for i < len(text) && (wordRune(text[i]) || text[i] == '.' && numeric(text[begin:i])) {
				i++
			}
			at.kind, at.text = word, string(text[begin:i])
		default:
			i++
			if strings.ContainsRune("!<>", r) && i < len(text) && text[i] == '=' {
				i++
			}
			at.kind, at.text = symbol, string(text[begin:i])
			if !slices.Contains([]string{"=", "!=", "<", "<=", ">", ">=", "~", "(", ")", ",", "."}, at.text) {
				return p.fail(at, "%q is not understood", at.text)
			}
		}
		p.tokens = append(p.tokens, at)
	}
	p.tokens = append(p.tokens, token{kind: end, column: len(text) + 1})
	return nil
}

// numeric says whether a dot after text belongs to a number.
func numeric(text []rune) bool {
	for i, r := range text {
		if !unicode.IsDigit(r) && (i > 0 || r != '-' && r != '+') {
			return false
		}
	}
	return true
}

func (p *parser) peek() token { return p.tokens[0] }

func (p *parser) next() token {
	t := p.tokens[0]
	if t.kind != end {
		p.tokens = p.tokens[1:]
	}
	return t
}

// keyword consumes the next token if it is this word, and says whether it was.
func (p *parser) keyword(text string) bool {
	t := p.peek()
	if t.kind != word || !strings.EqualFold(t.text, text) {
		return false
	}
	p.next()
	return true
}

// arg adds a parameter and returns its number.
func (p *parser) arg(v any) int {
	p.args = append(p.args, v)
	return p.first + len(p.args) - 1
}

func (p *parser) filter() (string, error) { return p.chain("or", sqlOr, p.conjunction) }

func (p *parser) conjunction() (string, error) { return p.chain("and", sqlAnd, p.term) }

func (p *parser) chain(operator, between string, part func() (string, error)) (string, error) {
	first, err := part()
	parts := []string{first}
	for err == nil && p.keyword(operator) {
		var next string
		next, err = part()
		parts = append(parts, next)
	}
	return strings.Join(parts, between), err
}

func (p *parser) term() (string, error) {
	t := p.peek()
	if p.depth++; p.depth > maxConditions {
		return "", p.fail(t, "too deep; allowed: %d levels", maxConditions)
	}
	defer func() { p.depth-- }()
	if p.keyword("not") {
		inner, err := p.term()
		return fmt.Sprintf(sqlNot, inner), err
	}
	if t.kind == symbol && t.text == "(" {
		p.next()
		inner, err := p.filter()
		if err == nil && p.next().text != ")" {
			err = p.fail(t, "the parenthesis is not closed")
		}
		return fmt.Sprintf(sqlNested, inner), err
	}
	if p.count++; p.count > maxConditions {
		return "", p.fail(t, "too many conditions; allowed: %d", maxConditions)
	}
	return p.comparison()
}

// field is something to compare or to sort by: the column of its number, of its text, or both. They are the run's own, or those
// of a row of another table. A %d in rows is the number of a parameter whose value is key.
type field struct {
	number, text string
	rows, key    string
	time, status bool
	of           func(i Info) any // its value, as [Field.Of] returns it
}

// expression is the value that a column of a field has.
func (p *parser) expression(f field, column string) string {
	if f.rows == "" {
		return column
	}
	return fmt.Sprintf(sqlValueOf, column, fmt.Sprintf(f.rows, p.arg(f.key)))
}

// holds is a condition on a column of a field, which is false where the run does not have it.
func (p *parser) holds(f field, condition string) string {
	if f.rows == "" {
		return fmt.Sprintf(sqlHolds, condition)
	}
	return fmt.Sprintf(sqlHoldsFor, fmt.Sprintf(f.rows, p.arg(f.key)), condition)
}

// field reads a field.
func (p *parser) field() (field, error) {
	t := p.next()
	simple := map[string]field{
		"id":         {number: sqlFieldID, of: func(i Info) any { return i.ID }},
		"name":       {text: sqlFieldName, of: func(i Info) any { return i.Name }},
		"experiment": {text: sqlFieldExperiment, of: func(i Info) any { return i.Experiment }},
		"status":     {text: sqlFieldStatus, status: true, of: func(i Info) any { return i.Status }},
		"created":    {number: sqlFieldCreated, time: true, of: func(i Info) any { return timeOrNil(i.Created) }},
		"started":    {number: sqlFieldStarted, time: true, of: func(i Info) any { return timeOrNil(i.Started) }},
		"ended":      {number: sqlFieldEnded, time: true, of: func(i Info) any { return timeOrNil(i.Ended) }},
	}
	if f, ok := simple[t.text]; ok && t.kind == word {
		return f, nil
	}
	if t.kind != word || !slices.Contains([]string{"params", "tags", "metrics"}, t.text) {
		return field{}, p.fail(t, "%q is no field; allowed: id, name, experiment, status, created, started, ended, params.NAME, tags.NAME, metrics.NAME", t.text)
	}
	var parts []string
	for p.peek().kind == symbol && p.peek().text == "." {
		p.next()
		part := p.next()
		if part.kind != word && part.kind != quoted {
			return field{}, p.fail(part, "%q; expected a name after the dot", part.text)
		}
		parts = append(parts, part.text)
	}
	if len(parts) == 0 {
		return field{}, p.fail(p.peek(), "%q; expected .NAME after %s", p.peek().text, t.text)
	}
	key := strings.Join(parts, ".")
	switch t.text {
	case "params":
		return field{number: sqlFieldNumber, text: sqlFieldText, rows: sqlRowsOfParam, key: key, of: func(i Info) any { return valueOrNil(i.Params, key) }}, nil
	case "tags":
		return field{text: sqlFieldTag, rows: sqlRowsOfTag, key: key, of: func(i Info) any { return valueOrNil(i.Tags, key) }}, nil
	}
	column := "last"
	if n := len(parts) - 1; n > 0 && slices.Contains([]string{"last", "min", "max"}, parts[n]) {
		column, parts = parts[n], parts[:n]
	}
	key = strings.Join(parts, ".")
	return field{number: column, rows: sqlRowsOfMetric, key: key, of: func(i Info) any {
		m, ok := i.Metrics[key]
		if !ok {
			return nil
		}
		return map[string]float64{"last": m.Last, "min": m.Min, "max": m.Max}[column]
	}}, nil
}

// Field is a field of runs, as filters have them.
type Field struct {
	Name string // as it was written
	// Of is its value of a run: int64, float64, string, [Status], [Value] or [time.Time]. It is nil if the run does not
	// have it.
	Of func(i Info) any
}

// Fields are the fields in a comma-separated list.
func Fields(list string) (fields []Field, err error) {
	p := &parser{what: "columns", text: list}
	if err := p.split(); err != nil {
		return nil, err
	}
	text := []rune(clean(list))
	for {
		begin := p.peek().column
		f, err := p.field()
		if err != nil {
			return nil, err
		}
		t := p.next()
		if t.kind != end && (t.kind != symbol || t.text != ",") {
			return nil, p.fail(t, "%q; expected a comma or the end", t.text)
		}
		fields = append(fields, Field{strings.TrimSpace(string(text[begin-1 : t.column-1])), f.of})
		if t.kind == end {
			return fields, nil
		}
	}
}

func timeOrNil(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

func valueOrNil[V any](values map[string]V, key string) any {
	if v, ok := values[key]; ok {
		return v
	}
	return nil
}

var operators = []string{"=", "!=", "<", "<=", ">", ">=", "~"}

func (p *parser) comparison() (string, error) {
	f, err := p.field()
	if err != nil {
		return "", err
	}
	operator := p.next()
	if operator.kind != symbol || !slices.Contains(operators, operator.text) {
		return "", p.fail(operator, "%q; expected one of %s", operator.text, strings.Join(operators, " "))
	}
	value, err := p.value()
	if err != nil {
		return "", err
	}
	number, err := strconv.ParseFloat(value.text, 64)
	isNumber := err == nil && number == number && value.kind == word
	order := strings.ContainsAny(operator.text, "<>")
	sqlOperator := strings.Replace(operator.text, "!=", sqlUnequal, 1)
	switch {
	case f.status && !slices.Contains(statuses, Status(value.text)) && operator.text != "~":
		return "", p.fail(value, "unknown status %q; allowed: %v", value.text, statuses)
	case f.time:
		t, err := parseTime(value.text)
		if err != nil || operator.text == "~" {
			return "", p.fail(value, "%q is no time to compare with; allowed: 2006-01-02 or 2006-01-02T15:04:05", value.text)
		}
		return p.holds(f, fmt.Sprintf(sqlCompare, f.number, sqlOperator, p.arg(micros(t)))), nil
	case f.number != "" && isNumber && operator.text != "~":
		return p.holds(f, fmt.Sprintf(sqlCompare, f.number, sqlOperator, p.arg(number))), nil
	case f.text == "":
		return "", p.fail(value, "%q; expected a number", value.text)
	case order:
		return "", p.fail(operator, "%s is for numbers; texts know = != ~", operator.text)
	}
	if operator.text == "~" {
		return p.holds(f, fmt.Sprintf(sqlContains, f.text, p.arg("%"+escapeLike.Replace(value.text)+"%"))), nil
	}
	return p.holds(f, fmt.Sprintf(sqlCompare, f.text, sqlOperator, p.arg(value.text))), nil
}

// value reads a number, a word or a quoted text. Words that are joined by dots, as in boat.jpg, are one value.
func (p *parser) value() (token, error) {
	value := p.next()
	if value.kind != word && value.kind != quoted {
		return value, p.fail(value, "%q; expected a number, a word or a quoted text", value.text)
	}
	end := value.column + utf8.RuneCountInString(value.text)
	for value.kind == word && p.peek().kind == symbol && p.peek().text == "." && p.peek().column == end {
		dot := p.next()
		part := p.next()
		if part.kind != word || part.column != end+1 {
			return value, p.fail(dot, "\".\"; expected and, or, or the end; a text with odd characters needs quotes")
		}
		value.text += "." + part.text
		end += 1 + utf8.RuneCountInString(part.text)
	}
	return value, nil
}

var escapeLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// parseTime reads a date or a time, in the local time zone.
func parseTime(text string) (time.Time, error) {
	t, err := time.ParseInLocation(time.DateOnly, text, time.Local)
	if err != nil {
		t, err = time.ParseInLocation("2006-01-02T15:04:05", text, time.Local)
	}
	return t, err
}
