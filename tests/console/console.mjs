// The console in a browser, over a real daemon that reduces a small simulated night while the browser looks on.
//
//   node console.mjs SOXSD        (SOXSD: the program)

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { axe, launch, watchedPage } from "./browser.mjs";

const SOXSD = path.resolve(process.argv[2] ?? "target/debug/soxsd");
const HERE = path.dirname(fileURLToPath(import.meta.url));
const PATIENCE_MS = 240_000; // for the spectrum of the night, on a busy machine

const folder = mkdtempSync(path.join(tmpdir(), "soxsd-console-"));
const [raw, work, staged] = ["raw", "work", "staged"].map((name) => path.join(folder, name));
let daemon = null;
let browser = null;
let passed = 0;

async function step(name, act) {
  const begun = Date.now();
  await act();
  passed += 1;
  console.log(`ok ${passed} ${name} (${((Date.now() - begun) / 1000).toFixed(1)} s)`);
}

async function until(what, look, patience = 20_000) {
  const end = Date.now() + patience;
  for (;;) {
    const found = await look().catch(() => null);
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what} did not happen within ${patience / 1000} s`);
    await sleep(200);
  }
}

async function start() {
  mkdirSync(raw);
  const config = path.join(folder, "soxsd.toml");
  writeFileSync(config, `[paths]\nraw = [${JSON.stringify(raw)}]\nwork = ${JSON.stringify(work)}\n[service]\nlisten = "127.0.0.1:0"\n`
    + "[ingest]\nsettle_s = 0.5\nrescan_s = 1.0\n[release]\ngatekeeper = true\n[scheduler]\nmin_free_mib = 100\n");
  daemon = spawn(SOXSD, ["run", "--config", config], { stdio: ["ignore", "ignore", "pipe"] });
  const said = [];
  daemon.stderr.on("data", (chunk) => said.push(chunk));
  daemon.on("exit", (code) => { if (code) console.error(Buffer.concat(said).toString().slice(-4000)); });
  const notice = path.join(work, "daemon.json");
  const address = await until("the daemon's start", async () => existsSync(notice) && JSON.parse(readFileSync(notice, "utf8")).address);
  return `http://${address}`;
}

/** A frame lands as the instrument lands it: it grows under another name and appears whole. */
function land(names) {
  for (const name of names) {
    copyFileSync(path.join(staged, name), path.join(raw, `.${name}.part`));
    renameSync(path.join(raw, `.${name}.part`), path.join(raw, name));
  }
}

async function main() {
  const made = spawnSync(SOXSD, ["simulate", path.join(HERE, "night.toml"), "--out", staged], { encoding: "utf8" });
  assert.equal(made.status, 0, made.stderr);
  const names = readdirSync(staged).filter((name) => name.endsWith(".fits")).sort();
  const origin = await start();
  const token = readFileSync(path.join(work, "token"), "utf8").trim();
  browser = await launch();
  const { page, faults } = await watchedPage(browser, origin);
  const calm = (expected = []) => {
    const odd = faults.filter((fault) => !expected.some((pattern) => pattern.test(fault)));
    faults.length = 0;
    assert.deepEqual(odd, []);
  };
  const frames = () => page.locator("#timeline a[href^='/frame/']").count();

  await step("an empty night says so", async () => {
    await page.goto(`${origin}/`);
    await page.getByText("No frame has come yet").waitFor();
    assert.match(await page.locator("h1").innerText(), /Keeping up/);
    calm();
  });

  await step("frames appear without a reload", async () => {
    await page.evaluate(() => { globalThis.sameDocument = true; });
    land(names.slice(0, 3));
    await until("the first frames", async () => (await frames()) === 3, 60_000);
    land(names.slice(3));
    await until("all frames", async () => (await frames()) === names.length, 60_000);
    assert.equal(await page.evaluate(() => globalThis.sameDocument), true);
    calm();
  });

  await step("the spectrum of the night appears by itself, with its signal to noise", async () => {
    await until("the last spectrum", async () => /S\/N [1-9]/.test(await page.locator("#spectrum").innerText()), PATIENCE_MS);
    assert.equal(await page.evaluate(() => globalThis.sameDocument), true);
    calm();
  });

  await step("two clicks lead from the time line to a product", async () => {
    await page.locator("#timeline a[aria-label^='stare']").first().click();
    await page.waitForURL(/\/set\/\d+$/);
    await page.locator("#products a", { hasText: "EXTRACTED_MERGED" }).first().click();
    await page.waitForURL(/\/product\/\d+$/);
    await page.locator("#preview canvas.plot").waitFor();
    assert.ok((await page.locator("#origin .node").count()) > 5, "raw frames, masters, the product and its archive");
    calm();
  });

  await step("a spectrum is zoomed by mouse and by keyboard", async () => {
    const canvas = page.locator("#preview canvas.plot");
    const shown = async () => canvas.evaluate((element) => [Number(element.dataset.from), Number(element.dataset.to)]);
    const whole = await shown();
    await canvas.scrollIntoViewIfNeeded();
    const area = await canvas.boundingBox();
    const asked = page.waitForRequest((request) => /spectrum\?.*from=/.test(request.url()));
    await page.mouse.move(area.x + area.width * 0.4, area.y + 50);
    await page.mouse.down();
    await page.mouse.move(area.x + area.width * 0.6, area.y + 60, { steps: 4 });
    await page.mouse.up();
    await asked;
    const narrow = await until("the zoom", async () => {
      const now = await shown();
      return now[1] - now[0] < 0.4 * (whole[1] - whole[0]) && now;
    });
    await canvas.focus();
    await page.keyboard.press("+");
    await until("the zoom by key", async () => (await shown())[1] - (await shown())[0] < 0.7 * (narrow[1] - narrow[0]));
    await page.keyboard.press("0");
    await until("the whole again", async () => (await shown())[0] === whole[0]);
    calm();
  });

  await step("a raw image is drawn and zoomed", async () => {
    await page.locator("#origin a[href^='/frame/']").first().click();
    await page.waitForURL(/\/frame\/\d+$/);
    const readout = page.locator("#preview output");
    await until("the image", async () => /columns 0 to/.test(await readout.innerText()));
    const drawn = await page.locator("canvas.image").evaluate((canvas) => {
      const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      return new Set(pixels).size;
    });
    assert.ok(drawn > 20, `${drawn} different levels`);
    await page.getByRole("button", { name: "Zoom in" }).click();
    await until("the zoom", async () => !/columns 0 to/.test(await readout.innerText()));
    calm();
  });

  await step("a held product is released with the token and not without", async () => {
    await page.goto(`${origin}/deliveries?state=held`);
    const release = page.locator("#items button[data-act='release']");
    await release.first().waitFor();
    const held = await release.count();
    await release.first().click();
    await page.getByLabel("Who", { exact: true }).fill("browser test");
    for (const [given, refusal] of [["", "need the token"], ["not the token at all", "not the token"]]) {
      await page.getByLabel("Token", { exact: false }).fill(given);
      await page.locator("dialog button[type='submit']").click();
      await until("the refusal", async () => (await page.locator("#act-answer").innerText()).includes(refusal));
    }
    assert.equal(await release.count(), held, "nothing was released");
    await page.getByLabel("Token", { exact: false }).fill(token);
    await page.locator("dialog button[type='submit']").click();
    await until("the release", async () => (await release.count()) === held - 1);
    await until("its line in the journal", async () => /browser test/.test(await page.locator("#journal").innerText()));
    calm([/status of 40[13].*api\/v1\/acts/]);
  });

  const first = async (table) => (await (await fetch(`${origin}/api/v1/${table}?limit=1`)).json()).rows[0].id;
  const ids = {};
  for (const table of ["frames", "sets", "jobs", "products", "deliveries"]) ids[table] = await first(table);
  const views = ["/", "/night/2026-03-10", `/frame/${ids.frames}`, `/set/${ids.sets}`, `/job/${ids.jobs}`, `/product/${ids.products}`,
    `/delivery/${ids.deliveries}`, "/health", "/health?metric=RAW+RON&against=header%3AESO+INS+TEMP104+VAL", "/plan", "/deliveries",
    "/browse/frames", "/browse/sets", "/browse/jobs", "/browse/products", "/browse/qc", "/find?name=MBIAS", "/plain", "/why?target=job:1"];
  const looks = [["day", { width: 1600, height: 1000 }], ["night", { width: 390, height: 844 }]];
  for (const [theme, viewport] of looks) {
    await step(`every view by ${theme}, ${viewport.width} pixels wide: no fault, no serious barrier, nothing cut off`, async () => {
      await page.setViewportSize(viewport);
      await page.goto(`${origin}/`);
      await page.locator("#theme").selectOption(theme);
      for (const view of views) {
        await page.goto(origin + view);
        await page.locator("h1").first().waitFor();
        await sleep(200); // what is drawn after the answer: images, spectra
        assert.equal(await page.locator("main .card.bad h1").filter({ hasText: /No answer|Not found/ }).count(), 0, view);
        assert.deepEqual(await axe(page), [], `${view} by ${theme}`);
        const wide = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${view} is ${wide} pixels wider than the screen`);
        calm();
      }
    });
  }

  await step("the keyboard reaches the view and a name finds its page", async () => {
    await page.setViewportSize({ width: 1600, height: 1000 });
    await page.goto(`${origin}/`);
    await page.locator("#banner").waitFor();
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
    await page.locator("#name").fill(names[0].replace(/\.fits$/, ""));
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/frame\/\d+$/);
    calm();
  });
}

let failed = 0;
try {
  await main();
} catch (error) {
  failed = 1;
  console.error(error);
}
await browser?.close();
if (daemon && daemon.exitCode === null) {
  const ended = new Promise((resolve) => { daemon.on("exit", resolve); });
  daemon.kill("SIGTERM");
  await ended;
}
rmSync(folder, { recursive: true, force: true });
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed);
