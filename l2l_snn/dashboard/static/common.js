// What all pages share: elements, numbers as text, requests to the API, and polling.
// Text from the store only ever becomes text nodes and attributes, never HTML.

export const byId = (id) => document.getElementById(id);
export const data = document.body.dataset;
export const control = data.control === "yes";

export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (key in element && !key.startsWith("data-")) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function show(element, visible = true) {
  element.hidden = !visible;
}

export function say(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
  show(element, text !== "");
}

// addresses: every part of a path is encoded, so that a name stays one part
export const runPath = (run, ...rest) =>
  ["/runs", run, ...rest].map((part, k) => (k ? encodeURIComponent(part) : part)).join("/");
export const api = (path) => `/api${path}`;
export function query(values) {
  const parts = new URLSearchParams();
  for (const [key, value] of Object.entries(values)) {
    for (const one of Array.isArray(value) ? value : [value])
      if (one !== null && one !== undefined && one !== "") parts.append(key, one);
  }
  const text = parts.toString();
  return text ? `?${text}` : "";
}

export class Refusal extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export async function request(path, { method = "GET", body, seconds = 30 } = {}) {
  const options = { method, headers: { Accept: "application/json" }, signal: AbortSignal.timeout(seconds * 1000) };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    throw new Refusal(
      0,
      error.name === "TimeoutError" ? `no answer in ${seconds} s` : "the server of this page can't be reached",
    );
  }
  const content = await answer.json().catch(() => ({ error: `unreadable answer, status ${answer.status}` }));
  if (!answer.ok) throw new Refusal(answer.status, content.error ?? `status ${answer.status}`);
  return content;
}

// Call `tick` again and again. It returns after how many seconds; 0 ends it. A page that nobody sees waits 30 s or more.
// Errors are shown in the foot of the page, and it goes on after 5 s; what will never be there ends it.
export function poll(tick, fail = (text) => say("problem", text)) {
  let timer = null;
  let going = false;
  async function run() {
    if (going) return;
    going = true;
    clearTimeout(timer);
    let seconds = 5;
    try {
      seconds = await tick();
      say("connection", "");
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (error.status === 404 || error.status === 422) {
        fail(error.message);
        seconds = error.status === 404 ? 5 : 0;
      } else say("connection", `${new Date().toLocaleTimeString()}: ${error.message}; trying again`);
    } finally {
      going = false;
    }
    if (seconds) timer = setTimeout(run, 1000 * (document.hidden ? Math.max(30, seconds) : seconds));
  }
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) run();
  });
  run();
  return run;
}

// numbers as text
export function number(value, digits = 5) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return value.replace("-", "−").replace("inf", "∞");
  if (value === 0) return "0"; // -0 too
  const size = Math.abs(value);
  const text =
    size >= 1e6 || size < 1e-4
      ? value.toExponential(digits - 2).replace(/\.?0*e\+?/, "e")
      : String(Number(value.toPrecision(digits)));
  return text.replace("-", "−");
}

export const count = (value) => (value === null || value === undefined ? "–" : Number(value).toLocaleString("en"));

export function duration(seconds) {
  if (seconds === null || seconds === undefined || typeof seconds === "string") return "–";
  if (seconds > 0 && seconds < 0.095) return `${Number((1000 * seconds).toPrecision(2))} ms`;
  if (seconds < 60) return `${seconds < 9.95 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function moment(seconds) {
  return new Date(1000 * seconds).toLocaleString("sv").slice(0, 16);
}

// What stands where there is nothing: a title and what to do.
export function empty(id, title, ...hint) {
  byId(id).replaceChildren(el("strong", {}, title), ...hint);
  show(byId(id));
}

// A column's heading that sorts by it; `sorted` is "asc", "desc" or null.
export function heading(label, sorted, { numeric = false, name = label, go }) {
  const arrow = sorted === null ? "" : sorted === "desc" ? " ↓" : " ↑";
  const button = el("button", { type: "button", title: `Sort by ${name}`, onclick: go }, label + arrow);
  const direction = sorted === null ? null : sorted === "desc" ? "descending" : "ascending";
  const className = numeric ? "number" : "";
  return el("th", { scope: "col", className, "aria-sort": direction, "data-column": name }, button);
}

// Put new headings into a table; the one that has the keyboard keeps it.
export function drawHeadings(table, headings) {
  const focused = document.activeElement?.closest?.("th")?.dataset.column;
  table.tHead.replaceChildren(el("tr", {}, ...headings));
  if (focused)
    headings
      .find((one) => one.dataset.column === focused)
      ?.querySelector("button")
      ?.focus();
}

// all objectives of an individual, or its one fitness
export const fitness = (one, objectives, digits = 5) =>
  objectives.length ? objectives.map((value) => number(value, digits)).join(", ") : number(one, digits);

export const badge = (state) => el("span", { className: `state ${state}` }, state);

// the tags of a run, each a link to the runs that have it
export const tagList = (tags) =>
  tags.map((tag) => el("li", {}, el("a", { className: "tag", href: `/${query({ q: tag })}` }, tag)));

export function fact(name, value) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, value));
}

// what an individual's row says
export function describeFacts(found) {
  const failed = found.fitness === null && !found.objectives.length;
  const objectives = found.objectives.map((value, k) => fact(`Objective ${k + 1}`, number(value, 6)));
  return [
    ...(objectives.length ? objectives : [fact("Fitness", failed ? "failed" : fitness(found.fitness, [], 8))]),
    fact("Seed", String(found.seed)),
    fact("Evaluated in", duration(found.seconds)),
    fact("Worker", found.worker || "–"),
  ];
}
export const describeMetrics = (found) =>
  Object.entries(found.metrics).map(([name, value]) => fact(name, number(value, 6)));

export function pager(nav, { offset, limit, total }, go) {
  const button = (text, to, off) => el("button", { type: "button", disabled: off, onclick: () => go(to) }, text);
  const from = total ? offset + 1 : 0;
  nav.replaceChildren(
    button("First", 0, offset === 0),
    button("Previous", Math.max(0, offset - limit), offset === 0),
    el("span", { role: "status" }, `${count(from)} to ${count(Math.min(offset + limit, total))} of ${count(total)}`),
    button("Next", offset + limit, offset + limit >= total),
  );
  show(nav, total > limit || offset > 0);
}
