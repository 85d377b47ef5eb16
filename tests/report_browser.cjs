// Opens a report in Chromium, headless, as a reader would, and says what is wrong with it.
//
// usage: node report_browser.cjs MODULES CHROMIUM PAGE [SCREENSHOT_FOLDER]
//   MODULES: a node_modules folder with playwright-core.
// At desktop and phone width, in light and dark: every figure has drawn marks, nothing but the page itself was requested,
// nothing was written to the console as an error, and the page is no wider than the window. At desktop width also: tables
// stand without JavaScript, choices and the menu work. Prints one JSON line; exit code 1 where something is wrong.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const {pathToFileURL} = require('node:url');

const [modules, executablePath, pagePath, screenshots] = process.argv.slice(2);
const {chromium} = require(path.join(path.resolve(modules), 'playwright-core'));
const url = pathToFileURL(path.resolve(pagePath)).href;

const views = [
  {name: 'desktop', viewport: {width: 1280, height: 900}, colorScheme: 'light'},
  {name: 'desktop-dark', viewport: {width: 1280, height: 900}, colorScheme: 'dark'},
  {name: 'phone', viewport: {width: 390, height: 844}, colorScheme: 'light', isMobile: true, deviceScaleFactor: 2},
];

// Marks of a figure once what was asked of it last is drawn (Vega draws in a later turn of the event loop).
async function countMarksWhenDrawn(figure) {
  for (let frame = 0; frame < 2; ++frame) await new Promise((done) => requestAnimationFrame(done));
  return figure.querySelectorAll('svg .role-mark:not(.mark-rule) path, svg .role-mark text').length;
}

async function look(browser, view, problems, seen) {
  const context = await browser.newContext({...view, offline: true});
  const page = await context.newPage();
  const say = (what) => problems.push(`${view.name}: ${what}`);
  page.on('request', (request) => {
    if (request.url() !== url && !request.url().startsWith('data:')) say(`requested ${request.url().slice(0, 200)}`);
  });
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) say(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => say(`script: ${error.message}`));
  page.on('dialog', (dialog) => {
    say(`a dialog opened: ${dialog.message()}`);
    dialog.dismiss();
  });
  await page.goto(url);
  const drawing = await page.$$eval('.vega', (elements) => elements.length);
  if (drawing > 0) await page.waitForSelector('html[data-figures=drawn]', {timeout: 90000});
  const figures = await page.$$eval('.vega', (elements) =>
    elements.map((e) => ({
      id: e.id,
      // Rules are of zero lines and intervals: they are no sign of data by themselves.
      marks: e.querySelectorAll('svg .role-mark:not(.mark-rule) path, svg .role-mark text').length,
      labelled: e.querySelector('[role="graphics-document"][aria-label]') !== null,
      width: Math.max(0, ...[...e.querySelectorAll('svg')].map((svg) => svg.getBoundingClientRect().width)),
      room: e.clientWidth,
    })));
  for (const figure of figures) {
    if (figure.marks === 0) say(`figure ${figure.id} has no marks`);
    if (!figure.labelled) say(`figure ${figure.id} has no label for screen readers`);
    if (figure.width > figure.room + 1) say(`figure ${figure.id} is ${figure.width} wide where there is room for ${figure.room}`);
  }
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  if (overflow > 0) say(`the page is ${overflow} pixels wider than the window`);
  if (view.name === 'desktop') {
    seen.figures = figures.map((f) => ({id: f.id, marks: f.marks}));
    seen.scripts = await page.$$eval('script:not([type])', (all) => all.length);
    seen.tables = await page.$$eval('table', (all) => all.length);
    // Every choice of every figure draws something.
    for (const element of await page.$$('.vega')) {
      const id = await element.getAttribute('id');
      for (const select of await element.$$('.vega-bindings select')) {
        const initial = await select.inputValue();
        const values = await select.$$eval('option', (options) => options.map((o) => o.value));
        for (const value of [...values, initial]) {
          await select.selectOption(value);
          const marks = await element.evaluate(countMarksWhenDrawn);
          if (marks === 0) say(`figure ${id} has no marks with ${value} chosen`);
          seen.choices = (seen.choices ?? 0) + 1;
        }
      }
    }
    for (const box of await page.$$('.vega-bindings input[type=checkbox]')) await box.click();
    // The menu offers both formats.
    const formats = await page.$$eval('.vega-embed', (all) => all.map((e) => e.querySelectorAll('.vega-actions a').length));
    if (formats.some((count) => count !== 2)) say(`a figure's menu offers ${formats} formats, not 2`);
    await page.emulateMedia({media: 'print'});
    const printed = await page.pdf({path: screenshots ? path.join(screenshots, 'print.pdf') : undefined, format: 'A4'});
    seen.printed = printed.length;
    if (printed.subarray(0, 5).toString() !== '%PDF-' || printed.length < 20000) say(`printing gives ${printed.length} bytes`);
    await page.emulateMedia({media: 'screen'});
  }
  if (screenshots) {
    if (view.name === 'desktop') await page.reload().then(() => page.waitForSelector('html[data-figures=drawn]'));
    await page.screenshot({path: path.join(screenshots, view.name + '.png'), fullPage: true});
  }
  await context.close();
}

async function withoutJavaScript(browser, problems, seen) {
  const context = await browser.newContext({javaScriptEnabled: false, offline: true});
  const page = await context.newPage();
  await page.goto(url);
  const tables = await page.locator('table').count();
  if (tables !== seen.tables) problems.push(`without JavaScript: ${tables} tables, with it ${seen.tables}`);
  if ((await page.locator('main').innerText()).trim().length < 100) problems.push('without JavaScript: no text');
  await context.close();
}

(async () => {
  const problems = [], seen = {bytes: fs.statSync(pagePath).size};
  if (seen.bytes > 5e6) problems.push(`the page has ${seen.bytes} bytes, over 5 MB`);
  const browser = await chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
           '--disable-component-update', '--disable-sync'],
  });
  try {
    for (const view of views) await look(browser, view, problems, seen);
    await withoutJavaScript(browser, problems, seen);
  } finally {
    await browser.close();
  }
  console.log(JSON.stringify({...seen, problems}));
  process.exit(problems.length === 0 ? 0 : 1);
})().catch((error) => {
  console.log(JSON.stringify({problems: [String(error)]}));
  process.exit(1);
});
