// Curves of runs, one chart a metric, drawn by uPlot. Where that was not built in, nothing is drawn, and the page says so.
let uPlot
const colours = ['#3b7ddd', '#d9622b', '#2c9e5b', '#b0479b', '#8a7a12', '#12919e', '#c9374a', '#7a5bd6', '#5f7d1f', '#8c6242']
const dark = matchMedia('(prefers-color-scheme: dark)')
const sync = 'step'

async function library() {
  if (uPlot) return true
  try {
    uPlot = (await import('/assets/dist/uPlot.esm.js')).default
  } catch {
    return false
  }
  document.head.append(Object.assign(document.createElement('link'), {rel: 'stylesheet', href: '/assets/dist/uPlot.min.css'}))
  return true
}

// smooth is the exponential moving average, without the pull of its beginning to 0 (Kingma and Ba 2015, section 3).
function smooth(values, weight) {
  let sum = 0, share = 0
  return values.map(v => {
    if (v == null) return v
    sum = weight * sum + (1 - weight) * v
    share = weight * share + (1 - weight)
    return sum / share
  })
}

export class Charts {
  constructor(box, runs) {
    this.box = box
    this.runs = runs
    this.curves = new Map() // by metric, by run, by step
    this.drawn = new Map() // charts by metric
    this.log = false
    this.weight = 0
  }

  // load reads the curves and draws them.
  async load() {
    if (!await library()) return
    const answer = await fetch('/api/series?' + new URLSearchParams([...this.runs.map(id => ['run', id]), ['points', this.runs.length > 10 ? 200 : 1000]]))
    if (!answer.ok) return
    for (const s of await answer.json()) this.set(s.metric, s.run, s.steps.map((step, i) => [step, s.values[i]]))
    this.options()
    this.draw()
    dark.addEventListener('change', () => this.draw())
    new ResizeObserver(() => { for (const c of this.drawn.values()) c.setSize({width: this.width(), height: 190}) }).observe(this.box)
  }

  set(metric, run, points) {
    if (!this.curves.has(metric)) this.curves.set(metric, new Map())
    const byRun = this.curves.get(metric)
    if (!byRun.has(run)) byRun.set(run, new Map())
    for (const [step, value] of points) byRun.get(run).set(step, Number(value))
  }

  // add adds new points, by metric.
  add(run, points) {
    if (!uPlot) return
    for (const [metric, list] of Object.entries(points)) {
      this.set(metric, run, list)
      const chart = this.drawn.get(metric)
      if (chart && chart.series.length === this.curves.get(metric).size + 1) chart.setData(this.data(metric))
      else this.drawOne(metric)
    }
  }

  width() { return Math.max(200, this.box.clientWidth) }

  data(metric) {
    const byRun = [...this.curves.get(metric)].sort(([a], [b]) => this.runs.indexOf(a) - this.runs.indexOf(b)).map(([, c]) => c)
    const steps = [...new Set(byRun.flatMap(c => [...c.keys()]))].sort((a, b) => a - b)
    const ok = v => Number.isFinite(v) && (!this.log || v > 0) ? v : null
    return [steps, ...byRun.map(c => { const v = steps.map(s => c.has(s) ? ok(c.get(s)) : undefined); return this.weight ? smooth(v, this.weight) : v })]
  }

  options() {
    if (!this.curves.size) return
    const bar = document.createElement('div')
    bar.className = 'chart-options'
    bar.innerHTML = '<label class="check"><input type="checkbox" class="log"> logarithmic</label><label class="check">smoothing <input type="range" class="smooth" min="0" max="0.98" step="0.02" value="0"></label>'
    bar.querySelector('.log').onchange = e => { this.log = e.target.checked; this.draw() }
    bar.querySelector('.smooth').oninput = e => { this.weight = Number(e.target.value); for (const [m, c] of this.drawn) c.setData(this.data(m)) }
    this.box.before(bar)
  }

  draw() { for (const metric of [...this.curves.keys()].sort()) this.drawOne(metric) }

  drawOne(metric) {
    const one = [...this.curves.get(metric).values()]
    if (one.every(c => c.size < 2)) return // a number, which the tables have
    const style = getComputedStyle(document.body), ink = style.color, line = dark.matches ? '#373b44' : '#d5d8de'
    const axis = {stroke: ink, grid: {stroke: line, width: 1}, ticks: {stroke: line, width: 1}, font: '12px system-ui'}
    const runs = [...this.curves.get(metric).keys()].sort((a, b) => this.runs.indexOf(a) - this.runs.indexOf(b))
    const several = this.runs.length > 1
    this.drawn.get(metric)?.destroy()
    let holder = this.box.querySelector(`[data-metric="${CSS.escape(metric)}"]`)
    if (!holder) {
      holder = document.createElement('div')
      holder.className = 'chart'
      holder.dataset.metric = metric
      holder.append(Object.assign(document.createElement('h3'), {textContent: metric}))
      this.box.append(holder)
    }
    this.drawn.set(metric, new uPlot({
      width: this.width(), height: 190, cursor: {sync: {key: sync}}, legend: {live: true},
      scales: {x: {time: false}, y: {distr: this.log ? 3 : 1}},
      axes: [axis, {...axis, size: 64, values: (u, ticks) => ticks.map(v => v == null ? '' : Number(v.toPrecision(4)).toString())}],
      series: [{label: 'step'}, ...runs.map((id) => ({label: several ? `run ${id}` : metric, stroke: colours[this.runs.indexOf(id) % colours.length], width: 1.5, spanGaps: true, value: (u, v) => v == null ? '–' : v.toPrecision(5)}))],
    }, this.data(metric), holder))
  }
}
