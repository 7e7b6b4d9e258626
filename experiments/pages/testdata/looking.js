// The pages that compare, in Chromium, with the runs of looking_test.go.
// Usage: node looking.js CHROMIUM ADDRESS SCREENSHOTS
const assert = require('node:assert/strict')
const {chromium} = require('playwright-core')
const [executablePath, url, screenshots] = process.argv.slice(2)

async function main() {
  const browser = await chromium.launch({executablePath, args: ['--headless', '--no-sandbox', '--disable-gpu']})
  const page = await browser.newPage({viewport: {width: 1280, height: 1000}})
  page.setDefaultTimeout(60_000)
  const faults = []
  page.on('pageerror', e => faults.push(e.message))
  page.on('console', m => { if (m.type() === 'error') faults.push(m.text()) })
  const shot = name => page.screenshot({path: `${screenshots}/${name}.png`})
  const count = selector => page.locator(selector).count()
  const wait = (what, f, arg) => page.waitForFunction(f, arg).catch(() => { throw new Error(what) })

  try {
    // The matrix: one slider for all pictures, a dialog by a click, its keys, an empty cell.
    await page.goto(`${url}/matrix/`)
    await wait('the slider is there', () => !document.querySelector('#controls').hidden)
    const first = () => page.locator('a.shot[data-run="1"] img').getAttribute('src')
    const last = await first()
    await page.locator('#step').fill('0')
    assert.notEqual(await first(), last, 'the picture stays as the step changes')
    await page.locator('#step').fill('2')
    assert.equal(await first(), last)
    await page.click('a.shot[data-run="5"]')
    assert.match(await page.locator('#view-title').textContent(), /Run 5: content weight 80/)
    await wait('the picture at full size', () => document.querySelector('#slider .after').naturalWidth === 48)
    const border = page.locator('#slider .slider'), box = await border.boundingBox()
    await page.mouse.move(box.x + box.width / 2, box.y + 20)
    await page.mouse.down()
    await page.mouse.move(box.x + box.width / 5, box.y + 20, {steps: 3})
    await page.mouse.up()
    assert.ok(Math.abs(await page.locator('#slider input.border').inputValue() - 20) < 2, 'the border is not where the mouse is')
    await page.selectOption('#before', '1')
    await page.keyboard.press('Tab') // away from the list
    await page.keyboard.press('Tab')
    await shot('matrix-dialog')
    await page.locator('#view button').focus()
    await page.keyboard.press('ArrowRight')
    assert.match(await page.locator('#view-title').textContent(), /Run 6:/)
    await page.keyboard.press('Escape')
    assert.equal(await count('#matrix tbody form'), 1)
    await page.click('#matrix tbody form button')
    await page.waitForSelector('a[data-run="12"]')
    await page.waitForLoadState('load') // scripts are there
    assert.equal(await count('.badge.queued'), 1)
    await page.selectOption('select[name=colour]', 'colour_distance') // without a button
    await page.waitForURL(/colour=colour_distance/)
    await shot('matrix')

    // Which is better: by keys and by clicks; the favourite comes first.
    await page.goto(`${url}/better/`)
    const shown = () => page.locator('#options input[name=run]').evaluateAll(list => list.map(i => Number(i.value)))
    for (let i = 1; i <= 8; i++) {
      const runs = await shown(), best = runs.indexOf(Math.max(...runs)) // the highest content weight
      if (i % 2) await page.keyboard.press(String(best + 1))
      else await page.locator('#options .options button').nth(best).click()
      await wait(`choice ${i}`, n => document.readyState === 'complete' && document.querySelector('h2:not(#help-title)')?.textContent.includes(`after ${n} choice`), i) // with its keys
    }
    await page.keyboard.press('0')
    await wait('the same', () => document.querySelector('h2:not(#help-title)').textContent.includes('after 9 choices'))
    await page.waitForLoadState('load')
    assert.match(await page.locator('#verdict').textContent(), /content weight 800/)
    await page.keyboard.press('u')
    await wait('the last choice is taken back', () => document.querySelector('h2:not(#help-title)').textContent.includes('after 8 choices'))
    await page.waitForLoadState('load')
    await page.selectOption('select[name=number]', '4')
    await page.waitForURL(/number=4/)
    assert.equal((await shown()).length, 4)
    await shot('better')

    // The map: what is brushed is chosen everywhere.
    await page.goto(`${url}/map/`)
    const chosen = () => count('#list input:checked')
    const over = async (selector, [x0, y0], [x1, y1]) => {
      const b = await page.locator(selector).boundingBox(), at = (x, y) => [b.x + x * b.width, b.y + y * b.height]
      await page.mouse.move(...at(x0, y0))
      await page.mouse.down()
      await page.mouse.move(...at((x0 + x1) / 2, (y0 + y1) / 2), {steps: 3})
      await page.mouse.move(...at(x1, y1), {steps: 3})
      await page.mouse.up()
    }
    await over('#scatter', [0.5, 0.02], [0.99, 0.98]) // the half with more content kept
    const some = await chosen()
    assert.ok(some > 1 && some < 11, `${some} are chosen`)
    assert.equal(await count('#scatter circle:not(.out)'), some)
    assert.equal(await count('#parallel polyline:not(.out)'), some)
    await shot('map')
    await page.click('#none')
    assert.equal(await chosen(), 0)
    await page.locator('#parallel').scrollIntoViewIfNeeded()
    const axis = await page.evaluate(() => {
      const line = document.querySelector('[data-axis=content_weight] .axis'), box = line.ownerSVGElement.viewBox.baseVal
      return [line.x1.baseVal.value / box.width, line.y1.baseVal.value / box.height, line.y2.baseVal.value / box.height]
    })
    await over('#parallel', [axis[0], axis[2] - 0.03], [axis[0], axis[2] + 0.15]) // content weight 800
    assert.equal(await chosen(), 4) // with the queued one
    await page.goto(`${url}/matrix/`)
    await wait('the choice is faded in the matrix too', () => document.querySelectorAll('a.shot.out').length === 8)
    await page.goto(`${url}/map/`)
    await wait('the choice stays', () => document.querySelectorAll('#list input:checked').length === 4)
    await page.click('#table')
    await wait('the choice in the table', () => document.querySelectorAll('#rows [data-row]').length === 4)
    assert.doesNotMatch(await page.locator('#rows').textContent(), /fit = /)
    await page.click('#query > button')
    await page.waitForURL(u => !u.search.includes('column='))
    await page.goBack()
    await page.goBack()
    await page.click('#compare')
    await page.waitForURL(/compare\?run=9&run=10&run=11&run=12/)

    // The table of runs: nothing is to be done with nothing chosen, and Enter presses the button beside the field. The first of the
    // notes is the queue's.
    await page.goto(`${url}/matrix/`)
    const runs = await page.locator('nav a[href^="/runs"]').getAttribute('href')
    await page.goto(url + runs)
    await wait('the buttons wait for a choice', () => [...document.querySelectorAll('#bar button')].every(b => b.disabled))
    await page.check('input[name=run][value="1"]')
    assert.ok(await page.locator('#compare').isDisabled(), 'one run is compared')
    for (const note of ['blue', 'red']) {
      await page.check('input[name=run][value="1"]')
      await page.fill('#bar [name=text]', note)
      await page.keyboard.press('Enter')
      await page.waitForSelector(`tr[data-run="1"] :text("${note}")`)
      await page.waitForLoadState('load')
    }
    assert.match(await page.locator('tr[data-run="1"]').textContent(), /red\s+of 3/)
    await page.check('input[name=run][value="1"]')
    await page.check('input[name=run][value="2"]')
    await shot('runs')
    await page.keyboard.press('c')
    await page.waitForURL(/\/compare\?run=2&run=1$/)
    await page.goto(`${url}/runs/1`)
    await page.fill('[name=text]', 'green')
    await page.keyboard.press('Enter')
    await page.waitForSelector('#facts :text("green")')

    for (const path of ['/matrix/', '/better/', '/map/', runs]) {
      await page.setViewportSize({width: 400, height: 800})
      await page.emulateMedia({colorScheme: 'dark'})
      await page.goto(url + path)
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= 400), `${path} is wider than 400 px`)
      await shot(path.match(/\w+/)[0] + '-400')
    }
    assert.deepEqual(faults, [])
  } catch (e) {
    await shot('failed')
    throw e
  } finally {
    await browser.close()
  }
}

main().catch(e => {
  console.error(e)
  process.exit(1)
})
