package sample

import "math"

const duskHorizon = 0.60

// The sun, from the left and the top.
const sunU, sunV = 0.60, 0.545

// dusk is a town on a coast just before the sun has set.
func dusk(u, v, x float64) rgb {
	aspect := x / max(u, 1e-9)
	c := duskSky(u, v, x, aspect)
	if v > duskHorizon {
		c = sea(u, v, x, aspect)
	}
	c = town(c, u, v, x)
	return rocks(c, u, v, x, aspect)
}

// duskSky goes from indigo above to fire at the horizon, with streaks of cloud lit from below.
func duskSky(u, v, x, aspect float64) rgb {
	t := v / duskHorizon
	c := rgb{0.10, 0.07, 0.28}.mix(rgb{0.42, 0.14, 0.44}, step(0, 0.45, t)).
		mix(rgb{0.90, 0.30, 0.30}, step(0.35, 0.75, t)).
		mix(rgb{1.00, 0.60, 0.22}, step(0.65, 1, t))
	dx, dy := (u-sunU)*aspect, v-sunV
	far := math.Hypot(dx, 1.5*dy)
	c = c.add(rgb{0.9, 0.55, 0.20}, 0.55*math.Exp(-far*5.5))

	bank := clouds(x*1.6+4, v*9, 6) + 0.16*math.Sin(8*v+1.5*x)
	below := clouds(x*1.6+4, v*9+0.35, 5) + 0.16*math.Sin(8*v+1.5*x)
	cover := step(0.48, 0.66, bank) * step(1.02, 0.75, t)
	fire := rgb{1.0, 0.50, 0.22}.mix(rgb{0.95, 0.32, 0.42}, far*1.4)
	cloud := rgb{0.24, 0.10, 0.30}.mix(fire, step(-0.02, 0.14, bank-below)+0.30*math.Exp(-far*3))
	c = c.mix(cloud, cover*0.92)
	return c.mix(rgb{1, 0.95, 0.72}, step(0.050, 0.040, math.Hypot(dx, dy)))
}

// sea takes the sky's colours, broken by waves, with the sun's glitter.
func sea(u, v, x, aspect float64) rgb {
	depth := v - duskHorizon
	swell := clouds(x*7/(0.3+4*depth), v*60/(0.4+3*depth), 4) - 0.5
	mirror := duskSky(u, clamp(duskHorizon-1.3*depth+swell*(0.05+0.5*depth)), x, aspect)
	c := mirror.lit(0.72).mix(rgb{0.08, 0.06, 0.24}, 0.25+0.9*depth-1.1*swell)
	dx := (u - sunU) * aspect
	path := math.Exp(-dx * dx / (0.004 + 0.05*depth))
	spark := step(0.50, 0.66, noise(x*26/(0.4+2*depth), v*150/(0.5+2*depth))+0.25*path-0.12)
	return c.mix(rgb{1, 0.74, 0.34}, path*(0.25+0.75*spark))
}

// town is a dark headland on the left with lit windows.
func town(c rgb, u, v, x float64) rgb {
	hill := duskHorizon + 0.012 - 0.20*step(0.46, 0.0, u)*(0.7+0.5*clouds(x*4, 8, 4))
	i := math.Floor(x * 41) // a house a column
	house := 0.02 + 0.05*hash(int(i), 5)
	if hash(int(i), 11) > 0.93 {
		house += 0.06 // a tower
	}
	roof := hill - house*step(0.47, 0.40, u)
	if v < roof || v > duskHorizon+0.012 || u > 0.48 {
		return c
	}
	wall := rgb{0.13, 0.07, 0.17}.mix(rgb{0.42, 0.20, 0.24}, 0.7*hash(int(i), 3)*step(0.05, 0.4, u))
	fx, fy := x*41*3.0, v*130
	wx, wy := fx-math.Floor(fx), fy-math.Floor(fy)
	if hash(int(math.Floor(fx)), int(math.Floor(fy))) > 0.80 && math.Abs(wx-0.5) < 0.27 && math.Abs(wy-0.5) < 0.30 {
		return rgb{1, 0.80, 0.38}
	}
	return wall
}

// rocks lie in the foreground, with a rim of light towards the sun.
func rocks(c rgb, u, v, x, aspect float64) rgb {
	top := func(x, u float64) float64 {
		return 0.98 - 0.30*step(0.55, 1.0, u)*ridge(x*2.4+1, 6, 5) - 0.16*step(0.40, 0.0, u)*ridge(x*3.1+8, 2, 5)
	}
	edge := top(x, u)
	if v < edge {
		return c
	}
	relief := func(dx, dy float64) float64 { return ridge((x+dx)*6, (v+dy)*9, 5) }
	light := 5 * (relief(0, 0.012) - relief(0, -0.012))
	side := math.Copysign(1, sunU-u) * 5 * (relief(-0.012, 0) - relief(0.012, 0))
	rim := step(0.03, 0, v-edge) * step(0.75, 0.1, math.Abs(u-sunU)*aspect)
	stone := rgb{0.10, 0.06, 0.13}.mix(rgb{0.52, 0.22, 0.24}, 0.18+0.5*light+0.35*side)
	return stone.mix(rgb{1, 0.55, 0.28}, 0.55*rim+max(0, 0.25*side))
}
