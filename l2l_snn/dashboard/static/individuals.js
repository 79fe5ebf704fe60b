// The table of individuals: sorted, filtered, paged. What is shown stands in the page's address.
import {
  api,
  byId,
  count,
  data,
  drawHeadings,
  el,
  empty,
  heading,
  number,
  pager,
  query,
  request,
  runPath,
  say,
  show,
} from "./common.js";

const run = data.run;
const LIMIT = 50;
const HOW = { ge: "≥", le: "≤", gt: ">", lt: "<", eq: "=", ne: "≠", has: "contains" };
byId("to-run").href = runPath(run);
let state = read();

function read() {
  const given = new URLSearchParams(location.search);
  return {
    sort: given.get("sort") ?? "fitness",
    order: given.get("order") ?? "desc",
    first: given.get("first") ?? "",
    last: given.get("last") ?? "",
    where: given.getAll("where"),
    offset: Number.parseInt(given.get("offset") ?? "0", 10) || 0,
  };
}

function go(change) {
  state = { ...state, offset: 0, ...change };
  history.pushState(null, "", location.pathname + query(state));
  load();
}

function columnHeading(column) {
  const sorted = state.sort === column ? state.order : null;
  const numeric = column !== "worker" && column !== "error";
  const sortBy = () => go({ sort: column, order: sorted === "desc" ? "asc" : "desc" });
  return heading(column.replace(/^metric\./, ""), sorted, { numeric, name: column, go: sortBy });
}

function value(row, column) {
  if (column === "generation" || column === "individual") return String(row[column]);
  if (column.startsWith("metric.")) return number(row.metrics[column.slice(7)] ?? null);
  const objective = /^fitness_(\d+)$/.exec(column);
  if (objective) return number(row.objectives[objective[1]] ?? null);
  if (column === "fitness" && row.fitness === null) return "failed";
  if (column === "fitness" || column === "seconds") return number(row[column], column === "seconds" ? 3 : 6);
  return String(row[column]);
}

function line(row, columns) {
  const link = el(
    "a",
    {
      href: runPath(run, "individuals", row.generation, row.individual),
      "aria-label": `Generation ${row.generation}, individual ${row.individual}`,
    },
    "open",
  );
  const cells = columns.map((column) => {
    const text = column === "worker" || column === "error";
    return el("td", { className: text ? "text" : "number" }, value(row, column));
  });
  return el("tr", {}, el("td", {}, link), ...cells);
}

function drawFilters() {
  const items = state.where.map((text, k) => {
    const [how, column, ...rest] = text.split(":");
    const said = `${decodeURIComponent(column)} ${HOW[how] ?? how} ${rest.join(":")}`;
    const remove = el("button", { type: "button", "aria-label": `Remove the filter ${said}` }, `${said} ✕`);
    remove.addEventListener("click", () => go({ where: state.where.filter((_, other) => other !== k) }));
    return el("li", {}, remove);
  });
  byId("filters").replaceChildren(...items);
}

function sayNothing(found) {
  if (!found.stored) empty("empty", "No individuals yet", "The run has committed no generation.");
  else if (state.offset) empty("empty", "No more individuals", "This page lies behind the last one.");
  else empty("empty", "No individual fits", "Take a filter away, or choose other generations.");
}

let asked = 0;
async function load() {
  const mine = ++asked;
  byId("range").first.value = state.first;
  byId("range").last.value = state.last;
  drawFilters();
  let found;
  try {
    found = await request(api(runPath(run, "individuals")) + query({ ...state, limit: LIMIT }));
  } catch (error) {
    if (mine === asked) say("problem", error.message);
    return;
  }
  if (mine !== asked) return; // another question was asked since
  say("problem", "");
  say("note", found.note);
  byId("count").textContent = found.stored
    ? `${count(found.total)} ${found.total === 1 ? "individual" : "individuals"}`
    : "";
  show(byId("table"), found.rows.length > 0);
  show(byId("empty"), false);
  if (found.rows.length === 0) sayNothing(found);
  const columns = found.columns.filter((column) => column !== "failed");
  const several = columns.filter((c) => /^fitness_/.test(c));
  const order = [
    "generation",
    "individual",
    ...(several.length ? several : ["fitness"]), // else the first objective stood there twice
    ...columns.filter((c) => c.startsWith("metric.")),
    "seed",
    "seconds",
    "worker",
    "error",
  ];
  const link = el("th", { scope: "col" }, el("span", { className: "hidden" }, "Link"));
  drawHeadings(byId("individuals"), [link, ...order.map(columnHeading)]);
  byId("individuals").tBodies[0].replaceChildren(...found.rows.map((row) => line(row, order)));
  const select = byId("add").column;
  const chosen = select.value;
  select.replaceChildren(...found.columns.map((column) => el("option", { value: column }, column)));
  if (found.columns.includes(chosen)) select.value = chosen;
  else select.value = "fitness";
  pager(byId("pager"), { offset: state.offset, limit: LIMIT, total: found.total }, (offset) => go({ offset }));
  data.loaded = String(mine);
}

byId("range").addEventListener("submit", (event) => {
  event.preventDefault();
  go({ first: event.target.first.value, last: event.target.last.value });
});
byId("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  go({ where: [...state.where, `${form.how.value}:${encodeURIComponent(form.column.value)}:${form.value.value}`] });
  form.value.value = "";
});
addEventListener("popstate", () => {
  state = read();
  load();
});
load();
