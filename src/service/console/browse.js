// Tables of everything, with filters in the address, and the way from a name to what it stands for.

import { get } from "./api.js";
import { card, choice, clock, h, link, mark, moment, number, path, table } from "./dom.js";
import { go } from "./main.js";

const TABLES = {
  frames: {
    title: "Frames", states: ["reduced", "pending", "flagged", "partial", "unreduced", "failed", "registered", "quarantined", "waiting", "duplicate", "superseded", "ignored", "gone"],
    columns: [["Outcome", (row) => mark(row.outcome)], ["File", (row) => link(`frame:${row.id}`, row.name), "name"], ["Arm", (row) => row.arm ?? ""],
      ["Kind", (row) => row.kind ?? ""], ["Object", (row) => row.object ?? ""], ["Exposure", (row) => row.exptime === null ? "" : `${number(row.exptime)} s`, "number"],
      ["Set", (row) => row.set_id ? link(`set:${row.set_id}`, row.recipe ?? "set") : ""], ["Why", (row) => row.outcome_why]],
  },
  sets: {
    title: "Sets", states: ["open", "complete", "partial", "short", "waiting", "ready", "running", "done", "flagged", "parked", "failed", "held"],
    columns: [["State", (row) => mark(row.job_state ?? row.state)], ["Set", (row) => link(`set:${row.id}`, row.name), "name"], ["Recipe", (row) => row.recipe],
      ["Object", (row) => row.object], ["Frames", (row) => `${row.n_frames} of ${row.n_planned}`, "number"], ["Products", (row) => String(row.n_products), "number"],
      ["Why", (row) => row.error || row.waits_for || row.why]],
  },
  jobs: {
    title: "Jobs", states: ["ready", "running", "waiting", "done", "flagged", "parked", "failed", "unsupported", "held"],
    columns: [["State", (row) => mark(row.state)], ["Set", (row) => link(`job:${row.id}`, row.set_name), "name"], ["Recipe", (row) => row.recipe],
      ["Tries", (row) => String(row.attempts), "number"], ["Ended", (row) => moment(row.finished_us)],
      ["Took", (row) => row.started_us && row.finished_us ? `${number((row.finished_us - row.started_us) / 1e6, 3)} s` : "", "number"], ["Error", (row) => row.error || row.waits_for]],
  },
  products: {
    title: "Products", states: ["pass", "warn", "fail", "current", "stale", "superseded", "bad"],
    columns: [["QC", (row) => mark(row.state === "current" ? row.verdict : row.state)], ["Product", (row) => link(`product:${row.id}`, row.name), "name"],
      ["Category", (row) => row.catg], ["Frames", (row) => String(row.n_combined), "number"], ["Deliveries", (row) => row.deliveries], ["Made", (row) => moment(row.created_us)]],
  },
  qc: {
    title: "Metrics", states: ["pass", "warn", "fail"],
    columns: [["Verdict", (row) => mark(row.verdict)], ["Metric", (row) => h("a", { href: `/health?metric=${encodeURIComponent(row.name)}` }, row.name), "name"],
      ["Order", (row) => row.qc_order === "-1" ? "" : row.qc_order], ["Value", (row) => row.value === null ? row.absent : `${number(row.value)} ${row.unit}`, "number"],
      ["Set", (row) => link(`job:${row.job_id}`, row.set_name)]],
  },
};

export async function browse(place, parts, root) {
  const name = parts[1] in TABLES ? parts[1] : "frames";
  const { title, states, columns } = TABLES[name];
  const known = ["night", "arm", "state", "text", "after"];
  const filter = Object.fromEntries(known.map((key) => [key, place.searchParams.get(key) ?? ""]));

  function move(change) {
    const kept = Object.entries({ ...filter, after: "", ...change }).filter(([, value]) => value);
    go(`/browse/${name}${kept.length ? `?${new URLSearchParams(kept)}` : ""}`);
  }

  async function draw() {
    const [page, glance] = await Promise.all([get(name, { ...filter, limit: 100 }), get("status")]);
    const held = document.activeElement?.id;
    root.replaceChildren(
      h("h1", {}, title), tabs,
      card([`${page.rows.length}${page.next ? " or more" : ""} `, h("small", {}, `newest first, at ${clock(glance.at_us)}`)], {}, controls,
        table(columns, page.rows, "Nothing is like that.", title),
        page.next ? h("p", {}, h("button", { type: "button", onclick: () => move({ after: page.next }) }, "Older ones")) : null));
    if (held) document.getElementById(held)?.focus();
  }
  const text = h("input", { id: "text", type: "search", value: filter.text, maxlength: "900", onchange: (event) => move({ text: event.target.value }) });
  const night = h("input", { id: "night-input", type: "date", value: filter.night, onchange: (event) => move({ night: event.target.value }) });
  const tabs = h("nav", { class: "tabs", "aria-label": "Tables" }, Object.entries(TABLES).map(([key, entry]) =>
    h("a", { href: `/browse/${key}`, "aria-current": key === name ? "page" : null }, entry.title)));
  // Built once: an open list of choices must not vanish.
  const controls = h("div", { class: "row" },
    h("label", { class: "choice" }, h("span", {}, "Night"), night),
    choice("Arm", [["", "all"], "VIS", "NIR", "ACQ"], filter.arm, (arm) => move({ arm })),
    choice("State", [["", "all"], ...states], filter.state, (state) => move({ state })),
    h("label", { class: "choice" }, h("span", {}, "Name contains"), text));
  await draw();
  return filter.after ? null : draw;
}

/** One thing of that name: its page. Several: a list. */
export async function find(place, parts, root) {
  const name = place.searchParams.get("name") ?? "";
  const story = await get(`why/${encodeURIComponent(name)}`);
  if (story.matches.length === 0 && path(story.target)) {
    setTimeout(() => go(path(story.target), true));
    return null;
  }
  root.replaceChildren(h("h1", {}, `“${name}”`), card(story.headline, {},
    table([["Name", (match) => link(match.target, match.name), "name"], ["Is", (match) => match.detail]], story.matches, "Nothing has this name.", "Matches")));
  return null;
}
