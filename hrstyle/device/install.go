package device

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	_ "embed" // the plugin's sources
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/shirou/gopsutil/v4/disk"
)

// The plugin's sources. mlir.h stands in for the headers of stubs.
var (
	//go:embed plugin/shim.cc
	shimSource []byte
	//go:embed plugin/cache.h
	cacheSource []byte
	//go:embed plugin/mlir.h
	mlirSource []byte
	//go:embed plugin/check.cc
	checkSource []byte

	stubs = []string{"IR/BuiltinOps.h", "IR/DialectRegistry.h", "IR/MLIRContext.h", "IR/OwningOpRef.h", "Support/LLVM.h"}
)

// The wheel whose shared libraries hold XLA's CPU client.
const (
	wheel     = "tensorflow-cpu==2.21.0"
	wheelHash = "2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c"
	wheelSize = 273829956
)

const (
	pluginLink = "pjrt_c_api_cpu_plugin.so"         // go-xla knows it by the name cpu
	pluginFile = "pjrt_c_api_cpu_v0.90.0_plugin.so" // the API's version is that of the wheel's header
	checkFile  = "check"
	libraryCC  = "libtensorflow_cc.so.2"
	libraryFW  = "libtensorflow_framework.so.2"
	prefix     = "hrlab-cpu-"  // of an installation's folder
	tmpPrefix  = ".hrlab-tmp-" // of the folder that an installation works in

	// space is what this installation needs while it runs, in bytes; 640 MB remain.
	space = 2_000_000_000
)

// Tool is a program that an installation needs, and the Debian package that it is in.
type Tool struct{ Name, Package string }

// MissingTools lists the programs that installing a kind of device needs and that are missing.
func MissingTools(kind Kind) (missing []Tool) {
	if exec.Command("python3", "-m", "pip", "--version").Run() != nil {
		missing = append(missing, Tool{"python3 with pip", "python3-pip"})
	}
	if kind == CPU && clang() == "" {
		missing = append(missing, Tool{"clang++", "clang"})
	}
	return missing
}

// clang finds the compiler. It is clang because the wheel's libraries were compiled by clang: absl may declare types
// trivial_abi, which GCC would pass in another way. In this wheel it declares none, and a plugin built by GCC 12 passed the
// tests too.
func clang() string {
	names := []string{"clang++"}
	for v := 25; v >= 14; v-- {
		names = append(names, fmt.Sprintf("clang++-%d", v))
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// compilation is clang's command line for the plugin, in the folder lib, from what tmp holds.
func compilation(tmp, lib string) []string {
	args := strings.Fields("-std=c++17 -O2 -DNDEBUG -fPIC -w -fvisibility=hidden -shared -Wl,-z,defs")
	args = append(args, "-o", filepath.Join(lib, pluginFile), filepath.Join(tmp, "shim.cc"), "-I"+filepath.Join(tmp, "stub"))
	for _, dir := range []string{"", "external/ml_dtypes_py", "third_party/eigen3", "external/com_google_protobuf/src", "external/highwayhash", "external/farmhash_archive/src"} {
		args = append(args, "-I"+filepath.Join(tmp, "tensorflow/include", dir))
	}
	// It is opened by its own path or by the link in the folder above: its libraries are found from both.
	return append(args, "-L"+lib, "-l:"+libraryCC, "-l:"+libraryFW, "-Wl,-rpath,$ORIGIN:$ORIGIN/"+filepath.Base(lib))
}

// cpuFolder names an installation by what it is made of, so that a change in that is another installation.
func cpuFolder() string {
	h := sha256.New()
	fmt.Fprint(h, wheelHash, compilation("", ""))
	for _, source := range [][]byte{shimSource, cacheSource, mlirSource, checkSource} {
		h.Write(source)
	}
	return fmt.Sprintf("%s%x", prefix, h.Sum(nil)[:6])
}

// Outdated says whether a plugin was built by InstallCPU of another version of this package, so that InstallCPU would renew it.
func Outdated(path string) bool {
	file, err := filepath.EvalSymlinks(path)
	folder := filepath.Base(filepath.Dir(file))
	return err == nil && strings.HasPrefix(folder, prefix) && folder != cpuFolder()
}

// InstallCPU builds the XLA:CPU plugin in the user's directory of plugins and returns its path. It does nothing if the plugin
// is there and works, or if Open would take one that InstallCPU did not build. pip fetches a Python wheel of 274 MB, with the
// user's own index, mirror and proxy. Compiling a shim against it takes half a minute on two cores.
//
// report, which may be nil, is called with the stage and how much of it is done, in bytes; a total of 0 is not known. Calls
// do not overlap.
//
// A kill at any moment leaves no plugin, the old one or the new one. What else it leaves, the next installation removes. Of
// two installations at once the second waits for the first.
func InstallCPU(ctx context.Context, report func(stage string, done, total int64)) (path string, err error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", fmt.Errorf("the XLA:CPU plugin is built on linux/amd64 only, not on %s/%s: use --device go, or install go-xla's own (see its README; on darwin/arm64 and linux/arm64, fetched without a checksum)", runtime.GOOS, runtime.GOARCH)
	}
	return installation{
		kind: CPU, folder: cpuFolder(), prefix: prefix, link: pluginLink, target: pluginFile, space: space, needed: "0.6",
		works: works, build: build,
	}.install(ctx, report)
}

// installation is a folder in the user's directory of plugins, and a link to the folder or to a file in it.
type installation struct {
	kind         Kind
	folder       string // names what it is made of, and begins with prefix
	prefix       string
	link, target string // of the link; target is within the folder, empty for the folder itself
	space        float64
	needed       string // GB that remain of space
	works        func(ctx context.Context, dir string) error
	build        func(ctx context.Context, tmp, dir string, report func(stage string, done, total int64)) error
}

// install makes the folder and lets the link lead to it, unless that works already or another's plugin is there. It
// returns the plugin's path.
func (i installation) install(ctx context.Context, report func(stage string, done, total int64)) (path string, err error) {
	if report == nil {
		report = func(string, int64, int64) {}
	}
	root, err := userDir()
	if err != nil {
		return "", err
	}
	link, target := filepath.Join(root, i.link), filepath.Join(i.folder, i.target)
	linked := func() bool {
		now, err := os.Readlink(link)
		return err == nil && now == target && i.works(ctx, filepath.Join(root, i.folder)) == nil
	}
	if linked() {
		return Plugins()[i.kind], nil
	}
	if other, ok := Plugins()[i.kind]; ok && (other != link && filepath.Dir(other) != link || i.foreign(link)) {
		return other, nil
	}
	for _, tool := range MissingTools(i.kind) {
		return "", fmt.Errorf("%s is missing: apt-get install %s", tool.Name, tool.Package)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	lock := flock.New(filepath.Join(root, ".hrlab.lock"), flock.SetPermissions(0o666))
	if free, err := lock.TryLock(); err != nil {
		return "", err
	} else if !free {
		report("wait for another installation", 0, 0)
		if _, err := lock.TryLockContext(ctx, time.Second/2); err != nil {
			return "", fmt.Errorf("wait for another installation in %s: %w", root, err)
		}
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if !linked() {
		if err := i.make(ctx, root, link, target, report); err != nil {
			return "", fmt.Errorf("%s plugin: %w", names[i.kind], err)
		}
	}
	return Plugins()[i.kind], nil
}

// works runs the program that checks the plugin in dir.
func works(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return command(ctx, dir, filepath.Join(dir, checkFile), filepath.Join(dir, pluginFile))
}

// foreign says whether link is there, leads somewhere and was not made by this package.
func (i installation) foreign(link string) bool {
	if _, err := os.Stat(link); err != nil {
		return false
	}
	target, err := os.Readlink(link) // err: a plain file
	return err != nil || !strings.HasPrefix(target, i.prefix)
}

// make makes the folder in root, unless one is there that works, and makes link lead to target in it. First the folder
// appears, then the link, each complete.
func (i installation) make(ctx context.Context, root, link, target string, report func(stage string, done, total int64)) error {
	dir := filepath.Join(root, i.folder)
	if err := removeAll(filepath.Join(root, tmpPrefix+"*"), ""); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(root, tmpPrefix)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // what a killed child still writes goes the next time
	if i.works(ctx, dir) != nil {
		if usage, err := disk.UsageWithContext(ctx, tmp); err == nil && float64(usage.Free) < i.space {
			return fmt.Errorf("%.1f GB free in %s: the installation needs %.1f, of which %s remain in use: free some, or set HOME to a roomier disk", float64(usage.Free)/1e9, root, i.space/1e9, i.needed)
		}
		made := filepath.Join(tmp, i.folder)
		if err := i.build(ctx, tmp, made, report); err != nil {
			return err
		}
		report("check", 0, 0)
		if err := i.works(ctx, made); err != nil {
			return fmt.Errorf("built, but does not work here: %w", err)
		}
		if err := errors.Join(os.RemoveAll(dir), os.Rename(made, dir)); err != nil {
			return err
		}
	}
	swap := filepath.Join(tmp, i.link)
	if err := os.Symlink(target, swap); err != nil {
		return err
	}
	if err := os.Rename(swap, link); err != nil {
		return err
	}
	return removeAll(filepath.Join(root, i.prefix+"*"), dir) // earlier versions
}

// removeAll removes what matches pattern, except keep.
func removeAll(pattern, keep string) error {
	paths, err := filepath.Glob(pattern)
	for _, path := range paths {
		if path != keep {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	return err
}

// build makes the folder lib, with the plugin, its libraries and its check, out of what it fetches to tmp.
func build(ctx context.Context, tmp, lib string, report func(stage string, done, total int64)) error {
	file, err := fetch(ctx, tmp, report)
	if err != nil {
		return fmt.Errorf("pip download %s: %w; look at the network and at python3 -m pip config list", wheel, err)
	}
	if err := unpack(ctx, file, tmp, report); err != nil {
		return fmt.Errorf("unpack %s: %w", filepath.Base(file), err)
	}
	if err := os.Mkdir(lib, 0o755); err != nil {
		return err
	}
	for _, library := range []string{libraryCC, libraryFW} {
		path := filepath.Join(lib, library)
		if err := os.Rename(filepath.Join(tmp, "tensorflow", library), path); err != nil {
			return err
		}
		if strip, err := exec.LookPath("strip"); err == nil { // a quarter smaller; not needed
			report("strip "+library, 0, 0)
			if err := command(ctx, tmp, strip, "--strip-unneeded", path); err != nil {
				return err
			}
		}
	}
	files := map[string][]byte{"shim.cc": shimSource, "cache.h": cacheSource, "check.cc": checkSource}
	for _, header := range stubs {
		files["stub/mlir/"+header] = mlirSource
	}
	for name, source := range files {
		path := filepath.Join(tmp, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, source, 0o666)); err != nil {
			return err
		}
	}
	report("compile", 0, 0)
	// What another build compiled, this one must not take from the cache.
	if err := command(ctx, tmp, clang(), append(compilation(tmp, lib), `-DBUILD="`+cpuFolder()+`"`)...); err != nil {
		return err
	}
	return command(ctx, tmp, clang(), "-std=c++17", "-O1", "-o", filepath.Join(lib, checkFile),
		"-I"+filepath.Join(tmp, "tensorflow/include"), filepath.Join(tmp, "check.cc"), "-ldl")
}

// fetch downloads the wheel by pip, which checks its hash, and returns its path.
func fetch(ctx context.Context, tmp string, report func(stage string, done, total int64)) (string, error) {
	dir := filepath.Join(tmp, "wheel")
	err := pip(ctx, tmp, wheel+" --hash=sha256:"+wheelHash+"\n", "fetch "+wheel, wheelSize, report,
		"download", "-d", dir, "--python-version", "3.11", "--platform", "manylinux_2_27_x86_64")
	if err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err == nil && len(files) != 1 {
		err = fmt.Errorf("it left %d files in place of one", len(files))
	}
	if err != nil {
		return "", err
	}
	return files[0], nil
}

// pip runs a command of pip on requirements, whose hashes it checks, and reports how much of total it has written to
// tmp: it tells a pipe nothing.
func pip(ctx context.Context, tmp, requirements, stage string, total int64, report func(stage string, done, total int64), args ...string) error {
	list := filepath.Join(tmp, "requirements.txt")
	if err := os.WriteFile(list, []byte(requirements), 0o666); err != nil {
		return err
	}
	finished := make(chan struct{})
	var polling sync.WaitGroup
	polling.Go(func() {
		for most := int64(0); ; {
			most = max(most, min(size(tmp), total)) // wheels go once they are unpacked
			report(stage, most, total)
			select {
			case <-finished:
				return
			case <-time.After(time.Second / 4):
			}
		}
	})
	defer polling.Wait()
	defer close(finished)
	return command(ctx, tmp, "python3", append(append([]string{"-m", "pip"}, args...), "--quiet", "--no-cache-dir",
		"--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", list)...)
}

// size is the bytes of the files in dir.
func size(dir string) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error { // files come and go meanwhile
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
		}
		return nil
	})
	return total
}

// unpack extracts headers and libraries from the wheel, and removes it.
func unpack(ctx context.Context, file, dir string, report func(stage string, done, total int64)) error {
	archive, err := zip.OpenReader(file)
	if err != nil {
		return err
	}
	defer archive.Close() //nolint:errcheck // only read
	var wanted []*zip.File
	p := &progress{ctx: ctx, report: func(done, total int64) { report("unpack", done, total) }}
	for _, f := range archive.File {
		if f.Name == "tensorflow/"+libraryCC || f.Name == "tensorflow/"+libraryFW || strings.HasPrefix(f.Name, "tensorflow/include/") && !f.FileInfo().IsDir() {
			wanted = append(wanted, f)
			p.total += int64(f.UncompressedSize64)
		}
	}
	for _, f := range wanted {
		if err := p.extract(f, filepath.Join(dir, filepath.FromSlash(f.Name))); err != nil { // the wheel's hash is known: its names are safe
			return err
		}
	}
	return os.Remove(file)
}

// progress counts what is written, and ends writing when ctx is done.
type progress struct {
	ctx         context.Context
	done, total int64
	report      func(done, total int64)
}

func (p *progress) Write(b []byte) (int, error) {
	const step = 1 << 24 // a report each, not each buffer
	if before := p.done; before/step != (before+int64(len(b)))/step {
		p.report(before, p.total)
	}
	p.done += int64(len(b))
	return len(b), p.ctx.Err()
}

func (p *progress) extract(f *zip.File, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // only read
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.MultiWriter(out, p), in)
	return errors.Join(err, out.Close())
}

// command runs a program whose temporary files go to tmp; of its complaints the most telling line becomes the error.
func command(ctx context.Context, tmp, program string, args ...string) error {
	c := exec.CommandContext(ctx, program, args...)
	// A check is to compile, whatever the cache has.
	c.Env = append(os.Environ(), "TMPDIR="+tmp, "TF_ENABLE_ONEDNN_OPTS=0", CacheVariable+"=off")
	c.WaitDelay = time.Second // a killed compiler's linker holds on to the pipe
	output, err := c.CombinedOutput()
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	complaint := lines[len(lines)-1]
	for _, line := range lines {
		if strings.Contains(strings.ToLower(line), "error: ") { // the first error tells more than the last line
			complaint = strings.TrimSpace(line)
			break
		}
	}
	if complaint != "" {
		err = fmt.Errorf("%w: %s", err, complaint)
	}
	return fmt.Errorf("%s: %w", filepath.Base(program), err)
}
