// A spectrum with zoom and overlays. The service gives the least and largest value of each interval of the range that is
// looked at, so that a zoom asks again and shows every sample in the end.

import { get } from "./api.js";
import { h, number } from "./dom.js";
import { BANDS, LINES } from "./lines.js";
import { colour, extent, Frame, SERIES } from "./plot.js";

const FIELDS = { flux: "series-1", error: "series-2", sky: "series-3", snr: "series-4" };
const NAMES = { flux: "flux", error: "error", sky: "sky", snr: "signal to noise" };

/** The curve of a role; of several the first. */
const curveOf = (shown, role) => shown.curves.find((curve) => curve.role === role);

/**
 * A plot of HDU `hdu` of `source` (`products/12`). `compact` leaves out the controls.
 */
export async function spectrumPlot(source, { hdu = 1, compact = false } = {}) {
  const state = { from: null, to: null, on: { flux: true, error: !compact, sky: false, snr: false, lines: !compact, orders: true }, shown: null };
  const canvas = h("canvas", { class: "plot", tabindex: compact ? null : "0", role: "img" });
  const box = h("div", { class: compact ? "plotbox compact" : "plotbox" }, canvas);
  const readout = h("output", { class: "soft" }, compact ? "" : "Drag to zoom, double-click for everything; keys + − ← → 0.");
  const note = h("p", { class: "soft" });
  const selection = h("div", { class: "selection", hidden: true });
  box.append(selection);
  let frame = null;
  let turn = 0;

  async function load() {
    const mine = ++turn;
    const shown = await get(`${source}/spectrum`, { hdu, from: state.from, to: state.to, intervals: compact ? 500 : 1200 });
    if (mine !== turn) return;
    state.shown = shown;
    draw();
  }

  function draw() {
    const shown = state.shown;
    const width = Math.max(280, box.clientWidth || 600);
    const height = compact ? 230 : Math.max(260, Math.min(460, width * 0.45));
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const x = [state.from ?? shown.extent[0], state.to ?? shown.extent[1]];
    if (x[1] <= x[0]) x[1] = x[0] + 1;
    const roles = Object.keys(FIELDS).filter((role) => state.on[role] && curveOf(shown, role));
    const leading = roles[0] ?? "flux";
    const own = (role) => shown.traces.filter((trace) => trace.curve === curveOf(shown, role)?.name);
    const values = own(leading).flatMap((trace) => [...trace.low, ...trace.high]);
    const y = extent(values.filter((value) => value !== null), state.from === null ? 0.005 : 0);
    const unit = curveOf(shown, leading)?.unit ?? "";
    frame = new Frame(canvas, width, height, x, y, {
      xLabel: shown.axis_unit === "nm" ? "wavelength [nm]" : `${shown.axis} ${shown.axis_unit && `[${shown.axis_unit}]`}`, yLabel: [NAMES[leading], unit],
    });
    // What has another unit is drawn on a scale of its own, which the text below the plot names.
    const scales = {};
    for (const role of roles.filter((candidate) => (curveOf(shown, candidate).unit ?? "") !== unit)) {
      const found = own(role).flatMap((trace) => [...trace.low, ...trace.high]).filter((value) => value !== null);
      const range = extent(found, 0.002);
      scales[role] = { range, py: (value) => frame.py(y[0] + ((value - range[0]) / (range[1] - range[0])) * (y[1] - y[0])) };
    }
    const foreign = Object.entries(scales).map(([role, { range }]) => `${NAMES[role]} from ${number(range[0], 3)} to ${number(range[1], 3)}`);
    note.textContent = foreign.length ? `On a scale of its own: ${foreign.join("; ")}.` : "";
    frame.inside((context) => {
      if (state.on.lines && shown.axis_unit === "nm") marks(context, frame);
      // What is looked at lies on top.
      for (const role of [...roles].reverse()) {
        own(role).forEach((trace, index) => {
          const orders = role === "flux" && state.on.orders && trace.order !== null;
          context.strokeStyle = colour(orders ? SERIES[(trace.order ?? index) % 2 === 0 ? 0 : 4] : FIELDS[role]);
          context.globalAlpha = role === "flux" ? 1 : 0.8;
          curve(context, frame, trace, scales[role]);
        });
      }
    });
    canvas.setAttribute("aria-label",
      `Spectrum ${shown.table}: ${roles.map((role) => NAMES[role]).join(", ")} from ${number(x[0], 5)} to ${number(x[1], 5)} ${shown.axis_unit}, `
      + `${NAMES[leading]} from ${number(y[0], 3)} to ${number(y[1], 3)} ${unit}`);
    canvas.dataset.from = x[0];
    canvas.dataset.to = x[1];
  }

  function zoom(from, to) {
    const [first, last] = state.shown.extent;
    const whole = from <= first && to >= last;
    state.from = whole ? null : Math.max(first, from);
    state.to = whole ? null : Math.min(last, to);
    load().catch((error) => { readout.textContent = error.message; });
  }

  function step(factor, shift) {
    const [from, to] = frame.x;
    const half = ((to - from) / 2) * factor;
    const middle = (from + to) / 2 + (to - from) * shift;
    zoom(middle - half, middle + half);
  }

  if (!compact) listen(canvas, selection, () => frame, zoom, step, readout);
  const controls = compact ? null : h("div", { class: "row", role: "group", "aria-label": "What is drawn" });
  await load();
  if (controls) {
    const offered = [...Object.keys(FIELDS).filter((role) => curveOf(state.shown, role)), "lines",
      ...(state.shown.traces.some((trace) => trace.order !== null) ? ["orders"] : [])];
    const words = { ...NAMES, lines: "line marks", orders: "orders by colour" };
    controls.append(...offered.map((role) => h("label", { class: "check" },
      h("input", { type: "checkbox", checked: state.on[role], onchange: (event) => {
        state.on[role] = event.target.checked;
        draw();
      } }), h("i", { class: `swatch ${FIELDS[role] ?? ""}` }), words[role])),
    h("button", { type: "button", onclick: () => step(0.5, 0) }, "Zoom in"),
    h("button", { type: "button", onclick: () => step(2, 0) }, "Zoom out"),
    h("button", { type: "button", onclick: () => zoom(-Infinity, Infinity) }, "All"));
  }
  new ResizeObserver(() => { if (state.shown && Math.abs(box.clientWidth - (frame?.width ?? 0)) > 4) draw(); }).observe(box);
  return h("div", { class: "spectrum" }, controls, box, readout, compact ? null : note);
}

function curve(context, frame, trace, scale) {
  const place = scale?.py ?? ((value) => frame.py(value));
  context.lineWidth = 1;
  context.beginPath();
  let pen = false;
  for (let k = 0; k < trace.x.length; k += 1) {
    const [low, high] = [trace.low[k], trace.high[k]];
    if (low === null) {
      pen = false;
      continue;
    }
    const px = frame.px(trace.x[k]);
    const first = place(low);
    if (pen) context.lineTo(px, first);
    else context.moveTo(px, first);
    if (high !== low) context.lineTo(px, place(high));
    pen = true;
  }
  context.stroke();
  context.globalAlpha = 1;
}

function marks(context, frame) {
  context.font = "11px system-ui, 'DejaVu Sans', sans-serif";
  context.textAlign = "left";
  for (const [, from, to] of BANDS) {
    context.fillStyle = colour("band");
    context.fillRect(frame.px(from), frame.top, Math.max(1, frame.px(to) - frame.px(from)), frame.height - frame.top - frame.bottom);
  }
  context.fillStyle = colour("soft");
  context.strokeStyle = colour("soft");
  let last = -Infinity;
  for (const [name, wavelength] of LINES) {
    const px = frame.px(wavelength);
    if (px < frame.left || px > frame.width - frame.right) continue;
    context.setLineDash([2, 4]);
    context.beginPath();
    context.moveTo(px, frame.top);
    context.lineTo(px, frame.height - frame.bottom);
    context.stroke();
    context.setLineDash([]);
    if (px - last > 38) {
      context.fillText(name, px + 2, frame.top + 12);
      last = px;
    }
  }
}

function listen(canvas, selection, frame, zoom, step, readout) {
  let begin = null;
  const place = (event) => event.clientX - canvas.getBoundingClientRect().left;
  canvas.addEventListener("pointerdown", (event) => {
    begin = place(event);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = place(event);
    readout.textContent = `${number(frame().at(now), 6)}`;
    if (begin === null) return;
    selection.hidden = false;
    selection.style.left = `${Math.min(begin, now)}px`;
    selection.style.width = `${Math.abs(now - begin)}px`;
  });
  canvas.addEventListener("pointerup", (event) => {
    const end = place(event);
    selection.hidden = true;
    if (begin !== null && Math.abs(end - begin) > 5) {
      zoom(frame().at(Math.min(begin, end)), frame().at(Math.max(begin, end)));
    }
    begin = null;
  });
  canvas.addEventListener("pointercancel", () => {
    begin = null;
    selection.hidden = true;
  });
  canvas.addEventListener("dblclick", () => zoom(-Infinity, Infinity));
  canvas.addEventListener("keydown", (event) => {
    const acts = { "+": [0.5, 0], "=": [0.5, 0], "-": [2, 0], ArrowLeft: [1, -0.25], ArrowRight: [1, 0.25] };
    if (event.key === "0") zoom(-Infinity, Infinity);
    else if (event.key in acts) step(...acts[event.key]);
    else return;
    event.preventDefault();
  });
}
