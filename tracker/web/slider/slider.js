// sliding shows pictures under the slider in box, which is dragged by its range or on the picture itself. show takes before and
// after: {src, text}.
function sliding(box) {
  const slider = box.querySelector('.slider'), range = box.querySelector('input.border')
  const [after, before] = slider.querySelectorAll('img'), [left, right] = slider.querySelectorAll('span')
  const at = () => slider.style.setProperty('--at', range.value + '%')
  const drag = e => { if (e.buttons & 1) { const r = slider.getBoundingClientRect(); range.value = 100 * (e.clientX - r.left) / r.width; at() } }
  slider.onpointerdown = e => { slider.setPointerCapture(e.pointerId); drag(e) }
  slider.onpointermove = drag
  range.oninput = at
  range.onpointerup = () => range.blur() // so that the arrow keys are the page's again
  after.onload = () => box.style.setProperty('--ratio', after.naturalWidth / after.naturalHeight)
  at()
  return (a, b) => {
    before.src = a.src; before.alt = left.textContent = a.text
    after.src = b.src; after.alt = right.textContent = b.text
  }
}
