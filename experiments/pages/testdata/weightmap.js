// The weight map on its run's page, in Chromium: run 1 is one.
// Usage: node weightmap.js CHROMIUM ADDRESS SCREENSHOTS
const assert = require('node:assert/strict')
const {chromium} = require('playwright-core')
const [executablePath, url, screenshots] = process.argv.slice(2)

async function main() {
  const browser = await chromium.launch({executablePath, args: ['--headless', '--no-sandbox', '--disable-gpu']})
  const page = await browser.newPage({viewport: {width: 1280, height: 1400}})
  page.setDefaultTimeout(60_000)
  const faults = []
  page.on('pageerror', e => faults.push(e.message))
  page.on('console', m => { if (m.type() === 'error') faults.push(m.text()) })
  const shown = ratio => page.waitForFunction(r => Number(document.querySelector('#weight-map').dataset.shown) === r, ratio)
    .catch(() => { throw new Error(`the picture at ${ratio} does not come`) })
  try {
    await page.goto(`${url}/runs/1`)
    await page.waitForFunction(() => document.querySelector('#weight-map').dataset.shown)
    const seen = new Set()
    const bar = page.locator('#ratio'), low = Number(await bar.getAttribute('min')), high = Number(await bar.getAttribute('max'))
    for (let i = 0; i <= 8; i++) {
      await bar.evaluate((bar, v) => { bar.value = v; bar.dispatchEvent(new Event('input')) }, low + (high - low) * i / 8)
      const ratio = Number(await page.locator('#ratio-number').inputValue())
      await shown(ratio)
      const after = page.locator('#weight-map .slider .after')
      assert.ok(await after.evaluate(img => img.naturalWidth > 0), 'no picture')
      seen.add(await after.getAttribute('src'))
      assert.match(await page.locator('#ratio-apply').textContent(), new RegExp(`--ratio ${ratio} `))
    }
    assert.equal(seen.size, 9)
    await page.locator('#ratio-number').fill('45')
    await shown(45)
    const times = (await page.evaluate(() => performance.getEntriesByType('resource').filter(e => e.name.includes('/weight-map/picture')).map(e => e.duration))).sort((a, b) => a - b)
    console.log(`${times.length} pictures, median ${times[times.length >> 1].toFixed(0)} ms, longest ${times.at(-1).toFixed(0)} ms`)
    await page.locator('#weight-map').scrollIntoViewIfNeeded()
    await page.screenshot({path: `${screenshots}/weight-map.png`, fullPage: true})
    await page.click('#use button')
    await page.waitForURL(/\/runs\/\d+$/)
    assert.notEqual(page.url(), `${url}/runs/1`)
    assert.deepEqual(faults, [])
  } finally {
    await browser.close()
  }
}

main().catch(e => { console.error(e); process.exitCode = 1 })
