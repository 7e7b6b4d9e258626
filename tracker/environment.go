package tracker

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// environment is where and with what this process runs.
func environment() map[string]string {
	env := map[string]string{
		"go":       runtime.Version(),
		"platform": runtime.GOOS + "/" + runtime.GOARCH,
		"cores":    strconv.Itoa(runtime.NumCPU()),
	}
	env["host"], _ = os.Hostname()
	env["directory"], _ = os.Getwd()
	if info, ok := debug.ReadBuildInfo(); ok {
		env["module."+info.Main.Path] = info.Main.Version
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			env["module."+m.Path] = m.Version
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	git := exec.CommandContext(ctx, "git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--untracked-files=no")
	if text, err := git.Output(); err == nil {
		env["git.dirty"] = "false"
		for line := range strings.Lines(string(text)) {
			if commit, ok := strings.CutPrefix(line, "# branch.oid "); ok {
				env["git.commit"] = strings.TrimSpace(commit)
			} else if !strings.HasPrefix(line, "#") {
				env["git.dirty"] = "true"
			}
		}
	}
	return env
}
