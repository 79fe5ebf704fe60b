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

// plotly.js reads a few tags in names and titles, such as <b>
export const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

// Draw, or draw anew. `values` is the range of the vertical axis where it isn't that of all values. `traces` is a function, called again when the colours change.
export async function draw(
  id,
  traces,
  { x, y, range = null, values = null, log = {}, shapes = () => [], legend = true, zero = false } = {},
) {
  await ready;
  const element = byId(id);
  const again = () => {
    const narrow = element.clientWidth < 500;
    const size = narrow ? 11 : 12;
    const axis = (title, kind) => ({
      title: { text: title, standoff: 8, font: { size, color: color("quiet") } },
      type: kind,
      gridcolor: color("line"),
      linecolor: color("edge"),
      zeroline: false,
      tickfont: { size, color: color("quiet") },
      automargin: true,
      exponentformat: "e",
    });
    const layout = {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size, color: color("text") },
      margin: { l: 46, r: 8, t: 8, b: 38 },
      xaxis: {
        ...axis(x, log.x ? "log" : "linear"),
        showgrid: false,
        showline: true,
        ...(range ? { range, dtick: 1 } : { autorange: true }),
      },
      yaxis: {
        ...axis(y, log.y ? "log" : "linear"),
        rangemode: zero ? "tozero" : "normal",
        ...(values ? { range: values } : { autorange: true }),
      },
      showlegend: legend,
      legend: { orientation: "h", x: 0, y: 1.01, xanchor: "left", yanchor: "bottom", font: { color: color("quiet") } },
      hovermode: "closest",
      hoverlabel: {
        namelength: -1,
        bgcolor: color("panel"),
        bordercolor: color("edge"),
        font: { color: color("text") },
      },
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
