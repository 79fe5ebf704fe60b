// Several runs side by side.

import { color, draw, escaped, faint, PALETTE } from "./charts.js";
import {
  api,
  byId,
  data,
  drawHeadings,
  duration,
  el,
  empty,
  heading,
  number,
  poll,
  query,
  request,
  runPath,
  say,
  show,
} from "./common.js";
import { axisRange, lowest } from "./spread.js";

const DASHES = ["solid", "dash", "dot", "dashdot"];
const given = new URLSearchParams(location.search);
const runs = given.getAll("run");
byId("target").target.value = given.get("target") ?? "";

const plain = (values) => values.map((value) => (typeof value === "number" ? value : null));

function traces(groups) {
  return groups.flatMap((group, k) => {
    const name = PALETTE[k % PALETTE.length];
    const dash = DASHES[Math.floor(k / PALETTE.length) % DASHES.length];
    const shared = {
      x: group.x,
      type: "scatter",
      legendgroup: String(k),
      hoverinfo: "skip",
      line: { width: 0, shape: "hv" },
      mode: "lines",
      showlegend: false,
    };
    const bands =
      group.runs.length < 2
        ? []
        : [
            { ...shared, y: plain(group.q1) },
            { ...shared, y: plain(group.q3), fill: "tonexty", fillcolor: faint(name, 0.2) },
          ];
    const label = `${group.group}, ${group.runs.length} ${group.runs.length === 1 ? "run" : "runs"}`;
    const marker = plain(group.median).filter((value) => value !== null).length === 1 ? "lines+markers" : "lines";
    return [
      ...bands,
      {
        name: escaped(label),
        x: group.x,
        y: plain(group.median),
        type: "scatter",
        mode: marker,
        legendgroup: String(k),
        line: { color: color(name), dash, width: 2.5, shape: "hv" },
      },
    ];
  });
}

function three(values, show = number) {
  const [low, middle, high] = values;
  return show(low) === show(high) ? show(middle) : `${show(middle)} (${show(low)} to ${show(high)})`;
}

// name -> the text of a group's cell, and what it is sorted by
const COLUMNS = {
  Group: { text: (group) => group.group, key: (group) => group.group.toLowerCase() },
  Best: { text: (group) => three(group.best), key: (group) => group.best[1] },
  Evaluations: { text: (group) => three(group.evaluations), key: (group) => group.evaluations[1] },
  Failed: { text: (group) => three(group.failed), key: (group) => group.failed[1] },
  Time: { text: (group) => three(group.seconds, duration), key: (group) => group.seconds[1] },
};
const OF_TARGET = {
  Reached: { text: (group) => `${group.reached} of ${group.runs.length}`, key: (group) => group.reached },
  "Evaluations to it": { text: (group) => three(group.to_target), key: (group) => group.to_target[1] },
};
const order = { name: null, descending: true };

function drawTable(groups) {
  const target = groups.some((group) => group.to_target !== null);
  const columns = target ? { ...COLUMNS, ...OF_TARGET } : COLUMNS;
  const headings = Object.keys(columns).map((name) => {
    const sorted = order.name === name ? (order.descending ? "desc" : "asc") : null;
    const go = () => {
      Object.assign(order, { name, descending: order.name === name ? !order.descending : name !== "Group" });
      drawTable(groups);
    };
    return heading(name, sorted, { numeric: name !== "Group", go });
  });
  drawHeadings(byId("groups"), [...headings, el("th", { scope: "col" }, "Runs")]);
  const shown = order.name in columns ? sortBy(groups, columns[order.name].key, order.descending) : groups;
  const rows = shown.map((group) => {
    const links = group.runs.flatMap((name, k) => [k ? " " : null, el("a", { href: runPath(name) }, name)]);
    const cells = Object.values(columns).map(({ text }, k) =>
      el("td", { className: k ? "number" : "text" }, text(group)),
    );
    return el("tr", {}, ...cells, el("td", { className: "text" }, ...links));
  });
  byId("groups").tBodies[0].replaceChildren(...rows);
}

// what has no value comes last
function sortBy(groups, key, descending) {
  const sign = descending ? -1 : 1;
  const value = (group) => ({ inf: Infinity, "-inf": -Infinity })[key(group)] ?? key(group);
  return [...groups].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === null || b === null) return (a === null) - (b === null);
    return a === b ? 0 : sign * (a < b ? -1 : 1);
  });
}

// How far down the axis goes: the first, worst values of a few curves don't rule it.
function cutCurves(groups) {
  const values = groups.flatMap((group) => [...group.q1, ...group.median, ...group.q3]);
  return axisRange(values, lowest(values));
}

let before = "";
async function tick() {
  if (runs.length === 0) {
    empty("empty", "No runs are chosen", "Choose two or more in the ", el("a", { href: "/" }, "list of runs"), ".");
    show(byId("waiting"), false);
    return 0;
  }
  let found;
  try {
    found = await request(api("/compare") + query({ run: runs, target: byId("target").target.value }), {
      seconds: 100,
    });
  } catch (error) {
    if (error.status !== 409) throw error;
    say("problem", error.message);
    return 0;
  } finally {
    show(byId("waiting"), false);
  }
  say("problem", "");
  const now = JSON.stringify(found.groups);
  if (now !== before) {
    before = now;
    const { groups } = found;
    const values = groups.flatMap((group) => group.x);
    const wide = values.length > 0 && Math.max(...values) > 100 * Math.max(1, Math.min(...values));
    const cut = cutCurves(groups);
    const notes = [];
    if (groups.some((group) => group.runs.length > 1)) notes.push("median and quartiles over runs");
    if (found.several) notes.push("of several objectives the first");
    if (cut) notes.push("curves begin below the axis; double-click shows all");
    byId("band-note").textContent = notes.join("; ");
    show(byId("content"));
    byId("curves").setAttribute(
      "aria-label",
      `Best fitness so far over evaluations: ${groups.map((g) => `${g.group} ${number(g.best[1])}`).join("; ")}`,
    );
    drawTable(groups);
    await draw("curves", () => traces(groups), {
      x: "evaluations",
      y: "best fitness so far",
      values: cut,
      log: { x: wide },
    });
  }
  data.loaded = "yes";
  return found.running ? 10 : 0;
}

const again = poll(tick, (text) => say("problem", text));
byId("target").addEventListener("submit", (event) => {
  event.preventDefault();
  const target = event.target.target.value.trim();
  history.replaceState(null, "", location.pathname + query({ run: runs, target }));
  show(byId("waiting"));
  again();
});
