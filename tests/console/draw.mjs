// How long views take from the click in the address bar until their answer stands on the screen:
//
//   node draw.mjs ORIGIN PATH...       prints "PATH MILLISECONDS", the median of three

import { browserPath, launch } from "./browser.mjs";

const [origin, ...views] = process.argv.slice(2);
if (!browserPath()) {
  console.error("no browser is installed");
  process.exit(2);
}
const browser = await launch();
for (const view of views) {
  const times = [];
  for (let round = 0; round < 3; round += 1) {
    const context = await browser.newContext({ viewport: { width: 1600, height: 1000 } });
    const page = await context.newPage();
    await page.addInitScript(() => {
      new MutationObserver((_, observer) => {
        if (document.querySelector("main h1") === null) return;
        observer.disconnect();
        // The frame after the next one has been painted with it.
        requestAnimationFrame(() => requestAnimationFrame(() => { globalThis.drawn = performance.now(); }));
      }).observe(document, { childList: true, subtree: true });
    });
    await page.goto(origin + view, { waitUntil: "commit" });
    await page.waitForFunction(() => globalThis.drawn > 0, null, { timeout: 30_000 });
    times.push(await page.evaluate(() => globalThis.drawn));
    await context.close();
  }
  times.sort((a, b) => a - b);
  console.log(`${view} ${times[1].toFixed(0)}`);
}
await browser.close();
