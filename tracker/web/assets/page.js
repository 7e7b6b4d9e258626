// What every page does: keys, and parts that follow what changes.
const help = document.querySelector('#help')
document.querySelector('#keys').onclick = () => help.showModal()

const rows = () => [...document.querySelectorAll('[data-row]')]
let at = -1
function go(to) {
  const list = rows()
  if (!list.length) return
  at = Math.max(0, Math.min(list.length - 1, to))
  list.forEach((row, i) => row.classList.toggle('at', i === at))
  const link = list[at].querySelector('a[data-open], h2 a')
  link?.focus({preventScroll: true})
  list[at].scrollIntoView({block: 'nearest'})
}
// Enter in a field presses the button beside it, and not the first of the form.
document.addEventListener('keydown', e => {
  if (e.key !== 'Enter' || e.isComposing || !e.target.matches?.('.group input')) return
  e.preventDefault()
  e.target.closest('.group').querySelector('button').click()
})
const keys = {
  j: () => go(at + 1),
  k: () => go(at - 1),
  x: () => rows()[at]?.querySelector('input[type=checkbox]')?.click(),
  c: () => document.querySelector('#compare')?.click(),
  '/': () => document.querySelector('#where')?.focus(),
  '?': () => help.showModal(),
}
document.addEventListener('keydown', e => {
  const typing = e.target.matches?.('input:not([type=checkbox]):not([type=range]), textarea, select')
  if (typing && e.key === 'Escape') e.target.blur()
  if (typing || e.ctrlKey || e.metaKey || e.altKey || help.open || !keys[e.key]) return
  e.preventDefault()
  keys[e.key]()
})
