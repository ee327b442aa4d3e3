// The calibration plan: which masters a set would get if it was taken now, and what is missing.

import { get } from "./api.js";
import { card, h, link, mark, moment, number, table } from "./dom.js";

const WORDS = { fresh: "fresh", ending: "ends soon", stale: "stale", missing: "missing" };

export async function plan(place, parts, root) {
  async function draw() {
    const data = await get("plan");
    const columns = [
      ["Supply", (line) => mark(line.supply, WORDS[line.supply])],
      ["Arm", (line) => line.arm],
      ["Master", (line) => line.master, "key"],
      ["For", (line) => line.setup || "any set-up"],
      ["Wanted by", (line) => line.wanted_by.join(", ") + (line.required ? "" : " (can do without)")],
      ["Age", (line) => line.age_d === null ? "" : `${number(line.age_d, 2)} d`, "number"],
      ["Good until", (line) => moment(line.until_us), "key"],
      ["Best", (line) => line.product_id ? link(`product:${line.product_id}`, line.detail) : line.detail, "name"],
    ];
    const lacking = data.lines.filter((line) => line.required && ["missing", "stale"].includes(line.supply));
    const wanted = new Set(lacking.map((line) => `${line.master}${line.setup ? ` with ${line.setup}` : ""}`));
    root.replaceChildren(
      h("h1", {}, "Calibration plan"),
      h("section", { class: `card banner ${lacking.some((line) => line.supply === "missing") ? "bad" : lacking.length ? "warn" : "good"}` },
        h("h2", {}, lacking.length ? "Tonight lacks" : "Tonight lacks nothing"),
        lacking.length
          ? h("ul", {}, [...wanted].map((text) => h("li", {}, text)))
          : h("p", {}, "Every set-up in use has all masters that it cannot do without, inside the plan.")),
      card(["Masters ", h("small", {}, `for set-ups of the last ${data.days} days, as of ${moment(data.at_us)}${data.past ? ", when the newest frame was taken" : ""}`)], {},
        table(columns, data.lines, "No set has been made yet.", "Masters")));
  }
  await draw();
  return draw;
}
