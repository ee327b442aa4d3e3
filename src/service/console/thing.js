// The page of a frame, a set, a job, a product or a delivery: the answer first, then where it comes from, what is in it, how
// good it is, and what was done.

import { get } from "./api.js";
import { actsOf } from "./acts.js";
import { bytes, card, choice, h, link, mark, moment, number, table } from "./dom.js";
import { graph } from "./graph.js";
import { imageView } from "./image.js";
import { spectrumPlot } from "./spectrum.js";

const KINDS = { frame: "Frame", set: "Set", job: "Job", product: "Product", delivery: "Delivery" };

/** Ask for something that may not be there; null then. */
const maybe = (question) => question.catch(() => null);

function facts(entries) {
  return h("dl", { class: "facts" }, entries.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function summary(story) {
  const { frame, set, job, product } = story;
  const file = frame?.file;
  return facts([
    ["File", file?.path], ["Outcome", file ? mark(file.outcome) : ""], ["Reason", file?.outcome_why],
    ["Kind", file?.kind ? `${file.kind} (${frame.dpr_type}; ${frame.dpr_tech})` : ""],
    ["Product", product ? [mark(product.state === "current" ? product.verdict : product.state), ` ${product.catg}, revision ${product.revision}, ${bytes(product.size)}`] : ""],
    ["State", product?.state_why],
    ["In archives as", product?.archive_name],
    ["Set", set ? link(`set:${set.set.id}`, set.set.name) : ""],
    ["Object", set?.set.object ?? file?.object],
    ["Frames", set ? `${set.set.n_frames} of ${set.set.n_planned} planned, ${set.set.state}${set.set.why ? `: ${set.set.why}` : ""}` : ""],
    ["Job", job ? [link(`job:${job.job.id}`, `${job.job.recipe} ${job.job.recipe_version}`), " ", mark(job.job.state)] : ""],
    ["Error", job?.job.error], ["Waits for", job?.job.waits_for],
    ["Began", job ? moment(job.job.started_us) : ""],
    ["Took", job?.job.started_us && job.job.finished_us ? `${number((job.job.finished_us - job.job.started_us) / 1e6, 3)} s` : ""],
  ]);
}

function products(story) {
  if (!story.products.length) return null;
  return card("Products", { id: "products" }, table([
    ["QC", (row) => mark(row.state === "current" ? row.verdict : row.state)],
    ["Product", (row) => link(`product:${row.id}`, row.name, story.product?.id === row.id ? { "aria-current": "true" } : {}), "name"],
    ["Category", (row) => row.catg], ["Size", (row) => bytes(row.size), "number"], ["Deliveries", (row) => row.deliveries],
  ], story.products, "", "Products"));
}

function metrics(rows) {
  const range = (row) => row.min === null && row.max === null ? ""
    : `${row.min === null ? "−∞" : number(row.min)} … ${row.max === null ? "∞" : number(row.max)}`;
  const columns = [
    ["Verdict", (row) => mark(row.verdict)],
    ["Metric", (row) => h("a", { href: `/health?metric=${encodeURIComponent(row.name)}&order=${encodeURIComponent(row.qc_order)}` }, row.name)],
    ["Order", (row) => row.qc_order === "-1" ? "" : row.qc_order],
    ["Value", (row) => row.value === null ? `none: ${row.absent}` : `${number(row.value)} ${row.unit}`, "number"],
    ["Range", range, "number"], ["What it is", (row) => row.comment],
  ];
  const global = rows.filter((row) => row.qc_order === "-1" || row.verdict !== "pass");
  const orders = rows.filter((row) => row.qc_order !== "-1");
  return card(["Quality ", h("small", {}, `${rows.length} metrics, ${rows.filter((row) => row.verdict !== "pass").length} out of range`)], { id: "quality" },
    table(columns, global, "No metric was measured.", "Metrics"),
    orders.length ? h("details", {}, h("summary", {}, `${orders.length} values of single orders`), table(columns, orders, "", "Metrics of orders")) : null);
}

function header(contents) {
  const list = h("div", {});
  const wanted = h("input", { id: "card-filter", type: "search", oninput: () => show() });
  let hdu = 0;
  function show() {
    const words = wanted.value.toUpperCase();
    const cards = contents.hdus[hdu].cards.filter((entry) => `${entry.keyword} ${entry.value ?? ""} ${entry.comment}`.toUpperCase().includes(words));
    list.replaceChildren(table([["Keyword", (row) => row.keyword, "key"], ["Value", (row) => row.value ?? ""], ["Comment", (row) => row.comment]], cards, "No card is like that.", "Header"));
  }
  show();
  return card("Header", { id: "header" }, h("details", {}, h("summary", {}, `${contents.hdus.reduce((sum, entry) => sum + entry.cards.length, 0)} cards`),
    h("div", { class: "row" },
      choice("HDU", contents.hdus.map((entry) => [String(entry.index), `${entry.index} ${entry.name}`]), "0", (chosen) => {
        hdu = Number(chosen);
        show();
      }),
      h("label", { class: "choice" }, h("span", {}, "Contains"), wanted)), list));
}

/** What can be seen of a file: its first spectrum or image, the others by choice. */
async function preview(source, contents) {
  const shown = contents.hdus.filter((entry) => entry.kind === "spectrum" || entry.kind === "image");
  const place = h("div", {});
  async function show(index) {
    const hdu = contents.hdus[index];
    try {
      place.replaceChildren(hdu.kind === "image" ? imageView(source, index, hdu.rows, hdu.columns) : await spectrumPlot(source, { hdu: index }));
    } catch (error) {
      place.replaceChildren(h("p", {}, error.message));
    }
  }
  const rest = contents.hdus.filter((entry) => entry.kind === "table").map((entry) => `${entry.name}: ${entry.units.join(", ")}`);
  if (!shown.length) {
    return card("Preview", { id: "preview" }, h("p", { class: "soft" }, rest.length ? `Tables without a spectrum: ${rest.join("; ")}` : "There is nothing to be drawn."));
  }
  await show(shown[0].index);
  return card("Preview", { id: "preview" },
    shown.length > 1
      ? choice("Part", shown.map((entry) => [String(entry.index), `${entry.name || entry.index} (${entry.kind})`]), String(shown[0].index), (chosen) => show(Number(chosen)))
      : null, place);
}

function history(story) {
  const lines = [...(story.frame?.history ?? []), ...(story.job?.history ?? [])].sort((a, b) => a.at_us - b.at_us);
  const job = story.job;
  return card("What happened", { id: "history" },
    table([["When", (row) => moment(row.at_us)], ["State", (row) => mark(row.state)], ["Why", (row) => row.why], ["Who", (row) => row.actor]], lines, "Nothing yet.", "History"),
    story.acts.length ? [h("h3", {}, "Operators"), table([["When", (row) => moment(row.at_us)], ["Who", (row) => row.who], ["Act", (row) => row.act], ["Why", (row) => row.why], ["Result", (row) => row.result]], story.acts, "", "Acts")] : null,
    job?.remarks.length ? [h("h3", {}, "Remarks of the recipe"), h("ul", {}, job.remarks.map((remark) => h("li", {}, remark)))] : null,
    h("h3", {}, "Log of the job"),
    job?.log.length ? h("pre", { tabindex: "0" }, job.log.join("\n")) : h("p", { class: "soft" }, "The job has logged nothing."));
}

function provenance(story) {
  const needs = story.needs.flatMap((need) => need.candidates.map((candidate) => ({ ...candidate })));
  return card("Masters that were considered", { id: "provenance" }, table([
    ["Verdict", (row) => mark(row.verdict)], ["Needed", (row) => row.need],
    ["Master", (row) => row.product_id ? link(`product:${row.product_id}`, row.name) : link(`set:${row.set_id}`, row.name), "name"],
    ["Age", (row) => `${number(row.days, 2)} d`, "number"], ["Rule", (row) => row.rule], ["Reason", (row) => row.reason],
  ], needs, "The recipe needs no master.", "Masters"),
  story.considered.length ? [h("h3", {}, "Sets that considered this product"), table([
    ["Verdict", (row) => mark(row.verdict)], ["Set", (row) => link(`set:${row.set_id}`, row.set_name), "name"], ["Recipe", (row) => row.recipe], ["Reason", (row) => row.reason],
  ], story.considered, "", "Considered by")] : null);
}

function sent(story) {
  if (!story.deliveries.length) return null;
  return card("Deliveries", { id: "delivered" }, table([
    ["State", (row) => mark(row.state)], ["To", (row) => row.sink], ["What", (row) => link(`delivery:${row.id}`, row.key), "name"],
    ["Confirmed", (row) => moment(row.confirmed_us)], ["Error", (row) => row.error],
  ], story.deliveries, "", "Deliveries"));
}

function downloads(story) {
  const frame = story.frame?.file;
  const product = story.product;
  const [kind, id] = product ? ["products", product.id] : frame ? ["frames", frame.id] : [];
  return kind ? h("a", { class: "button", href: `/api/v1/${kind}/${id}/file`, download: true }, "Download FITS") : null;
}

function pictures(story, there) {
  if (!there) return null;
  const id = story.set.set.id;
  return card(["Page of the recipe ", h("small", {}, h("a", { href: `/api/v1/sets/${id}/picture?form=pdf`, target: "_blank", rel: "noopener" }, "as PDF"))], { id: "pictures" },
    h("a", { href: `/api/v1/sets/${id}/picture`, target: "_blank", rel: "noopener" },
      h("img", { src: `/api/v1/sets/${id}/picture`, alt: `Page that the recipe drew of ${story.name}` })));
}

export async function thing(place, parts, root) {
  const target = `${parts[0]}:${parts[1]}`;
  const kind = KINDS[parts[0]];
  let shown = "";

  async function draw() {
    const story = await get(`why/${encodeURIComponent(target)}`);
    const job = story.job?.job;
    const file = story.product ? `products/${story.product.id}` : story.frame ? `frames/${story.frame.file.id}` : null;
    // What is looked at closely is only drawn again when something has happened.
    const state = JSON.stringify([story.headline, job?.state, story.product?.state, story.deliveries.map((row) => row.state), story.products.length, story.acts.length]);
    if (state === shown) return;
    shown = state;
    const [origin, contents, qc, picture] = await Promise.all([
      maybe(get(`graph/${encodeURIComponent(target)}`)), file ? maybe(get(`${file}/contents`)) : null,
      job ? maybe(get(`jobs/${job.id}/qc`)) : null,
story.set ? maybe(get(`sets/${story.set.set.id}/pictures`)) : null]);
    const done = () => {
      shown = "";
      draw();
    };
    const buttons = [downloads(story), ...actsOf(story, done)].filter(Boolean);
    const hints = story.remedies.filter((remedy) => !/^`?soxsd (\w+) (\w+:\d+)/.test(remedy));
    root.replaceChildren(
      h("section", { class: "card head" }, h("p", { class: "soft" }, kind), h("h1", {}, story.name),
        h("p", { class: "headline" }, story.headline),
        hints.length ? h("ul", {}, hints.map((hint) => h("li", {}, hint))) : null,
        buttons.length ? h("p", { class: "row" }, buttons) : null,
        summary(story)),
      ...[
        origin?.nodes.length ? card("Origin", { id: "origin" }, graph(origin)) : null,
        contents ? await preview(file, contents) : null,
        products(story),
        qc?.length ? metrics(qc) : null,
        story.needs.length || story.considered.length ? provenance(story) : null,
        sent(story),
        pictures(story, picture?.includes("png")),
        contents ? header(contents) : null,
        history(story),
      ].filter(Boolean));
  }
  await draw();
  return draw;
}
