// An image with stretch and zoom. The service cuts, shrinks and stretches; this asks for what is looked at.

import { image } from "./api.js";
import { choice, h, number } from "./dom.js";

/** A viewer for HDU `hdu` of `source` (`frames/3`), which has `rows` x `columns` pixels. */
export function imageView(source, hdu, rows, columns) {
  // A tall image lies on its side: dispersion runs from left to right then.
  const turned = rows > 1.6 * columns;
  const whole = { x0: 0, y0: 0, x1: columns, y1: rows };
  const state = { region: { ...whole }, low: null, high: null, palette: "grey", levels: [], bitmap: null };
  const canvas = h("canvas", { class: "image", tabindex: "0", role: "img", "aria-label": "Image, not loaded yet" });
  const selection = h("div", { class: "selection", hidden: true });
  const box = h("div", { class: "plotbox" }, canvas, selection);
  const readout = h("output", { class: "soft" });
  const low = h("input", { type: "number", step: "any", id: `low-${hdu}`, onchange: () => levels() });
  const high = h("input", { type: "number", step: "any", id: `high-${hdu}`, onchange: () => levels() });
  let asked = null;

  /** Pixels of the image across and along the screen. */
  const across = () => (turned ? state.region.y1 - state.region.y0 : state.region.x1 - state.region.x0);
  const along = () => (turned ? state.region.x1 - state.region.x0 : state.region.y1 - state.region.y0);

  async function load() {
    asked?.abort();
    asked = new AbortController();
    try {
      const found = await image(`${source}/image`, { hdu, ...state.region, side: 1200, low: state.low, high: state.high, palette: state.palette }, asked.signal);
      state.bitmap = found.bitmap;
      state.levels = found.levels;
      if (state.low === null) low.value = Number(found.levels[0].toPrecision(5));
      if (state.high === null) high.value = Number(found.levels[1].toPrecision(5));
      readout.textContent = `columns ${state.region.x0} to ${state.region.x1 - 1}, rows ${state.region.y0} to ${state.region.y1 - 1}; `
        + `shown from ${number(found.levels[0])} to ${number(found.levels[1])}${turned ? "; rows run to the right" : ""}`;
      draw();
    } catch (error) {
      if (error.name !== "AbortError") readout.textContent = error.message;
    }
  }

  function draw() {
    const width = Math.max(240, box.clientWidth || 600);
    // Long strips are drawn thicker than they are, but not higher than the screen.
    const height = Math.max(160, Math.min(0.7 * innerHeight, (width * along()) / across()));
    canvas.width = Math.round(width);
    canvas.height = Math.round(height);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = Math.max(across(), along()) > 600;
    if (turned) {
      // The upper row of the answer is the last row of the image: rows to the right, columns upwards.
      context.setTransform(0, -1, -1, 0, width, height);
      context.drawImage(state.bitmap, 0, 0, height, width);
      context.setTransform(1, 0, 0, 1, 0, 0);
    } else {
      context.drawImage(state.bitmap, 0, 0, width, height);
    }
    canvas.setAttribute("aria-label", `Image, ${readout.textContent}`);
  }

  /** The pixel of the image at a place on the screen, as parts of the region. */
  function pixel(px, py) {
    const [u, v] = [px / canvas.clientWidth, 1 - py / canvas.clientHeight];
    const { x0, x1, y0, y1 } = state.region;
    return turned ? [x0 + v * (x1 - x0), y0 + u * (y1 - y0)] : [x0 + u * (x1 - x0), y0 + v * (y1 - y0)];
  }

  function show(x0, y0, x1, y1) {
    const fit = (a, b, most) => {
      const size = Math.max(8, Math.min(most, Math.round(b - a)));
      const begin = Math.round(Math.min(Math.max(0, a), most - size));
      return [Math.max(0, begin), Math.min(most, begin + size)];
    };
    [state.region.x0, state.region.x1] = fit(x0, x1, columns);
    [state.region.y0, state.region.y1] = fit(y0, y1, rows);
    load();
  }

  function zoom(factor, shiftX = 0, shiftY = 0) {
    const { x0, x1, y0, y1 } = state.region;
    const [cx, cy] = [(x0 + x1) / 2 + shiftX * (x1 - x0), (y0 + y1) / 2 + shiftY * (y1 - y0)];
    const [hx, hy] = [((x1 - x0) / 2) * factor, ((y1 - y0) / 2) * factor];
    show(cx - hx, cy - hy, cx + hx, cy + hy);
  }

  function levels() {
    state.low = low.value === "" ? null : Number(low.value);
    state.high = high.value === "" ? null : Number(high.value);
    load();
  }

  listen();
  function listen() {
    let begin = null;
    const place = (event) => {
      const area = canvas.getBoundingClientRect();
      return [event.clientX - area.left, event.clientY - area.top];
    };
    canvas.addEventListener("pointerdown", (event) => {
      begin = place(event);
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (begin === null) return;
      const now = place(event);
      selection.hidden = false;
      selection.style.left = `${Math.min(begin[0], now[0])}px`;
      selection.style.width = `${Math.abs(now[0] - begin[0])}px`;
      selection.style.top = `${Math.min(begin[1], now[1])}px`;
      selection.style.height = `${Math.abs(now[1] - begin[1])}px`;
    });
    canvas.addEventListener("pointerup", (event) => {
      selection.hidden = true;
      if (begin === null) return;
      const end = place(event);
      if (Math.abs(end[0] - begin[0]) > 5 && Math.abs(end[1] - begin[1]) > 5) {
        const [a, b] = [pixel(...begin), pixel(...end)];
        show(Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1]));
      }
      begin = null;
    });
    canvas.addEventListener("dblclick", () => show(0, 0, columns, rows));
    canvas.addEventListener("keydown", (event) => {
      const [right, up] = turned ? [[0, 0.25], [0.25, 0]] : [[0.25, 0], [0, 0.25]];
      const acts = {
        "+": [0.5], "=": [0.5], "-": [2], ArrowRight: [1, ...right], ArrowLeft: [1, -right[0], -right[1]],
        ArrowUp: [1, ...up], ArrowDown: [1, -up[0], -up[1]],
      };
      if (event.key === "0") show(0, 0, columns, rows);
      else if (event.key in acts) zoom(...acts[event.key]);
      else return;
      event.preventDefault();
    });
  }

  const controls = h("div", { class: "row" },
    choice("Colours", [["grey", "grey"], ["viridis", "viridis"]], state.palette, (chosen) => {
      state.palette = chosen;
      load();
    }),
    h("label", { class: "choice" }, h("span", {}, "Dark"), low),
    h("label", { class: "choice" }, h("span", {}, "Bright"), high),
    h("button", { type: "button", onclick: () => { state.low = state.high = null; load(); } }, "z-scale"),
    h("button", { type: "button", onclick: () => zoom(0.5) }, "Zoom in"),
    h("button", { type: "button", onclick: () => zoom(2) }, "Zoom out"),
    h("button", { type: "button", onclick: () => show(0, 0, columns, rows) }, "All"));
  load();
  new ResizeObserver(() => { if (state.bitmap && Math.abs(box.clientWidth - canvas.clientWidth) > 4) draw(); }).observe(box);
  return h("div", { class: "viewer" }, controls, box, readout);
}
