// What the tests of the console share: a browser that is installed, and a page that notes what must not happen.

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const PLACES = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** The axe-core script, to be run in a page. */
export const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

export const browserPath = () => PLACES.find((place) => place && existsSync(place));

export const launch = () => chromium.launch({ executablePath: browserPath(), args: ["--no-sandbox", "--disable-gpu"] });

/** A page that notes console errors, errors of scripts and requests to anywhere but `origin`. */
export async function watchedPage(browser, origin, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1600, height: 1000 }, bypassCSP: false, ...options });
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) faults.push(`console: ${message.text()} (${message.location().url})`);
  });
  page.on("pageerror", (error) => faults.push(`script: ${error.stack ?? error.message}`));
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.origin !== origin && !["blob:", "data:", "about:"].includes(url.protocol)) faults.push(`request elsewhere: ${request.url()}`);
  });
  return { page, faults };
}

/** Serious faults of accessibility on the page as it is; axe runs outside of the page's content policy. */
export async function axe(page) {
  const { readFile } = await import("node:fs/promises");
  await page.evaluate(await readFile(AXE, "utf8"));
  const result = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return result.violations
    .filter((violation) => ["serious", "critical"].includes(violation.impact))
    .map((violation) => `${violation.id}: ${violation.help}: ${violation.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`);
}
