// One individual: what its row says, its parameters, and a replay on request.
import {
  api,
  byId,
  count,
  data,
  describeFacts,
  describeMetrics,
  el,
  number,
  query,
  request,
  runPath,
  say,
  show,
} from "./common.js";
import { replayPanel } from "./replay_panel.js";

const { run, generation, index } = data;
const address = api(runPath(run, "individuals", generation, index));
byId("to-run").href = runPath(run);
byId("to-individuals").href = runPath(run, "individuals");

function neighbour(id, other, population) {
  const inside = other >= 0 && other < population;
  show(byId(id), inside);
  if (inside) byId(id).href = runPath(run, "individuals", generation, other);
}

async function load() {
  let found;
  try {
    found = await request(address);
  } catch (error) {
    say("problem", error.message);
    return;
  }
  say("error", found.error);
  byId("traceback").textContent = found.traceback;
  show(byId("traceback-section"), found.traceback !== "");
  byId("facts").replaceChildren(...describeFacts(found));
  const metrics = describeMetrics(found);
  byId("metrics").replaceChildren(...metrics);
  show(byId("metrics"), metrics.length > 0);
  say("note", found.note);
  byId("parameters").replaceChildren(...found.parameters.map(parameter));
  neighbour("previous", Number(index) - 1, found.population);
  neighbour("next", Number(index) + 1, found.population);
  data.loaded = "yes";
}

function parameter(p) {
  const more = p.size > p.first.length ? ", …" : "";
  const parts = [el("h3", {}, p.name), el("p", { className: "value" }, p.first.join(", ") + more), el("p", {}, p.kind)];
  if (p.shape.length) {
    const range = p.low === null ? "" : `; from ${number(p.low)} to ${number(p.high)}, mean ${number(p.mean)}`;
    parts.push(el("p", {}, `${p.shape.length > 1 ? `${p.shape.join(" × ")} = ` : ""}${count(p.size)} entries${range}`));
  }
  if (p.heat) parts.push(heatMap(p));
  if (p.size > p.first.length) {
    const link = (form) =>
      el(
        "a",
        { href: `${address}/parameter${query({ name: p.name, form })}`, download: "" },
        `all entries as .${form}`,
      );
    parts.push(el("p", {}, link("npy"), " · ", link("csv")));
  }
  return el("section", { className: "parameter", "aria-label": `Parameter ${p.name}` }, ...parts);
}

// blue below, orange above: around zero where both signs are there, else from the lowest to the highest
function heatMap({ name, heat, shape }) {
  const known = heat.values.filter((value) => typeof value === "number");
  const low = Math.min(...known);
  const high = Math.max(...known);
  const signs = low < 0 && high > 0;
  const largest = Math.max(-low, high);
  const canvas = el("canvas", { width: heat.columns, height: heat.rows, role: "img" });
  const blocks =
    heat.rows * heat.columns < shape.reduce((a, b) => a * b, 1)
      ? `means over blocks, from ${number(low)} to ${number(high)}`
      : "";
  canvas.setAttribute(
    "aria-label",
    `Heat map of ${name}, ${heat.rows} by ${heat.columns}${blocks ? `: ${blocks}` : ""}`,
  );
  canvas.style.height = `${Math.max(24, Math.min(300, heat.rows * 8))}px`;
  const context = canvas.getContext("2d");
  const image = context.createImageData(heat.columns, heat.rows);
  heat.values.forEach((value, k) => {
    const u =
      typeof value !== "number"
        ? null
        : signs
          ? value / largest
          : high > low
            ? (2 * (value - low)) / (high - low) - 1
            : 0;
    image.data.set(u === null ? [128, 128, 128, 60] : shade(u), 4 * k);
  });
  context.putImageData(image, 0, 0);
  return el(
    "div",
    {},
    canvas,
    blocks
      ? el("p", {}, `Heat map: ${blocks}. Blue is low, orange is high.`)
      : el("p", {}, "Heat map: blue is low, orange is high."),
  );
}

function shade(u) {
  const [from, to] =
    u < 0
      ? [
          [247, 247, 247],
          [0, 94, 160],
        ]
      : [
          [247, 247, 247],
          [213, 94, 0],
        ];
  const t = Math.abs(u);
  return [...from.map((a, k) => Math.round(a + t * (to[k] - a))), 255];
}

replayPanel(byId("replay-section"), address);
byId("beside").addEventListener("submit", (event) => {
  event.preventDefault();
  const { other, g, i } = event.target.elements;
  location.href =
    runPath(run, "individuals", generation, index, "beside") +
    query({ run: other.value.trim(), generation: g.value, index: i.value });
});
load();
