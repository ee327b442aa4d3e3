// The time line of a night: a lane of frames and lanes of sets for each arm, links all of them.

import { clock, h, level, path, svg } from "./dom.js";

const LANE = 22; // height of a lane
const LABEL = 44; // width of the names of arms
const STEPS_S = [60, 300, 600, 900, 1800, 3600, 7200, 14400];

/** Times at which the axis is labelled. */
function ticks(from, to, most) {
  const seconds = (to - from) / 1e6;
  const step = (STEPS_S.find((candidate) => seconds / candidate <= most) ?? 28800) * 1e6;
  const times = [];
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) times.push(time);
  return times;
}

/** Put intervals into as few lanes as they need. */
function packed(sets, x, gap) {
  const ends = [];
  return sets.map((set) => {
    const begin = x(set.start_us);
    const end = Math.max(x(set.end_us), begin + gap);
    let lane = ends.findIndex((free) => free <= begin);
    if (lane < 0) lane = ends.push(0) - 1;
    ends[lane] = end + 3;
    return { set, lane, begin, width: end - begin };
  });
}

function frameMark(frame, x, y) {
  const begin = x(frame.start_us);
  const width = Math.max(2, x(frame.start_us + frame.exptime * 1e6) - begin - 0.5);
  const how = level(frame.outcome);
  const title = `${clock(frame.start_us)} ${frame.name}: ${frame.kind ?? "no frame"} ${frame.object ?? ""}, ${frame.outcome}`;
  const shape = how === "bad"
    ? svg("path", { d: `M${begin - 4} ${y + LANE - 5} l4 -12 l4 12 z`, class: `frame ${how}` })
    : svg("rect", { x: begin, y: y + 3, width, height: LANE - 8, class: `frame ${how}` });
  return svg("a", { href: `/frame/${frame.id}`, tabindex: "-1", "aria-label": title }, shape, svg("title", {}, title));
}

function setMark({ set, lane, begin, width }, y) {
  const state = set.verdict ?? set.job_state ?? set.state;
  const top = y + lane * LANE;
  const products = `${set.n_products} product${set.n_products === 1 ? "" : "s"}`;
  const title = `${set.recipe} ${set.object}, ${set.n_frames} of ${set.n_planned} frames, ${set.job_state ?? set.state}, ${products}`;
  const name = set.recipe;
  return svg("a", { href: path(`set:${set.id}`), "aria-label": title, "data-set": set.id },
    svg("rect", { x: begin, y: top + 2, width, height: LANE - 5, rx: 3, class: `set ${level(state)} ${set.job_state === "running" ? "running" : ""}` }),
    width > name.length * 7 + 6
      ? svg("text", { x: begin + 4, y: top + LANE - 8, class: "inside" }, name)
      : null,
    svg("title", {}, title));
}

/**
 * The time line between two times (microseconds), `width` pixels wide.
 * Frames land in the upper lane of their arm; below it are the sets that they make.
 */
export function timeline({ frames, sets, from, to, width, now }) {
  const x = (us) => LABEL + ((us - from) / (to - from)) * (width - LABEL - 8);
  const inside = (begin, end) => end >= from && begin <= to;
  const arms = ["VIS", "NIR", "ACQ"].filter((arm) => arm !== "ACQ" || frames.some((frame) => frame.arm === arm));
  const drawing = [];
  let y = 20;
  for (const arm of arms) {
    const own = frames.filter((frame) => frame.arm === arm && inside(frame.start_us, frame.start_us + frame.exptime * 1e6));
    const lanes = packed(sets.filter((set) => set.arm === arm && inside(set.start_us, set.end_us))
      .sort((a, b) => a.start_us - b.start_us), x, 8);
    const depth = Math.max(1, ...lanes.map((entry) => entry.lane + 1));
    drawing.push(svg("text", { x: 2, y: y + LANE - 7, class: "arm" }, arm));
    drawing.push(own.map((frame) => frameMark(frame, x, y)));
    drawing.push(lanes.map((entry) => setMark(entry, y + LANE)));
    y += LANE * (1 + depth) + 8;
    drawing.push(svg("line", { x1: 0, x2: width, y1: y - 4, y2: y - 4, class: "rule" }));
  }
  const odd = frames.filter((frame) => !arms.includes(frame.arm) && inside(frame.start_us, frame.start_us));
  if (odd.length) {
    drawing.push(svg("text", { x: 2, y: y + LANE - 7, class: "arm" }, "other"));
    drawing.push(odd.map((frame) => frameMark(frame, x, y)));
    y += LANE + 8;
  }
  const axis = ticks(from, to, Math.max(3, Math.floor(width / 90))).map((time) => [
    svg("line", { x1: x(time), x2: x(time), y1: 16, y2: y, class: "grid" }),
    svg("text", { x: x(time), y: 12, class: "tick" }, clock(time).slice(0, 5)),
  ]);
  const present = now > from && now < to
    ? svg("line", { x1: x(now), x2: x(now), y1: 10, y2: y, class: "now" })
    : null;
  return svg("svg", { class: "timeline", viewBox: `0 0 ${width} ${y + 4}`, width, height: y + 4, role: "group",
    "aria-label": `Time line with ${frames.length} frames and ${sets.length} sets` }, axis.flat(), drawing.flat(3), present);
}

/** What the shapes and colours mean. */
export function legend() {
  const words = [["good", "reduced, in range"], ["warn", "waits, or needs a look"], ["bad", "refused or out of range"], ["soft", "registered only"]];
  return h("p", { class: "legend" }, words.map(([how, text]) => h("span", {}, h("i", { class: `swatch ${how}` }), text)));
}
