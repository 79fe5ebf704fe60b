// One run, live: what is new since the last generation that was seen is fetched about once a second.
import { api, byId, control, data, poll, query, request, runPath, say, show } from "./common.js";
import { drawSeries } from "./run_charts.js";
import { drawFacts, drawWorkers } from "./run_facts.js";
import { drawNotes } from "./run_notes.js";
import { offerPictures } from "./run_pictures.js";
import { fetchAll, fetchNew } from "./run_series.js";

const run = data.run;
const address = (...rest) => api(runPath(run, ...rest));
byId("to-individuals").href = runPath(run, "individuals");

// what the page shows; another run of its name has another id, and is shown anew
const shown = { id: null, state: null, series: null, best: null };

async function tick() {
  const launched = control && (await drawLog());
  const began = performance.now();
  const asked = request(address());
  const whole = shown.series === null ? fetchAll(address) : null;
  whole?.catch(() => {}); // awaited below, unless the run isn't there
  let detail;
  try {
    detail = await asked;
  } catch (error) {
    if (error.status === 404 && launched) return 1; // its driver hasn't made it yet
    throw error;
  }
  say("problem", "");
  const series = await newest(detail, whole);
  show(byId("content"));
  drawFacts(detail);
  drawNotes(detail, address, began);
  offerPictures(detail, address);
  if (series !== shown.series) {
    const chart = await drawSeries(series, detail);
    if (shown.series === null) openOnClick(chart);
  }
  Object.assign(shown, { id: detail.id, state: detail.state, series });
  byId("fitness").dataset.generation = detail.generation;
  drawWorkers(detail.state === "running" ? await request(address("workers")) : []);
  await linkBest(detail);
  return detail.state === "running" || launched ? 0.5 : 5;
}

function newest(detail, whole) {
  if (whole !== null) return whole;
  if (shown.id !== detail.id) return fetchAll(address);
  const seen = shown.series.curves.last.at(-1) ?? -1;
  return detail.generation - 1 > seen ? fetchNew(address, shown.series) : shown.series;
}

// Show what the driver prints; return whether it runs.
async function drawLog() {
  const launch = await request(api(`/launches/${encodeURIComponent(run)}`));
  show(byId("log-section"), launch.log !== "");
  const log = byId("log");
  if (log.textContent !== launch.log) {
    const end = log.scrollTop + log.clientHeight >= log.scrollHeight - 20;
    log.textContent = launch.log;
    if (end) log.scrollTop = log.scrollHeight;
  }
  if (launch.running || launch.status !== null) {
    const text = launch.running ? "its driver starts…" : `its driver ended with status ${launch.status}`;
    byId("control-answer").textContent = shown.state === "running" ? "" : text;
  }
  return launch.running;
}

function openOnClick(chart) {
  chart.on("plotly_click", ({ points }) => {
    const point = points.find((one) => one.customdata !== undefined);
    if (point) location.href = runPath(run, "individuals", point.x, point.customdata);
  });
}

async function linkBest({ best }) {
  if (best === null || shown.best === best) return;
  const { rows } = await request(address("individuals") + query({ limit: 1 }));
  if (rows.length === 0) return;
  shown.best = best;
  const link = byId("to-best");
  link.href = runPath(run, "individuals", rows[0].generation, rows[0].individual);
  show(link);
}

const again = poll(tick);

async function order(path, body) {
  const answer = byId("control-answer");
  answer.textContent = "asking…";
  try {
    const said = await request(address(path), { method: "POST", body, seconds: 150 });
    answer.textContent = said.message ?? "started";
  } catch (error) {
    answer.textContent = error.message;
  }
  again();
}
byId("stop").addEventListener("click", () => order("stop", {}));
byId("resume").addEventListener("submit", (event) => {
  event.preventDefault();
  order("resume", { settings: event.target.settings.value.split(/\s+/).filter(Boolean) });
});
