// JupyterLab in Chromium, as a user has it: run all cells of 02, drag the slider, queue a fit by the button, move
// the slider of a weight map, stop a fit.
// Usage: node lab.js CHROMIUM ADDRESS FOLDER, where ADDRESS is JupyterLab's with its token. Screenshots go to FOLDER.
const {chromium} = require("playwright-core")
const [executablePath, url, folder] = process.argv.slice(2)
const address = new URL(url)
const minutes = n => ({timeout: n * 60_000})

function check(ok, what) {
  if (!ok) throw new Error(what)
  console.log("ok:", what)
}

let page

async function main() {
  const browser = await chromium.launchPersistentContext(`${folder}/profile`, {
    executablePath, viewport: {width: 1300, height: 1000},
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  })
  page = await browser.newPage()
  page.setDefaultTimeout(120_000)
  page.setDefaultNavigationTimeout(300_000)
  const foreign = []
  page.on("request", r => { if (new URL(r.url()).hostname !== address.hostname && !/^(data|blob):/.test(r.url())) foreign.push(r.url()) })
  const menu = async (top, item) => {
    await page.click(`.lm-MenuBar-itemLabel:text-is("${top}")`)
    await page.click(`.lm-Menu-itemLabel:text-is("${item}")`)
  }
  const open = async name => {
    await page.goto(`${address.origin}/lab/tree/${name}${address.search}&reset`, {waitUntil: "commit"})
    await page.waitForSelector(".jp-Notebook .jp-Cell", minutes(5))
    // Connected: JupyterLab takes no notice of what a kernel says of itself before the first cell, so its state may be
    // "unknown" until then.
    await page.waitForSelector('.jp-Notebook-ExecutionIndicator:is([data-status="idle"], [data-status="unknown"])', minutes(2))
    await page.waitForSelector("#jp-main-statusbar :text('Go (hrlab)')", minutes(2))
    await page.waitForTimeout(3000)
  }
  // Runs all cells and waits until each has a number, or one has failed.
  const runAll = async (start = () => menu("Run", "Run All Cells")) => {
    await menu("Edit", "Clear Outputs of All Cells")
    await start()
    await finished()
  }
  const finished = () => page.waitForFunction(() => {
    const cells = [...document.querySelectorAll(".jp-CodeCell")]
    return cells.length > 0 && (cells.every(c => /\[\d+\]/.test(c.querySelector(".jp-InputPrompt").textContent)) ||
      document.querySelector('[data-mime-type="application/vnd.jupyter.error"]'))
  }, null, minutes(8))
  const errors = () => page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]').count()

  // As it was saved, before it is trusted: pictures without scripts.
  await open("02_weight_ranges.ipynb")
  await page.locator(".jp-OutputArea-output img").first().waitFor()
  check(await page.locator(".jp-OutputArea-output table img").count() > 2, "the saved notebook shows its pictures")
  await page.screenshot({path: `${folder}/saved.png`})

  await runAll()
  check(await errors() === 0, "run all of 02 without an error")
  check(await page.locator(".jp-OutputArea-output table img").count() >= 2, "the matrix has pictures")

  // The sliders begin at a run; content and style are beside its output.
  const wish = page.locator(".hrlab-wish"), caption = page.locator(".hrlab-text")
  check(await page.locator("input.hrlab-content-number").inputValue() === "300" && !/there is no run/.test(await wish.textContent()) && /^run \d+: content weight 300, style weight 1; content kept/.test(await caption.textContent()), "the sliders begin at a run: " + await caption.textContent())
  check(await page.locator(".hrlab-content-picture").isVisible() && await page.locator(".hrlab-style-picture").isVisible(), "content and style are beside it")

  // The slider.
  const bar = page.locator("input.hrlab-content"), shown = page.locator("img.hrlab-shown")
  await bar.scrollIntoViewIfNeeded()
  const src = () => shown.getAttribute("src")
  check((await bar.boundingBox()).x === (await page.locator("input.hrlab-style").boundingBox()).x, "one slider is below the other")
  const box = await bar.boundingBox(), y = box.y + box.height / 2
  await page.mouse.move(box.x + box.width * 0.03, y)
  await page.mouse.down()
  const left = await src()
  await page.mouse.move(box.x + box.width * 0.97, y, {steps: 10})
  const began = Date.now()
  await page.waitForFunction(was => document.querySelector("img.hrlab-shown").src !== was, left, minutes(1))
  console.log("milliseconds from slider to picture:", Date.now() - began)
  await page.mouse.up()
  check(await src() !== left, "dragging the slider changes the picture")
  check(await shown.evaluate(img => img.naturalWidth > 0), "the picture is one")
  await page.screenshot({path: `${folder}/explore-light.png`})

  // The button: a weight between two runs, typed. The fit is followed to its end, and its output is there then.
  await page.locator("input.hrlab-content-number").fill("31.5")
  check(/there is no run with 31\.5 : 1/.test(await wish.textContent()) && /^nearest: run/.test(await caption.textContent()), "a typed number moves the slider")
  const button = page.locator("button:text-is('queue this fit')")
  await button.waitFor({state: "visible", ...minutes(1)})
  await page.click('.jp-Toolbar [data-command="notebook:insert-cell-below"]')
  await page.locator(".jp-CodeCell.jp-mod-active .cm-content").click()
  await page.keyboard.type("%%\ntime.Sleep(6*time.Second)")
  await page.keyboard.press("Control+Enter")
  await button.click()
  await page.waitForFunction(() => /queueing …; the kernel is at another cell$/.test(document.querySelector(".hrlab-wish").textContent), null, minutes(2))
  check(true, "the sliders say that another cell is executed first")
  await page.waitForFunction(() => /^run \d+: content weight 31\.5, style weight 1; content kept/.test(document.querySelector(".hrlab-text").textContent), null, minutes(5))
  check(true, "the button queues a fit, and its output is shown: " + await caption.textContent())
  check(!/run/.test((await wish.textContent()).replace("queue this fit", "")), "it is a run as others now: " + await wish.textContent())
  await page.screenshot({path: `${folder}/explore-followed.png`})

  // Executed again, the sliders are where they were.
  const explore = page.locator(".jp-CodeCell", {hasText: "nb.Explore"})
  await explore.locator(".cm-content").click()
  await page.keyboard.press("Control+Enter")
  await page.waitForFunction(() => [...document.querySelectorAll(".hrlab-text")].some(e => /^run \d+: content weight 31\.5/.test(e.textContent)) && /\[[5-9]\d*\]|\[\d\d\]/.test([...document.querySelectorAll(".jp-CodeCell")].find(c => /nb\.Explore/.test(c.textContent)).querySelector(".jp-InputPrompt").textContent), null, minutes(4))
  check(await page.locator("input.hrlab-content-number").inputValue() === "31.5", "executed again, the sliders are where they were")

  for (const theme of ["JupyterLab Dark", "JupyterLab Light"]) {
    await page.click('.lm-MenuBar-itemLabel:text-is("Settings")')
    await page.hover('.lm-Menu-itemLabel:text-is("Theme")')
    await page.click(`.lm-Menu-itemLabel:text-is("${theme}")`)
    await page.waitForTimeout(1000)
    for (const [name, what] of [["matrix", ".jp-OutputArea-output table"], ["explore", "input.hrlab-content"], ["pareto", '.jp-OutputArea-output img[alt="chart"]']]) {
      await page.locator(what).first().scrollIntoViewIfNeeded()
      await page.screenshot({path: `${folder}/${name}-${theme.split(" ")[1].toLowerCase()}.png`})
    }
  }

  // Opened again without the kernel that showed the sliders.
  await menu("File", "Save Notebook")
  await menu("Kernel", "Shut Down Kernel")
  await open("02_weight_ranges.ipynb")
  await page.locator("input.hrlab-content-number").fill("77")
  check(/^no output with 77 : 1 is on this page; execute the cell/.test(await wish.textContent()) && !await button.isVisible(), "without a kernel the sliders say what to do")

  // The slider of a weight map: from end to end, with pictures by the worker.
  await open("05_weight_map.ipynb")
  await runAll()
  check(await errors() === 0, "run all of 05 without an error")
  const ratio = page.locator("input.hrlab-ratio"), low = Number(await ratio.getAttribute("min")), high = Number(await ratio.getAttribute("max"))
  const seen = new Set()
  for (const at of [0, 0.21, 0.5, 0.77, 1]) {
    await ratio.evaluate((bar, v) => { bar.value = v; bar.dispatchEvent(new Event("input")) }, low + (high - low) * at)
    const of = Number(await page.locator("input.hrlab-ratio-number").inputValue())
    await page.waitForFunction(of => Number(document.querySelector("img.hrlab-shown").dataset.exact) === of, of, minutes(2))
    seen.add(await shown.getAttribute("src"))
    check(await shown.evaluate(img => img.naturalWidth > 0) && (await page.locator(".hrlab-apply").textContent()).includes(`--ratio ${of} `), `the map at ${of}`)
  }
  check(seen.size === 5, "every ratio has a picture of its own")
  await ratio.scrollIntoViewIfNeeded()
  await page.screenshot({path: `${folder}/map.png`})

  // The stop button: fits of a hundred thousand steps, one by the worker, one in the cell.
  await open("stop.ipynb")
  for (const [i, where] of ["by the worker", "in the cell"].entries()) {
    const cell = page.locator(".jp-CodeCell").nth(i)
    const text = async () => (await cell.locator(".jp-OutputArea-output").allInnerTexts()).join("\n")
    await cell.locator(".cm-content").click()
    await page.keyboard.press("Shift+Enter")
    await cell.locator(".jp-OutputArea-output", {hasText: /step [1-9]\d*,/}).waitFor(minutes(4))
    await page.screenshot({path: `${folder}/fitting-${i}.png`})
    const pressed = Date.now()
    await page.click('button[title*="Interrupt"], jp-button[title*="Interrupt"], [data-command="notebook:interrupt-kernel"]')
    await cell.locator(".jp-InputPrompt", {hasText: /\[\d+\]/}).waitFor(minutes(4))
    console.log("milliseconds from stop to the end of the cell:", Date.now() - pressed)
    check(/stopped: step \d+/.test(await text()) && /hrlab: stopped/.test(await text()), `a fit ${where} that is stopped says so`)
    check(!/goroutine/.test(await text()), "no stack of frames")
    const picture = cell.locator('.jp-OutputArea-output img[alt^="step"]')
    check(await picture.count() === 1 && (await picture.boundingBox()).width >= 320, "a stopped fit keeps its picture, large")
    check(await cell.locator(".jp-OutputArea-child", {hasText: /exit status/}).evaluateAll(all => all.every(e => e.offsetParent === null)), "and shows no exit status")
    await page.screenshot({path: `${folder}/stopped-${i}.png`})
  }

  // Restart and run all.
  await open("03_compare_runs.ipynb")
  await runAll(async () => {
    await menu("Kernel", "Restart Kernel and Run All Cells…")
    await page.click(".jp-Dialog .jp-mod-accept")
  })
  check(await errors() === 0, "restart and run all of 03 without an error")
  await page.locator("input[type=range]").first().scrollIntoViewIfNeeded()
  const labels = await page.locator(".jp-OutputArea-output div:has(> input[type=range]) span").allTextContents()
  check(labels.length === 2 && labels.every((l, i) => new RegExp(`^run \\d+, content weight ${[3, 300][i]}$`).test(l)), "the slider says which runs it compares: " + labels)
  await page.screenshot({path: `${folder}/compare.png`})

  check(foreign.length === 0, "nothing was loaded from another host " + foreign.slice(0, 3).join(" "))
  await browser.close()
}

main().catch(async error => {
  console.log("failed:", error.message)
  await page?.screenshot({path: `${folder}/failed.png`})
  process.exit(1)
})
