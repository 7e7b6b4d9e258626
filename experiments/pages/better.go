package pages

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"hrlab/report"
	"hrlab/tracker"
	"hrlab/tracker/web"
)

var betterBody = body("better.html")

// better is the page on which a person chooses.
type better struct {
	*subject
	Number  int // of outputs to choose from
	Liking  *report.Liking
	Options []option
	Top     []liked
	Best    report.Liked
	Set     string          // the settings that are proposed, as a JSON object
	Last    *tracker.Choice // that can be taken back; nil where there is none
	Here    string
}

// option is an output to choose.
type option struct {
	ID      int64
	Source  string
	Letters string // its name: A, B …, since weights would tell what to think
}

// liked is a line of the order.
type liked struct {
	report.Liked
	Picture string // digest
	Label   string
}

// topRuns is how many runs of the order are shown.
const topRuns = 12

func (s site) better(w http.ResponseWriter, r *http.Request) error {
	b, _, err := s.liking(r)
	if err != nil {
		return err
	}
	if b.Liking != nil {
		if err := b.fill(); err != nil {
			return err
		}
	}
	s.Show(w, r, web.Page{
		Title: "Which is better?", Experiment: b.Experiment, Template: betterBody, Data: b,
		Scripts: []string{"/better/better.js"}, Styles: []string{"/better/pages.css"},
	})
	return nil
}

// order answers with what the page shows as JSON: the choices, the runs from the best on, those to choose from and the weights to
// fit next.
func (s site) order(w http.ResponseWriter, r *http.Request) error {
	b, choices, err := s.liking(r)
	if err != nil {
		return err
	}
	type run struct {
		ID      int64   `json:"id"`
		Utility float64 `json:"utility"`
		Sure    float64 `json:"sure"`
		Shown   int     `json:"shown"`
	}
	answer := struct {
		Choices []tracker.Choice `json:"choices"`
		Runs    []run            `json:"runs"`
		Show    []int64          `json:"show"`
		Next    *report.Weights  `json:"next"`
	}{Choices: choices}
	if l := b.Liking; l != nil {
		for _, of := range l.Runs {
			answer.Runs = append(answer.Runs, run{of.ID, of.Utility, of.Sure, of.Shown})
		}
		for _, of := range l.Show {
			answer.Show = append(answer.Show, of.ID)
		}
		answer.Next = &l.Next
	}
	s.JSON(w, r, answer, nil)
	return nil
}

// liking is what the choices tell about the runs that a request names.
func (s site) liking(r *http.Request) (*better, []tracker.Choice, error) {
	about, err := s.subject(r)
	if err != nil {
		return nil, nil, err
	}
	b := &better{subject: about, Number: 2, Here: r.URL.RequestURI()}
	if text := r.URL.Query().Get("number"); text != "" {
		if b.Number, err = strconv.Atoi(text); err != nil || b.Number < 2 || b.Number > 4 {
			return nil, nil, web.Bad(fmt.Errorf("number %q; allowed: 2 to 4", text))
		}
	}
	var runs []tracker.Info
	for _, run := range b.Runs {
		if run.Status != tracker.Finished || b.last(run.ID).Digest != "" {
			runs = append(runs, run)
		}
	}
	choices, err := s.Store().Choices(r.Context(), b.Experiment)
	if err != nil {
		return nil, nil, err
	}
	b.Liking = report.Like(runs, choices, b.Number)
	for _, c := range choices { // the experiment may have those of another pair
		if slices.ContainsFunc(b.Runs, func(i tracker.Info) bool { return i.ID == c.Runs[0] }) {
			b.Last = &c
		}
	}
	return b, choices, nil
}

func (b *better) fill() error {
	l := b.Liking
	b.Best = l.Runs[0]
	// The favourite is the first that is proposed: where it stands is not to tell. A page that is loaded again stays as it is.
	random := rand.New(rand.NewPCG(uint64(len(b.Runs)), uint64(l.Choices)))
	show := slices.Clone(l.Show)
	random.Shuffle(len(show), func(i, j int) { show[i], show[j] = show[j], show[i] })
	for i, run := range show {
		b.Options = append(b.Options, option{run.ID, web.File(run.ID, report.Output) + "?show", string(rune('A' + i))})
	}
	for _, run := range l.Runs[:min(topRuns, len(l.Runs))] {
		b.Top = append(b.Top, liked{run, b.last(run.ID).Digest, label(run.Info)})
	}
	set := map[string]float64{"content_weight": l.Next.Content, "style_weight": l.Next.Style}
	if report.WeightsOf(b.Best.Info).Gain != l.Next.Gain { // with Gram sums only 1 is allowed
		set["style_gain"] = l.Next.Gain
	}
	text, err := json.Marshal(set)
	b.Set = string(text)
	return err
}

// choose records a choice.
func (s site) choose(w http.ResponseWriter, r *http.Request) error {
	return s.chosen(w, r, time.Now(), func(c tracker.Choice) error { return s.Store().Choose(r.Context(), c.Runs, c.Best) })
}

// takeBack removes a choice, which was made at the form's time, in microseconds since 1970.
func (s site) takeBack(w http.ResponseWriter, r *http.Request) error {
	at, err := strconv.ParseInt(r.PostFormValue("time"), 10, 64)
	if err != nil {
		return web.Bad(fmt.Errorf("time %q; allowed: the time of a choice", r.PostFormValue("time")))
	}
	return s.chosen(w, r, time.UnixMicro(at), func(c tracker.Choice) error { return s.Store().TakeBack(r.Context(), c) })
}

// chosen does something with the choice of a form, and leads back.
func (s site) chosen(w http.ResponseWriter, r *http.Request, at time.Time, do func(c tracker.Choice) error) error {
	if err := r.ParseForm(); err != nil {
		return web.Bad(err)
	}
	var runs []int64
	for _, text := range append(slices.Clone(r.PostForm["run"]), r.PostForm.Get("best")) {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return web.Bad(fmt.Errorf("run %q is no number", text))
		}
		runs = append(runs, id)
	}
	c := tracker.Choice{Time: at, Runs: runs[:len(runs)-1], Best: runs[len(runs)-1]}
	if err := c.Validate(); err != nil {
		return web.Bad(err)
	}
	to, err := back(r)
	if err != nil {
		return err
	}
	if err := do(c); err != nil {
		return err
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// Numbers are how many outputs there may be to choose from.
func (*better) Numbers() []int { return []int{2, 3, 4} }
