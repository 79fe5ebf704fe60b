// The list of runs: filtered, sorted, paged. What is shown stands in the page's address.
import {
  api,
  badge,
  byId,
  control,
  count,
  data,
  drawHeadings,
  duration,
  el,
  empty,
  fitness,
  heading,
  moment,
  number,
  pager,
  poll,
  query,
  request,
  runPath,
  say,
  show,
  tagList,
} from "./common.js";

const LIMIT = 50;
const COLUMNS = {
  run: "Run",
  state: "State",
  generation: "Generations",
  evaluations: "Evaluations",
  failed: "Failed",
  best: "Best",
  rate: "Per second",
  started: "Started",
};
const TEXTS = ["run", "state", "generation", "started"]; // which stand on the left
const chosen = new Set();
const given = new URLSearchParams(location.search);
const form = byId("filter");
form.sort.replaceChildren(...Object.entries(COLUMNS).map(([value, label]) => el("option", { value }, label)));
form.q.value = given.get("q") ?? "";
form.state.value = given.get("state") ?? "";
form.sort.value = given.get("sort") in COLUMNS ? given.get("sort") : "started";
let order = given.get("order") === "asc" ? "asc" : "desc";
let offset = Number.parseInt(given.get("offset") ?? "0", 10) || 0;

function progress(run) {
  const text =
    run.generations === null ? count(run.generation) : `${count(run.generation)} of ${count(run.generations)}`;
  if (run.state !== "running" || !run.generations) return [text];
  const left = run.seconds_left === null ? "" : `, ${duration(run.seconds_left)} left`;
  const label = `generations of ${run.run}`;
  return [text + left, el("progress", { max: run.generations, value: run.generation, "aria-label": label })];
}

// `word` stands before the content where the window is narrow
function cell(className, word, ...content) {
  return el("td", { className, "data-word": word }, ...content);
}

function row(run) {
  const pick = el("input", { type: "checkbox", checked: chosen.has(run.run), "aria-label": `Compare ${run.run}` });
  pick.addEventListener("change", () => {
    if (pick.checked) chosen.add(run.run);
    else chosen.delete(run.run);
    chooseCompare();
  });
  const why = run.message ? el("div", { className: "why", title: run.message }, run.message) : null;
  const tags = run.tags.length ? el("ul", { className: "tags", "aria-label": "Tags" }, ...tagList(run.tags)) : null;
  const note = run.note ? el("div", { className: "noted", title: run.note }, run.note) : null;
  const [day, clock] = moment(run.started).split(" ");
  return el(
    "tr",
    { "data-run": run.run, "data-state": run.state },
    cell("pick", null, pick),
    cell("wide", null, el("a", { href: runPath(run.run) }, run.run), tags, note, why),
    cell("", null, badge(run.state)),
    cell("far", null, ...progress(run)),
    cell("number less", null, count(run.evaluations)),
    cell(run.failed ? "number" : "number nothing", "failed", count(run.failed)),
    cell("number", "best", fitness(run.best, run.objectives)),
    cell("number less", null, number(run.evaluations_per_s, 3)),
    cell(
      run.state === "running" || run.objectives.length ? "when less" : "when",
      null,
      day,
      el("span", { className: "clock" }, ` ${clock}`),
    ),
  );
}

function columnHeadings() {
  const headings = Object.entries(COLUMNS).map(([name, label]) => {
    const sorted = form.sort.value === name ? order : null;
    const go = () =>
      sortBy(name, sorted === null ? (name === "run" ? "asc" : "desc") : sorted === "desc" ? "asc" : "desc");
    return heading(label, sorted, { numeric: !TEXTS.includes(name), name, go });
  });
  const pick = el("th", { scope: "col" }, el("span", { className: "hidden" }, "Compare"));
  drawHeadings(byId("runs"), [pick, ...headings]);
}

function sortBy(name, direction) {
  form.sort.value = name;
  order = direction;
  offset = 0;
  again();
}

function chooseCompare() {
  const button = byId("compare");
  button.disabled = chosen.size < 2;
  button.textContent = chosen.size < 2 ? "Compare" : `Compare ${chosen.size}`;
}

let before = "";
async function tick() {
  const sort = form.sort.value;
  const wanted = { q: form.q.value, state: form.state.value, sort, order, offset: offset || "" };
  const plain = sort === "started" && order === "desc"; // needn't stand in the address
  history.replaceState(null, "", location.pathname + query(plain ? { ...wanted, sort: "", order: "" } : wanted));
  const found = await request(api("/runs") + query({ ...wanted, limit: LIMIT }));
  say("problem", "");
  const now = JSON.stringify([found.runs, sort, order]);
  if (now !== before) drawRows(found.runs);
  before = now;
  show(byId("runs"), found.runs.length > 0);
  sayNothing(found);
  const all = `${count(found.stored)} ${found.stored === 1 ? "run" : "runs"}`;
  byId("count").textContent = found.total === found.stored ? all : `${count(found.total)} of ${all}`;
  pager(byId("pager"), { offset, limit: LIMIT, total: found.total }, (to) => {
    offset = to;
    again();
  });
  data.loaded = "yes";
  return found.runs.some((run) => run.state === "running") ? 1 : 4;
}

// What has the keyboard keeps it.
function drawRows(runs) {
  const focused = document.activeElement?.closest?.("#runs tbody tr")?.dataset.run;
  const tag = focused === undefined ? null : document.activeElement.tagName.toLowerCase();
  columnHeadings();
  const rows = runs.map(row);
  byId("runs").tBodies[0].replaceChildren(...rows);
  if (tag)
    rows
      .find((one) => one.dataset.run === focused)
      ?.querySelector(tag)
      ?.focus();
}

function sayNothing(found) {
  show(byId("empty"), false);
  if (found.runs.length) return;
  if (found.stored) return empty("empty", "No run fits", "Search for something else, or choose another state.");
  const how = control
    ? ["Start one from the page ", el("a", { href: "/start" }, "Start a run"), "."]
    : ["Start one with ", el("code", {}, "l2l run jobs/smoke.yaml"), "."];
  return empty("empty", "The store has no runs yet", ...how);
}

const again = poll(tick);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", (event) => {
  if (event.target === form.sort) order = form.sort.value === "run" ? "asc" : "desc";
  offset = 0;
  again();
});
byId("compare").addEventListener("click", () => {
  location.href = `/compare${query({ run: [...chosen] })}`;
});
