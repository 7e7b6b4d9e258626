// Package postgrestest has a PostgreSQL server for tests: Debian's, in a folder of its own, as long as the tests run.
package postgrestest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver
)

// New makes an empty database, of role postgres, which goes with the test. The first call starts the server. It reaches no
// disk: nothing waits for one.
//
// Where PostgreSQL is missing the test is skipped, or with HRLAB_TEST_REQUIRE_POSTGRES it is installed, as root on Debian.
func New(t testing.TB) (url string) {
	t.Helper()
	if _, err := programs(); err != nil {
		install(t)
	}
	server, err := start()
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
	folder string // of its socket and data
	port   int
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

func install(t testing.TB) {
	t.Helper()
	if os.Getenv("HRLAB_TEST_REQUIRE_POSTGRES") == "" {
		t.Skip("needs PostgreSQL: apt-get install postgresql")
	}
	t.Fatal("needs PostgreSQL: apt-get install postgresql")
}

// start starts the server that the tests of a package share. It ends when this process has, however that ends.
var start = sync.OnceValues(func() (s Server, err error) {
	bin, err := programs()
	if err != nil {
		return s, err
	}
	const port = 5432 // part of the socket's name
	s.port = port
	if s.folder, err = os.MkdirTemp("", "hrlab-postgres-"); err != nil {
		return s, err
	}
	attributes := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 { // as whom it refuses to run
		owner, err := user.Lookup("postgres")
		if err != nil {
			return s, err
		}
		uid, _ := strconv.ParseUint(owner.Uid, 10, 32)
		gid, _ := strconv.ParseUint(owner.Gid, 10, 32)
		attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.folder, int(uid), int(gid)); err != nil {
			return s, err
		}
	}
	data := filepath.Join(s.folder, "data")
	make := exec.Command(filepath.Join(bin, "initdb"), "--pgdata", data, "--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")
	make.SysProcAttr, make.Dir = attributes, s.folder
	if out, err := make.CombinedOutput(); err != nil {
		return s, fmt.Errorf("initdb: %w: %s", err, out)
	}
	// The shell reads until this process has ended, and then ends the server.
	serve := exec.Command("/bin/sh", "-c", `folder=$1; shift; "$@" >"$folder/log" 2>&1 & read -r nothing; kill -QUIT $!; wait; rm -rf "$folder"`, "sh", s.folder,
		filepath.Join(bin, "postgres"), "-D", data, "-k", s.folder, "-p", strconv.Itoa(port), "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=300")
	serve.SysProcAttr, serve.Dir = attributes, s.folder
	if _, err = serve.StdinPipe(); err != nil {
		return s, err
	}
	if err := serve.Start(); err != nil {
		return s, err
	}
	const tries, pause = 600, 50 * time.Millisecond
	for range tries {
		if err = s.execute("SELECT 1"); err == nil {
			return s, nil
		}
		time.Sleep(pause)
	}
	log, _ := os.ReadFile(filepath.Join(s.folder, "log"))
	return s, fmt.Errorf("%w\n%s", err, log)
})
