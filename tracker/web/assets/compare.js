// Runs side by side: one step and one view for all pictures.
import {live} from '/assets/live.js'
import {Charts} from '/assets/chart.js'

const states = JSON.parse(document.querySelector('#runs-state').textContent)
const grid = document.querySelector('#grid'), controls = document.querySelector('#controls')
const step = document.querySelector('#step'), text = document.querySelector('#step-text')
const own = state => state.pictures[state.main] ?? []

// The slider goes through the steps of all runs; a run that has ended earlier shows its last picture.
let steps = []
const count = () => {
  const atEnd = Number(step.value) >= steps.length - 1
  steps = [...new Set(states.flatMap(s => own(s).map(p => p.step)))].sort((a, b) => a - b)
  step.max = Math.max(0, steps.length - 1)
  if (atEnd) step.value = step.max
  controls.hidden = steps.length === 0
  step.closest('label').hidden = steps.length < 2
  draw()
}
const draw = () => {
  const now = steps[step.value]
  text.textContent = now === undefined ? '' : `${now} of ${steps.at(-1)}`
  for (const s of states) {
    const list = own(s), p = list.filter(p => p.step <= now).at(-1) ?? list[0]
    const figure = grid.querySelector(`figure[data-run="${s.id}"]`), view = figure.querySelector('.view')
    if (!p) continue
    let img = view.querySelector('img')
    if (!img) {
      img = Object.assign(document.createElement('img'), {alt: `run ${s.id}`, draggable: false})
      view.replaceChildren(img)
    }
    const src = `/thumbs/${p.digest}.jpg`
    if (img.getAttribute('src') !== src) img.src = src
    figure.querySelector('.at').textContent = `step ${p.step}`
  }
  const both = grid.querySelector('#difference-view')
  if (both) both.querySelectorAll('img').forEach((img, i) => { img.src = grid.querySelectorAll('figure[data-run] img')[i]?.src ?? '' })
}
step.oninput = draw
step.value = 1e9
count()
step.value = step.max
draw()

const difference = document.querySelector('#difference')
if (difference) difference.onchange = () => { document.querySelector('#difference-view').hidden = !difference.checked }

// Zoom and place are shares of a picture, so that they are the same for all sizes.
let zoom = 1, x = 0, y = 0
const place = () => {
  x = Math.min(0, Math.max(1 - zoom, x))
  y = Math.min(0, Math.max(1 - zoom, y))
  for (const [name, value] of [['--zoom', zoom], ['--x', x], ['--y', y]]) grid.style.setProperty(name, value)
  grid.classList.toggle('zoomed', zoom > 1)
}
const zoomAt = (view, clientX, clientY, factor) => {
  const r = view.getBoundingClientRect(), px = (clientX - r.left) / r.width, py = (clientY - r.top) / r.height
  const to = Math.min(16, Math.max(1, zoom * factor))
  x = px - (px - x) * to / zoom
  y = py - (py - y) * to / zoom
  zoom = to
  place()
}
const pointers = new Map()
grid.addEventListener('wheel', e => {
  const view = e.target.closest('.view')
  if (!view || zoom === 1 && e.deltaY > 0) return
  e.preventDefault()
  zoomAt(view, e.clientX, e.clientY, Math.exp(-e.deltaY / 400))
}, {passive: false})
grid.addEventListener('pointerdown', e => {
  const view = e.target.closest('.view')
  if (!view) return
  view.setPointerCapture(e.pointerId)
  pointers.set(e.pointerId, e)
})
grid.addEventListener('pointermove', e => {
  const before = pointers.get(e.pointerId), view = e.target.closest('.view')
  if (!before || !view) return
  const r = view.getBoundingClientRect(), other = [...pointers].find(([id]) => id !== e.pointerId)?.[1]
  if (other) {
    const gap = p => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY)
    zoomAt(view, (e.clientX + other.clientX) / 2, (e.clientY + other.clientY) / 2, gap(e) / Math.max(1, gap(before)))
  } else {
    x += (e.clientX - before.clientX) / r.width
    y += (e.clientY - before.clientY) / r.height
    place()
  }
  pointers.set(e.pointerId, e)
})
for (const name of ['pointerup', 'pointercancel']) grid.addEventListener(name, e => pointers.delete(e.pointerId))
document.querySelector('#reset').onclick = () => { zoom = 1; x = y = 0; place() }

const ids = states.map(s => s.id), charts = new Charts(document.querySelector('#charts'), ids)
charts.load().then(() => live(ids, states[0].cursor, runs => {
  for (const run of runs) {
    charts.add(run.id, run.points)
    const s = states.find(s => s.id === run.id)
    for (const p of run.pictures ?? []) {
      if (!s.main) s.main = p.name
      const list = s.pictures[p.name] ??= []
      if (!list.some(o => o.step === p.step)) list.push(p)
      list.sort((a, b) => a.step - b.step)
    }
  }
  count()
}, () => location.reload()))
