// The map: what is brushed in one chart is chosen in all, in the table, and on the matrix of the experiment.
import {live, refresh, seldom} from '/assets/live.js'

for (const select of document.querySelectorAll('#choose select')) select.onchange = () => {
  if (select.name === 'x' || select.name === 'y') select.form.elements[select.name + 'best'].disabled = true // as its measure has it
  select.form.requestSubmit()
}
addEventListener('pageshow', () => { for (const select of document.querySelectorAll('#choose select')) select.disabled = false })

const box = document.querySelector('#map'), key = 'chosen ' + document.querySelector('select[name=experiment]').value
const svgNS = 'http://www.w3.org/2000/svg'
const boxes = () => [...box.querySelectorAll('#list input[name=run]')]

// draw shows what is chosen everywhere: with nothing chosen nothing is faded.
function draw() {
  const chosen = new Set(boxes().filter(b => b.checked).map(b => b.value))
  for (const e of box.querySelectorAll('[data-run]:not(tr)')) e.classList.toggle('out', chosen.size > 0 && !chosen.has(e.dataset.run))
  box.querySelector('#count').textContent = `${chosen.size} of ${boxes().length} runs chosen:`
  box.querySelector('#compare').disabled = chosen.size < 2 || chosen.size > 50
  const table = box.querySelector('#table')
  table.hidden = chosen.size === 0
  table.href = '/runs?' + new URLSearchParams({experiment: document.querySelector('select[name=experiment]').value, where: [...chosen].map(id => `id = ${id}`).join(' or ')})
  box.querySelector('#none').hidden = chosen.size === 0
  sessionStorage.setItem(key, [...chosen].join(' '))
}
function choose(wanted) {
  for (const b of boxes()) b.checked = wanted(b.value)
  draw()
}

// point is where the pointer is in the chart's own coordinates.
function point(svg, e) {
  const p = new DOMPoint(e.clientX, e.clientY).matrixTransform(svg.getScreenCTM().inverse())
  return [p.x, p.y]
}

// brush calls moved(from, to, rect) while the pointer is dragged over svg, and ended for a click.
function brush(svg, moved, click) {
  let from, rect
  svg.onpointerdown = e => {
    if (e.button !== 0) return
    from = point(svg, e)
    e.preventDefault() // a link is not to be dragged
  }
  svg.onpointermove = e => {
    if (!from) return
    const to = point(svg, e)
    if (!rect && Math.hypot(to[0] - from[0], to[1] - from[1]) < 5) return
    if (!rect) {
      svg.setPointerCapture(e.pointerId)
      rect = document.createElementNS(svgNS, 'rect')
      rect.setAttribute('class', 'brush')
    }
    moved(from, to, rect)
  }
  svg.onpointerup = svg.onpointercancel = e => {
    if (from && !rect && !e.target.closest('a')) click(from)
    if (rect) svg.addEventListener('click', e => { e.preventDefault(); e.stopPropagation() }, {capture: true, once: true})
    from = rect = undefined
  }
}
const place = (rect, x, y, width, height) => { for (const [k, v] of Object.entries({x, y, width, height})) rect.setAttribute(k, v) }

function start() {
  const scatter = box.querySelector('#scatter'), parallel = box.querySelector('#parallel')
  if (!scatter) return
  const kept = new Set((sessionStorage.getItem(key) ?? '').split(' '))
  const points = new Map([...parallel.querySelectorAll('polyline')].map(l => [l.dataset.run, l.getAttribute('points').split(' ').map(p => p.split(',').map(Number))]))
  const limits = new Map() // of axes: their range in px, and the rectangle that shows it
  const clear = svg => svg.querySelectorAll('rect').forEach(r => r.remove())

  brush(scatter, ([x0, y0], [x1, y1], rect) => {
    if (!rect.parentNode) { clear(scatter); clear(parallel); limits.clear(); scatter.append(rect) }
    const left = Math.min(x0, x1), top = Math.min(y0, y1), right = Math.max(x0, x1), bottom = Math.max(y0, y1)
    place(rect, left, top, right - left, bottom - top)
    const inside = new Set([...scatter.querySelectorAll('circle')].filter(c => {
      const x = c.cx.baseVal.value, y = c.cy.baseVal.value
      return x >= left && x <= right && y >= top && y <= bottom
    }).map(c => c.dataset.run))
    choose(run => inside.has(run))
  }, () => none())

  const axes = [...parallel.querySelectorAll('[data-axis] .axis')].map(l => l.x1.baseVal.value)
  const nearest = x => axes.reduce((best, a) => Math.abs(a - x) < Math.abs(best - x) ? a : best)
  const within = () => choose(run => [...limits].every(([at, [low, high]]) => points.get(run).some(([x, y]) => Math.abs(x - at) < 0.1 && y >= low && y <= high)))
  brush(parallel, ([x0, y0], [, y1], rect) => {
    const at = nearest(x0), old = limits.get(at)
    if (!rect.parentNode) { clear(scatter); old?.[2].remove(); parallel.append(rect) }
    const low = Math.min(y0, y1), high = Math.max(y0, y1)
    place(rect, at - 9, low, 18, high - low)
    limits.set(at, [low, high, rect])
    within()
  }, ([x]) => {
    limits.get(nearest(x))?.[2].remove()
    limits.delete(nearest(x))
    limits.size ? within() : none()
  })

  function none() {
    clear(scatter); clear(parallel); limits.clear()
    choose(() => false)
  }
  box.querySelector('#none').onclick = none
  box.querySelector('#list').onchange = () => { clear(scatter); clear(parallel); limits.clear(); draw() }
  choose(run => kept.has(run))
}
start()

const again = seldom(async () => { await refresh('#map'); start() }, 2000)
live([], box.dataset.cursor, runs => { if (runs.some(r => r.status !== 'running' || r.pictures?.length)) again() }, again)
