// Tonight: is it keeping up, what lands, what runs, what came out, and what needs somebody.

import { get } from "./api.js";
import { bytes, card, choice, clock, h, link, mark, moment, number, span, table } from "./dom.js";
import { go } from "./main.js";
import { spectrumPlot } from "./spectrum.js";
import { legend, timeline } from "./timeline.js";

const RANGES = [["night", "whole night"], ["6", "last 6 h"], ["2", "last 2 h"], ["0.5", "last 30 min"]];

function banner(data) {
  const worst = data.concerns.some((concern) => concern.level === "behind") ? "bad" : data.concerns.length ? "warn" : "good";
  const title = { bad: "Not keeping up.", warn: "Keeping up. Somebody should look.", good: "Keeping up. Nothing needs a person." }[worst];
  return h("section", { class: `card banner ${worst}`, id: "banner" },
    h("h1", {}, title),
    data.concerns.length
      ? h("ul", {}, data.concerns.map((concern) => h("li", {},
        concern.link ? h("a", { href: concern.link }, concern.text) : h("strong", {}, concern.text), ". ", concern.remedy)))
      : null);
}

const count = (counts, names) =>
  counts.filter((entry) => names.includes(entry.name)).reduce((sum, entry) => sum + entry.count, 0);

function numbers(data) {
  const outcomes = data.report.outcomes;
  const spread = data.status.latency?.exposure_to_archive;
  const last = data.status.last_frame;
  const entries = [
    ["Files", data.report.files, last ? `last ${span((data.status.at_us - last.taken_us) / 1e6)} ago` : "none yet"],
    ["Reduced", count(outcomes, ["reduced", "partial", "flagged"]), parts(outcomes, ["partial", "flagged"])],
    ["Still to come", count(outcomes, ["pending", "waiting"]), ""],
    ["Not reduced", count(outcomes, ["unreduced", "failed", "quarantined"]), parts(outcomes, ["unreduced", "failed", "quarantined"])],
    ["Delivered", data.report.delivered, spread ? `${span(spread.median_s)} after exposure, worst ${span(spread.worst_s)}` : ""],
  ];
  return h("dl", { class: "numbers" }, entries.map(([name, value, note]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, String(value), note ? h("small", {}, note) : null))));
}

function parts(outcomes, names) {
  return outcomes.filter((entry) => names.includes(entry.name) && entry.count > 0)
    .map((entry) => `${entry.count} ${entry.name}`).join(", ");
}

/** Times that the time line spans: the frames of the night with a margin, or the last hours of it. */
function range(data, wanted) {
  const ends = [...data.frames.map((frame) => frame.start_us + frame.exptime * 1e6), ...data.sets.map((set) => set.end_us)];
  const begins = [...data.frames.map((frame) => frame.start_us), ...data.sets.map((set) => set.start_us)];
  const now = data.status.at_us;
  const last = data.present ? Math.max(now, ...ends) : Math.max(...ends);
  const first = Math.min(...begins);
  const margin = Math.max(120e6, (last - first) * 0.01);
  return wanted === "night" ? [first - margin, last + margin] : [last - Number(wanted) * 3600e6, last + margin];
}

function queue(data) {
  const rows = data.queue;
  const columns = [
    ["State", (job) => mark(job.state)],
    ["Set", (job) => link(`job:${job.id}`, job.set_name), "name"],
    ["Recipe", (job) => job.recipe],
    ["Since", (job) => span((data.status.at_us - (job.started_us ?? job.created_us)) / 1e6), "number"],
    ["Done at", (job) => job.finish_us
      ? `${clock(job.finish_us)} (in ${span((job.finish_us - data.status.at_us) / 1e6)})`
      : job.waits_for ? `waits for ${job.waits_for}${job.deadline_us ? `, until ${clock(job.deadline_us)}` : ""}` : "not known yet"],
  ];
  const open = data.sets.filter((set) => set.state === "open").length;
  return card(["Running and waiting ", h("small", {}, open ? `${open} set${open === 1 ? "" : "s"} still open` : "")], { id: "queue" },
    table(columns, rows, "Nothing runs and nothing waits.", "Jobs"));
}

function sinks(data) {
  const columns = [
    ["To", (sink) => h("a", { href: `/deliveries?sink=${encodeURIComponent(sink.name)}` }, sink.name)],
    ["Confirmed", (sink) => String(sink.confirmed), "number"],
    ["Under way", (sink) => String(sink.under_way), "number"],
    ["Held", (sink) => sink.held ? mark("held", String(sink.held)) : "0", "number"],
    ["Refused", (sink) => sink.parked ? mark("parked", String(sink.parked)) : "0", "number"],
    ["Oldest waits", (sink) => sink.oldest_s === null ? "none" : span(sink.oldest_s), "number"],
  ];
  return card("Deliveries", { id: "sinks" }, table(columns, data.sinks, "Nothing has been queued for delivery yet.", "Deliveries"));
}

function disks(data) {
  return card("Disk", { id: "disks" }, data.disks.map((disk) => {
    const part = disk.total ? disk.free / disk.total : 0;
    const low = disk.free < 2 * disk.floor;
    return h("div", {},
      h("p", {}, `${bytes(disk.free)} free of ${bytes(disk.total)} in the ${disk.what}`, low ? [", ", mark("warn", "little")] : null),
      h("meter", { min: 0, max: 1, low: 0.1, optimum: 1, value: part, "aria-label": `Free part of the ${disk.what}` }));
  }), data.disks.length ? null : h("p", { class: "soft" }, "The disk did not answer."));
}

function recent(data) {
  const columns = [
    ["Time", (frame) => clock(frame.start_us)],
    ["Frame", (frame) => h("a", { href: `/frame/${frame.id}` }, frame.name), "name"],
    ["Arm", (frame) => frame.arm ?? ""],
    ["Kind", (frame) => frame.kind ?? ""],
    ["Object", (frame) => frame.object ?? ""],
    ["Outcome", (frame) => mark(frame.outcome)],
  ];
  const rows = [...data.frames].sort((a, b) => b.start_us - a.start_us).slice(0, 12);
  return card(["Last frames ", h("small", {}, h("a", { href: `/browse/frames?night=${data.night}` }, "all of this night"))],
    { id: "frames" }, table(columns, rows, "No frame has come this night.", "Last frames"));
}

function newest(data, plot) {
  const last = data.spectrum;
  if (!last) return card("Last spectrum", { id: "spectrum" }, h("p", { class: "soft" }, "No spectrum has been made yet."));
  return card(["Last spectrum ", h("small", {}, moment(last.created_us))], { id: "spectrum" },
    h("p", {}, link(`product:${last.product_id}`, `${last.object}, ${last.arm}`), " ", mark(last.verdict),
      last.snr === null ? "" : ` S/N ${number(last.snr, 3)} a sample`), plot);
}

export async function tonight(place, parts_, root) {
  const night = parts_[0] === "night" ? parts_[1] : "";
  const state = { range: "night", data: await get("tonight", { night }), plot: null, shown: 0, chooser: null };

  async function spectrum() {
    const last = state.data.spectrum;
    if (!last || state.shown === last.product_id) return;
    state.shown = last.product_id;
    state.plot = h("p", { class: "soft" }, "The spectrum cannot be drawn.");
    try {
      state.plot = await spectrumPlot(`products/${last.product_id}`, { compact: true, hdu: 1 });
    } catch {
      // The table is there all the same; the page of the product says what is wrong.
    }
  }

  /** Built anew only when there is another night: an open list of choices must not vanish. */
  function chooser() {
    const { nights, night: shown } = state.data;
    if (state.chooser?.nights !== nights.join()) {
      const row = h("div", { class: "row" },
        choice("Night", nights.includes(shown) ? nights : [shown, ...nights], shown, (chosen) => go(`/night/${chosen}`)),
        choice("Show", RANGES, state.range, (chosen) => {
          state.range = chosen;
          draw();
        }));
      state.chooser = { nights: nights.join(), row };
    }
    return state.chooser.row;
  }

  function draw() {
    const data = state.data;
    const held = document.activeElement?.id || document.activeElement?.closest?.("a[data-set]")?.dataset.set;
    const line = h("div", { class: "scroll", id: "timeline", tabindex: "0", role: "region", "aria-label": "Time line" });
    const title = data.present ? "Tonight" : "Night";
    root.replaceChildren(
      banner(data),
      card([`${title} `, h("small", {}, data.night)], { id: "night", class: "card wide" }, chooser(), numbers(data),
        data.frames.length || data.sets.length ? [line, legend()] : h("p", { class: "soft" }, "No frame has come yet.")),
      h("div", { class: "columns" },
        h("div", {}, queue(data), recent(data)),
        h("div", {}, newest(data, state.plot), sinks(data), disks(data))));
    if (data.frames.length || data.sets.length) {
      const [from, to] = range(data, state.range);
      const room = Math.max(640, (root.isConnected ? line.clientWidth : document.getElementById("main").clientWidth - 60));
      line.append(timeline({ frames: data.frames, sets: data.sets, from, to, width: room, now: data.status.at_us }));
    }
    if (held) (document.getElementById(held) ?? root.querySelector(`a[data-set="${CSS.escape(held)}"]`))?.focus({ preventScroll: true });
  }

  await spectrum();
  draw();
  return async () => {
    state.data = await get("tonight", { night });
    await spectrum();
    draw();
  };
}
