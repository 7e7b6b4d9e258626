// The matrix: one step for all pictures, and before and after where a picture is clicked.
import {sliding} from '/assets/slider.js'
import {live, refresh, seldom} from '/assets/live.js'

const box = document.querySelector('#matrix'), view = document.querySelector('#view'), before = document.querySelector('#before')
const controls = document.querySelector('#controls'), step = document.querySelector('#step'), text = document.querySelector('#step-text')
const thumb = digest => `/thumbs/${digest}.jpg`
let states, steps = [], open // the run in the dialog

for (const select of document.querySelectorAll('#choose select')) select.onchange = () => select.form.requestSubmit()

// at is the picture of a run at the slider's step; one that has ended earlier has its last.
const at = s => s.steps.filter(([n]) => n <= steps[step.value]).at(-1) ?? s.steps[0]
const source = (s, p) => s.full && p === s.steps.at(-1) ? `/runs/${s.id}/files/output?show` : thumb(p[1])

function read() {
  states = new Map(JSON.parse(document.querySelector('#runs-state').textContent).map(s => [s.id, s]))
  const atEnd = Number(step.value) >= steps.length - 1
  steps = [...new Set([...states.values()].flatMap(s => s.steps.map(([n]) => n)))].sort((a, b) => a - b)
  step.max = Math.max(0, steps.length - 1)
  if (atEnd) step.value = step.max
  controls.hidden = steps.length < 2
  const chosen = (sessionStorage.getItem('chosen ' + document.querySelector('select[name=experiment]').value) ?? '').split(' ').filter(id => id) // on the map
  for (const a of box.querySelectorAll('a.shot')) a.classList.toggle('out', chosen.length > 0 && !chosen.includes(a.dataset.run))
  draw()
}

function draw() {
  text.textContent = steps.length ? `${steps[step.value]} of ${steps.at(-1)}` : ''
  step.setAttribute('aria-valuetext', `step ${steps[step.value]}`)
  for (const a of box.querySelectorAll('a.shot')) {
    const s = states.get(Number(a.dataset.run)), p = s && at(s), img = a.querySelector('img')
    if (p && img && img.getAttribute('src') !== thumb(p[1])) img.src = thumb(p[1])
  }
}
step.oninput = draw

const show = sliding(document.querySelector('#slider'))
function look() {
  const s = states.get(open), p = at(s), now = {src: source(s, p), text: `run ${s.id}, step ${p[0]}`}
  document.querySelector('#view-title').textContent = `Run ${s.id}: ${s.text}`
  document.querySelector('#open').href = `/runs/${s.id}`
  const other = states.get(Number(before.value)), q = other && at(other)
  const digest = inputs[before.value]
  show(digest ? {src: thumb(digest), text: before.value} : q ? {src: source(other, q), text: `run ${other.id}`} : now, now)
}
const inputs = JSON.parse(document.querySelector('#inputs').textContent)
const seen = () => [...box.querySelectorAll('a[data-run]')].map(a => Number(a.dataset.run)).filter(id => states.get(id)?.steps.length)
box.addEventListener('click', e => {
  const a = e.target.closest('a[data-run]'), id = Number(a?.dataset.run)
  if (!a || e.ctrlKey || e.metaKey || e.shiftKey || !states.get(id)?.steps.length) return
  e.preventDefault()
  open = id
  const was = before.value
  before.replaceChildren(...Object.keys(inputs).filter(k => inputs[k]).map(k => new Option(k, k)), ...seen().map(id => new Option(`run ${id}: ${states.get(id).text}`, id)))
  if (was && [...before.options].some(o => o.value === was)) before.value = was
  look()
  view.showModal()
})
before.onchange = look
view.addEventListener('keydown', e => {
  const by = {ArrowLeft: -1, ArrowRight: 1}[e.key]
  if (!by || e.target.matches('input, select')) return
  const list = seen()
  open = list[(list.indexOf(open) + by + list.length) % list.length]
  look()
})

read()
const again = seldom(async () => { await refresh('#matrix'); read() }, 2000)
live([], box.dataset.cursor, again, again)
