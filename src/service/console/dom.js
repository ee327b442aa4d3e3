// Building blocks: elements, and numbers and times as people read them. Text from outside only ever becomes text nodes.

/** An element with attributes and children; a function as `onclick` and the like becomes a listener. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same in SVG. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A card with a heading. */
export function card(title, attributes, ...children) {
  return h("section", { class: "card", ...attributes }, h("h2", {}, ...[title].flat()), ...children);
}

const pad = (number) => String(number).padStart(2, "0");

/** `19:00:42`, UTC. */
export function clock(us) {
  const time = new Date(us / 1000);
  return `${pad(time.getUTCHours())}:${pad(time.getUTCMinutes())}:${pad(time.getUTCSeconds())}`;
}

/** `2026-03-10 19:00:42`, UTC. */
export function moment(us) {
  return us ? `${new Date(us / 1000).toISOString().slice(0, 10)} ${clock(us)}` : "";
}

/** `42 s`, `7 min`, `3 h 05 min`, `2 d 4 h`. */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 100) return `${whole} s`;
  if (whole < 5400) return `${Math.round(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${pad(Math.floor(whole / 60) % 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor(whole / 3600) % 24} h`;
}

/** A number with as many digits as help. */
export function number(value, digits = 4) {
  if (value === null || value === undefined) return "";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e7) return String(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(digits - 1).replace("e+", "e");
  return String(Number(value.toPrecision(digits)));
}

/** `53.2 MB`. */
export function bytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let step = 0;
  let value = size;
  while (value >= 1000 && step < units.length - 1) {
    value /= 1000;
    step += 1;
  }
  return `${value.toPrecision(3)} ${units[step]}`;
}

const LEVELS = {
  good: ["pass", "done", "reduced", "confirmed", "complete", "accepted", "current", "fresh", "running", "registered", "good", "chosen"],
  warn: ["warn", "partial", "flagged", "held", "waiting", "ready", "open", "queued", "sending", "unknown", "buffered", "sent",
    "pending", "short", "stale", "ending", "parked", "unsupported", "person", "awaited", "unreduced", "left out"],
  bad: ["fail", "failed", "quarantined", "bad", "missing", "behind"],
};

/** How bad a state, outcome or verdict is: `good`, `warn`, `bad`, or `soft` for what needs nobody. */
export function level(state) {
  return Object.keys(LEVELS).find((name) => LEVELS[name].includes(state)) ?? "soft";
}

const SIGNS = { good: "●", warn: "▲", bad: "■", soft: "○" };

/** A sign for how bad a state is. */
export const sign = (state) => SIGNS[level(state)];

/** A state as a word with a sign, so that colour is not all that tells it. */
export function mark(state, text = state) {
  const how = level(state);
  return h("span", { class: `mark ${how}` }, h("span", { "aria-hidden": "true" }, `${SIGNS[how]} `), text);
}

/** The path of `kind:id`. */
export function path(target) {
  const [kind, id] = target.split(":");
  return ["frame", "set", "job", "product", "delivery", "night"].includes(kind) ? `/${kind}/${encodeURIComponent(id)}` : "";
}

/** A link to `kind:id`. */
export function link(target, text, attributes = {}) {
  return h("a", { href: path(target), ...attributes }, text);
}

/** A table; columns are `[heading, cell of a row, "number" or "name"]`. */
export function table(columns, rows, empty, caption) {
  if (rows.length === 0) return h("p", { class: "soft" }, empty);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption ?? "Table" },
    h("table", {},
      h("thead", {}, h("tr", {}, columns.map(([title, , kind]) => h("th", { scope: "col", class: kind }, title)))),
      h("tbody", {}, rows.map((row) =>
        h("tr", {}, columns.map(([title, cell, kind]) => h("td", { class: kind, "data-label": title }, cell(row))))))));
}

/** A labelled choice; `options` are values or `[value, text]`. */
export function choice(label, options, value, change) {
  const select = h("select", { onchange: () => change(select.value) },
    options.map((option) => {
      const [own, text] = Array.isArray(option) ? option : [option, option];
      return h("option", { value: own, selected: own === value }, text);
    }));
  return h("label", { class: "choice" }, h("span", {}, label), select);
}
