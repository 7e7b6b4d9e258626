// How long the matrix takes until all of its pictures are painted.
// Usage: node painted.js CHROMIUM ADDRESS SCREENSHOTS
const {chromium} = require('playwright-core')
const [executablePath, url, screenshots] = process.argv.slice(2)

async function main() {
  const browser = await chromium.launch({executablePath, args: ['--headless', '--no-sandbox', '--disable-gpu']})
  try {
    const took = []
    const sizes = [] // of what is not a picture
    for (let i = 0; i < 9; i++) {
      const page = await browser.newPage({viewport: {width: 2000, height: 2200}}) // with a cache of its own
      page.on('requestfinished', r => { if (i === 0 && !/thumbs/.test(r.url())) sizes.push(r.sizes()) })
      await page.goto(`${url}/map/`)
      await page.evaluate(() => { document.querySelector('nav a[href^="/matrix/"]').click() })
      await page.waitForURL(/matrix/)
      took.push(await page.evaluate(async () => {
        const shots = [...document.querySelectorAll('a.shot img')]
        if (shots.length !== 100) throw new Error(`${shots.length} pictures`)
        await Promise.all(shots.map(i => i.complete || new Promise(done => { i.onload = done })))
        await Promise.all(shots.map(i => i.decode()))
        await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))
        return performance.now() // since the click
      }))
      if (i === 0) await page.screenshot({path: `${screenshots}/painted.png`})
      await Promise.all(sizes)
      await page.close()
    }
    const bytes = (await Promise.all(sizes)).reduce((sum, s) => sum + s.responseBodySize, 0)
    took.sort((a, b) => a - b)
    console.log(`100 pictures are painted after ${took[4].toFixed(0)} ms (${took[0].toFixed(0)} to ${took[8].toFixed(0)}); ${(bytes / 1000).toFixed(0)} kB before pictures`)
  } finally {
    await browser.close()
  }
}

main().catch(e => {
  console.error(e)
  process.exit(1)
})
