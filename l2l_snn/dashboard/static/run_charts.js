// The charts of a run: fitness, all objectives, failed evaluations, evaluations a second.

import { color, draw, faint } from "./charts.js";
import { byId, count, number, say, show } from "./common.js";
import { drawObjectives } from "./run_objectives.js";
import { axisRange, highest, lowest } from "./spread.js";

const plain = (values) => values.map((value) => (typeof value === "number" ? value : null));

// Draw all; return the element of the first.
export async function drawSeries({ curves, cloud }, detail) {
  const few = curves.generation.length < 3;
  const range = few ? [-1, Math.max(1, curves.generation.length)] : null; // a single point isn't drawn on the edge
  const shared = { x: "generation", range };
  const line = (name, y, style) => ({
    name,
    x: curves.generation,
    y: plain(y),
    mode: few ? "lines+markers" : "lines",
    type: "scatter",
    ...style,
  });
  const goal = typeof detail.goal === "number" ? [detail.goal] : [];
  const low = lowest([...cloud.fitness, ...goal]);
  const several = cloud.objectives.length > 1;
  const fitness = await draw(
    "fitness",
    () => [
      ...dots(cloud, cloud.fitness, low),
      line("mean", curves.mean, { line: { color: color("quiet"), width: 1.5 } }),
      line("best", curves.best, { line: { color: faint("accent", 0.5), width: 1.5 } }),
      line("best so far", curves.best_so_far, { line: { color: color("accent"), width: 2.5, shape: "hv" } }),
    ],
    {
      ...shared,
      y: several ? "objective 1" : "fitness",
      values: axisRange([...cloud.fitness, ...plain(curves.best_so_far).filter((y) => y !== null), ...goal], low),
      shapes: () => goal.map(goalLine),
    },
  );
  await new Promise((resolve) => setTimeout(resolve)); // the first chart is shown before the others are drawn
  drawObjectives(cloud, shared, dots);
  const failed = curves.failed.some((n) => n > 0);
  show(byId("failures-figure"), failed);
  const every = curves.every > 1 ? ` in ${curves.every} generations` : "";
  if (failed) draw("failures", () => [bars(curves)], { ...shared, y: `failed${every}`, legend: false, zero: true });
  const rates = curves.seconds.map((s, k) => (typeof s === "number" && s > 0 ? curves.evaluations[k] / s : null));
  drawSpeed(rates, line, shared);
  describe(curves, cloud, detail, rates);
  sayCut("cloud-note", cloud.fitness, low);
  return fitness;
}

function drawSpeed(rates, line, shared) {
  const high = highest(rates);
  const style = { line: { color: color("quiet"), width: 1.5 } };
  const values = high === null ? null : [0, 1.06 * high];
  const above = rates.filter((rate) => high !== null && rate > high).length;
  byId("speed-note").textContent = above ? `${above} above the axis; double-click shows them` : "";
  draw("speed", () => [line("evaluations a second", rates, style)], {
    ...shared,
    y: "1/s",
    values,
    legend: false,
    zero: true,
  });
}

// The individuals; those below the lowest value that is shown as triangles on the axis' end.
export function dots(cloud, values, low) {
  const trace = (name, keep, y, marker) => {
    const shown = values.map((_, k) => k).filter((k) => typeof values[k] === "number" && keep(values[k]));
    return {
      name,
      x: shown.map((k) => cloud.generation[k]),
      y: shown.map((k) => y(values[k])),
      customdata: shown.map((k) => cloud.individual[k]),
      text: shown.map((k) => number(values[k])),
      mode: "markers",
      type: "scatter",
      marker,
      hovertemplate: "generation %{x}, individual %{customdata}: %{text}<extra></extra>",
    };
  };
  const inside = trace(
    "individuals",
    (value) => low === null || value >= low,
    (value) => value,
    { size: 4, color: faint("dots", 0.6) },
  );
  if (low === null) return [inside];
  const marker = { size: 7, symbol: "triangle-down", color: color("bad") };
  const below = trace(
    "below the axis",
    (value) => value < low,
    () => low,
    marker,
  );
  return [inside, below];
}

const bars = (curves) => ({
  name: "failed",
  x: curves.generation,
  y: curves.failed,
  type: "bar",
  marker: { color: color("bad") },
  hovertemplate: "generation %{x}: %{y:.4g}<extra></extra>",
});

const goalLine = (goal) => ({
  type: "line",
  xref: "paper",
  x0: 0,
  x1: 1,
  y0: goal,
  y1: goal,
  line: { color: color("quiet"), dash: "dot", width: 1.5 },
});

function sayCut(id, values, low) {
  const below = low === null ? 0 : values.filter((value) => value < low).length;
  if (below) byId(id).textContent += `; ${count(below)} below the axis, double-click shows them`;
}

// Say in words what the charts show.
function describe(curves, cloud, detail, rates) {
  const label = (id, text) => byId(id).setAttribute("aria-label", text);
  const best = `best so far ${number(curves.best_so_far.at(-1))}, mean of the last ${number(curves.mean.at(-1))}`;
  label("fitness", `Fitness over ${detail.generation} generations; ${best}`);
  label("failures", `Failed evaluations over generations; ${curves.failed.reduce((a, b) => a + b, 0)} in all`);
  label("speed", `Evaluations a second over generations; last ${number(rates.at(-1), 3)}`);
  const sample = `a sample of ${count(cloud.generation.length)} individuals`;
  const which = cloud.complete ? "every individual with a fitness" : sample;
  const note = cloud.generation.length ? which : "no individual has a fitness";
  byId("cloud-note").textContent = curves.generation.length ? note : "";
  say("first-error", curves.first_error ? `The last failure: ${curves.first_error}` : "");
}
