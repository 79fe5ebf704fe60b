// Runs with several objectives: each over generations, and each pair with the individuals that none is better than.

import { color, draw, faint } from "./charts.js";
import { byId, el, number, show } from "./common.js";
import { axisRange, lowest } from "./spread.js";

const PAIRS = 6; // that are drawn, at most

// Draw objective 2 and on over generations (the first has a chart of its own), and the pairs.
export function drawObjectives(cloud, shared, dots) {
  const { objectives } = cloud;
  show(byId("objectives"), objectives.length > 1);
  if (objectives.length < 2) return;
  objectives.slice(1).forEach((values, k) => {
    const id = frame(`objective-${k + 2}`, `Objective ${k + 2}`);
    const low = lowest(values);
    const known = values.filter((value) => typeof value === "number");
    const options = { ...shared, y: `objective ${k + 2}`, values: axisRange(known, low), legend: low !== null };
    draw(id, () => dots(cloud, values, low), options);
  });
  const best = front(objectives);
  const pairs = objectives.flatMap((_, a) => objectives.slice(a + 1).map((_, k) => [a, a + 1 + k]));
  for (const [a, b] of pairs.slice(0, PAIRS)) {
    const id = frame(`front-${a + 1}-${b + 1}`, `Objectives ${a + 1} and ${b + 1}`);
    byId(id).setAttribute("aria-label", `Objectives ${a + 1} and ${b + 1}; ${best.length} individuals in the front`);
    const options = { x: `objective ${a + 1}`, y: `objective ${b + 1}` };
    draw(id, () => pairTraces(cloud, objectives[a], objectives[b], best, objectives.length === 2), options);
  }
}

// Return a chart's id, with its figure made where it is missing.
function frame(id, caption) {
  if (byId(id) === null) {
    const chart = el("div", { id, className: "chart square", role: "img", "aria-label": caption });
    byId("objectives").append(el("figure", {}, el("figcaption", {}, caption), chart));
  }
  return id;
}

function pairTraces(cloud, x, y, best, two) {
  const place = (k) => `generation ${cloud.generation[k]}, individual ${cloud.individual[k]}`;
  const trace = (name, which, style) => ({
    name,
    x: which.map((k) => x[k]),
    y: which.map((k) => y[k]),
    text: which.map((k) => `${place(k)}: ${number(x[k])}, ${number(y[k])}`),
    hovertemplate: "%{text}<extra></extra>",
    type: "scatter",
    mode: "markers",
    ...style,
  });
  const all = x.map((_, k) => k);
  const ordered = [...best].sort((a, b) => x[a] - x[b]);
  const line = two ? { mode: "lines+markers", line: { color: color("accent"), width: 1.5, shape: "vh" } } : {};
  return [
    trace("individuals", all, { marker: { size: 4, color: faint("dots", 0.6) } }),
    trace("none is better", ordered, { marker: { size: 7, color: color("accent") }, ...line }),
  ];
}

// Return which individuals no other dominates: none is as good in all objectives and better in one.
export function front(objectives) {
  const rows = objectives[0].map((_, k) => objectives.map((column) => column[k]));
  const whole = rows.map((_, k) => k).filter((k) => rows[k].every((value) => typeof value === "number"));
  // whoever dominates another comes before it in this order
  whole.sort((a, b) => {
    const m = rows[a].findIndex((value, k) => value !== rows[b][k]);
    return m < 0 ? 0 : rows[b][m] - rows[a][m];
  });
  const kept = [];
  for (const k of whole) {
    const dominated = kept.some(
      (j) => rows[j].every((value, m) => value >= rows[k][m]) && rows[j].some((value, m) => value > rows[k][m]),
    );
    if (!dominated) kept.push(k);
  }
  return kept;
}
