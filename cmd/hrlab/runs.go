package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"hrlab/hrstyle"
	"hrlab/report"
	"hrlab/tracker"

	"github.com/google/renameio/v2"
	"github.com/guptarohit/asciigraph"
)

// runsCmd are the verbs on recorded runs.
type runsCmd struct {
	List    runsListCmd    `cmd:"" help:"List runs, newest first."`
	Show    runsShowCmd    `cmd:"" help:"Show a run, with its curves."`
	Diff    runsDiffCmd    `cmd:"" help:"Say in what two runs differ."`
	Get     runsGetCmd     `cmd:"" help:"Get a file of a run: its output, generator or checkpoint, or the thumbnail of a step."`
	Tag     runsTagCmd     `cmd:"" help:"Tag a run; KEY= removes the tag."`
	Note    runsNoteCmd    `cmd:"" help:"Add a note to a run."`
	Rm      runsRmCmd      `cmd:"" help:"Delete runs; until gc they can be restored."`
	Restore runsRestoreCmd `cmd:"" help:"Bring deleted runs back."`
	GC      runsGCCmd      `cmd:"" name:"gc" help:"Free what deleted runs took."`
	Check   runsCheckCmd   `cmd:"" help:"Check the database and every file, and say what is wrong."`
	Backup  runsBackupCmd  `cmd:"" help:"Copy the database, while it is written, and its files."`
	Export  runsExportCmd  `cmd:"" help:"Export runs: CSV, JSON Lines, TensorBoard."`
	Import  runsImportCmd  `cmd:"" help:"Import an export in JSON Lines."`

	DB string `name:"db" default:"hrlab.db" env:"HRLAB_DB" placeholder:"URL" help:"The tracker's database: a path."`
}

// open opens the database, which must be there.
func (r *runsCmd) open(ctx context.Context) (*tracker.Store, error) {
	path, err := tracker.Path(r.DB)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: no such database; hrlab fit and hrlab sweep make one, --db names another", r.DB)
	}
	return tracker.Open(ctx, r.DB)
}

// with opens the database for f.
func (r *runsCmd) with(ctx context.Context, f func(s *tracker.Store) error) error {
	s, err := r.open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(s), s.Close())
}

// selection says which runs.
type selection struct {
	Experiment string `placeholder:"NAME" help:"Those of this experiment."`
	Where      string `placeholder:"FILTER" help:"Those that the filter chooses, such as: params.content_weight > 10 and metrics.style.last < 300 and tags.pair = \"boat\" and status != failed."`
	Sort       string `placeholder:"FIELDS" help:"By these fields, by comma; - before one sorts downwards, as in --sort=-metrics.style_match,id."`
}

func (s selection) runs(ctx context.Context, store *tracker.Store) ([]tracker.Info, error) {
	return store.Runs(ctx, tracker.Query{Experiment: s.Experiment, Where: s.Where, Sort: s.Sort})
}

type runsListCmd struct {
	selection
	JSON bool `name:"json" xor:"as" help:"As a JSON array."`
	CSV  bool `name:"csv" xor:"as" help:"As CSV, a column a parameter and metric."`
}

// Run lists.
func (l *runsListCmd) Run(ctx context.Context, c *console, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		runs, err := l.runs(ctx, s)
		if err != nil {
			return err
		}
		switch {
		case l.JSON:
			out := json.NewEncoder(c.out)
			out.SetEscapeHTML(false)
			out.SetIndent("", " ")
			return out.Encode(runs)
		case l.CSV:
			return listCSV(c.out, runs)
		}
		t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tSTATUS\tEXPERIMENT\tNAME\tCONTENT W.\tSTYLE W.\tSTEP\tCONTENT\tSTYLE\tKEPT\tMATCH\tWHEN")
		for _, i := range runs {
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.ID, i.Status, short(i.Experiment), short(i.Name), short(i.Params["content_weight"].Text), short(i.Params["style_weight"].Text),
				step(i, "total"), last(i, "content"), last(i, "style"), last(i, report.ContentKept), last(i, report.StyleMatch), i.Created.Local().Format("2006-01-02 15:04"))
		}
		return t.Flush()
	})
}

// printable is a text that does to a terminal what it shows: names may hold anything. Its lines stay.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case unicode.IsControl(r):
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// flat is a printable text without line breaks.
func flat(text string) string { return strings.Join(strings.Fields(printable(text)), " ") }

// short is a flat text of at most 30 characters.
func short(text string) string {
	runes := []rune(flat(text))
	if len(runes) > 30 {
		return string(runes[:29]) + "…"
	}
	return string(runes)
}

func last(i tracker.Info, metric string) string {
	if m, ok := i.Metrics[metric]; ok {
		return strconv.FormatFloat(m.Last, 'g', 4, 64)
	}
	return "-"
}

func step(i tracker.Info, metric string) string {
	if m, ok := i.Metrics[metric]; ok {
		return strconv.FormatInt(m.LastStep, 10)
	}
	return "-"
}

func listCSV(w io.Writer, runs []tracker.Info) error {
	params, metrics := map[string]bool{}, map[string]bool{}
	for _, i := range runs {
		for name := range i.Params {
			params[name] = true
		}
		for name := range i.Metrics {
			metrics[name] = true
		}
	}
	out := csv.NewWriter(w)
	head := []string{"id", "name", "experiment", "status", "created"}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		head = append(head, "params."+name)
	}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		head = append(head, "metrics."+name)
	}
	if err := out.Write(head); err != nil {
		return err
	}
	for _, i := range runs {
		row := []string{strconv.FormatInt(i.ID, 10), i.Name, i.Experiment, string(i.Status), i.Created.Format(time.RFC3339)}
		for _, name := range slices.Sorted(maps.Keys(params)) {
			row = append(row, i.Params[name].Text)
		}
		for _, name := range slices.Sorted(maps.Keys(metrics)) {
			text := ""
			if m, ok := i.Metrics[name]; ok {
				text = strconv.FormatFloat(m.Last, 'g', -1, 64)
			}
			row = append(row, text)
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

type runsShowCmd struct {
	Which string `arg:"" name:"run" help:"The run: its id, or its name."`
}

// Run shows.
func (v *runsShowCmd) Run(ctx context.Context, c *console, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		i, err := s.Run(ctx, v.Which)
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		row := func(name, value string) {
			if value != "" {
				fmt.Fprintf(t, "%s\t%s\n", flat(name), strings.ReplaceAll(printable(value), "\n", "\n\t"))
			}
		}
		row("run", fmt.Sprintf("%d %s, of experiment %s", i.ID, i.Name, i.Experiment))
		row("status", strings.TrimSpace(string(i.Status)+" "+i.Error))
		row("created", when(i.Created))
		row("started", when(i.Started))
		row("ended", when(i.Ended))
		if !i.Started.IsZero() && !i.Ended.Before(i.Started) {
			row("took", i.Ended.Sub(i.Started).Round(time.Second).String())
		}
		row("deleted", when(i.Deleted))
		row("command", i.Command)
		for _, name := range slices.Sorted(maps.Keys(i.Params)) {
			row(name, i.Params[name].Text)
		}
		for _, name := range slices.Sorted(maps.Keys(i.Tags)) {
			row("tag "+name, i.Tags[name])
		}
		for _, n := range i.Notes {
			row("note", strings.TrimSpace(when(n.Time)+" "+n.Text))
		}
		env, err := s.Environment(ctx, i.ID)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(env)) {
			if !strings.HasPrefix(name, "module.") {
				row(name, env[name])
			}
		}
		for _, name := range slices.Sorted(maps.Keys(i.Metrics)) {
			m := i.Metrics[name]
			row("metric "+name, fmt.Sprintf("%.5g at step %d; from %.5g (%d) to %.5g (%d)", m.Last, m.LastStep, m.Min, m.MinStep, m.Max, m.MaxStep))
		}
		samples, err := s.Samples(ctx, i.ID)
		if err != nil {
			return err
		}
		row("load", load(samples))
		artifacts, err := s.Artifacts(ctx, i.ID)
		if err != nil {
			return err
		}
		for _, a := range artifacts {
			row("artifact "+a.Name, fmt.Sprintf("%d bytes, sha256 %s", a.Size, a.Digest))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		return curves(ctx, c.out, s, i)
	})
}

// when is a time of this place; empty where there is none.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

// load is the mean load of a run's process and GPU, and the most memory that they took; empty: not known.
func load(samples []tracker.Sample) string {
	var cpu, gpu, n float64
	var memory, gpuMemory int64
	for _, s := range samples {
		cpu += s.CPU / float64(len(samples))
		memory = max(memory, s.Memory)
		if s.GPU != nil {
			gpu += s.GPU.Percent
			gpuMemory = max(gpuMemory, s.GPU.Memory)
			n++
		}
	}
	if len(samples) == 0 {
		return ""
	}
	text := fmt.Sprintf("CPU %.0f%%, memory up to %.2f GB", cpu, float64(memory)/1e9)
	if n > 0 {
		text += fmt.Sprintf("; GPU %.0f%%, memory up to %.2f GB", gpu/n, float64(gpuMemory)/1e9)
	}
	return text
}

// curves draws the two losses, or of a run without them every metric.
func curves(ctx context.Context, w io.Writer, s *tracker.Store, i tracker.Info) error {
	names := []string{"content", "style"}
	names = slices.DeleteFunc(names, func(name string) bool { _, ok := i.Metrics[name]; return !ok })
	series, err := s.Series(ctx, []int64{i.ID}, names, 200)
	if err != nil {
		return err
	}
	for _, curve := range series {
		text := plot(curve)
		if text == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "\n%s\n", text); err != nil {
			return err
		}
	}
	return nil
}

// plot draws the finite values of a curve; empty where they are fewer than two.
func plot(c tracker.Series) string {
	values := slices.Clone(c.Values)
	finite, largest := 0, 0.0
	for i, v := range values {
		if math.IsInf(v, 0) {
			values[i] = math.NaN() // a gap
		}
		if !math.IsNaN(values[i]) {
			finite++
			largest = max(largest, math.Abs(v))
		}
	}
	if finite < 2 {
		return ""
	}
	caption := fmt.Sprintf("%s, steps %d to %d", short(c.Metric), c.Steps[0], c.Steps[len(c.Steps)-1])
	if largest > 0 && (largest >= 1e6 || largest < 0.01) { // such numbers would take the whole line
		exponent := max(-300, int(math.Floor(math.Log10(largest))))
		for i := range values {
			values[i] /= math.Pow10(exponent)
		}
		caption += fmt.Sprintf(", in units of 1e%d", exponent)
	}
	return asciigraph.Plot(values, asciigraph.Height(8), asciigraph.Width(60), asciigraph.Caption(caption))
}

type runsDiffCmd struct {
	A    string `arg:"" help:"A run."`
	B    string `arg:"" help:"Another run."`
	Out  string `placeholder:"FILE" help:"Write a picture of where their outputs differ: four times the difference."`
	JSON bool   `name:"json" help:"As a JSON array."`
}

// Run compares.
func (d *runsDiffCmd) Run(ctx context.Context, c *console, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		a, err := s.Run(ctx, d.A)
		if err != nil {
			return err
		}
		b, err := s.Run(ctx, d.B)
		if err != nil {
			return err
		}
		diff, err := s.Diff(ctx, a.ID, b.ID)
		if err != nil {
			return err
		}
		if d.Out != "" {
			if err := differencePicture(ctx, s, a.ID, b.ID, d.Out); err != nil {
				return err
			}
		}
		if d.JSON {
			return json.NewEncoder(c.out).Encode(diff)
		}
		t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintf(t, "\trun %d\trun %d\n", a.ID, b.ID)
		for _, d := range diff {
			fmt.Fprintf(t, "%s %s\t%s\t%s\n", d.What, flat(d.Key), cmp.Or(flat(d.A), "-"), cmp.Or(flat(d.B), "-"))
		}
		return t.Flush()
	})
}

func differencePicture(ctx context.Context, s *tracker.Store, a, b int64, out string) error {
	how := hrstyle.Encoding{Comment: fmt.Sprintf("hrlab: four times the difference of the outputs of runs %d and %d", a, b)}
	if err := how.Check(out); err != nil {
		return err
	}
	var pictures [2]hrstyle.Picture
	for i, id := range []int64{a, b} {
		file, err := s.OpenArtifact(ctx, id, report.Output)
		if err != nil {
			return err
		}
		path := file.Name()
		file.Close()
		if pictures[i], err = hrstyle.LoadPicture(path); err != nil {
			return err
		}
	}
	if p, q := pictures[0].Bounds().Size(), pictures[1].Bounds().Size(); p != q {
		return fmt.Errorf("the outputs of runs %d and %d are of other sizes, %v and %v", a, b, p, q)
	}
	return hrstyle.SavePicture(out, report.Difference(pictures[0], pictures[1]), how)
}

type runsGetCmd struct {
	Which string `arg:"" name:"run" help:"The run: its id, or its name."`
	What  string `arg:"" help:"output, generator, checkpoint, or step:N for the thumbnail of step N."`
	Out   string `required:"" placeholder:"FILE|-" help:"Where it goes; - is standard output."`
}

// Run gets.
func (g *runsGetCmd) Run(ctx context.Context, c *console, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		i, err := s.Run(ctx, g.Which)
		if err != nil {
			return err
		}
		data, err := g.read(ctx, s, i.ID)
		if err != nil {
			return err
		}
		if g.Out == "-" {
			_, err := c.out.Write(data)
			return err
		}
		if err := hrstyle.CheckWritable(g.Out); err != nil {
			return err
		}
		return renameio.WriteFile(linked(g.Out), data, 0o666)
	})
}

// linked is the file that a link leads to: the link is to stay one.
func linked(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

func (g *runsGetCmd) read(ctx context.Context, s *tracker.Store, run int64) ([]byte, error) {
	number, isStep := strings.CutPrefix(g.What, "step:")
	if !isStep {
		data, err := s.ReadArtifact(ctx, run, g.What)
		if errors.Is(err, tracker.ErrNotFound) {
			err = fmt.Errorf("run %d has no %s%s", run, g.What, having(ctx, s, run))
		}
		return data, err
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s: allowed: step:N, N a whole number", g.What)
	}
	pictures, err := s.Pictures(ctx, run)
	if err != nil {
		return nil, err
	}
	var steps []string
	for _, p := range pictures {
		if p.Name == report.Output {
			if p.Step == n {
				return s.Thumbnail(ctx, p.Digest)
			}
			steps = append(steps, strconv.FormatInt(p.Step, 10))
		}
	}
	return nil, fmt.Errorf("run %d has no picture of step %d; there are: %s", run, n, strings.Join(steps, ", "))
}

// having says what files a run has.
func having(ctx context.Context, s *tracker.Store, run int64) string {
	artifacts, err := s.Artifacts(ctx, run)
	if err != nil || len(artifacts) == 0 {
		return "; it has no files"
	}
	var names []string
	for _, a := range artifacts {
		names = append(names, a.Name)
	}
	return "; there are: " + strings.Join(names, ", ")
}

type runsTagCmd struct {
	Which string   `arg:"" name:"run" help:"The run."`
	Tags  []string `arg:"" name:"key=value" help:"Tags; KEY= removes one."`
}

// Run tags.
func (t *runsTagCmd) Run(ctx context.Context, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		i, err := s.Run(ctx, t.Which)
		if err != nil {
			return err
		}
		for _, tag := range t.Tags {
			key, value, ok := strings.Cut(tag, "=")
			switch {
			case !ok || key == "":
				return fmt.Errorf("tag %q: allowed: KEY=VALUE, or KEY= to remove it", tag)
			case value == "":
				err = s.Untag(ctx, i.ID, key)
			default:
				err = s.Tag(ctx, i.ID, key, value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

type runsNoteCmd struct {
	Which string `arg:"" name:"run" help:"The run."`
	Text  string `arg:"" help:"The note."`
}

// Run adds the note.
func (n *runsNoteCmd) Run(ctx context.Context, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		i, err := s.Run(ctx, n.Which)
		if err != nil {
			return err
		}
		return s.Note(ctx, i.ID, n.Text)
	})
}

type runsRmCmd struct {
	Runs []string `arg:"" name:"run" help:"Runs."`
}

// Run deletes.
func (d *runsRmCmd) Run(ctx context.Context, r *runsCmd) error {
	return r.each(ctx, d.Runs, (*tracker.Store).Run, (*tracker.Store).Delete)
}

type runsRestoreCmd struct {
	Runs []string `arg:"" name:"run" help:"Deleted runs."`
}

// Run restores.
func (d *runsRestoreCmd) Run(ctx context.Context, r *runsCmd) error {
	return r.each(ctx, d.Runs, (*tracker.Store).Deleted, (*tracker.Store).Restore)
}

// each does something to several runs, all of which find must find.
func (r *runsCmd) each(ctx context.Context, names []string, find func(s *tracker.Store, ctx context.Context, idOrName string) (tracker.Info, error), do func(s *tracker.Store, ctx context.Context, id int64) error) error {
	return r.with(ctx, func(s *tracker.Store) error {
		var ids []int64
		for _, name := range names {
			i, err := find(s, ctx, name)
			if err != nil {
				return err
			}
			ids = append(ids, i.ID)
		}
		for _, id := range ids {
			if err := do(s, ctx, id); err != nil {
				return err
			}
		}
		return nil
	})
}

type runsGCCmd struct{}

// Run frees.
func (*runsGCCmd) Run(ctx context.Context, c *console, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		freed, err := s.GC(ctx)
		if err == nil {
			_, err = fmt.Fprintf(c.out, "freed %d runs, %d files, %.1f MB\n", freed.Runs, freed.Files, float64(freed.Bytes)/1e6)
		}
		return err
	})
}

type runsCheckCmd struct {
	DropMissing bool `help:"Replace what is missing or damaged by notes; without it, it is only named: a disk may not be mounted."`
}

// errUnsound says that something is missing, or was wrong.
var errUnsound = errors.New("not all was well")

// Run checks; what was wrong, mended or not, is exit code 1.
func (k *runsCheckCmd) Run(ctx context.Context, c *console, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		findings, err := s.Check(ctx, k.DropMissing)
		wrong, missing, mended := 0, 0, 0
		for _, f := range findings {
			fmt.Fprintln(c.out, flat(f.String()))
			switch {
			case f.Leftover:
			case f.Repair != "":
				mended++
			case f.Missing:
				missing++
			default:
				wrong++
			}
		}
		switch {
		case err != nil:
			return err
		case wrong > 0:
			return fmt.Errorf("%s: %w: it is damaged; go on with a backup, or with what sqlite3's .recover saves", r.DB, errUnsound)
		case missing > 0:
			return fmt.Errorf("%s: %w: what is missing or damaged was left as it is; put it back, or let --drop-missing replace it by notes", r.DB, errUnsound)
		case mended > 0:
			return fmt.Errorf("%s: %w: mended as said; another check finds nothing", r.DB, errUnsound)
		}
		_, err = fmt.Fprintf(c.out, "%s: all is well\n", r.DB)
		return err
	})
}

// incomplete names what an export or a backup, which is at out, could not have. Other errors it leaves as they are.
func incomplete(c *console, out string, err error) error {
	partial, ok := errors.AsType[*tracker.IncompleteError](err)
	if !ok {
		return err
	}
	for _, missing := range partial.Missing {
		fmt.Fprintln(c.messages, oneLine(missing))
	}
	return fmt.Errorf("%s: %w: these %d files of runs are missing or damaged; everything else is there", out, errUnsound, len(partial.Missing))
}

type runsBackupCmd struct {
	Out string `required:"" placeholder:"FILE" help:"The copy; its files go to FILE.artifacts."`
}

// Run copies. A backup that lacks files which are missing or damaged is exit code 1.
func (b *runsBackupCmd) Run(ctx context.Context, c *console, r *runsCmd) error {
	if b.Out == "" {
		return errors.New("the name of a file to write is empty")
	}
	return r.with(ctx, func(s *tracker.Store) error { return incomplete(c, b.Out, s.Backup(ctx, b.Out)) })
}

type runsExportCmd struct {
	selection
	Format string `default:"jsonl" enum:"csv,jsonl,tensorboard" help:"csv: the curves; jsonl: everything, for import; tensorboard: event files."`
	Out    string `required:"" placeholder:"FILE|DIR|-" help:"A file, - for standard output, or for tensorboard a directory."`
}

// Run exports. An export that lacks files which are missing or damaged is exit code 1.
func (e *runsExportCmd) Run(ctx context.Context, c *console, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		runs, err := e.runs(ctx, s)
		if err != nil {
			return err
		}
		switch {
		case e.Format == "tensorboard" && e.Out == "-":
			return errors.New("--out -: event files are many; name a directory")
		case e.Format == "tensorboard":
			if err := incomplete(c, e.Out, s.ExportTensorBoard(ctx, e.Out, runs)); err != nil {
				return err
			}
			fmt.Fprintf(c.messages, "%d runs; look at them: tensorboard --logdir %s\n", len(runs), quote(e.Out))
			return nil
		}
		write := s.ExportJSON
		if e.Format == "csv" {
			write = s.ExportCSV
		}
		if e.Out == "-" {
			return incomplete(c, "the export", write(ctx, c.out, runs))
		}
		if err := hrstyle.CheckWritable(e.Out); err != nil {
			return err
		}
		file, err := renameio.NewPendingFile(linked(e.Out), renameio.WithPermissions(0o666))
		if err != nil {
			return err
		}
		defer file.Cleanup() //nolint:errcheck // the file is whole, or goes
		err = incomplete(c, e.Out, write(ctx, file, runs))
		if err != nil && !errors.Is(err, errUnsound) {
			return err
		}
		return errors.Join(err, file.CloseAtomicallyReplace())
	})
}

type runsImportCmd struct {
	File string `arg:"" help:"An export in JSON Lines; - is standard input."`
}

// Run imports, into a new database where there is none.
func (m *runsImportCmd) Run(ctx context.Context, c *console, r *runsCmd) (err error) {
	in := os.Stdin
	if m.File != "-" {
		if in, err = os.Open(m.File); err != nil {
			return fmt.Errorf("%s: %w", m.File, errors.Unwrap(err))
		}
		defer in.Close()
	}
	s, err := tracker.Open(ctx, r.DB)
	if err != nil {
		return err
	}
	ids, err := s.Import(ctx, in)
	if err != nil {
		err = fmt.Errorf("%s: %w; %d runs were imported", filepath.Base(m.File), err, len(ids))
	} else {
		fmt.Fprintf(c.messages, "%d runs imported\n", len(ids))
	}
	return errors.Join(err, s.Close())
}
