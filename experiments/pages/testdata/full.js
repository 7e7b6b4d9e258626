// The picture of run 1 at full size, in Chromium: it is saved; where its content picture is gone the page says so.
// Usage: node full.js CHROMIUM ADDRESS CONTENT
const assert = require('node:assert/strict')
const fs = require('node:fs')
const {chromium} = require('playwright-core')
const [executablePath, url, content] = process.argv.slice(2)

async function main() {
  const browser = await chromium.launch({executablePath, args: ['--headless', '--no-sandbox', '--disable-gpu']})
  const page = await browser.newPage()
  page.setDefaultTimeout(300_000) // XLA is opened and compiles
  const faults = []
  page.on('pageerror', e => faults.push(e.message))
  const button = page.locator('.full-size button'), said = page.locator('.full-size output')
  try {
    await page.goto(`${url}/runs/1`)
    let go
    const held = new Promise(done => { go = done })
    await page.route('**/fits/full', async route => { await held; await route.continue() })
    const download = page.waitForEvent('download')
    await button.click()
    await page.waitForFunction(() => /^making it, \d+ s …$/.test(document.querySelector('.full-size output').textContent))
    assert.ok(await button.isDisabled())
    go()
    const file = await download
    assert.equal(file.suggestedFilename(), 'day_run1.png')
    const data = fs.readFileSync(await file.path())
    assert.deepEqual([data.readUInt32BE(16), data.readUInt32BE(20)], [96, 64])
    await page.waitForFunction(() => document.querySelector('.full-size output').textContent === 'saved as day_run1.png')
    fs.unlinkSync(content)
    await button.click()
    await page.waitForFunction(() => document.querySelector('.full-size output').textContent.endsWith('day.png: no such file or directory'))
    assert.ok(await button.isEnabled())
    assert.equal(await said.count(), 1)
    assert.deepEqual(faults, [])
  } finally {
    await browser.close()
  }
}

main().catch(e => { console.error(e); process.exitCode = 1 })
