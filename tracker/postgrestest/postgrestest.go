// Package postgrestest has a PostgreSQL server for tests: Debian's, in a folder of its own, as long as the tests run.
package postgrestest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver
)

// New makes an empty database, of role postgres, which goes with the test. Only a role called locked needs a password. The first call starts the server. It reaches no
// disk: nothing waits for one.
//
// Where PostgreSQL is missing the test is skipped, or fails with HRLAB_TEST_REQUIRE_POSTGRES.
func New(t testing.TB) (url string) {
	t.Helper()
	require(t)
	server, err := shared()
	if err != nil {
		t.Fatal("PostgreSQL: ", err)
	}
	name := fmt.Sprint("test", number.Add(1))
	if err := server.execute("CREATE DATABASE " + name + " TEMPLATE template0 STRATEGY file_copy"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.execute("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return server.URL(name)
}

var number atomic.Int64 // of databases

// Server is a server.
type Server struct {
	folder     string // of its socket and data
	port       int
	life       io.Closer            // ends the server when it is closed, by the system at the latest
	ended      func() error         // waits for that
	attributes *syscall.SysProcAttr // of its processes
}

// URL is that of a database, by the socket, which asks for no password.
func (s Server) URL(database string) string {
	return fmt.Sprintf("postgres://postgres@/%s?host=%s&port=%d", database, s.folder, s.port)
}

func (s Server) execute(statement string) error {
	db, err := sql.Open("pgx", s.URL("postgres"))
	if err != nil {
		return err
	}
	_, err = db.ExecContext(context.Background(), statement)
	return errors.Join(err, db.Close())
}

// programs is the folder of PostgreSQL's programs, of the newest version.
var programs = sync.OnceValues(func() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		path, err := exec.LookPath("postgres")
		return filepath.Dir(path), err
	}
	slices.SortFunc(found, func(a, b string) int {
		version := func(path string) int { n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))); return n }
		return version(a) - version(b)
	})
	return filepath.Dir(found[len(found)-1]), nil
})

// require skips the test where PostgreSQL is missing.
func require(t testing.TB) {
	t.Helper()
	const missing = "needs PostgreSQL: apt-get install postgresql"
	if !Wanted() {
		t.Skip(missing)
	}
	if _, err := programs(); err != nil {
		t.Fatal(missing)
	}
}

// Wanted says whether PostgreSQL is there, or must be.
func Wanted() bool {
	_, err := programs()
	return err == nil || os.Getenv("HRLAB_TEST_REQUIRE_POSTGRES") != ""
}

// shared is the server that the tests of a package share.
var shared = sync.OnceValues(func() (Server, error) { return start() })

// Start starts a server for a test alone, which stops it. More are lines of postgresql.conf.
func Start(t testing.TB, more ...string) Server {
	t.Helper()
	require(t)
	s, err := start(more...)
	if err != nil {
		t.Fatal("PostgreSQL: ", err)
	}
	t.Cleanup(func() {
		if err := s.life.Close(); err != nil {
			t.Error(err)
		}
		_ = s.ended()
	})
	return s
}

// Restart ends the server as a crash would, and starts it again.
func (s Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.control("restart", "--mode", "immediate"); err != nil {
		t.Fatal(err)
	}
}

// Without ends the server as a crash would, calls f, and starts it again.
func (s Server) Without(t testing.TB, f func()) {
	t.Helper()
	if err := s.control("stop", "--mode", "immediate"); err != nil {
		t.Fatal(err)
	}
	f()
	if err := s.control("start"); err != nil {
		t.Fatal(err)
	}
}

// control runs pg_ctl, and waits until it has done its work.
func (s Server) control(args ...string) error {
	return s.run("pg_ctl", append(args, "--pgdata", s.data(), "--log", filepath.Join(s.folder, "log"), "--silent", "--wait")...)
}

func (s Server) data() string { return filepath.Join(s.folder, "data") }

// run runs one of PostgreSQL's programs.
func (s Server) run(program string, args ...string) error {
	bin, err := programs()
	if err != nil {
		return err
	}
	c := exec.Command(filepath.Join(bin, program), args...)
	c.SysProcAttr, c.Dir = s.attributes, s.folder
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return nil
}

// start starts a server. It ends when this process has, however that ends.
func start(more ...string) (s Server, err error) {
	bin, err := programs()
	if err != nil {
		return s, err
	}
	const port = 5432 // part of the socket's name
	s.port = port
	if s.folder, err = os.MkdirTemp("", "hrlab-postgres-"); err != nil {
		return s, err
	}
	if s.attributes, err = owner(s.folder); err != nil {
		return s, err
	}
	if err := s.run("initdb", "--pgdata", s.data(), "--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"); err != nil {
		return s, err
	}
	settings := fmt.Sprintf("listen_addresses = ''\nunix_socket_directories = '%s'\nport = %d\nfsync = off\nmax_connections = 300\n%s\n", s.folder, port, strings.Join(more, "\n"))
	if err := os.WriteFile(filepath.Join(s.data(), "postgresql.auto.conf"), []byte(settings), 0o600); err != nil {
		return s, err
	}
	const rules = "local all locked scram-sha-256\nlocal all all trust\n"
	if err := os.WriteFile(filepath.Join(s.data(), "pg_hba.conf"), []byte(rules), 0o600); err != nil {
		return s, err
	}
	// The shell reads until this process has ended, and then ends the server.
	wait := exec.Command("/bin/sh", "-c", `read -r nothing; "$1/pg_ctl" stop --mode immediate --silent --pgdata "$2/data"; rm -rf "$2"`, "sh", bin, s.folder)
	wait.SysProcAttr = &syscall.SysProcAttr{Credential: s.attributes.Credential, Setsid: true} // Ctrl-C is for others
	wait.Dir = "/"
	if s.life, err = wait.StdinPipe(); err != nil {
		return s, err
	}
	if err := wait.Start(); err != nil {
		return s, err
	}
	s.ended = wait.Wait
	return s, s.control("start")
}

// owner says as whom a server runs that has a folder: it refuses to run as root.
func owner(folder string) (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	postgres, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, uidErr := strconv.ParseUint(postgres.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(postgres.Gid, 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return nil, err
	}
	attributes := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return attributes, os.Chown(folder, int(uid), int(gid))
}
