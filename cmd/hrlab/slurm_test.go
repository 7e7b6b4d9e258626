package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"hrlab/tracker"
	"hrlab/tracker/postgrestest"
)

// slurmConf is a cluster of this machine alone, with two GPUs that are none, as https://slurm.schedmd.com/slurm.conf.html
// describes it: folder, name of the machine and the user are filled in.
const slurmConf = `ClusterName=hrlab
SlurmctldHost=%[2]s(127.0.0.1)
SlurmUser=%[3]s
SlurmdUser=%[3]s
AuthType=auth/munge
AuthInfo=socket=%[1]s/munge.sock
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=%[1]s/state
SlurmdSpoolDir=%[1]s/spool
SlurmctldPidFile=%[1]s/slurmctld.pid
SlurmdPidFile=%[1]s/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
ReturnToService=2
JobRequeue=1
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=%[2]s NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 Gres=gpu:2 State=UNKNOWN
PartitionName=gpu Nodes=%[2]s Default=YES MaxTime=INFINITE State=UP
`

// cluster starts Slurm on this machine, as long as the test runs. Its commands find it by the environment.
func cluster(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for _, folder := range []string{"state", "spool"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o755); err != nil { //nolint:gosec // Slurm's
			t.Fatal(err)
		}
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	host, _, _ = strings.Cut(host, ".")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"slurm.conf": fmt.Sprintf(slurmConf, dir, host, me.Username), "gres.conf": "Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n", "munge.key": strings.Repeat("k", 64),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // munge's clients look at its socket
		t.Fatal(err)
	}
	t.Setenv("SLURM_CONF", filepath.Join(dir, "slurm.conf"))
	for _, daemon := range [][]string{
		{"munged", "--foreground", "--force", "--key-file=" + dir + "/munge.key", "--socket=" + dir + "/munge.sock", "--pid-file=" + dir + "/munged.pid", "--seed-file=" + dir + "/munge.seed", "--log-file=" + dir + "/munged.log"},
		{"slurmctld", "-D", "-c"},
		{"slurmd", "-D", "-c"},
	} {
		program, err := exec.LookPath(daemon[0])
		if err != nil {
			program = filepath.Join("/usr/sbin", daemon[0])
		}
		log, err := os.Create(filepath.Join(dir, daemon[0]+".out"))
		if err != nil {
			t.Fatal(err)
		}
		c := exec.Command(program, daemon[1:]...)
		c.Stdout, c.Stderr = log, log
		if err := c.Start(); err != nil {
			t.Fatalf("%v: apt-get install slurm-wlm munge", err)
		}
		t.Cleanup(func() {
			_ = c.Process.Kill()
			_ = c.Wait()
			if text, _ := os.ReadFile(log.Name()); t.Failed() {
				t.Logf("%s: %s", daemon[0], text)
			}
		})
	}
	until(t, "a node that waits for jobs", func() bool {
		text, _ := exec.CommandContext(t.Context(), "sinfo", "--noheader", "--format=%T").Output()
		return strings.TrimSpace(string(text)) == "idle"
	})
}

// until waits for a condition.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for range 1200 {
		if condition() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("after two minutes there is not: ", what)
}

// command runs a program and returns what it prints.
func command(t testing.TB, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", program, args, err, out)
	}
	return string(out)
}

// An array of workers that Slurm starts finishes a sweep: the tasks that a person, or a limit of time, stops hand their trials back,
// and what a killed one was at is made up for by the others.
func TestSlurm(t *testing.T) {
	if os.Getenv("HRLAB_TEST_SLURM") == "" {
		t.Skip("make test-slurm")
	}
	dir := t.TempDir()
	t.Chdir(dir)
	if err := pictures(dir); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"HRLAB_DEVICE": "go", "HRLAB_VGG": "random", "HRLAB_DB": postgrestest.New(t)} {
		t.Setenv(name, value)
	}
	cluster(t)
	store, err := tracker.Open(t.Context(), os.Getenv("HRLAB_DB"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	sweep := exec.CommandContext(t.Context(), "hrlab", "sweep", "--content", "content.png", "--style", "content.png", "--size", "32", "--steps", "60", "--content-weight", "1,2,3,4,5,6,7,8", "--experiment", "s", "--queue")
	if err := sweep.Start(); err != nil {
		t.Fatal(err)
	}
	runs := func(where string) []tracker.Info {
		list, err := store.Runs(t.Context(), tracker.Query{Where: where, Sort: "id"})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	until(t, "eight trials", func() bool { return len(runs("status = queued")) == 8 })
	submitted := command(t, "hrlab", "launch", "slurm", "--array", "4", "--gres", "gpu:1", "--time", "10", "--submit")
	job := regexp.MustCompile(`^Submitted batch job (\d+)\n$`).FindStringSubmatch(submitted)
	if job == nil {
		t.Fatal(submitted)
	}
	busy := func() bool { return len(runs("status = running and metrics.total < 1e30")) == 2 }
	until(t, "two tasks at work", busy)
	command(t, "scancel", "--signal=KILL", "--batch", job[1]+"_1")
	until(t, "another task at work", func() bool {
		return strings.Contains(command(t, "squeue", "--noheader", "--states=RUNNING", "--format=%K"), "3") && busy()
	})
	command(t, "scancel", "--signal=TERM", "--batch", job[1]+"_2") // as at the limit of time
	if err := sweep.Wait(); err != nil {
		t.Errorf("sweep --queue: %v", err)
	}
	until(t, "the end of the array", func() bool { return command(t, "squeue", "--noheader") == "" })
	var notes strings.Builder
	for _, run := range runs("") {
		whole, err := store.Run(t.Context(), strconv.FormatInt(run.ID, 10))
		if err != nil || whole.Status != tracker.Finished {
			t.Errorf("run %d: %s %s (%v)", run.ID, whole.Status, whole.Error, err)
		}
		for _, note := range whole.Notes {
			notes.WriteString(note.Text + "\n")
		}
	}
	noted := notes.String()
	if strings.Count(noted, "lost since") != 1 || strings.Count(noted, "given back by") != 1 {
		t.Errorf("want one trial that was lost and one that was given back:\n%s", noted)
	}
}
