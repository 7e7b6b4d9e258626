// live calls changed with the runs that have changed, each with its new points and pictures, from the event since on: those of the
// runs with these ids, or of all where there is none. Where too much was missed it calls reset, which reads everything anew.
// While the page is hidden nothing comes; then it goes on where it was.
export function live(ids, since, changed, reset) {
  let source, last = since
  const open = () => {
    source = new EventSource('/events?' + new URLSearchParams([...ids.map(id => ['run', id]), ['since', last]]))
    source.addEventListener('changes', e => { last = e.lastEventId; changed(JSON.parse(e.data)) })
    source.addEventListener('reset', e => { last = e.lastEventId; reset() })
    source.onerror = () => { // the browser gives up on some errors, and would ask for the old event
      source.close()
      setTimeout(() => { if (!document.hidden && source.readyState === EventSource.CLOSED) open() }, 1000)
    }
  }
  const follow = () => { if (document.hidden) source?.close(); else if (!source || source.readyState === EventSource.CLOSED) open() }
  document.addEventListener('visibilitychange', follow)
  addEventListener('pagehide', () => source?.close())
  follow()
}

// refresh gets this page again and replaces the elements that selector finds, unless the person is typing there.
export async function refresh(selector) {
  const answer = await fetch(location.href)
  if (!answer.ok) return
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html')
  for (const old of document.querySelectorAll(selector)) {
    const fresh = page.getElementById(old.id)
    if (!fresh || fresh.innerHTML === old.innerHTML || old.contains(document.activeElement) && document.activeElement.matches('input:not([type=checkbox]), select')) continue
    const chosen = new Set([...old.querySelectorAll('input:checked')].map(i => i.value)), open = [...old.querySelectorAll('details')].map(d => d.open)
    old.replaceChildren(...fresh.childNodes)
    for (const i of old.querySelectorAll('input[type=checkbox]')) i.checked = chosen.has(i.value)
    old.querySelectorAll('details').forEach((d, i) => { d.open = open[i] })
  }
}

// seldom is f, called at most once in ms milliseconds, and once more after the last call.
export function seldom(f, ms) {
  let timer
  return () => { timer ??= setTimeout(() => { timer = undefined; f() }, ms) }
}

// short is a number with five significant digits, as the server writes it.
export function short(v) {
  v = Number(v)
  if (!Number.isFinite(v)) return String(v)
  if (Math.abs(v) >= 1e5 && Number.isInteger(v)) return String(v)
  const text = v.toPrecision(5)
  return text.includes('e') ? text : String(Number(text))
}
