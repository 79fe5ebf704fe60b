// One run, live: what is new since the last generation that was seen is fetched about once a second.
import { api, badge, byId, control, count, data, duration, el, fact, moment, number, poll, query, request, runPath, say, show } from "./common.js";
import { color, draw, faint } from "./charts.js";

const run = data.run;
const address = (...rest) => api(runPath(run, ...rest));
byId("to-individuals").href = runPath(run, "individuals");

let id = null; // of the run that is shown; another one of its name begins anew
let curves = null;
let cloud = null;
let detail = null;
let launched = false;

// the entries of `more` take the place of those of `have` from the first one that both have
function joined(have, more, keys) {
  const start = more.generation.length ? have.generation.findIndex((g) => g >= more.generation[0]) : -1;
  const kept = start < 0 ? have.generation.length : start;
  const result = { ...more };
  for (const key of keys) result[key] = have[key].slice(0, kept).concat(more[key]);
  return result;
}

const CURVES = ["generation", "last", "evaluations", "failed", "best", "mean", "best_so_far", "seconds"];
const CLOUD = ["generation", "individual", "fitness"];

async function fetchNew() {
  const seen = curves?.last.at(-1) ?? -1;
  const after = curves ? query({ after: seen }) : "";
  let [newCurves, newCloud] = await Promise.all([request(address("generations") + after), request(address("cloud") + after)]);
  if (curves && newCurves.every === curves.every) newCurves = joined(curves, newCurves, CURVES);
  else if (curves) newCurves = await request(address("generations"));
  if (cloud && newCloud.every === cloud.every && newCloud.per_generation === cloud.per_generation) newCloud = joined(cloud, newCloud, CLOUD);
  else if (cloud) newCloud = await request(address("cloud"));
  curves = newCurves;
  cloud = newCloud;
}

const plain = (values) => values.map((value) => (typeof value === "number" ? value : null));

async function drawAll() {
  const g = curves.generation;
  const few = g.length < 3 ? "lines+markers" : "lines";
  const line = (name, y, style) => ({ name, x: g, y: plain(y), mode: few, type: "scatter", ...style });
  const goal = detail.goal;
  const range = g.length < 3 ? [-1, Math.max(1, g.length)] : null; // a single point isn't drawn on the edge
  const fitness = await draw(
    "fitness",
    () => [
      {
        name: "individuals",
        x: cloud.generation,
        y: cloud.fitness,
        customdata: cloud.individual,
        mode: "markers",
        type: "scatter",
        marker: { size: 4, color: faint("sky", 0.55) },
        hovertemplate: "generation %{x}, individual %{customdata}: %{y:.5g}<extra></extra>",
      },
      line("mean", curves.mean, { line: { color: color("orange"), width: 1.5 } }),
      line("best", curves.best, { line: { color: color("green"), width: 1.5 } }),
      line("best so far", curves.best_so_far, { line: { color: color("blue"), width: 2.5, shape: "hv" } }),
    ],
    {
      x: "generation",
      range,
      y: detail.objectives > 1 ? "fitness, first objective" : "fitness",
      shapes: () => (typeof goal === "number" ? [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: goal, y1: goal, line: { color: color("quiet"), dash: "dot", width: 1.5 } }] : []),
    },
  );
  await new Promise((resolve) => setTimeout(resolve)); // the first chart is shown before the others are drawn
  const bars = (name, y, key) => ({ name, x: g, y, type: "bar", marker: { color: color(key) }, hovertemplate: `generation %{x}: %{y:.4g}<extra></extra>` });
  const rates = curves.seconds.map((seconds, k) => (typeof seconds === "number" && seconds > 0 ? curves.evaluations[k] / seconds : null));
  const failed = curves.failed;
  draw("failures", () => [bars("failed", failed, "vermillion")], { x: "generation", range, y: curves.every > 1 ? `failed in ${curves.every} generations` : "failed", legend: false, zero: true });
  draw("speed", () => [line("evaluations a second", rates, { line: { color: color("purple"), width: 2 } })], { x: "generation", range, y: "1/s", legend: false, zero: true });
  describe(rates);
  return fitness;
}

function describe(rates) {
  const best = curves.best_so_far.at(-1);
  const failed = curves.failed.reduce((a, b) => a + b, 0);
  byId("fitness").setAttribute("aria-label", `Fitness over ${detail.generation} generations; best so far ${number(best)}, mean of the last ${number(curves.mean.at(-1))}`);
  byId("failures").setAttribute("aria-label", `Failed evaluations over generations; ${failed} in all`);
  byId("speed").setAttribute("aria-label", `Evaluations a second over generations; last ${number(rates.at(-1), 3)}`);
  const which = cloud.complete ? "every individual with a fitness" : `a sample of ${count(cloud.generation.length)} individuals`;
  byId("cloud-note").textContent = curves.generation.length === 0 ? "" : cloud.generation.length ? which : "no individual has a fitness";
  say("first-error", curves.first_error ? `The last failure: ${curves.first_error}` : "");
}

function drawFacts() {
  const of = detail.generations === null ? "" : ` of ${count(detail.generations)}`;
  const facts = [
    fact("Generations", count(detail.generation) + of),
    fact("Evaluations", count(detail.evaluations)),
    fact("Failed", count(detail.failed)),
    fact("Best fitness", number(detail.best)),
    fact("Evaluations a second", number(detail.evaluations_per_s, 3)),
    ...(detail.state === "running" ? [fact("Time left", duration(detail.seconds_left))] : []),
    fact("Time", duration(detail.seconds)),
    fact("Started", moment(detail.started)),
  ];
  if (detail.finished !== null) facts.push(fact("Ended", moment(detail.finished)));
  byId("facts").replaceChildren(...facts);
  const state = byId("state");
  if (state.textContent !== detail.state) state.replaceChildren(badge(detail.state));
  say("message", detail.stop_requested ? "Asked to stop; it ends after what it is evaluating." : detail.message);
  byId("message").className = detail.state === "failed" ? "problem" : "message";
  const versions = Object.entries(detail.versions).map(([name, version]) => `${name} ${version ?? "not installed"}`);
  const parts = [`# ${detail.file}`, detail.settings, "# parameters", ...detail.parameters, "", "# versions", ...versions, `commit ${detail.commit ?? "unknown"}`];
  const text = parts.join("\n");
  if (byId("job").textContent !== text) byId("job").textContent = text;
  if (control) {
    show(byId("control"));
    show(byId("stop"), detail.state === "running");
    byId("stop").disabled = detail.stop_requested;
    show(byId("resume"), detail.state !== "running");
  }
}

async function drawWorkers() {
  const running = detail.state === "running";
  const workers = running ? await request(address("workers")) : [];
  const now = Date.now() / 1000;
  const does = (w) => (w.first < 0 ? "idle" : `generation ${w.generation}, ${w.first === w.last ? `individual ${w.first}` : `individuals ${w.first} to ${w.last}`}`);
  const rows = workers.map((w) => el("tr", {}, el("td", {}, w.worker), el("td", {}, does(w)), el("td", { className: "number" }, duration(Math.max(0, now - w.since)))));
  byId("workers").tBodies[0].replaceChildren(...rows);
  show(byId("workers-section"), rows.length > 0);
}

async function drawLog() {
  if (!control) return;
  const launch = await request(api(`/launches/${encodeURIComponent(run)}`));
  launched = launch.running;
  show(byId("log-section"), launch.log !== "");
  const log = byId("log");
  if (log.textContent !== launch.log) {
    const end = log.scrollTop + log.clientHeight >= log.scrollHeight - 20;
    log.textContent = launch.log;
    if (end) log.scrollTop = log.scrollHeight;
  }
  if (!launch.running && launch.status === null) return;
  const ended = launch.running ? "" : `its driver ended with status ${launch.status}`;
  byId("control-answer").textContent = detail?.state === "running" ? "" : launch.running ? "its driver starts…" : ended;
}

let clickable = false;
function openOnClick(element) {
  if (clickable) return;
  clickable = true;
  element.on("plotly_click", ({ points }) => {
    const point = points.find((one) => one.customdata !== undefined);
    if (point) location.href = runPath(run, "individuals", point.x, point.customdata);
  });
}

async function tick() {
  await drawLog();
  const stored = request(address());
  const first = curves === null ? Promise.all([request(address("generations")), request(address("cloud"))]) : null;
  first?.catch(() => {});
  try {
    detail = await stored;
  } catch (error) {
    if (error.status === 404 && launched) return 1; // its driver hasn't made it yet
    throw error;
  }
  say("problem", "");
  const other = id !== null && id !== detail.id;
  if (first !== null) [curves, cloud] = await first;
  else if (other) curves = cloud = null;
  id = detail.id;
  show(byId("content"));
  drawFacts();
  const seen = curves?.last.at(-1) ?? -1;
  if (first !== null || other) {
    if (other) await fetchNew();
    openOnClick(await drawAll());
  } else if (detail.generation - 1 > seen) {
    await fetchNew();
    await drawAll();
  }
  byId("fitness").dataset.generation = detail.generation;
  await drawWorkers();
  await linkBest();
  return detail.state === "running" || launched ? 0.5 : 5;
}

let linked = null;
async function linkBest() {
  if (detail.best === null || linked === detail.best) return;
  const { rows } = await request(address("individuals") + query({ limit: 1 }));
  if (rows.length === 0) return;
  linked = detail.best;
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
