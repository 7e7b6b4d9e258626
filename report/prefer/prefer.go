// Package prefer learns from choices what a person likes: of a few things the person says which is best, and the package
// says how good each thing is, how sure that is, and what to show next. It is pure computation.
//
// Every thing is a point and has a utility. Of the things that are shown, thing i is chosen with the probability
// exp(u_i) / Σ exp(u_j): the model of Bradley and Terry ("Rank Analysis of Incomplete Block Designs", Biometrika 39, 1952),
// for more than two that of Luce ("Individual Choice Behavior", 1959). "The same" counts as an equal share of a choice for
// each. The utilities are a Gaussian process over the points, so that a choice also tells about what lies near (Chu and
// Ghahramani, "Preference Learning with Gaussian Processes", ICML 2005), with their Laplace approximation.
package prefer

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// Choice is what was chosen of the things that were shown, which are indices of points.
type Choice struct {
	Shown []int // two or more different ones
	Best  int   // one of them, or -1 where they look the same
}

// Model is what choices tell about the utilities of things, and of candidates that are not made yet.
type Model struct {
	things int
	draws  [][]float64 // of the joint posterior of the utilities: [draw][thing, then candidate]
}

// draws is the number of draws of the posterior, from which everything is computed.
const draws = 1000

// The process is averaged over these, each as likely as any other before the first choice. An amplitude is the standard
// deviation of the utilities: with 1 the better of two things is chosen 4 times of 5 at most, with 8 nearly always. Lengths
// are shares of the points' range.
var (
	amplitudes = []float64{1, 3, 8}
	lengths    = []float64{0.25, 0.5, 1}
)

// own is the share of a utility's standard deviation that is the thing's own, and not explained by its point.
const own = 0.03

// Fit learns from choices between things, which are points, as candidates are. There is at least one thing; coordinates are
// finite, and each is scaled to its range. The same choices give the same model.
func Fit(things [][]float64, choices []Choice, candidates [][]float64) *Model {
	points := scale(slices.Concat(things, candidates))
	shown := []int{0} // the things that choices tell about, and one more where there is no choice
	for i := range things {
		if i > 0 && slices.ContainsFunc(choices, func(c Choice) bool { return slices.Contains(c.Shown, i) }) {
			shown = append(shown, i)
		}
	}
	of := make([]Choice, len(choices)) // by indices of shown
	for i, c := range choices {
		of[i].Best = slices.Index(shown, c.Best) // -1 stays -1
		for _, thing := range c.Shown {
			of[i].Shown = append(of[i].Shown, slices.Index(shown, thing))
		}
	}
	var processes []*process
	best, total := math.Inf(-1), 0.0
	for _, length := range lengths {
		k := covariance(points, length)
		for _, amplitude := range amplitudes {
			p := k.scaled(amplitude, shown)
			p.approximate(of)
			processes = append(processes, p)
		}
	}
	for _, p := range processes {
		best = max(best, p.evidence)
	}
	for _, p := range processes {
		total += math.Exp(p.evidence - best)
	}
	m, random := &Model{things: len(things)}, rand.New(rand.NewPCG(1, 2))
	share := 0.0 // of the draws that this process and those before it have
	for _, p := range processes {
		share += math.Exp(p.evidence-best) / total
		m.draws = append(m.draws, p.draw(int(math.Round(draws*share))-len(m.draws), random)...)
	}
	return m
}

// scale scales every coordinate to 0 to 1.
func scale(points [][]float64) [][]float64 {
	low, high := slices.Clone(points[0]), slices.Clone(points[0])
	for _, p := range points {
		for k, v := range p {
			low[k], high[k] = min(low[k], v), max(high[k], v)
		}
	}
	scaled := make([][]float64, len(points))
	for i, p := range points {
		scaled[i] = make([]float64, len(p))
		for k, v := range p {
			if high[k] > low[k] {
				scaled[i][k] = (v - low[k]) / (high[k] - low[k])
			}
		}
	}
	return scaled
}

// square is the squared distance of two points.
func square(a, b []float64) (sum float64) {
	for k := range a {
		sum += (a[k] - b[k]) * (a[k] - b[k])
	}
	return sum
}

// prior is a Gaussian process with an amplitude of 1 at all points.
type prior struct {
	covariance *mat.SymDense
	root       mat.TriDense // lower: root · rootᵀ is the covariance
}

func covariance(points [][]float64, length float64) *prior {
	p := &prior{covariance: mat.NewSymDense(len(points), nil)}
	for i := range points {
		for j := range i {
			p.covariance.SetSym(i, j, (1-own*own)*math.Exp(-square(points[i], points[j])/(2*length*length)))
		}
		p.covariance.SetSym(i, i, 1)
	}
	var chol mat.Cholesky
	if !chol.Factorize(p.covariance) {
		panic("prefer: a point is not finite") // own keeps the matrix positive definite
	}
	chol.LTo(&p.root)
	return p
}

// process is a Gaussian process, and what is known of it at the points that were shown: the Laplace approximation of its
// utilities there is a normal distribution.
type process struct {
	*prior
	amplitude float64
	shown     []int
	inverse   mat.SymDense // of the prior covariance at these points
	logDet    float64      // the logarithm of that covariance's determinant
	mode      *mat.VecDense
	precision mat.Cholesky // the inverse of the posterior covariance
	evidence  float64      // the logarithm of the probability of the choices, but for a constant
}

func (k *prior) scaled(amplitude float64, shown []int) *process {
	n := len(shown)
	p := &process{prior: k, amplitude: amplitude, shown: shown, mode: mat.NewVecDense(n, nil)}
	at := mat.NewSymDense(n, nil)
	for a, i := range shown {
		for b, j := range shown[:a+1] {
			at.SetSym(a, b, amplitude*amplitude*k.covariance.At(i, j))
		}
	}
	var chol mat.Cholesky
	chol.Factorize(at) // a part of one that is positive definite
	must(chol.InverseTo(&p.inverse))
	p.logDet = chol.LogDet()
	return p
}

// must panics where a matrix cannot be inverted. own keeps them all positive definite.
func must(err error) {
	if err != nil {
		panic("prefer: " + err.Error())
	}
}

// approximate finds the mode by Newton's method (Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006,
// sections 3.4 and 5.5.1).
func (p *process) approximate(choices []Choice) {
	n := len(p.shown)
	for range 50 {
		gradient, precision := mat.NewVecDense(n, nil), mat.NewSymDense(n, nil)
		gradient.MulVec(&p.inverse, p.mode)
		gradient.ScaleVec(-1, gradient)
		precision.CopySym(&p.inverse)
		p.evidence = (mat.Dot(gradient, p.mode) - p.logDet) / 2
		for _, c := range choices {
			likely, log := c.likelihood(p.mode)
			p.evidence += log
			for a, i := range c.Shown {
				gradient.SetVec(i, gradient.AtVec(i)+c.chosen(i)-likely[a])
				precision.SetSym(i, i, precision.At(i, i)+likely[a])
				for b, j := range c.Shown[:a+1] {
					precision.SetSym(i, j, precision.At(i, j)-likely[a]*likely[b])
				}
			}
		}
		p.precision.Factorize(precision) // positive definite, since a choice only adds to the prior's
		p.evidence -= p.precision.LogDet() / 2
		step := mat.NewVecDense(n, nil)
		must(p.precision.SolveVecTo(step, gradient))
		far := mat.Norm(step, math.Inf(1))
		if far < 1e-6 {
			break
		}
		const most = 2 // a longer step may overshoot where the likelihood is flat
		p.mode.AddScaledVec(p.mode, min(1, most/far), step)
	}
}

// likelihood is the probability of each of the things that were shown to be chosen, and the logarithm of that of the choice.
func (c Choice) likelihood(utility *mat.VecDense) (likely []float64, log float64) {
	highest, sum := math.Inf(-1), 0.0
	for _, i := range c.Shown {
		highest = max(highest, utility.AtVec(i))
	}
	for _, i := range c.Shown {
		likely = append(likely, math.Exp(utility.AtVec(i)-highest))
		sum += likely[len(likely)-1]
	}
	for a, i := range c.Shown {
		likely[a] /= sum
		log += c.chosen(i) * (utility.AtVec(i) - highest - math.Log(sum))
	}
	return likely, log
}

// chosen is the share of the choice that thing i has.
func (c Choice) chosen(i int) float64 {
	switch c.Best {
	case i:
		return 1
	case -1:
		return 1 / float64(len(c.Shown))
	}
	return 0
}

// draw draws utilities of all points, several times: those of the prior, and those of the posterior at the points that were
// shown, by whose difference the first are corrected everywhere (Matheron's rule: Wilson, Borovitskiy, Terenin, Mostowsky,
// Deisenroth, "Pathwise Conditioning of Gaussian Processes", JMLR 22, 2021).
func (p *process) draw(times int, random *rand.Rand) (list [][]float64) {
	if times == 0 {
		return nil
	}
	normal := func(n int) *mat.Dense {
		values := make([]float64, n*times)
		for i := range values {
			values[i] = random.NormFloat64()
		}
		return mat.NewDense(n, times, values)
	}
	n := p.covariance.SymmetricDim()
	var u mat.Dense
	u.Mul(&p.root, normal(n))
	u.Scale(p.amplitude, &u)
	var lower mat.TriDense
	var off, weight, correction mat.Dense
	p.precision.LTo(&lower)
	must(off.Solve(lower.T(), normal(len(p.shown)))) // its covariance is the inverse of lower · lowerᵀ
	across := mat.NewDense(n, len(p.shown), nil)
	for a, i := range p.shown {
		for d := range times {
			off.Set(a, d, off.At(a, d)+p.mode.AtVec(a)-u.At(i, d))
		}
		for j := range n {
			across.Set(j, a, p.amplitude*p.amplitude*p.covariance.At(j, i))
		}
	}
	weight.Mul(&p.inverse, &off)
	correction.Mul(across, &weight)
	u.Add(&u, &correction)
	for d := range times {
		list = append(list, mat.Col(nil, d, &u))
	}
	return list
}

// Utilities are the expected utilities of the things. Only their differences mean something: of two things the better by 1 is
// chosen 73 times of 100.
func (m *Model) Utilities() []float64 {
	sum := make([]float64, m.things)
	for _, u := range m.draws {
		for i := range sum {
			sum[i] += u[i] / float64(len(m.draws))
		}
	}
	return sum
}

// Sure is how probable it is of each thing that it is the best, 0 to 1.
func (m *Model) Sure() []float64 {
	share := make([]float64, m.things)
	for _, u := range m.draws {
		_, best := highest(u[:m.things])
		share[best] += 1 / float64(len(m.draws))
	}
	return share
}

// Show proposes n things to choose from next, or all if there are no more: those of which the best is expected to be
// best (Astudillo, Lin, Bakshy, Frazier, "qEUBO: A Decision-Theoretic Acquisition Function for Preferential Bayesian
// Optimization", AISTATS 2023), taken one after the other.
func (m *Model) Show(n int) (shown []int) {
	best := make([]float64, len(m.draws)) // of those that are shown, by draw
	for d := range best {
		best[d] = math.Inf(-1)
	}
	for range min(n, m.things) {
		expected := make([]float64, m.things)
		for i := range expected {
			for d, u := range m.draws {
				expected[i] += max(best[d], u[i])
			}
			if slices.Contains(shown, i) {
				expected[i] = math.Inf(-1)
			}
		}
		_, next := highest(expected)
		shown = append(shown, next)
		for d, u := range m.draws {
			best[d] = max(best[d], u[next])
		}
	}
	return shown
}

// Next is the candidate that is expected to be better than the best of the things by most, and by how much (expected
// improvement: Jones, Schonlau, Welch, "Efficient Global Optimization of Expensive Black-Box Functions", J. Global
// Optimization 13, 1998). There is at least one candidate.
func (m *Model) Next() (candidate int, improvement float64) {
	gain := make([]float64, len(m.draws[0])-m.things)
	for _, u := range m.draws {
		best, _ := highest(u[:m.things])
		for i := range gain {
			gain[i] += max(0, u[m.things+i]-best) / float64(len(m.draws))
		}
	}
	improvement, candidate = highest(gain)
	return candidate, improvement
}

// highest is the highest of values, and its index.
func highest(values []float64) (v float64, at int) {
	for i := range values {
		if values[i] > values[at] {
			at = i
		}
	}
	return values[at], at
}
