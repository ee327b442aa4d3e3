// The graph of a thing's origin: boxes in columns from raw frames to archives, arrows between them.

import { h, level, path, sign, svg } from "./dom.js";

const BOX = { width: 196, height: 40, across: 236, down: 50 };

/** The column of each node: one after the farthest of those it comes from. */
function columns(nodes, edges) {
  const depth = new Map(nodes.map((node) => [node.id, 0]));
  // A graph without circles settles after as many rounds as it has nodes.
  for (let round = 0; round < nodes.length; round += 1) {
    let moved = false;
    for (const { from, to } of edges) {
      if (depth.get(to) < depth.get(from) + 1) {
        depth.set(to, depth.get(from) + 1);
        moved = true;
      }
    }
    if (!moved) break;
  }
  // Raw frames stand right before what is made of them.
  for (const node of nodes.filter((candidate) => ["raws", "frame"].includes(candidate.kind))) {
    const next = edges.filter((edge) => edge.from === node.id).map((edge) => depth.get(edge.to));
    if (next.length) depth.set(node.id, Math.min(...next) - 1);
  }
  return depth;
}

const short = (text, most) => (text.length > most ? `${text.slice(0, most / 2 - 1)}…${text.slice(-(most / 2))}` : text);

function box(node, x, y) {
  const words = { frame: "raw frame", raws: "raw frames", job: "recipe", product: "product", sink: "archive" };
  const title = `${words[node.kind] ?? node.kind} ${node.name} ${node.label}, ${node.state}`;
  const heading = node.kind === "frame" || node.kind === "raws" || node.kind === "sink" ? node.name : node.label;
  const below = node.kind === "frame" || node.kind === "raws" || node.kind === "sink" ? node.label || words[node.kind] : node.name;
  const shape = [
    svg("rect", { x, y, width: BOX.width, height: BOX.height, rx: 5, class: `node ${level(node.state)} ${node.focus ? "focus" : ""}` }),
    svg("text", { x: x + 8, y: y + 16, class: "name" }, `${sign(node.state)} ${short(heading, 22)}`),
    svg("text", { x: x + 8, y: y + 32, class: "label" }, short(below, 26)),
    svg("title", {}, title),
  ];
  const href = node.target ? path(node.target) : node.kind === "sink" ? `/deliveries?sink=${encodeURIComponent(node.name)}` : "";
  return href ? svg("a", { href }, shape) : svg("g", {}, shape);
}

/** The drawing, and the same as a list for those who do not see it. */
export function graph({ nodes, edges }) {
  const depth = columns(nodes, edges);
  const rows = new Map();
  const at = new Map();
  const most = Math.max(0, ...depth.values());
  for (let column = 0; column <= most; column += 1) {
    const own = nodes.filter((node) => depth.get(node.id) === column);
    // Near to what they come from, so that arrows cross little.
    const middle = (node) => {
      const before = edges.filter((edge) => edge.to === node.id).map((edge) => at.get(edge.from)?.row).filter((row) => row !== undefined);
      return before.length ? before.reduce((sum, row) => sum + row, 0) / before.length : 0;
    };
    own.sort((a, b) => middle(a) - middle(b));
    own.forEach((node, row) => at.set(node.id, { column, row }));
    rows.set(column, own.length);
  }
  const tallest = Math.max(...rows.values());
  const place = (id) => {
    const { column, row } = at.get(id);
    const offset = ((tallest - rows.get(column)) * BOX.down) / 2;
    return [8 + column * BOX.across, 8 + offset + row * BOX.down];
  };
  const arrows = edges.map((edge) => {
    const [x1, y1] = place(edge.from);
    const [x2, y2] = place(edge.to);
    const [begin, end] = [x1 + BOX.width, x2];
    const bend = Math.max(20, (end - begin) / 2);
    const [from, to] = [y1 + BOX.height / 2, y2 + BOX.height / 2];
    return svg("path", { d: `M${begin} ${from} C${begin + bend} ${from} ${end - bend} ${to} ${end} ${to}`, class: `edge ${edge.label ? level(edge.label) : ""}` });
  });
  const width = 16 + most * BOX.across + BOX.width;
  const height = 16 + (tallest - 1) * BOX.down + BOX.height;
  const drawing = svg("svg", { class: "graph", viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "Origin" },
    arrows, nodes.map((node) => box(node, ...place(node.id))));
  // It is made smaller to fit, but not so small that nobody can read it.
  drawing.style.width = "100%";
  drawing.style.maxWidth = `${width}px`;
  drawing.style.minWidth = `${0.62 * width}px`;
  drawing.style.height = "auto";
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Origin, from raw frames to archives" }, drawing);
}
