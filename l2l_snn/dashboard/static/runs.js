// The list of runs.
import {
  api,
  badge,
  byId,
  control,
  count,
  data,
  duration,
  el,
  moment,
  number,
  pager,
  poll,
  query,
  request,
  runPath,
  say,
  show,
} from "./common.js";

const LIMIT = 50;
const chosen = new Set();
const given = new URLSearchParams(location.search);
const form = byId("filter");
form.q.value = given.get("q") ?? "";
form.state.value = given.get("state") ?? "";
let offset = Number.parseInt(given.get("offset") ?? "0", 10) || 0;

function cell(label, content, className = "") {
  return el("td", { "data-label": label, className }, content);
}

function progress(run) {
  const text =
    run.generations === null ? count(run.generation) : `${count(run.generation)} of ${count(run.generations)}`;
  const bar = run.generations
    ? el("progress", { max: run.generations, value: run.generation, "aria-label": `generations of ${run.run}` })
    : null;
  return el("div", {}, text, bar);
}

function row(run) {
  const pick = el("input", { type: "checkbox", checked: chosen.has(run.run), "aria-label": `Compare ${run.run}` });
  pick.addEventListener("change", () => {
    if (pick.checked) chosen.add(run.run);
    else chosen.delete(run.run);
    chooseCompare();
  });
  const why = run.message ? el("div", { className: "why", title: run.message }, run.message) : null;
  return el(
    "tr",
    { "data-run": run.run },
    el("td", { className: "pick" }, pick),
    el("td", { className: "wide" }, el("a", { href: runPath(run.run) }, run.run), why),
    el("td", {}, badge(run.state)),
    el("td", { "data-label": "Generations" }, progress(run)),
    cell("Evaluations", count(run.evaluations), "number"),
    cell("Failed", count(run.failed), "number"),
    cell("Best", number(run.best), "number"),
    cell("Per second", number(run.evaluations_per_s, 3), "number"),
    cell("Time left", duration(run.seconds_left), "number"),
    cell("Started", moment(run.started), "when"),
  );
}

function chooseCompare() {
  const button = byId("compare");
  button.disabled = chosen.size < 2;
  button.textContent = chosen.size < 2 ? "Compare" : `Compare ${chosen.size}`;
}

let before = "";
async function tick() {
  const wanted = { q: form.q.value, state: form.state.value, offset: offset || "" };
  history.replaceState(null, "", location.pathname + query(wanted));
  const found = await request(api("/runs") + query({ ...wanted, limit: LIMIT }));
  say("problem", "");
  const now = JSON.stringify(found.runs);
  const focused = document.activeElement?.closest?.("#runs tr")?.dataset.run;
  if (now !== before) {
    const rows = found.runs.map(row);
    const place = focused === undefined ? null : document.activeElement.tagName;
    byId("runs").tBodies[0].replaceChildren(...rows);
    if (place)
      rows
        .find((one) => one.dataset.run === focused)
        ?.querySelector(place.toLowerCase())
        ?.focus();
    before = now;
  }
  show(byId("runs"), found.runs.length > 0);
  const start = control ? "Start one from the page “Start a run”." : "Start one with: l2l run jobs/smoke.yaml";
  say(
    "empty",
    found.runs.length ? "" : found.stored ? "No run fits the filter." : `The store has no runs yet. ${start}`,
  );
  byId("count").textContent =
    found.total === found.stored
      ? `${count(found.stored)} runs`
      : `${count(found.total)} of ${count(found.stored)} runs`;
  pager(byId("pager"), { offset, limit: LIMIT, total: found.total }, (to) => {
    offset = to;
    again();
  });
  data.loaded = "yes";
  return found.runs.some((run) => run.state === "running") ? 1 : 4;
}

const again = poll(tick);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", () => {
  offset = 0;
  again();
});
byId("compare").addEventListener("click", () => {
  location.href = `/compare${query({ run: [...chosen] })}`;
});
