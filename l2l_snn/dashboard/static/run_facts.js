// What a run's page says in words: facts, state, the job, its workers.
import { badge, byId, control, count, duration, el, fact, moment, number, say, show } from "./common.js";

export function drawFacts(detail) {
  const of = detail.generations === null ? "" : ` of ${count(detail.generations)}`;
  const running = detail.state === "running";
  byId("facts").replaceChildren(
    fact("Generations", count(detail.generation) + of),
    fact("Evaluations", count(detail.evaluations)),
    fact("Failed", count(detail.failed)),
    fact("Best fitness", number(detail.best)),
    fact("Evaluations a second", number(detail.evaluations_per_s, 3)),
    ...(running ? [fact("Time left", duration(detail.seconds_left))] : []),
    fact("Time", duration(detail.seconds)),
    fact("Started", moment(detail.started)),
    ...(detail.finished === null ? [] : [fact("Ended", moment(detail.finished))]),
  );
  const state = byId("state");
  if (state.textContent !== detail.state) state.replaceChildren(badge(detail.state));
  say("message", detail.stop_requested ? "Asked to stop; it ends after what it is evaluating." : detail.message);
  byId("message").className = detail.state === "failed" ? "problem" : "message";
  const text = describeJob(detail);
  if (byId("job").textContent !== text) byId("job").textContent = text;
  if (control) {
    show(byId("control"));
    show(byId("stop"), running);
    byId("stop").disabled = detail.stop_requested;
    show(byId("resume"), !running);
  }
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
