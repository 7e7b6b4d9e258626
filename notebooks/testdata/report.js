// The report's page in Chromium, opened as a file: pictures side by side, keys, sorted tables, the command; light and dark, narrow
// and wide. Usage: node report.js CHROMIUM FOLDER, with few.html, grid.html and many.html. Screenshots go to FOLDER.
const {chromium} = require("playwright-core")
const [executablePath, folder] = process.argv.slice(2)

function check(ok, what) {
  if (!ok) throw new Error(what)
  console.log("ok:", what)
}

// contrast is WCAG's of two colours, each [r, g, b] of 0 to 255.
const luminance = c => c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0)
const contrast = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((a, b) => b - a); return (x + 0.05) / (y + 0.05) }

async function main() {
  const browser = await chromium.launch({executablePath, args: ["--headless", "--no-sandbox", "--disable-gpu"]})
  const foreign = []
  for (const colorScheme of ["light", "dark"]) for (const width of [400, 1600]) {
    const context = await browser.newContext({colorScheme, viewport: {width, height: 1000}})
    const page = await context.newPage()
    page.setDefaultTimeout(300_000)
    page.on("request", r => { if (!/^(file|data|blob):/.test(r.url())) foreign.push(r.url()) })
    page.on("pageerror", e => { throw e })
    const as = `${colorScheme}-${width}`
    for (const name of ["few", "grid", "many"]) {
      const began = Date.now()
      await page.goto(`file://${folder}/${name}.html`)
      await page.locator("table.sort").first().waitFor()
      const memory = await page.evaluate(() => performance.memory.usedJSHeapSize)
      console.log(`${name} ${as}: opened in ${Date.now() - began} ms, ${(memory / 1e6).toFixed(0)} MB of scripts' heap, ${await page.locator(".open").count()} outputs`)
      check(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name} ${as}: the page is not wider than the window`)
      if (name !== "many") await page.screenshot({path: `${folder}/${name}-${as}.png`, fullPage: true})
      await page.locator("section h3").first().scrollIntoViewIfNeeded()
      if (name === "many") await page.screenshot({path: `${folder}/${name}-${as}.png`})

      // Charts: what is drawn can be told from the page, all texts are within the picture, axes have three numbers.
      const charts = await page.evaluate(() => {
        const rgb = colour => { const c = document.createElement("canvas").getContext("2d"); c.fillStyle = colour; c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data.slice(0, 3)] }
        return {page: rgb(getComputedStyle(document.body).backgroundColor), charts: [...document.querySelectorAll(".charts svg")].map(svg => {
          const box = svg.getBoundingClientRect(), texts = [...svg.querySelectorAll("text")]
          return {
            colours: [...new Set([...svg.querySelectorAll("path")].filter(p => !/opacity/.test(p.getAttribute("style"))).map(p => { const s = getComputedStyle(p); return s.stroke === "none" ? s.fill : s.stroke }))].map(rgb),
            outside: texts.filter(t => { const r = t.getBoundingClientRect(); return r.left < box.left - 1 || r.right > box.right + 1 || r.top < box.top - 1 || r.bottom > box.bottom + 1 }).map(t => t.textContent),
            ticks: texts.map(t => t.textContent).filter(t => /^[\d.e+-]+$/.test(t)),
          }
        })}
      })
      for (const c of charts.charts) {
        check(c.outside.length === 0, `${name} ${as}: no label is clipped ${c.outside}`)
        check(c.colours.length > 0 && c.colours.every(colour => contrast(colour, charts.page) >= 3), `${name} ${as}: contrast of lines on the page: ${c.colours.map(colour => contrast(colour, charts.page).toFixed(1))}`)
        check(c.ticks.length >= 6, `${name} ${as}: numbers at the axes: ${c.ticks}`)
      }
      check(["0", "25", "50"].every(t => charts.charts[1].ticks.includes(t)), "steps are 0, 25, 50")

      // An opened picture, beside the content picture and beside another output.
      const open = page.locator("section .open"), dialog = page.locator("dialog")
      await open.nth(1).click()
      const heading = () => dialog.locator("h4").textContent(), src = which => dialog.locator(`.slider .${which}`).getAttribute("src")
      const ids = await open.evaluateAll(all => all.map(b => b.dataset.run))
      check((await heading()).startsWith(`run ${ids[1]}: content weight `), "the opened picture has its run and weights: " + await heading())
      check(/content kept 0\.\d{3}, style match 0\.\d{3}, SSIM/.test(await dialog.locator(".measures").textContent()), "and its measures")
      const content = await page.locator(".pair img[alt=content]").getAttribute("src"), output = n => open.nth(n).locator("img").getAttribute("src")
      check(await src("before") === content && await src("after") === await output(1), "before is the content picture, after the output")
      await page.keyboard.press("ArrowRight")
      check((await heading()).startsWith(`run ${ids[2]}:`) && await src("after") === await output(2), "the right arrow key shows the next")
      await page.keyboard.press("ArrowLeft"); await page.keyboard.press("ArrowLeft"); await page.keyboard.press("ArrowLeft")
      check((await heading()).startsWith(`run ${ids.at(-1)}:`), "the left arrow key goes back, beyond the first to the last")
      await dialog.locator("button.next").click()
      check((await heading()).startsWith(`run ${ids[0]}:`), "the button shows the next")
      await dialog.locator("select").selectOption(ids[3])
      check(await src("before") === await output(3) && (await dialog.locator(".left").textContent()).startsWith(`run ${ids[3]}:`), "output against output")
      await dialog.locator("button.next").click()
      check(await src("before") === await output(3) && await src("after") === await output(1), "which stays when going on")
      const clip = () => dialog.locator(".slider .before").evaluate(e => getComputedStyle(e).clipPath)
      const box = await dialog.locator(".slider").boundingBox(), at = await clip()
      await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2); await page.mouse.down(); await page.mouse.move(box.x + box.width * 0.8, box.y + box.height / 2); await page.mouse.up()
      check(await clip() !== at, "the border is dragged on the picture")
      const range = await dialog.locator("input.border").boundingBox(), was = await heading()
      await page.mouse.click(range.x + range.width * 0.3, range.y + range.height / 2)
      await page.keyboard.press("ArrowRight")
      check(await heading() !== was, "after the range was used by mouse the arrow keys go on still")
      check(await page.evaluate(() => { const d = document.querySelector("dialog").getBoundingClientRect(); return d.left >= 0 && d.right <= innerWidth && d.bottom <= innerHeight + 1 }), "the opened picture fits the window")
      await page.screenshot({path: `${folder}/${name}-opened-${as}.png`})
      await page.keyboard.press("Escape")
      check(!await dialog.isVisible(), "Escape closes")

      // Tables.
      const table = page.locator("table.sort").first()
      const column = n => table.locator(`tbody tr td:nth-child(${n})`).allTextContents().then(all => all.map(t => Number(t.replace(/^≈ /, ""))))
      await table.locator("thead th:nth-child(7) button, thead th:nth-child(6) button").first().click()
      const up = await column(6)
      check(up.length === ids.length && up.every((v, i) => i === 0 || up[i - 1] <= v), "sorted upwards by content kept")
      await table.locator("thead th:nth-child(6) button").click()
      check(up.reverse().join() === (await column(6)).join(), "and downwards")

      // The command.
      const command = await page.locator(".copy code").first().textContent()
      check(/^hrlab fit --content 'my boat\.jpg' --style sunset\.jpg --content-weight [\d.]+ --style-weight [\d.]+$/.test(command), "the command for the suggested weight: " + command)
      await page.locator(".copy button").first().click()
      check(await page.evaluate(() => getSelection().toString()) === command, "is copied whole")
      if (name === "many" ) {
        const frames = await page.evaluate(async () => { // scroll the matrix from end to end
          const box = document.querySelector(".matrix").parentNode, times = []
          for (let y = 0, last = performance.now(); y < box.scrollHeight; y += 200) {
            box.scrollTo(y / 4, y)
            await new Promise(requestAnimationFrame)
            times.push(performance.now() - last); last = performance.now()
          }
          return {count: times.length, longest: Math.max(...times)}
        })
        console.log(`scrolled in ${frames.count} frames, the longest ${frames.longest.toFixed(0)} ms`)
        await page.screenshot({path: `${folder}/${name}-scrolled-${as}.png`})
        const head = await page.evaluate(() => { const box = document.querySelector(".matrix").parentNode.getBoundingClientRect(), th = document.querySelector(".matrix thead th").getBoundingClientRect(); return th.top - box.top })
        check(Math.abs(head) < 3, "the weights stay in sight")
      }
    }
    await context.close()
  }
  check(foreign.length === 0, "nothing was loaded from another host " + foreign.slice(0, 3).join(" "))
  await browser.close()
}

main().catch(error => {
  console.log("failed:", error.message)
  process.exit(1)
})
