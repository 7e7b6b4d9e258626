package tracker

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// environment is what [Store.Environment] says of this process.
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

// commandLine is how this process was called. Words are quoted as a shell needs it.
func commandLine() string {
	words := slices.Clone(os.Args)
	for i, w := range words {
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\$`*?;&|<>()#") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// environmentText is an environment as it is kept. Its keys are sorted, so that equal environments have one text.
func environmentText(env map[string]string) string {
	text, err := json.Marshal(env)
	if err != nil {
		panic(err) // texts have a text
	}
	return string(text)
}

// addEnvironment inserts an environment unless it is there already, and returns its digest.
func (t tx) addEnvironment(text string) (digest string, err error) {
	sum := sha256.Sum256([]byte(text))
	digest = hex.EncodeToString(sum[:])
	return digest, t.later(sqlAddEnvironment, digest, clean(text))
}

// moveEnvironment replaces a run's environment by env. The run's inputs stay.
func (t tx) moveEnvironment(run int64, env map[string]string) error {
	was, err := environmentOf(t.ctx, t, run)
	if err != nil {
		return err
	}
	maps.DeleteFunc(was, func(name, _ string) bool { return !strings.HasPrefix(name, "input.") })
	maps.Copy(was, env)
	digest, err := t.addEnvironment(environmentText(was))
	return errors.Join(err, t.later(sqlMoveEnvironment, run, digest))
}

// Environment says where and with what a run was made: host, platform, cores, working directory, versions of Go and of
// all modules, the git commit, and what [NewRun] has added; the digest of an input has the name "input.NAME".
func (s *Store) Environment(ctx context.Context, run int64) (map[string]string, error) {
	env, err := environmentOf(ctx, s.db.reads(), run)
	return env, s.plain(err)
}

func environmentOf(ctx context.Context, q querier, run int64) (map[string]string, error) {
	var text string
	err := value(ctx, q, []any{&text}, sqlEnvironment, run)
	if errors.Is(err, sql.ErrNoRows) {
		return map[string]string{}, nil
	}
	env := map[string]string{}
	if err == nil {
		err = json.Unmarshal([]byte(text), &env)
	}
	if env == nil { // null, of a run that was imported without
		env = map[string]string{}
	}
	return env, err
}
