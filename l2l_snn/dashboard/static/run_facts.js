// What a run's page says in words: facts, state, the job, its workers.
import { badge, byId, control, count, duration, el, empty, fact, moment, number, say, show } from "./common.js";

export function drawFacts(detail) {
  const of = detail.generations === null ? "" : ` of ${count(detail.generations)}`;
  const running = detail.state === "running";
  byId("facts").replaceChildren(
    fact("Generations", count(detail.generation) + of),
    fact("Evaluations", count(detail.evaluations)),
    fact("Failed", count(detail.failed)),
    ...bestFacts(detail),
    fact("Per second", number(detail.evaluations_per_s, 3)),
    ...(running ? [fact("Time left", duration(detail.seconds_left))] : []),
    fact("Time", duration(detail.seconds)),
    fact("Started", moment(detail.started)),
  );
  show(byId("progress"), running && detail.generations !== null);
  Object.assign(byId("progress"), { max: detail.generations ?? 1, value: detail.generation });
  show(byId("charts"), detail.generation > 0);
  show(byId("nothing"), false);
  if (detail.generation === 0) empty("nothing", "No generation yet", "Curves begin with the first one.");
  const blank = detail.generation > 0 && detail.failed === detail.evaluations;
  if (blank) empty("nothing", "Every evaluation failed", "There is no fitness to draw.");
  show(byId("fitness-figure"), !blank);
  const state = byId("state");
  if (state.textContent !== detail.state) state.replaceChildren(badge(detail.state));
  say("message", detail.stop_requested ? "Asked to stop; it ends after what it is evaluating." : detail.message);
  byId("message").className = detail.state === "failed" ? "problem" : "note";
  const text = describeJob(detail);
  if (byId("job").textContent !== text) byId("job").textContent = text;
  if (control) {
    show(byId("control"));
    show(byId("stop"), running);
    byId("stop").disabled = detail.stop_requested;
    show(byId("resume"), !running);
  }
}

// of several objectives all those of the best individual, which is the one with the largest first
function bestFacts({ best, objectives }) {
  if (!objectives.length) return [fact("Best fitness", number(best))];
  return objectives.map((value, k) => fact(k ? `Its objective ${k + 1}` : "Best objective 1", number(value)));
}

function describeJob({ file, settings, parameters, versions, commit }) {
  const installed = Object.entries(versions).map(([name, version]) => `${name} ${version ?? "not installed"}`);
  const made = ["# versions", ...installed, `commit ${commit ?? "unknown"}`];
  return [`# ${file}`, settings, "# parameters", ...parameters, "", ...made].join("\n");
}

export function drawWorkers(workers) {
  const now = Date.now() / 1000;
  const rows = workers.map((worker) => {
    const since = duration(Math.max(0, now - worker.since));
    const cells = [el("td", {}, worker.worker), el("td", {}, describeWork(worker))];
    return el("tr", {}, ...cells, el("td", { className: "number" }, since));
  });
  byId("workers").tBodies[0].replaceChildren(...rows);
  show(byId("workers-section"), rows.length > 0);
}

function describeWork({ generation, first, last }) {
  if (first < 0) return "idle";
  return `generation ${generation}, ${first === last ? `individual ${first}` : `individuals ${first} to ${last}`}`;
}
