// The table of runs: choosing, and rows that follow what changes.
import {live, refresh, seldom, short} from '/assets/live.js'

const table = document.querySelector('#runs'), count = document.querySelector('#count'), all = document.querySelector('#all')
const boxes = () => [...table.querySelectorAll('tbody input[name=run]')]
const say = () => {
  const n = boxes().filter(b => b.checked).length
  count.textContent = n === 1 ? '1 run chosen:' : `${n} runs chosen:`
  all.checked = n > 0 && n === boxes().length
  all.indeterminate = n > 0 && !all.checked
  for (const b of document.querySelectorAll('#bar button')) b.disabled = b.id === 'compare' ? n < 2 || n > 50 : n === 0
}
table.addEventListener('change', e => {
  if (e.target === all) boxes().forEach(b => { b.checked = all.checked })
  say()
})
say()

const usual = document.querySelector('.columns').dataset.usual.split(',').sort().join()
// An address without what is empty or as it would be anyway.
document.querySelector('#query').addEventListener('submit', e => {
  for (const input of e.target.elements) if (input.name && input.type !== 'checkbox' && input.value === '') input.disabled = true
  const columns = [...e.target.elements].filter(i => i.name === 'column')
  if (columns.filter(i => i.checked).map(i => i.value).sort().join() === usual) for (const input of columns) input.disabled = true
})
document.querySelector('#chosen').addEventListener('submit', e => {
  if (e.submitter?.id === 'compare') for (const input of e.target.elements) if (input.name !== 'run') input.disabled = true
})
addEventListener('pageshow', () => {
  for (const form of document.querySelectorAll('#query, #chosen')) for (const input of form.elements) input.disabled = false
  say()
})

// value is a field of a run, as the server shows it; undefined for those that only the server knows.
function value(run, field) {
  const [, kind, name, which] = field.match(/^(params|metrics|tags)\.([A-Za-z0-9_]+)(?:\.(last|min|max))?$/) ?? []
  if (field === 'status') return run.status
  if (kind === 'metrics') return run.metrics[name] && short(run.metrics[name][which ?? 'last'])
}

const again = seldom(async () => { await refresh('#rows'); say() }, 1000)
live([], table.dataset.cursor, runs => {
  for (const run of runs) {
    const row = table.querySelector(`tr[data-run="${run.id}"]`)
    if (!row || run.pictures?.length || run.status !== row.querySelector('[data-field=status]').textContent) { again(); continue }
    for (const cell of row.querySelectorAll('[data-field]')) {
      const text = value(run, cell.dataset.field)
      if (text !== undefined && cell.textContent !== text) cell.textContent = text
    }
  }
}, again)
