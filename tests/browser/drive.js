/* SPDX-License-Identifier: Apache-2.0
 * Plays scenarios in one Chromium and writes down what happened; judge.py says whether it was right.
 * node drive.js JOB.json RESULT.json   JOB: {chromium, folder, scenarios: [{name, url, shown, views, steps}]}
 * shown: what to take pictures of; views: the page has view() */
const fs = require('fs');
const job = JSON.parse(fs.readFileSync(process.argv[2]));
const { chromium } = require(job.playwright);

const flags = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
  '--disable-sync', '--disable-default-apps', '--disable-dev-shm-usage', '--hide-scrollbars'];

/* Quiet: nothing on its way for 700 ms, which also lets fades and animations end. */
async function quiet(waiting) {
  const end = Date.now() + job.patience;
  let since = Date.now();
  while (Date.now() < end) {
    if (waiting.size) since = Date.now();
    if (Date.now() - since > 700) return true;
    await new Promise((done) => setTimeout(done, 50));
  }
  return false;
}

async function play(browser, scenario) {
  const context = await browser.newContext({ viewport: { width: 1000, height: 700 } });
  const page = await context.newPage();
  const record = { name: scenario.name, requests: [], errors: [], stages: [] };
  const waiting = new Set();
  let stage = 0;
  page.on('request', (r) => { waiting.add(r); });
  const answers = new Map();
  page.on('response', (a) => { answers.set(a.request(), a.status()); });
  page.on('requestfinished', (r) => {
    waiting.delete(r);
    record.requests.push({ stage, url: r.url(), type: r.resourceType(), status: answers.get(r) || 0, failure: null });
  });
  page.on('requestfailed', (r) => {
    waiting.delete(r);
    record.requests.push({ stage, url: r.url(), type: r.resourceType(), status: 0, failure: r.failure().errorText });
  });
  page.on('pageerror', (e) => record.errors.push(String(e)));

  let last = null;
  const view = () => page.evaluate(() => JSON.stringify(window.view ? window.view() : null)).catch(() => null);
  const keep = async (what) => {
    /* some viewers tell where they are when their animation has ended */
    for (let n = 0; n < 200 && scenario.views && [last, 'null', null].includes(await view()); n += 1) await page.waitForTimeout(50);
    const settled = await quiet(waiting);
    const at = { what, settled, view: null, shot: null, images: null };
    record.stages.push(at);
    last = await view();
    at.view = JSON.parse(last);
    const box = await page.evaluate((what_is_shown) => {
      const { x, y, width, height } = document.querySelector(what_is_shown).getBoundingClientRect();
      return { x, y, width: Math.min(width, innerWidth - x), height: Math.min(height, innerHeight - y) };
    }, scenario.shown);
    at.shot = `${job.folder}/${scenario.name}-${record.stages.length}-${what}.png`;
    await page.screenshot({ path: at.shot, clip: box });
    at.images = await page.evaluate(() => [...document.images].map((i) => [i.src, i.naturalWidth]));
    stage += 1;
    return box;
  };

  try {
    await page.goto(scenario.url, { waitUntil: 'load', timeout: job.patience });
    let box = await keep('home');
    for (const [what, ...at] of scenario.steps) {
      const x = (fraction) => box.x + fraction * box.width;
      const y = (fraction) => box.y + fraction * box.height;
      if (what === 'zoom') { /* wheel notches at a place given in fractions of the viewer */
        await page.mouse.move(x(at[0]), y(at[1]));
        for (let n = 0; n < at[2]; n += 1) {
          await page.mouse.wheel(0, -120);
          await page.waitForTimeout(120);
        }
      } else if (what === 'pan') {
        await page.mouse.move(x(at[0]), y(at[1]));
        await page.mouse.down();
        for (let n = 1; n <= 10; n += 1) {
          await page.mouse.move(x(at[0] + (at[2] - at[0]) * n / 10), y(at[1] + (at[3] - at[1]) * n / 10));
          await page.waitForTimeout(20);
        }
        await page.waitForTimeout(150); /* no flick */
        await page.mouse.up();
      } else if (what === 'scroll') {
        await page.mouse.wheel(0, 5000);
      } else if (what === 'click') {
        await page.locator(at[0]).first().click();
      } else if (what === 'choose') {
        await page.locator(at[0]).selectOption(at[1]);
      }
      box = await keep(what);
    }
  } catch (e) {
    record.errors.push(String(e));
  }
  await context.close();
  return record;
}

(async () => {
  const browser = await chromium.launch({ executablePath: job.chromium, headless: true, args: flags, chromiumSandbox: !job.root });
  const records = [];
  const line = [...job.scenarios];
  const worker = async () => {
    while (line.length) records.push(await play(browser, line.shift()));
  };
  await Promise.all(Array.from({ length: job.together }, worker)); /* most of the time is waiting for quiet */
  await browser.close();
  fs.writeFileSync(process.argv[3], JSON.stringify(records, null, 1));
})().catch((e) => {
  console.error(e);
  process.exit(1);
});
