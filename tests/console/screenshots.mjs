// Pictures of views, to be looked at: node screenshots.mjs ORIGIN FOLDER PATH::NAME...
// Each by day and by night, on a wall (1920 x 1080) and on a phone; the whole page.

import { mkdirSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { launch, watchedPage } from "./browser.mjs";

const [origin, folder, ...views] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const browser = await launch();
const screens = [["wall", { width: 1920, height: 1080 }, 1], ["phone", { width: 390, height: 844 }, 2]];
for (const [screen, viewport, deviceScaleFactor] of screens) {
  for (const theme of ["day", "night"]) {
    const { page, faults } = await watchedPage(browser, origin, { viewport, deviceScaleFactor });
    await page.addInitScript((name) => localStorage.setItem("theme", name), theme);
    for (const view of views) {
      const [where, name] = view.split("::");
      await page.goto(origin + where);
      await page.locator("main h1").first().waitFor();
      await sleep(1200);
      await page.screenshot({ path: path.join(folder, `${name}-${screen}-${theme}.png`), fullPage: screen === "wall" });
    }
    for (const fault of faults) console.log(`${screen} ${theme}: ${fault}`);
    await page.context().close();
  }
}
await browser.close();
