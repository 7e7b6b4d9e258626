// The weight map on the page of a run: what the map makes at the slider's ratio, over the content picture.
import {sliding} from '/assets/slider.js'

const state = JSON.parse(document.querySelector('#weight-map-state').textContent)
const box = document.querySelector('#weight-map'), show = sliding(box)
const bar = document.querySelector('#ratio'), number = document.querySelector('#ratio-number'), text = document.querySelector('#ratio-text')
const within = v => Math.min(Math.max(v, state.from), state.to)
Object.assign(bar, {min: Math.log10(state.from), max: Math.log10(state.to), value: Math.log10(state.start)})
number.value = Number(state.start.toPrecision(3))

// The server makes one picture at a time; what the slider passed meanwhile is left out.
const after = box.querySelector('.slider .after')
const content = {src: state.content && `/thumbs/${state.content}.jpg`, text: 'content'}
const ratio = () => within(Number(number.value) || state.start)
let asked = 0
function ask() {
  if (asked) return
  asked = ratio()
  show(content, {src: `/weight-map/picture?run=${state.run}&ratio=${asked}`, text: `ratio ${asked}`})
}
after.addEventListener('load', () => {
  const of = box.dataset.shown = asked
  asked = 0
  if (of !== ratio()) ask()
})
after.addEventListener('error', async () => {
  asked = 0
  const answer = await fetch(after.src)
  if (!answer.ok) text.textContent = await answer.text()
})
function update() {
  const r = ratio(), far = p => Math.abs(Math.log(p.ratio / r))
  const nearest = state.points.length && state.points.reduce((a, b) => far(b) < far(a) ? b : a)
  text.textContent = nearest ? `at ${nearest.ratio}: ${nearest.text}` : ''
  document.querySelector('#ratio-apply').textContent = state.apply.replaceAll('RATIO', r)
  for (const field of document.querySelectorAll('#weight-map [name=ratio]')) field.value = r
  document.querySelector('#ratio-full').dataset.name = `ratio_${r}.png`
  ask()
}
bar.oninput = () => { number.value = Number(within(10 ** bar.value).toPrecision(3)); update() }
number.oninput = () => { if (number.value > 0) { bar.value = Math.log10(number.value); update() } }
box.hidden = false
update()
