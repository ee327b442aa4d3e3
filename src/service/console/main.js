// The frame of the console: which view belongs to the path, moving between views without loading the page again, and
// drawing a view again when the catalogue has changed.

import { h } from "./dom.js";
import { tonight } from "./tonight.js";
import { thing } from "./thing.js";
import { health } from "./health.js";
import { plan } from "./plan.js";
import { deliveries } from "./deliveries.js";
import { browse, find } from "./browse.js";

const POLL_LIVE_MS = 30000; // ages grow also when nothing changes
const POLL_ALONE_MS = 5000; // without events

// A view is a function of (place, parts, main) that draws into main and returns what draws it again, or nothing when the
// view does not follow changes.
const VIEWS = {
  "": tonight, night: tonight, frame: thing, set: thing, job: thing, product: thing, delivery: thing,
  find, health, plan, deliveries, browse,
};

const main = document.getElementById("main");
const live = document.getElementById("live");
let turn = 0;
let again = null;
let busy = false;
let due = false;
let timer = 0;
let events = null;

function tell(text, stale) {
  if (live.textContent !== text) live.textContent = text;
  document.body.classList.toggle("stale", stale);
}

function report() {
  const how = connected() ? "Live: this view follows every change." : "This view asks again every few seconds.";
  tell(again ? how : `This view shows the moment at which it was opened, ${new Date().toISOString().slice(11, 19)}.`, false);
}

function failure(error) {
  return h("section", { class: "card bad" }, h("h1", {}, error.status === 404 ? "Not found" : "No answer"),
    h("p", {}, error.message), error.hint ? h("p", {}, error.hint) : null);
}

async function open(focus) {
  const mine = ++turn;
  const parts = location.pathname.split("/").slice(1).map(decodeURIComponent);
  const view = VIEWS[parts[0]];
  again = null;
  for (const entry of document.querySelectorAll("nav a")) {
    const here = entry.pathname === location.pathname || (parts[0] === "browse" && entry.pathname.startsWith("/browse"));
    if (here) entry.setAttribute("aria-current", "page");
    else entry.removeAttribute("aria-current");
  }
  const fresh = h("div", { class: "view" });
  try {
    const redraw = await view(new URL(location.href), parts, fresh);
    if (mine !== turn) return;
    again = redraw ?? null;
    report();
  } catch (error) {
    if (mine !== turn) return;
    fresh.replaceChildren(failure(error));
  }
  main.replaceChildren(fresh);
  document.title = `${fresh.querySelector("h1")?.textContent ?? "soxsd"} – soxsd`;
  if (focus) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  schedule();
}

/** To another path without loading the page. */
export function go(href, replace = false) {
  if (replace) history.replaceState(null, "", href);
  else history.pushState(null, "", href);
  open(!replace);
}

const connected = () => events !== null && events.readyState === EventSource.OPEN;

function schedule() {
  clearTimeout(timer);
  timer = setTimeout(refresh, connected() ? POLL_LIVE_MS : POLL_ALONE_MS);
}

async function refresh() {
  if (document.hidden) return;
  const selection = getSelection();
  if (selection !== null && !selection.isCollapsed && main.contains(selection.anchorNode)) {
    schedule(); // what is being copied is not pulled away
    return;
  }
  if (busy) {
    due = true;
    return;
  }
  busy = true;
  clearTimeout(timer);
  const mine = turn;
  try {
    if (again) {
      await again();
      if (mine === turn) report();
    }
  } catch {
    if (mine === turn) tell("No answer from soxsd: what is shown is old. Trying again.", true);
  }
  busy = false;
  if (due) {
    due = false;
    setTimeout(refresh, 500);
  }
  schedule();
}

function follow() {
  events = new EventSource("/api/v1/events");
  events.addEventListener("changed", refresh);
  events.addEventListener("error", () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, 1000);
  });
}

document.addEventListener("click", (event) => {
  const anchor = event.target instanceof Element ? event.target.closest("a") : null;
  if (!anchor || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const href = anchor.getAttribute("href") ?? anchor.href?.baseVal ?? "";
  const target = new URL(href, location.href);
  const first = target.pathname.split("/")[1];
  if (target.origin !== location.origin || !(first in VIEWS) || anchor.hasAttribute("download") || href.startsWith("#")) return;
  event.preventDefault();
  go(target.href);
});

document.querySelector("form[role=search]").addEventListener("submit", (event) => {
  event.preventDefault();
  go(`/find?name=${encodeURIComponent(document.getElementById("name").value)}`);
});

const theme = document.getElementById("theme");
function dress(name) {
  theme.value = name;
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
}
theme.addEventListener("change", () => {
  localStorage.setItem("theme", theme.value);
  dress(theme.value);
  open(false);
});
dress(localStorage.getItem("theme") ?? "");

function tick() {
  document.getElementById("clock").textContent = `${new Date().toISOString().slice(11, 19)} UTC`;
}
tick();
setInterval(tick, 1000);

addEventListener("popstate", () => open(true));
document.addEventListener("visibilitychange", refresh);
open(false).then(follow);
