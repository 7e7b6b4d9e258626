// The page of a run: before and after, its steps, its curves; all follow what it logs.
import {live, refresh, seldom} from '/assets/live.js'
import {Charts} from '/assets/chart.js'
import {sliding} from '/assets/slider.js'

const state = JSON.parse(document.querySelector('#run-state').textContent)
const box = document.querySelector('#before-after')
const pictures = state.pictures

if (box) {
  const show = sliding(box), before = document.querySelector('#before'), other = document.querySelector('#other')
  const step = document.querySelector('#step'), text = document.querySelector('#step-text')
  let own = pictures[state.main], last = own.length - 1
  const source = (p, list, full) => p === list.at(-1) && full ? full : `/thumbs/${p.digest}.jpg`
  const against = {} // what the other side may be, by the value of its option
  const option = (key, label, picture) => {
    if (!(key in against)) before.append(new Option(label, key))
    against[key] = picture
  }
  for (const [name, list] of Object.entries(pictures)) {
    if (name !== state.main) option(name, name, {src: source(list.at(-1), list, state.full[name]), text: name})
  }
  const draw = () => {
    const p = own[last]
    if (own.length > 1) option('first', `step ${own[0].step}`, {src: `/thumbs/${own[0].digest}.jpg`, text: `step ${own[0].step}`})
    const now = {src: source(p, own, state.full[state.main]), text: own.length > 1 ? `${p.name}, step ${p.step}` : p.name}
    show(against[before.value] ?? now, now)
    step.max = own.length - 1
    step.value = last
    step.closest('label').hidden = own.length < 2
    text.textContent = `${p.step} of ${own.at(-1).step}`
    step.setAttribute('aria-valuetext', `step ${p.step}`)
  }
  step.oninput = () => { last = Number(step.value); draw() }
  before.onchange = draw
  other.onchange = async () => {
    const id = other.value.trim()
    if (!/^\d+$/.test(id)) return
    const answer = await fetch(`/api/runs/${id}`)
    const run = answer.ok && await answer.json()
    const p = run && (run.pictures ?? []).filter(p => p.name === state.main).at(-1)
    other.setAttribute('aria-invalid', !p)
    if (!p) return
    other.removeAttribute('aria-invalid')
    const full = run.artifacts?.some(a => a.name === state.main)
    option('run ' + id, 'run ' + id, {src: full ? `/runs/${id}/files/${encodeURIComponent(state.main)}?show` : `/thumbs/${p.digest}.jpg`, text: `run ${id}`})
    before.value = 'run ' + id
    draw()
  }
  box.hidden = false
  draw()
  state.add = list => {
    const atEnd = last === own.length - 1
    for (const p of list) if (p.name === state.main && !own.some(o => o.step === p.step)) own.push(p)
    own.sort((a, b) => a.step - b.step)
    if (atEnd) last = own.length - 1
    draw()
  }
}

const charts = new Charts(document.querySelector('#charts'), [state.id])
const facts = seldom(() => refresh('[data-live]'), 1500)
charts.load().then(() => live([state.id], state.cursor, runs => {
  for (const run of runs) {
    charts.add(run.id, run.points)
    if (run.pictures?.length) state.add ? state.add(run.pictures) : location.reload()
    if (run.status !== state.status && run.status === 'finished' && box) location.reload() // the output at full size is there now
    state.status = run.status
  }
  facts()
}, () => location.reload()))
