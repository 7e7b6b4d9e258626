package sample

import "math"

// The shore of the lake and the horizon, from the top.
const dayHorizon, dayShore = 0.54, 0.76

// day is a mountain lake on a summer morning, the light coming from the left.
func day(u, v, x float64) rgb {
	c := dayLand(u, v, x)
	if shore := dayShore + 0.05*(clouds(x*2.5, 3, 3)-0.5) - 0.07*u; v > shore {
		c = meadow(x, v, v-shore)
	} else if v > dayHorizon {
		c = lake(u, v, x)
	}
	c = cabin(c, u, v)
	return firs(c, x, v, u)
}

// dayLand is what stands above the horizon, and what the lake mirrors.
func dayLand(u, v, x float64) rgb {
	sky := rgb{0.20, 0.45, 0.82}.mix(rgb{0.74, 0.87, 0.97}, math.Pow(v/dayHorizon, 1.3))
	puffs := clouds(x*2.6+3, v*6.5+1, 6)
	cover := step(0.50, 0.68, puffs+0.10*math.Sin(6*u+1))
	shade := step(-0.05, 0.10, puffs-clouds(x*2.6+2.85, v*6.5+0.8, 5)) // lighter towards the sun
	c := sky.mix(rgb{0.70, 0.76, 0.84}.mix(rgb{1, 0.99, 0.96}, shade), cover)

	for _, range_ := range []struct{ base, height, scale, seed, haze, snow float64 }{
		{0.52, 0.56, 1.5, 3.7, 0.30, 0.27},
		{0.54, 0.30, 2.6, 9.4, 0.16, 0.10},
	} {
		crest := range_.base - range_.height*math.Pow(ridge(x*range_.scale+range_.seed, range_.seed, 5), 1.6)
		if v < crest {
			continue
		}
		// The slope of a relief gives light and shadow.
		relief := func(dx float64) float64 {
			return ridge((x+dx)*range_.scale*3+range_.seed, v*range_.scale*4, 5)
		}
		light := 0.72 + 7*(relief(0.006)-relief(-0.006))
		rock := rgb{0.45, 0.42, 0.40}.mix(rgb{0.30, 0.36, 0.24}, step(range_.snow, dayHorizon, v))
		snow := step(0.03, -0.03, v-range_.snow+0.10*(clouds(x*9, v*9, 4)-0.5))
		rock = rock.mix(rgb{1.05, 1.06, 1.1}, snow).lit(min(max(light, 0.35), 1.1))
		c = rock.mix(rgb{0.62, 0.75, 0.90}, range_.haze)
	}
	// Wooded hills down to the water, with the tips of trees against the light.
	tips := 0.018 * math.Abs(noise(x*70, 1)-0.5)
	if hill := 0.545 - 0.09*clouds(x*2.2+5, 4, 4) - tips; v > hill {
		wood := rgb{0.10, 0.21, 0.12}.mix(rgb{0.30, 0.44, 0.18}, clouds(x*30, v*55, 4)*1.6-0.35)
		c = wood.mix(rgb{0.55, 0.68, 0.78}, 0.18*step(0.10, 0, v-hill))
	}
	return c
}

// lake mirrors the land through ripples that grow towards the viewer.
func lake(u, v, x float64) rgb {
	depth := v - dayHorizon
	ripple := (clouds(x*9, v*120, 3) - 0.5) * (0.01 + 0.22*depth)
	mirror := dayLand(u, max(dayHorizon-1.15*depth+ripple, 0), x+0.3*ripple)
	c := mirror.lit(0.86).mix(rgb{0.07, 0.33, 0.42}, 0.30+0.8*depth)
	glint := step(0.70, 0.80, noise(x*40, v*260)) * step(0.02, 0.16, depth) * 0.35
	return c.mix(rgb{0.85, 0.95, 1}, glint*clouds(x*5, v*14, 2))
}

// meadow is grass with flowers, larger in front; deep is how far below the shore a point lies.
func meadow(x, v, deep float64) rgb {
	near := 0.35 + 3*deep
	blades := clouds(x*60/near, v*28/near, 4)
	c := rgb{0.16, 0.32, 0.07}.mix(rgb{0.58, 0.70, 0.20}, 1.5*blades-0.25)
	c = c.lit(0.75+0.5*clouds(x*5, v*8, 3)).mix(rgb{0.62, 0.58, 0.40}, step(0.02, 0, deep)*0.8) // a strip of sand
	cell := 0.022 * near
	i, j := math.Floor(x/cell), math.Floor(v/cell)
	h := hash(int(i), int(j)+1000)
	if h > 0.72 && deep > 0.03 {
		dx, dy := x/cell-i-0.3-0.4*hash(int(i), 7+int(j)), v/cell-j-0.3-0.4*hash(int(i)+9, int(j))
		petals := []rgb{{0.92, 0.20, 0.16}, {0.98, 0.86, 0.20}, {0.97, 0.96, 0.94}, {0.62, 0.36, 0.78}}
		c = c.mix(petals[int(h*1e4)%4], step(0.30, 0.18, math.Hypot(dx, dy)))
	}
	return c
}

// cabin stands at the water on the right: a red roof, timber, and a window.
func cabin(c rgb, u, v float64) rgb {
	x, y := (u-0.735)/0.085, (v-0.615)/0.085 // the wall is [-1,1] x [0,1]
	grain := 0.85 + 0.3*noise(x*3, y*22)
	switch {
	case y > -0.85 && y < 0.08 && math.Abs(x) < 1.2*(y+0.85)/0.93:
		return rgb{0.66, 0.20, 0.14}.lit(0.8 + 0.3*noise(x*14, y*9) - 0.12*x)
	case y >= 0.08 && y < 1 && math.Abs(x) < 0.95:
		if math.Abs(x-0.25) < 0.2 && math.Abs(y-0.5) < 0.2 {
			return rgb{0.16, 0.20, 0.26}
		}
		return rgb{0.52, 0.36, 0.22}.lit(grain * (1.05 - 0.25*x))
	}
	return c
}

// firs frame the picture: a few large trees on the left, smaller ones on the right shore.
func firs(c rgb, x, v, u float64) rgb {
	aspect := x / max(u, 1e-9)
	for k, t := range []struct{ u, foot, height float64 }{
		{0.93, 0.74, 0.20}, {0.98, 0.75, 0.26}, {0.86, 0.735, 0.15}, {0.24, 0.83, 0.34}, {0.035, 0.90, 0.66}, {0.135, 0.93, 0.54},
	} {
		dx, up := x-t.u*aspect, (t.foot-v)/t.height // 0 at the foot, 1 at the tip
		if up < 0 || up > 1 {
			continue
		}
		if up < 0.09 && math.Abs(dx) < 0.014*t.height {
			c = rgb{0.25, 0.17, 0.10}
		}
		tier := math.Mod(up*11+0.15*math.Sin(dx*90/t.height), 1) // branches droop and taper
		width := t.height * 0.21 * (1 - up) * (1.15 - 0.55*tier + 0.35*(noise(dx*60/t.height, up*44+float64(9*k))-0.5))
		if up > 0.05 && math.Abs(dx) < width {
			light := 0.5 - 0.45*dx/max(width, 1e-9) + 0.5*(clouds(dx*40/t.height, up*40+float64(k), 3)-0.5) - 0.35*tier
			c = rgb{0.03, 0.10, 0.07}.mix(rgb{0.20, 0.36, 0.14}, light)
		}
	}
	return c
}
