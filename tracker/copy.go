package tracker

import (
	"context"
	"errors"
	"io"
)

// Copy copies runs to another store, as an export and an import do: see [Store.ExportJSON] and [Store.Import]. The ids are
// those of runs that are new there, there those of runs that were there already. Where something is missing or damaged here
// all else is copied, and the error is an [IncompleteError].
func (s *Store) Copy(ctx context.Context, to *Store, runs []Info) (ids, there []int64, err error) {
	out, in := io.Pipe()
	exported := make(chan error, 1)
	go func() {
		err := s.ExportJSON(ctx, in, runs)
		closing := err
		if _, partial := errors.AsType[*IncompleteError](err); partial {
			closing = nil
		}
		_ = in.CloseWithError(closing) // it returns nil
		exported <- err
	}()
	ids, there, err = to.Import(ctx, out)
	_ = out.CloseWithError(err) // which ends an export that nobody reads any more
	if own := <-exported; err == nil || errors.Is(err, own) {
		err = own
	}
	return ids, there, err
}
