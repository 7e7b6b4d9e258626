package tracker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Note is a remark on a run, and when it was made.
type Note struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// Tag sets a tag.
func (r *Run) Tag(ctx context.Context, key, value string) error {
	return r.write(ctx, func(t tx) error { return t.setTags(r.ID, map[string]string{key: value}) })
}

// Note adds a note.
func (r *Run) Note(ctx context.Context, text string) error {
	return r.write(ctx, func(t tx) error { return t.all([]any{r.ID, micros(r.now()), clean(text)}, sqlAddNote) })
}

// Tag sets a tag of any run, whoever writes it.
func (s *Store) Tag(ctx context.Context, run int64, key, value string) error {
	return s.change(ctx, run, func(t tx) error { return t.setTags(run, map[string]string{key: value}) })
}

// Untag removes a tag of any run, if it has it.
func (s *Store) Untag(ctx context.Context, run int64, key string) error {
	return s.change(ctx, run, func(t tx) error { return t.all([]any{run, clean(key)}, sqlRemoveTag) })
}

// Note adds a note to any run.
func (s *Store) Note(ctx context.Context, run int64, text string) error {
	return s.change(ctx, run, func(t tx) error { return t.all([]any{run, micros(s.now()), clean(text)}, sqlAddNote) })
}

// change runs f in a transaction that changes an existing run, whichever process writes that.
func (s *Store) change(ctx context.Context, run int64, f func(t tx) error) error {
	return s.write(ctx, func(t tx) error {
		if err := t.nextChange(); err != nil {
			return err
		}
		if n, err := t.exec(sqlTouch, run); err != nil {
			return err
		} else if n == 0 {
			return fmt.Errorf("run %d: %w", run, ErrNotFound)
		}
		return f(t)
	})
}

func (t tx) setTags(run int64, tags map[string]string) error {
	return t.insert(sqlSetTags, tagRows(run, tags))
}

// tagRows are the rows of tags of a run, in the order of their keys.
func tagRows(run int64, tags map[string]string) [][]any {
	cleaned := map[string]string{}
	for key, value := range tags {
		cleaned[clean(key)] = clean(value)
	}
	rows := make([][]any, 0, len(cleaned))
	for _, key := range slices.Sorted(maps.Keys(cleaned)) {
		rows = append(rows, []any{run, key, cleaned[key]})
	}
	return rows
}
