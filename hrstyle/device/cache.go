package device

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// CacheVariable is the environment variable with the folder of the cache (see [FindCache]). What is no absolute path, such as
// off, means no cache.
const CacheVariable = "HRLAB_XLA_CACHE"

// CostVariable is the environment variable with the file to which XLA:CPU's plugin adds a line for every program that it compiles:
// its name, and the floating point operations and bytes that XLA counts for a call of it.
const CostVariable = "HRLAB_XLA_COST"

// problem is the plugin's file with its last complaint, and cached the name of an entry or of one that is being written.
const problem = "problem"

var cached = regexp.MustCompile(`^([0-9a-f]{64}\.xla|tmp-.{6})$`)

// Cache is what the plugin that InstallCPU builds has compiled and kept, so that the next process need not compile it. The
// plugin takes from it only what the same build of it compiled, for the same CPU and number of threads and with the same
// flags. It keeps 256 MB, drops what was not used for longest, and compiles again what it cannot read or load.
type Cache struct {
	Dir     string // empty if there is none, which Problem explains
	Entries int
	Bytes   int64
	Problem string    // why the plugin last did not take or keep something, or why it uses no Dir; empty if all went well
	Since   time.Time // of the problem; zero if it is one now
}

// FindCache looks at the cache that the plugin would use: the folder that HRLAB_XLA_CACHE names or, where that is not set,
// hrlab/xla in the user's directory of caches.
func FindCache() Cache {
	dir, set := os.LookupEnv(CacheVariable)
	if !set {
		var err error
		if dir, err = cacheDir(); err != nil {
			return Cache{Problem: err.Error()}
		}
	}
	if !filepath.IsAbs(dir) {
		return Cache{Problem: CacheVariable + "=" + dir}
	}
	c := Cache{Dir: dir}
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && cached.MatchString(entry.Name()) {
			c.Entries++
			c.Bytes += info.Size()
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, problem)); err == nil {
		c.Problem = strings.Join(strings.Fields(string(text)), " ")
		if info, err := os.Stat(filepath.Join(dir, problem)); err == nil {
			c.Since = info.ModTime()
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.Problem, c.Since = err.Error(), time.Time{}
	} else if info, err := os.Stat(dir); err == nil && !private(info) {
		c.Problem, c.Since = "not used, because others may write there", time.Time{}
	}
	return c
}

// private says, as the plugin does, whether only this user may write in a folder: what is read there is run.
func private(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid() && info.Mode().Perm()&0o022 == 0
}

// Empty removes all entries. Processes that use the cache meanwhile take no harm.
func (c Cache) Empty() error {
	if c.Dir == "" {
		return nil
	}
	entries, err := os.ReadDir(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if name := entry.Name(); name == problem || cached.MatchString(name) {
			if e := os.Remove(filepath.Join(c.Dir, name)); !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}
	return err
}

func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "hrlab", "xla"), err
}
