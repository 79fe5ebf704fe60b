// One individual: what its row says, its parameters, and a replay on request.
import {
  api,
  byId,
  count,
  data,
  duration,
  el,
  fact,
  number,
  poll,
  query,
  request,
  runPath,
  say,
  show,
} from "./common.js";

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
  const fitness = found.objectives.length
    ? found.objectives.map((value) => number(value, 6)).join(", ")
    : number(found.fitness, 8);
  const facts = [
    fact("Fitness", found.fitness === null && !found.objectives.length ? "failed" : fitness),
    fact("Seed", String(found.seed)),
  ];
  facts.push(fact("Evaluated in", duration(found.seconds)), fact("Worker", found.worker));
  facts.push(...Object.entries(found.metrics).map(([name, value]) => fact(name, number(value, 6))));
  byId("facts").replaceChildren(...facts);
  say("note", found.note);
  byId("parameters").replaceChildren(...found.parameters.map(parameter));
  neighbour("previous", Number(index) - 1, found.population);
  neighbour("next", Number(index) + 1, found.population);
  data.loaded = "yes";
}

function parameter(p) {
  const parts = [el("h3", {}, p.name), el("p", {}, p.kind)];
  const more = p.size > p.first.length ? ", …" : "";
  parts.push(el("p", { className: "value" }, p.first.join(", ") + more));
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

const WORDS = { waiting: "waits for its turn", running: "runs", failed: "failed", cancelled: "cancelled", none: "" };
let pictures = null;
async function tick() {
  const replay = await request(`${address}/replay`);
  drawReplay(replay);
  return replay.state === "waiting" || replay.state === "running" ? 1 : 0;
}

function drawReplay(replay) {
  const active = replay.state === "waiting" || replay.state === "running";
  const same = replay.same ? "the fitness is the same, bit for bit" : "the fitness is NOT the same";
  const text = replay.state === "done" ? `done in ${duration(replay.seconds)}: ${same}` : WORDS[replay.state];
  byId("replay-state").textContent = active && replay.seconds ? `${text}, ${duration(replay.seconds)}` : text;
  byId("replay-state").className = replay.state === "failed" || replay.same === false ? "problem" : "";
  byId("replay").disabled = active || replay.state === "done";
  show(byId("cancel"), active);
  byId("log").textContent = replay.log;
  show(byId("log-section"), replay.log !== "");
  const now = replay.pictures.join("\n");
  if (now === pictures) return;
  pictures = now;
  const figures = replay.pictures.map((name) => {
    const said = name.replace(/\.[a-z]+$/, "").replaceAll("_", " ");
    const src = `${address}/replay/${encodeURIComponent(name)}`;
    return el(
      "figure",
      {},
      el("figcaption", {}, said),
      el("a", { href: src }, el("img", { src, alt: `${said} of the replay` })),
    );
  });
  byId("pictures").replaceChildren(...figures);
  data.replayed = replay.state;
}

const again = poll(tick);
async function order(method) {
  try {
    drawReplay(await request(`${address}/replay`, { method }));
  } catch (error) {
    byId("replay-state").textContent = error.message;
    byId("replay-state").className = "problem";
  }
  again();
}
byId("replay").addEventListener("click", () => order("POST"));
byId("cancel").addEventListener("click", () => order("DELETE"));
load();
