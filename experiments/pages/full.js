// A picture at full size is made by the server and saved. Until it comes the page says for how long it has been made. Who leaves the
// page ends that.
document.addEventListener('submit', async e => {
  const form = e.target
  if (!form.matches('.full-size')) return
  e.preventDefault()
  const button = form.querySelector('button'), said = form.querySelector('output'), began = Date.now()
  const tell = () => { said.textContent = `making it, ${Math.round((Date.now() - began) / 1000)} s …` }
  const ticks = setInterval(tell, 1000)
  button.disabled = true
  tell()
  try {
    const answer = await fetch(form.action, {method: 'POST', body: new URLSearchParams(new FormData(form))})
    if (!answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html')
      throw new Error(page.querySelector('.fault')?.textContent ?? `no picture: ${answer.status}`)
    }
    const link = document.createElement('a')
    link.href = URL.createObjectURL(await answer.blob())
    link.download = form.dataset.name
    link.click()
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000) // when it has been saved
    said.textContent = `saved as ${link.download}`
  } catch (fault) {
    said.textContent = fault.message
  } finally {
    clearInterval(ticks)
    button.disabled = false
  }
})
