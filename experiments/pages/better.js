// Which is better: keys, and a page that follows the runs that end.
import {live, refresh, seldom} from '/assets/live.js'

for (const select of document.querySelectorAll('#choose select')) select.onchange = () => select.form.requestSubmit()

document.addEventListener('keydown', e => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.repeat || e.target.matches('input, select, textarea') || !/^[0-4u]$/.test(e.key)) return
  if (e.key === 'u') return document.querySelector('#back button')?.click()
  const buttons = [...document.querySelectorAll('#options button')]
  const same = buttons.pop()
  ;(e.key === '0' ? same : buttons[e.key - 1])?.click()
})

// Only where a run has ended: what the person looks at is not to change otherwise.
const box = document.querySelector('#better')
const again = seldom(() => refresh('#better'), 1000)
live([], box.dataset.cursor, runs => { if (runs.some(r => r.status === 'finished')) again() }, again)
