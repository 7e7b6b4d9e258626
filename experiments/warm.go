package experiments

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"hrlab/hrstyle"
	"hrlab/tracker"
)

// Warm is a worker process that stays warm: it keeps the device open, VGG19's weights loaded and graphs compiled, for short
// processes that hand their fits to it. The first of them starts it. A database has at most one for the same options.
//
// The file DATABASE.worker-OPTIONS, where OPTIONS is a digest, says who it is; it is locked as long as the worker lives.
// DATABASE.worker-OPTIONS.log has what the worker prints. For a server's database every machine has one, in its cache directory. The worker also shows the pictures of weight maps to the browsers of its
// machine: see [WarmLab.MapPictures].
type Warm struct {
	// Command is the worker, which calls Announce: hrlab worker --while PID.
	Command func() *exec.Cmd
	// Options are those that Command gives to it.
	Options hrstyle.Options

	died  chan error // of a worker started here; nil where none was
	was   bool       // one was ready before
	pid   int        // the worker's process, when it was last looked for
	lives int        // workers started here
}

// maxLives is how many workers one process starts before it gives up: a fit that crashes its worker would crash the next.
const maxLives = 3

// announcement is the content of the worker's file.
type announcement struct {
	PID    int
	Label  string // of VGG19's weights
	Digest string
	Maps   string // the address of its MapPictures, with a secret in it
}

// workerFile is named by a digest of the options.
func workerFile(store *tracker.Store, options hrstyle.Options) (string, error) {
	about := []string{cmp.Or(options.Device, "auto"), cmp.Or(options.VGG, "auto")}
	beside := store.Path()
	if store.Server() {
		about = append(about, store.URL())
		cache, err := os.UserCacheDir()
		if err == nil {
			err = os.MkdirAll(filepath.Join(cache, "hrlab"), 0o700)
		}
		if err != nil {
			return "", err
		}
		beside = filepath.Join(cache, "hrlab", filepath.Base(store.Name()))
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", about))
	return beside + ".worker-" + hex.EncodeToString(sum[:4]), nil
}

// ErrWorker says that the database has a warm worker with the same options already.
var ErrWorker = errors.New("another warm worker with these options is at this database")

// Announce makes this process the warm worker of a database with these options. It calls open for the engine when it is clear
// that there is no other worker. Call release at the end. Where there is another the error wraps ErrWorker.
func Announce(store *tracker.Store, options hrstyle.Options, open func() (*hrstyle.Engine, error)) (engine *hrstyle.Engine, release func(), err error) {
	file, err := workerFile(store, options)
	if err != nil {
		return nil, nil, err
	}
	lock := flock.New(file, flock.SetFlag(os.O_CREATE|os.O_RDWR))
	// A process that only looks for the worker has the lock for a moment.
	const limit, pause = 2 * time.Second, 5 * time.Millisecond
	waiting, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if _, err := lock.TryLockContext(waiting, pause); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = ErrWorker
		}
		return nil, nil, fmt.Errorf("%s: %w", store.Name(), err)
	}
	write := func(text []byte) error { // in place: the lock is on this very file
		return errors.Join(os.Truncate(lock.Path(), 0), os.WriteFile(lock.Path(), text, 0o666))
	}
	end := func() {}
	release = func() { end(); _ = errors.Join(write(nil), lock.Unlock()) }
	if err = write(nil); err == nil {
		engine, err = open()
	}
	var maps string
	if err == nil {
		maps, end, err = serveMapPictures(store)
	}
	if err == nil {
		var text []byte
		text, err = json.Marshal(announcement{os.Getpid(), engine.VGG.Label, engine.VGG.Digest, maps})
		err = errors.Join(err, write(text))
	}
	if err != nil {
		release()
	}
	return engine, release, err
}

// look says whether there is a warm worker with these options, and who it is if it is ready.
func look(store *tracker.Store, options hrstyle.Options) (a announcement, alive bool, err error) {
	file, err := workerFile(store, options)
	if err != nil {
		return a, false, err
	}
	lock := flock.New(file, flock.SetPermissions(0o666))
	defer lock.Close() //nolint:errcheck // it unlocks what was locked to look
	free, err := lock.TryRLock()
	if free || err != nil {
		return a, false, err
	}
	text, err := os.ReadFile(lock.Path())
	if err == nil && len(text) > 0 {
		_ = json.Unmarshal(text, &a) // while it is being written it cannot be read: not ready
	}
	return a, true, err
}

// ready waits until the warm worker is ready, and starts it where there is none. It returns who it is.
func (w *Warm) ready(ctx context.Context, store *tracker.Store) (a announcement, err error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	waits := false
	defer func() {
		if waits {
			tracker.Tell(ctx, "")
		}
	}()
	for {
		a, alive, err := look(store, w.Options)
		switch {
		case err != nil:
			return a, err
		case a.PID != 0:
			w.was, w.pid = true, a.PID
			return a, nil
		case !alive && w.died == nil:
			if err := w.start(store); err != nil {
				return a, err
			}
		}
		waits = true
		tracker.Tell(ctx, "waiting for the worker, which starts")
		select {
		case <-ctx.Done():
			return a, context.Cause(ctx)
		case err := <-w.died:
			w.died = nil
			if _, alive, _ := look(store, w.Options); !alive && err != nil && (!w.was || w.lives == maxLives) {
				return a, fmt.Errorf("the worker ended: %w", err)
			}
		case <-tick.C:
		}
	}
}

// start starts a worker in a session of its own, so that Ctrl-C here does not reach it.
func (w *Warm) start(store *tracker.Store) error {
	file, err := workerFile(store, w.Options)
	if err != nil {
		return err
	}
	log, err := os.Create(file + ".log")
	if err != nil {
		return err
	}
	defer log.Close()
	command := w.Command()
	command.Stdout, command.Stderr, command.SysProcAttr = log, log, &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return fmt.Errorf("the worker: %w", err)
	}
	died := make(chan error, 1)
	w.died = died
	w.lives++
	go func() {
		err := command.Wait()
		if err != nil {
			said, _ := os.ReadFile(log.Name())
			lines := strings.Split(string(bytes.TrimSpace(said)), "\n")
			last := cmp.Or(strings.TrimPrefix(lines[len(lines)-1], "hrlab: "), "it said nothing in "+log.Name())
			err = fmt.Errorf("%w: %s", err, last)
		}
		died <- err
	}()
	return nil
}
