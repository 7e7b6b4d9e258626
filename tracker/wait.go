package tracker

import "context"

type waitKey struct{}

// OnWait returns a context whose calls tell listen what they wait for, as "waiting for run 18", and "" when they wait no longer.
// They may tell the same again, and from any goroutine.
func OnWait(ctx context.Context, listen func(what string)) context.Context {
	return context.WithValue(ctx, waitKey{}, listen)
}

// Tell tells the listener of the context, if it has one, what a call waits for: see [OnWait].
func Tell(ctx context.Context, what string) {
	if listen, ok := ctx.Value(waitKey{}).(func(string)); ok {
		listen(what)
	}
}
