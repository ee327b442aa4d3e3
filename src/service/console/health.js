// Health: any metric over the nights, against another metric or a value of the raw header, with its limits; what stands out
// leads to its frame.

import { get } from "./api.js";
import { card, choice, h, level, link, mark, moment, number, table } from "./dom.js";
import { go } from "./main.js";
import { colour, extent, Frame, SERIES } from "./plot.js";

const FILTERS = [["arm", "Arm", "arms"], ["recipe", "Recipe", "recipes"], ["order", "Order", "orders"], ["read_mode", "Read mode", "read_modes"], ["slit", "Slit", "slits"], ["lamp", "Lamp", "lamps"]];
const FIRST = "RAW RON"; // what is shown when nothing was chosen yet

const day = (us) => new Date(us / 1000).toISOString().slice(0, 10);

/** Places of time on the axis: nights, or hours when it is about one. */
function times(from, to, most) {
  const steps = [300, 900, 1800, 3600, 7200, 14400, 43200, 86400, 172800, 604800, 1209600, 2592000, 7776000, 31536000];
  const step = (steps.find((candidate) => (to - from) / 1e6 / candidate <= most) ?? 31536000) * 1e6;
  const found = [];
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) found.push(time);
  return { found, text: (us) => (step < 86400e6 ? new Date(us / 1000).toISOString().slice(5, 16).replace("T", " ") : day(us)) };
}

/** What tells a group of points from others: what differs among them. */
function groups(points) {
  const keys = ["arm", "recipe", "read_mode", "slit", "lamp"].filter((key) => new Set(points.map((point) => point[key])).size > 1);
  const name = (point) => keys.map((key) => point[key] || "none").join(", ");
  const names = [...new Set(points.map(name))].sort();
  return { name, names };
}

function plot(trend, against, box, choose) {
  const canvas = h("canvas", { class: "plot", tabindex: "0", role: "img" });
  const readout = h("output", { class: "soft" }, "Click a point, or step through them with ← and → and Enter, for the frame behind it.");
  const points = trend.points;
  const { name, names } = groups(points);
  const xOf = against ? (point) => point.x : (point) => point.at_us;
  let frame = null;
  let chosen = -1;

  function draw() {
    const width = Math.max(280, box.clientWidth || 800);
    const height = Math.max(280, Math.min(520, width * 0.45));
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const limits = points.flatMap((point) => [point.min, point.max]).filter((value) => value !== null);
    const values = points.map((point) => point.value);
    const y = extent(values);
    // Limits are drawn where they are near enough to what is measured.
    for (const limit of new Set(limits)) {
      const size = y[1] - y[0];
      if (limit > y[0] - 0.6 * size && limit < y[1] + 0.6 * size) {
        y[0] = Math.min(y[0], limit - 0.05 * size);
        y[1] = Math.max(y[1], limit + 0.05 * size);
      }
    }
    const x = extent(points.map(xOf));
    if (!against && x[1] - x[0] < 600e6) { x[0] -= 300e6; x[1] += 300e6; }
    const axis = against ? null : times(x[0], x[1], width / 110);
    frame = new Frame(canvas, width, height, x, y, {
      xLabel: against ? against.replace(/^(qc|header):/, "") : "time, UTC", yLabel: [trend.metric, trend.unit],
      xTicks: axis?.found, xText: axis?.text,
    });
    frame.inside((context) => {
      limitLines(context);
      points.forEach((point, index) => dot(context, point, index === chosen));
    });
    canvas.setAttribute("aria-label", `${trend.metric}: ${points.length} values from ${number(y[0], 3)} to ${number(y[1], 3)} ${trend.unit}; `
      + `${points.filter((point) => point.verdict !== "pass").length} out of range, ${points.filter((point) => point.outlier).length} outliers`);
  }

  /** The limits in force at each point, as steps; against something else than time those of the newest point. */
  function limitLines(context) {
    context.strokeStyle = colour("bad");
    context.setLineDash([6, 4]);
    for (const end of ["min", "max"]) {
      const known = points.filter((point) => point[end] !== null);
      const steps = against ? known.slice(-1).map((point) => ({ ...point, place: frame.x[0] })) : known.map((point) => ({ ...point, place: point.at_us }));
      const distinct = new Set(known.map((point) => point[end]));
      if (distinct.size > 12) continue;
      for (const value of distinct) {
        const own = steps.filter((step) => step[end] === value);
        if (!own.length) continue;
        const from = distinct.size === 1 || against ? frame.left : frame.px(own[0].place);
        const to = distinct.size === 1 || against ? frame.width - frame.right : Math.max(frame.px(own[own.length - 1].place), from + 8);
        context.beginPath();
        context.moveTo(from, frame.py(value));
        context.lineTo(to, frame.py(value));
        context.stroke();
      }
    }
    context.setLineDash([]);
  }

  function dot(context, point, isChosen) {
    const [px, py] = [frame.px(xOf(point)), frame.py(point.value)];
    const group = names.indexOf(name(point));
    const size = points.length > 800 ? 2 : 3.5;
    context.fillStyle = colour(SERIES[group % SERIES.length]);
    context.beginPath();
    // More groups than colours: the next ones are squares.
    if (group < SERIES.length) context.arc(px, py, size, 0, 7);
    else context.rect(px - size, py - size, 2 * size, 2 * size);
    context.fill();
    if (point.verdict !== "pass" || point.outlier || isChosen) {
      context.strokeStyle = colour(isChosen ? "ink" : point.verdict === "pass" ? "warn" : level(point.verdict));
      context.lineWidth = 2;
      context.beginPath();
      context.arc(px, py, isChosen ? 9 : 6.5, 0, 7);
      context.stroke();
      context.lineWidth = 1;
    }
  }

  function nearest(event) {
    const area = canvas.getBoundingClientRect();
    const [ex, ey] = [event.clientX - area.left, event.clientY - area.top];
    let best = -1;
    let reach = 15;
    points.forEach((point, index) => {
      const distance = Math.hypot(frame.px(xOf(point)) - ex, frame.py(point.value) - ey);
      if (distance < reach) [best, reach] = [index, distance];
    });
    return best;
  }

  function say(index) {
    chosen = index;
    const point = points[index];
    if (point) readout.textContent = `${moment(point.at_us)} ${point.arm} ${point.set_name}${point.qc_order === "-1" ? "" : `, order ${point.qc_order}`}: ${number(point.value)} ${trend.unit}${against ? ` at ${number(point.x)}` : ""}`;
    draw();
  }

  canvas.addEventListener("pointermove", (event) => {
    const index = nearest(event);
    canvas.classList.toggle("pointing", index >= 0);
    if (index >= 0 && index !== chosen) say(index);
  });
  canvas.addEventListener("click", (event) => {
    const index = nearest(event);
    if (index >= 0) choose(points[index]);
  });
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowLeft: -1 };
    if (event.key in steps && points.length) say((chosen + steps[event.key] + points.length) % points.length);
    else if (event.key === "Enter" && points[chosen]) choose(points[chosen]);
    else return;
    event.preventDefault();
  });
  const legend = names.length > 1
    ? h("p", { class: "legend" }, names.map((own, index) => h("span", {}, h("i", { class: `swatch ${SERIES[index % SERIES.length]} ${index < SERIES.length ? "round" : ""}` }), own)))
    : null;
  box.append(canvas);
  draw();
  new ResizeObserver(() => { if (Math.abs(box.clientWidth - (frame?.width ?? 0)) > 4) draw(); }).observe(box);
  return [legend, readout];
}

export async function health(place, parts, root) {
  const metrics = await get("trends/metrics");
  const names = metrics.map((metric) => metric.name);
  const filter = Object.fromEntries([...place.searchParams].filter(([key]) => ["metric", "against", "from", "to", ...FILTERS.map(([own]) => own)].includes(key)));
  filter.metric ??= names.includes(FIRST) ? FIRST : names[0];

  function move(change) {
    const kept = Object.entries({ ...filter, ...change }).filter(([, value]) => value);
    go(`/health?${new URLSearchParams(kept)}`, true);
  }

  if (!filter.metric) {
    root.replaceChildren(h("h1", {}, "Health"), card("Metrics", {}, h("p", { class: "soft" }, "Nothing has been measured yet.")));
    return null;
  }

  async function draw() {
    const trend = await get("trends", filter);
    const against = filter.against ?? "";
    const odd = trend.points.filter((point) => point.verdict !== "pass" || point.outlier).reverse();
    const day_ = (name, label) => h("label", { class: "choice" }, h("span", {}, label),
      h("input", { id: `date-${name}`, type: "date", value: filter[name] ?? "", onchange: (event) => move({ [name]: event.target.value }) }));
    const axes = [["", "time"], ...trend.keywords.map((keyword) => [`header:${keyword}`, keyword]), ...names.map((name) => [`qc:${name}`, `QC ${name}`])];
    if (against && !axes.some(([own]) => own === against)) axes.push([against, against]);
    const box = h("div", { class: "plotbox" });
    const words = trend.every > 1 ? `one of ${trend.every} of ${trend.total} values, and what is out of range` : `${trend.points.length} values`;
    const held = document.activeElement?.id;
    const panel = card([`${trend.metric} `, h("small", {}, `${trend.comment}; ${words}`)], { id: "trend" }, box);
    root.replaceChildren(
      h("h1", {}, "Health"),
      card("What is shown", { id: "filters" }, h("div", { class: "row" },
        choice("Metric", names, filter.metric, (metric) => move({ metric, order: "" })),
        choice("Against", axes, against, (chosen) => move({ against: chosen })),
        FILTERS.filter(([, , facet]) => trend.facets[facet].length > 1 || filter[facet])
          .map(([key, label, facet]) => choice(label, [["", "all"], ...trend.facets[facet].map((value) => [value, value === "-1" && key === "order" ? "all together" : value])], filter[key] ?? "", (value) => move({ [key]: value }))),
        day_("from", "From"), day_("to", "To"))),
      panel,
      card(["What stands out ", h("small", {}, "out of its fixed range, or far from others of its kind")], { id: "odd" }, table([
        ["Verdict", (point) => mark(point.verdict === "pass" ? "warn" : point.verdict, point.verdict === "pass" ? "outlier" : point.verdict)],
        ["When", (point) => moment(point.at_us)], ["Value", (point) => `${number(point.value)} ${trend.unit}`, "number"],
        ["Order", (point) => point.qc_order === "-1" ? "" : point.qc_order],
        ["Frame", (point) => point.frame_id ? link(`frame:${point.frame_id}`, "first frame") : "gone"],
        ["Set", (point) => link(`job:${point.job_id}`, point.set_name), "name"],
      ], odd.slice(0, 100), "Nothing stands out.", "What stands out")));
    if (trend.points.length) {
      panel.append(...plot(trend, against, box, (point) => go(point.frame_id ? `/frame/${point.frame_id}` : `/job/${point.job_id}`)).filter(Boolean));
    } else {
      box.append(h("p", { class: "soft" }, "There is no value like that."));
    }
    if (held) document.getElementById(held)?.focus();
  }
  await draw();
  return null;
}
