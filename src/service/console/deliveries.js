// Deliveries: what is queued, retried, held, refused or done, and what an operator lets go or keeps.

import { get } from "./api.js";
import { actButton } from "./acts.js";
import { card, choice, h, link, mark, moment, span, table } from "./dom.js";
import { go } from "./main.js";

const STATES = [["", "all"], ["held", "held"], ["queued", "queued"], ["sending", "sending"], ["unknown", "no answer"],
  ["buffered", "accepted, not stored"], ["sent", "stored, not read back"], ["parked", "refused"], ["confirmed", "confirmed"], ["cancelled", "superseded or withdrawn"]];
const ADMITS = { held: ["release"], queued: ["hold"], parked: ["retry"] };

export async function deliveries(place, parts, root) {
  const filter = {
    state: place.searchParams.get("state") ?? "", recipe: place.searchParams.get("sink") ?? "",
    night: place.searchParams.get("night") ?? "", text: place.searchParams.get("text") ?? "", after: place.searchParams.get("after") ?? "",
  };
  let said = "";
  let controls = null;

  function move(change) {
    const next = { state: filter.state, sink: filter.recipe, night: filter.night, text: filter.text, ...change };
    const kept = Object.entries(next).filter(([, value]) => value);
    go(`/deliveries${kept.length ? `?${new URLSearchParams(kept)}` : ""}`);
  }

  async function draw() {
    const [page, acts, glance] = await Promise.all([
      get("deliveries", { ...filter, limit: 100 }), get("acts", { limit: 20 }), get("tonight")]);
    const now = glance.status.at_us;
    const done = (text) => {
      said = text;
      draw();
    };
    const columns = [
      ["State", (row) => mark(row.state)],
      ["To", (row) => row.sink],
      ["What", (row) => link(row.product_id ? `product:${row.product_id}` : `job:${row.job_id}`, row.key), "name"],
      ["Tries", (row) => String(row.attempts), "number"],
      ["Since", (row) => row.confirmed_us ? `${span((row.confirmed_us - row.created_us) / 1e6)} to confirm` : `${span((now - row.created_us) / 1e6)} ago`],
      ["Reason", (row) => row.error],
      ["Act", (row) => (ADMITS[row.state] ?? []).filter((name) => name !== "release" || row.class !== "phase3")
        .map((name) => actButton(name, `delivery:${row.id}`, row.key, done))],
    ];
    const sums = [
      ["To", (sink) => sink.name], ["Under way", (sink) => String(sink.under_way), "number"],
      ["Held", (sink) => String(sink.held), "number"], ["Refused", (sink) => String(sink.parked), "number"],
      ["Superseded or withdrawn", (sink) => String(sink.cancelled), "number"], ["Confirmed", (sink) => String(sink.confirmed), "number"],
      ["Oldest waits", (sink) => sink.oldest_s === null ? "none" : span(sink.oldest_s), "number"],
    ];
    const journal = [
      ["When", (row) => moment(row.at_us)], ["Who", (row) => row.who], ["Act", (row) => row.act],
      ["On", (row) => link(row.target, row.target)], ["Why", (row) => row.why], ["Result", (row) => row.result],
    ];
    // Built once: an open list of choices must not vanish.
    controls ??= h("div", { class: "row" },
      choice("State", STATES, filter.state, (state) => move({ state })),
      choice("To", [["", "all"], ...glance.sinks.map((sink) => sink.name)], filter.recipe, (sink) => move({ sink })),
      choice("Night", [["", "all"], ...glance.nights], filter.night, (night) => move({ night })));
    const held = document.activeElement?.id;
    root.replaceChildren(
      h("h1", {}, "Deliveries"),
      h("p", { role: "status", id: "said" }, said),
      card("Archives and monitors", {}, table(sums, glance.sinks, "Nothing has been queued for delivery yet.", "Archives and monitors")),
      card("Items", { id: "items" },
        controls,
        table(columns, page.rows, "No delivery is like that.", "Deliveries"),
        page.next ? h("p", {}, h("button", { type: "button", onclick: () => move({ after: page.next }) }, "Older ones")) : null),
      card("What operators did", { id: "journal" }, table(journal, acts, "Nobody has done anything yet.", "Journal")));
    if (held) document.getElementById(held)?.focus();
  }

  await draw();
  return draw;
}
