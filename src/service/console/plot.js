// What plots have in common: axes with round numbers, and the range that a set of values spans.

import { number } from "./dom.js";

/** Round places between two ends, about `most` of them. */
export function places(low, high, most) {
  const rough = (high - low) / Math.max(1, most);
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k += 1) found.push(k * step);
  return found;
}

/** The range of some values with a margin; a share of the farthest values is left out on each side. */
export function extent(values, leftOut = 0) {
  const finite = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (!finite.length) return [0, 1];
  const cut = Math.floor(finite.length * leftOut);
  const low = finite[cut];
  const high = finite[finite.length - 1 - cut];
  const margin = (high - low || Math.abs(high) || 1) * 0.06;
  return [low - margin, high + margin];
}

/** A unit as people write it: `erg s⁻¹ cm⁻² Å⁻¹`. */
export function unitText(unit) {
  const raised = (power) => [...power].map((sign) => ({ "-": "⁻" })[sign] ?? "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(sign)]).join("");
  return unit.replace(/\*\*\(?(-?\d+)\)?/g, (_, power) => raised(power)).replace(/(?<=[A-Za-z])(-?\d)\b/g, (_, power) => raised(power))
    .replace(/\./g, " ").replace(/[Aa]ngstrom/g, "Å").replace(/^electron$/, "e⁻");
}

/** The power of ten that is taken out of the numbers of an axis; 0 when they are handy as they are. */
function power([low, high]) {
  const size = Math.max(Math.abs(low), Math.abs(high));
  const found = size > 0 ? Math.floor(Math.log10(size)) : 0;
  return found < -3 || found > 5 ? found : 0;
}

/** A colour of the style. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export const SERIES = ["series-1", "series-2", "series-3", "series-4", "series-5", "series-6"];

/** The frame of a plot on a canvas: its scales, drawn axes, and the way back from pixels to values. */
export class Frame {
  constructor(canvas, width, height, x, y, labels) {
    const ratio = globalThis.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    this.context = canvas.getContext("2d");
    this.context.scale(ratio, ratio);
    Object.assign(this, { width, height, x, y, left: 58, right: 12, top: 10, bottom: 38 });
    this.draw(labels);
  }

  px(value) {
    return this.left + ((value - this.x[0]) / (this.x[1] - this.x[0])) * (this.width - this.left - this.right);
  }

  py(value) {
    return this.height - this.bottom - ((value - this.y[0]) / (this.y[1] - this.y[0])) * (this.height - this.top - this.bottom);
  }

  /** The horizontal value at a pixel. */
  at(px) {
    const part = (px - this.left) / (this.width - this.left - this.right);
    return this.x[0] + Math.min(1, Math.max(0, part)) * (this.x[1] - this.x[0]);
  }

  draw({ xLabel, yLabel, xTicks, xText }) {
    const context = this.context;
    const [ink, soft, rule] = [colour("ink"), colour("soft"), colour("line")];
    context.clearRect(0, 0, this.width, this.height);
    context.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    context.lineWidth = 1;
    context.textAlign = "center";
    const down = this.height - this.bottom;
    for (const value of xTicks ?? places(this.x[0], this.x[1], this.width / 90)) {
      const px = Math.round(this.px(value)) + 0.5;
      context.strokeStyle = rule;
      context.beginPath();
      context.moveTo(px, this.top);
      context.lineTo(px, down);
      context.stroke();
      context.fillStyle = soft;
      context.fillText(xText ? xText(value) : number(value, 6), px, down + 15);
    }
    context.textAlign = "right";
    const taken = power(this.y);
    for (const value of places(this.y[0], this.y[1], this.height / 50)) {
      const py = Math.round(this.py(value)) + 0.5;
      context.strokeStyle = rule;
      context.beginPath();
      context.moveTo(this.left, py);
      context.lineTo(this.width - this.right, py);
      context.stroke();
      context.fillStyle = soft;
      context.fillText(number(value / 10 ** taken, 4), this.left - 5, py + 4);
    }
    context.strokeStyle = soft;
    context.strokeRect(this.left + 0.5, this.top + 0.5, this.width - this.left - this.right, down - this.top);
    context.fillStyle = ink;
    context.textAlign = "center";
    context.fillText(xLabel, (this.left + this.width) / 2, this.height - 6);
    context.save();
    context.translate(12, (this.top + down) / 2);
    context.rotate(-Math.PI / 2);
    const [word, unit] = yLabel;
    const factor = taken ? `10${[...String(taken)].map((sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(sign)])).join("")} ` : "";
    const inside = `${factor}${unitText(unit)}`.trim();
    context.fillText(inside ? `${word} [${inside}]` : word, 0, 0, down - this.top + 30);
    context.restore();
  }

  /** Draw only inside of the axes. */
  inside(draw) {
    const context = this.context;
    context.save();
    context.beginPath();
    context.rect(this.left, this.top, this.width - this.left - this.right, this.height - this.top - this.bottom);
    context.clip();
    draw(context);
    context.restore();
  }
}
