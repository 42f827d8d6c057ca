// Opens a report.html of `immiscible compare` in Chromium, without a network, at 1,280 and 400 pixels: every picture
// must have loaded, nothing may be wider than the window, and neither the console nor a request may report an error.
//
//   npm install @sparticuz/chromium@153.0.0 puppeteer-core@24     (in a folder outside the repository, NODE_PATH or cwd there)
//   node report_check.mjs DIR/report.html [screenshot prefix]
//
// Exit status 1 and a line a fault where something is wrong.

import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";

const require = createRequire(path.join(process.cwd(), "index.js"));
const load = async (name) => (await import(pathToFileURL(require.resolve(name)).href)).default;
const [chromium, puppeteer] = [await load("@sparticuz/chromium"), await load("puppeteer-core")];
const [report, prefix] = process.argv.slice(2);
const browser = await puppeteer.launch({ args: chromium.args, executablePath: await chromium.executablePath(), headless: "shell" });
const faults = [];
for (const width of [1280, 400]) {
  const page = await browser.newPage();
  await page.setOfflineMode(true);
  page.on("console", (m) => m.type() === "error" && faults.push(`${width}: console: ${m.text()}`));
  page.on("pageerror", (e) => faults.push(`${width}: ${e}`));
  page.on("requestfailed", (r) => faults.push(`${width}: request failed: ${r.url().slice(0, 80)}`));
  await page.setViewport({ width, height: 900 });
  await page.goto(pathToFileURL(path.resolve(report)).href);
  const seen = await page.evaluate(() => ({
    images: document.images.length,
    loaded: [...document.images].filter((i) => i.complete && i.naturalWidth > 0).length,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  }));
  if (seen.images === 0 || seen.loaded < seen.images) faults.push(`${width}: ${seen.loaded} of ${seen.images} pictures loaded`);
  if (seen.wide > 0) faults.push(`${width}: the page is ${seen.wide} pixels wider than the window`);
  console.log(`${width} pixels: ${seen.loaded} of ${seen.images} pictures`);
  if (prefix) await page.screenshot({ path: `${prefix}-${width}.png`, fullPage: true });
}
await browser.close();
faults.forEach((f) => console.error(f));
process.exit(faults.length > 0 ? 1 : 0);
