// The charts of a run: fitness, failed evaluations, evaluations a second.

import { color, draw, faint } from "./charts.js";
import { byId, count, number, say } from "./common.js";

const plain = (values) => values.map((value) => (typeof value === "number" ? value : null));

// Draw all three; return the element of the first.
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
  const fitness = await draw(
    "fitness",
    () => [
      dots(cloud),
      line("mean", curves.mean, { line: { color: color("orange"), width: 1.5 } }),
      line("best", curves.best, { line: { color: color("green"), width: 1.5 } }),
      line("best so far", curves.best_so_far, { line: { color: color("blue"), width: 2.5, shape: "hv" } }),
    ],
    {
      ...shared,
      y: detail.objectives > 1 ? "fitness, first objective" : "fitness",
      shapes: () => (typeof detail.goal === "number" ? [goalLine(detail.goal)] : []),
    },
  );
  await new Promise((resolve) => setTimeout(resolve)); // the first chart is shown before the others are drawn
  const every = curves.every > 1 ? ` in ${curves.every} generations` : "";
  draw("failures", () => [bars("failed", curves)], { ...shared, y: `failed${every}`, legend: false, zero: true });
  const rates = curves.seconds.map((s, k) => (typeof s === "number" && s > 0 ? curves.evaluations[k] / s : null));
  const speed = () => [line("evaluations a second", rates, { line: { color: color("purple"), width: 2 } })];
  draw("speed", speed, { ...shared, y: "1/s", legend: false, zero: true });
  describe(curves, cloud, detail, rates);
  return fitness;
}

const dots = (cloud) => ({
  name: "individuals",
  x: cloud.generation,
  y: cloud.fitness,
  customdata: cloud.individual,
  mode: "markers",
  type: "scatter",
  marker: { size: 4, color: faint("sky", 0.55) },
  hovertemplate: "generation %{x}, individual %{customdata}: %{y:.5g}<extra></extra>",
});

const bars = (name, curves) => ({
  name,
  x: curves.generation,
  y: curves.failed,
  type: "bar",
  marker: { color: color("vermillion") },
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
