// Charts by plotly.js, in the page's colours, light or dark.
import { byId } from "./common.js";

const drawn = new Map();

const ready = new Promise((resolve) => {
  if (window.Plotly) resolve();
  else document.addEventListener("DOMContentLoaded", resolve); // deferred scripts have run by then
});

export const PALETTE = ["blue", "orange", "green", "vermillion", "purple", "sky", "black"];

export function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export function faint(name, alpha) {
  const value = color(name);
  return (
    value +
    Math.round(255 * alpha)
      .toString(16)
      .padStart(2, "0")
  );
}

// Draw, or draw anew. `traces` is a function, called again when the colours change.
export async function draw(
  id,
  traces,
  { x, y, range = null, log = {}, shapes = () => [], legend = true, zero = false } = {},
) {
  await ready;
  const element = byId(id);
  const again = () => {
    const narrow = element.clientWidth < 500;
    const axis = (title, kind) => ({
      title: { text: title, standoff: 8 },
      type: kind,
      gridcolor: color("line"),
      linecolor: color("line"),
      zerolinecolor: color("line"),
      automargin: true,
      exponentformat: "e",
    });
    const layout = {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: narrow ? 12 : 13, color: color("text") },
      margin: { l: 50, r: 12, t: 8, b: 40 },
      xaxis: { ...axis(x, log.x ? "log" : "linear"), ...(range ? { range, dtick: 1 } : { autorange: true }) },
      yaxis: { ...axis(y, log.y ? "log" : "linear"), rangemode: zero ? "tozero" : "normal" },
      showlegend: legend,
      legend: { orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom" },
      hovermode: "closest",
      hoverlabel: { namelength: -1 },
      shapes: shapes(),
      uirevision: "kept",
    };
    return window.Plotly.react(element, traces(), layout, {
      displayModeBar: false,
      responsive: true,
      doubleClick: "reset+autosize",
    });
  };
  const first = !drawn.has(id);
  drawn.set(id, again);
  await again();
  if (first) element.dataset.drawn = performance.now().toFixed(0);
  return element;
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const again of drawn.values()) again();
});
