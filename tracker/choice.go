package tracker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Choice is what a person chose between runs of one experiment that were shown together.
type Choice struct {
	Time time.Time `json:"time"`
	Runs []int64   `json:"runs"`           // two to four different ones, in the order in which they were shown
	Best int64     `json:"best,omitempty"` // one of them; 0 where they look the same
}

// Choose records a choice that is made now. It is an error where the runs are not two to four different ones of one
// experiment, or the best is not one of them. A run that is not there is [ErrNotFound].
func (s *Store) Choose(ctx context.Context, runs []int64, best int64) error {
	return s.write(ctx, func(t tx) error {
		if err := t.nextChange(); err != nil {
			return err
		}
		for _, run := range runs {
			if n, err := t.exec(sqlTouch, run); err != nil {
				return err
			} else if n == 0 {
				return fmt.Errorf("run %d: %w", run, ErrNotFound)
			}
		}
		return t.addChoice(Choice{s.now(), runs, best})
	})
}

// TakeBack removes a choice, as [Store.Choices] has it. One that is not there is [ErrNotFound].
func (s *Store) TakeBack(ctx context.Context, c Choice) error {
	if err := c.Validate(); err != nil {
		return err
	}
	return s.write(ctx, func(t tx) error {
		if n, err := t.exec(sqlRemoveChoice, c.Runs[0], c.Runs[1], micros(c.Time)); err != nil {
			return err
		} else if n == 0 {
			return fmt.Errorf("a choice between the runs %s at that time: %w", strings.Trim(fmt.Sprint(c.Runs), "[]"), ErrNotFound)
		}
		if err := t.all(nil, sqlNextChange); err != nil {
			return err
		}
		for _, run := range c.Runs {
			if _, err := t.exec(sqlTouch, run); err != nil {
				return err
			}
		}
		return nil
	})
}

// Choices are the choices between runs of an experiment, in the order in which they were made. A run that [Store.GC] removes
// takes its choices with it; those of a run that is only deleted stay.
func (s *Store) Choices(ctx context.Context, experiment string) ([]Choice, error) {
	return s.choices(ctx, sqlChoices+sqlChoicesOf, clean(experiment))
}

func (s *Store) choices(ctx context.Context, query string, args ...any) (list []Choice, err error) {
	err = each(ctx, s.db.reads(), query+sqlChoicesOrder, args, func(scan func(...any) error) error {
		var at, third, fourth, best sql.NullInt64
		c := Choice{Runs: make([]int64, 2, 4)}
		if err := scan(&at, &c.Runs[0], &c.Runs[1], &third, &fourth, &best); err != nil {
			return err
		}
		for _, more := range []sql.NullInt64{third, fourth} {
			if more.Valid {
				c.Runs = append(c.Runs, more.Int64)
			}
		}
		c.Time, c.Best = instant(at), best.Int64
		list = append(list, c)
		return nil
	})
	return list, s.plain(err)
}

// Validate says what is wrong with a choice, whatever runs there are.
func (c Choice) Validate() error {
	different := slices.Compact(slices.Sorted(slices.Values(c.Runs)))
	switch n := len(c.Runs); {
	case n < 2 || n > 4 || len(different) != n:
		return fmt.Errorf("a choice between the runs %s; allowed: two to four different ones", strings.Trim(fmt.Sprint(c.Runs), "[]"))
	case c.Time.IsZero():
		return errors.New("a choice without a time")
	case c.Best != 0 && !slices.Contains(c.Runs, c.Best):
		return fmt.Errorf("run %d is best of the runs %s; allowed: one of them, or 0 for none", c.Best, strings.Trim(fmt.Sprint(c.Runs), "[]"))
	}
	return nil
}

// addChoice adds a choice, unless it is there already.
func (t tx) addChoice(c Choice) error {
	if err := c.Validate(); err != nil {
		return err
	}
	args := []any{micros(c.Time), nil, nil, nil, nil, nil}
	ids := make([]any, len(c.Runs))
	for i, run := range c.Runs {
		args[1+i], ids[i] = run, run
	}
	if c.Best != 0 {
		args[5] = c.Best
	}
	var n int
	if err := t.value([]any{&n}, fmt.Sprintf(sqlExperimentsOf, list(1, len(ids))), ids...); err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("a choice between runs of %d experiments; allowed: those of one", n)
	}
	return t.all(args, sqlAddChoice)
}
