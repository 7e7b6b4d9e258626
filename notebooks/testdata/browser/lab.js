// JupyterLab in Chromium, as a user has it: run all cells of 02, drag the slider, queue a fit by the button, stop a fit.
// Usage: node lab.js ADDRESS CHROMIUM FOLDER, where ADDRESS is JupyterLab's with its token. Screenshots go to FOLDER.
const {chromium} = require("playwright-core")
const [url, executablePath, folder] = process.argv.slice(2)
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
  page.on("request", r => { if (!r.url().startsWith(address.origin) && !/^(data|blob):/.test(r.url())) foreign.push(r.url()) })
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

  // The slider.
  const bar = page.locator("input.hrlab-content"), shown = page.locator("img.hrlab-shown")
  await bar.scrollIntoViewIfNeeded()
  const src = () => shown.getAttribute("src")
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

  // The button: a weight between two runs.
  await page.mouse.click(box.x + box.width * 0.5, y)
  const button = page.locator("button:text-is('queue this fit')")
  await button.waitFor({state: "visible", ...minutes(1)})
  await button.click()
  await page.waitForFunction(() => /queued as run \d+/.test(document.querySelector(".hrlab-wish").textContent), null, minutes(5))
  check(true, "the button queues a fit: " + await page.locator(".hrlab-wish").textContent())

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
    check(await cell.locator('.jp-OutputArea-output img[alt^="step"]').count() === 1, "a stopped fit keeps its picture")
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
  await page.screenshot({path: `${folder}/compare.png`})

  check(foreign.length === 0, "nothing was loaded from another host " + foreign.slice(0, 3).join(" "))
  await browser.close()
}

main().catch(async error => {
  console.log("failed:", error.message)
  await page?.screenshot({path: `${folder}/failed.png`})
  process.exit(1)
})
