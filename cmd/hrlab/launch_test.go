package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hrlab/tracker/postgrestest"
)

// By ssh, two workers that were copied to another home do a sweep; and when the connection ends so do they. The server for ssh is a
// real one, of this user, on this machine.
func TestLaunchSSH(t *testing.T) {
	if testing.Short() {
		t.Skip("fits pictures")
	}
	const sshd = "/usr/sbin/sshd"
	if _, err := os.Stat(sshd); err != nil && os.Getenv("HRLAB_TEST_REQUIRE_SSHD") == "" {
		t.Skip("needs sshd: apt-get install openssh-server")
	}
	dir := t.TempDir()
	t.Chdir(dir)
	if err := pictures(dir); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"host", "user"} {
		command(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	}
	// A connection is a process that speaks over its standard input and output.
	server := fmt.Sprintf("%s -i -f %s/sshd_config -E %[2]s/sshd.log", sshd, dir)
	for name, text := range map[string]string{
		"sshd_config": fmt.Sprintf("HostKey %[1]s/host\nAuthorizedKeysFile %[1]s/user.pub\nStrictModes no\nUsePAM no\nSetEnv HOME=%s\n", dir, home),
		"ssh_config":  fmt.Sprintf("Host node*\n ProxyCommand %s\n IdentityFile %s/user\n UserKnownHostsFile %[2]s/known\n StrictHostKeyChecking accept-new\n", server, dir),
		"bin/ssh":     fmt.Sprintf("#!/bin/sh\nexec /usr/bin/ssh -F %s/ssh_config \"$@\"\n", dir),
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // for programs
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil { //nolint:gosec // one is a program
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { //nolint:gosec // as sshd wants it
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{"HRLAB_DEVICE": "go", "HRLAB_VGG": "random", "HRLAB_DB": postgrestest.New(t), "PATH": dir + "/bin:" + os.Getenv("PATH")} {
		t.Setenv(name, value)
	}
	sweep := exec.CommandContext(t.Context(), "hrlab", "sweep", "--content", "content.png", "--style", "content.png", "--size", "32", "--steps", "2", "--content-weight", "1,10,100", "--experiment", "ssh", "--queue")
	if err := sweep.Start(); err != nil {
		t.Fatal(err)
	}
	workers := func() string { return command(t, "hrlab", "queue", "status") }
	until(t, "a queue", func() bool { return strings.Contains(workers(), "queued     3") })
	out, err := exec.CommandContext(t.Context(), "hrlab", "launch", "ssh", "node1", "node2", "--workers", "1").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "node1 lacks this program, ") || !strings.Contains(string(out), "nothing was copied; --yes copies without asking") {
		t.Errorf("%v: %s", err, out)
	}
	said := command(t, "hrlab", "launch", "ssh", "node1", "node2", "--workers", "1", "--drain", "--yes")
	if err := sweep.Wait(); err != nil || !strings.Contains(said, "node2: worker 1: working on postgres://") || strings.Contains(said, "node2 lacks") {
		t.Errorf("%v: %s", err, said)
	}
	launch := exec.CommandContext(t.Context(), "hrlab", "launch", "ssh", "node1", "--workers", "1")
	if err := launch.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "a worker", func() bool { return strings.Contains(workers(), "waits for trials") })
	if err := launch.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = launch.Wait()
	until(t, "its end", func() bool { return !strings.Contains(workers(), "process") })
}
