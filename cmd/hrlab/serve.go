package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"hrlab/experiments/pages"
	"hrlab/tracker/mlflow"
	"hrlab/tracker/web"
)

type serveCmd struct {
	What   string `arg:"" optional:"" default:"page" enum:"page,token" help:"page, or token: make the token that --auth asks for, and print it. Only a digest of it is kept; an earlier token ends."`
	Addr   string `default:"127.0.0.1:8765" placeholder:"HOST:PORT" help:"Where the page is. Port 0 takes a free one."`
	Auth   bool   `help:"Ask for the token that hrlab serve token made. Addresses that other machines reach need it."`
	Worker bool   `help:"Do the fits that are started from the page, in a process beside it; or start hrlab worker yourself, anywhere."`
	dbFlags
	engineFlags
}

// Help has examples.
func (*serveCmd) Help() string {
	return `Programs that use MLflow's client record their runs here with MLFLOW_TRACKING_URI=http://127.0.0.1:8765.

Examples:

	hrlab serve
	hrlab serve --db demo/hrlab.db --worker        # and does the fits that are started from the page
	hrlab serve token                              # for other machines:
	hrlab serve --auth --addr 192.168.1.10:8765`
}

// Run serves the pages until Ctrl-C, or makes a token.
func (s *serveCmd) Run(ctx context.Context, c *console) (err error) {
	if s.What == "token" {
		return makeToken(c)
	}
	host, _, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return fmt.Errorf("--addr %s: allowed: HOST:PORT, such as 127.0.0.1:8765", s.Addr)
	}
	var hash string
	var hosts []string
	if ip := net.ParseIP(host); s.Auth {
		if hash, err = tokenHash(); err != nil {
			return err
		}
		if ip == nil {
			hosts = append(hosts, strings.ToLower(host))
		}
		if name, err := os.Hostname(); err == nil {
			hosts = append(hosts, strings.ToLower(name))
		}
	} else if host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("--addr %s: other machines may reach it; allowed without --auth: 127.0.0.1, localhost. hrlab serve token makes the token that --auth asks for", s.Addr)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("--addr %s: %w", s.Addr, err)
	}
	defer listener.Close() //nolint:errcheck // it is closed already where Serve has ended
	store, err := s.openAny(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	const patience = 5 * time.Second // a person waits for the answer
	if err := store.WaitAtMost(ctx, patience); err != nil {
		return err
	}
	options := pages.Options(store, s.VGG)
	options.TokenHash, options.Hosts = hash, hosts
	options.Protocols = map[string]web.Protocol{"/api/2.0/": {Handler: mlflow.Handler(store), Refuse: mlflow.Refuse}}
	if s.Worker {
		end, err := s.work(ctx, c, store.URL())
		if err != nil {
			return err
		}
		defer end()
	}
	fmt.Fprintf(c.messages, "http://%s shows %s; Ctrl-C ends\n", listener.Addr(), s.DB)
	if err := web.New(store, options).Serve(ctx, listener); ctx.Err() == nil {
		return err
	}
	return nil
}

// work starts a worker, which ends with this process. end waits until it has given its trial back.
func (s *serveCmd) work(ctx context.Context, c *console, db string) (end func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	worker := exec.CommandContext(ctx, self, "worker", "--device", s.Device, "--vgg", s.VGG, "--while", strconv.Itoa(os.Getpid())) //nolint:gosec // itself
	worker.Env = append(os.Environ(), "HRLAB_DB="+db, "HRLAB_ARTIFACTS=")                                                          // not in its command line, which others see: it may have a password
	worker.Cancel = func() error { return worker.Process.Signal(os.Interrupt) }
	worker.WaitDelay = time.Minute
	worker.Stderr = c.messages
	if err := worker.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := worker.Wait(); err != nil && ctx.Err() == nil {
			fmt.Fprintln(c.messages, "the worker has ended:", err)
		}
	}()
	return func() { <-ended }, nil
}

// makeToken makes a token and prints it.
func makeToken(c *console) error {
	path, err := tokenFile()
	if err != nil {
		return err
	}
	token := rand.Text()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(web.TokenHash(token)+"\n"), 0o600); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.out, token)
	return err
}

// tokenFile is the file with the digest of the token.
func tokenFile() (string, error) {
	dir, err := os.UserConfigDir()
	return filepath.Join(dir, "hrlab", "serve.token"), err
}

func tokenHash() (string, error) {
	path, err := tokenFile()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", errors.New("--auth: there is no token yet: hrlab serve token makes one")
	}
	return strings.TrimSpace(string(text)), err
}
