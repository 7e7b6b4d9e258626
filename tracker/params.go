package tracker

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Value is the value of a parameter: a number or a text.
type Value struct {
	Text     string // of a number too, as it was written
	Number   float64
	IsNumber bool
}

func (v Value) String() string { return v.Text }

// MarshalJSON writes a number or a string.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.IsNumber {
		return json.Marshal(json.Number(v.Text))
	}
	return json.Marshal(v.Text)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (v *Value) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err == nil {
		*v = Value{Text: text}
		return nil
	}
	number, err := strconv.ParseFloat(string(data), 64)
	if err != nil {
		return fmt.Errorf("%s is neither a number nor a text", data)
	}
	*v = Value{string(data), number, true}
	return nil
}

// SetParams sets parameters, given as in [NewRun]. Parameters of other names stay.
func (r *Run) SetParams(ctx context.Context, params any) error {
	values, err := flatten(params)
	if err != nil {
		return fmt.Errorf("parameters: %w", err)
	}
	return r.write(ctx, func(t tx) error { return t.setParams(r.ID, values) })
}

func (t tx) setParams(run int64, params map[string]Value) error {
	return t.insert(sqlSetParams, paramRows(run, params))
}

// paramRows are the rows of parameters of a run, in the order of their keys.
func paramRows(run int64, params map[string]Value) [][]any {
	cleaned := map[string]Value{}
	for key, v := range params {
		cleaned[clean(key)] = v
	}
	rows := make([][]any, 0, len(cleaned))
	for _, key := range slices.Sorted(maps.Keys(cleaned)) {
		v := cleaned[key]
		rows = append(rows, []any{run, key, clean(v.Text), sql.NullFloat64{Float64: v.Number, Valid: v.IsNumber}})
	}
	return rows
}

// flatten turns a struct or map into parameters: see [NewRun].
func flatten(params any) (map[string]Value, error) {
	out := map[string]Value{}
	if params == nil {
		return out, nil
	}
	text, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return nil, fmt.Errorf("%T is no object: %w", params, err)
	}
	return out, flattenInto(out, "", object)
}

func flattenInto(out map[string]Value, prefix string, object map[string]any) error {
	for key, v := range object {
		switch v := v.(type) {
		case nil:
		case map[string]any:
			if err := flattenInto(out, prefix+key+".", v); err != nil {
				return err
			}
		case string:
			out[prefix+key] = Value{Text: v}
		case json.Number:
			number, err := v.Float64()
			if err != nil {
				return fmt.Errorf("%s: %w", prefix+key, err)
			}
			out[prefix+key] = Value{v.String(), number, true}
		default: // lists and truth values
			text, err := json.Marshal(v)
			if err != nil {
				return err
			}
			out[prefix+key] = Value{Text: string(text)}
		}
	}
	return nil
}
