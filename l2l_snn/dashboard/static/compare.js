// Several runs side by side.

import { color, draw, faint, PALETTE } from "./charts.js";
import { api, byId, data, duration, el, number, poll, query, request, runPath, say, show } from "./common.js";

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

// plotly.js reads a few tags in names, such as <b>
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function three(values, show = number) {
  const [low, middle, high] = values;
  return show(low) === show(high) ? show(middle) : `${show(middle)} (${show(low)} to ${show(high)})`;
}

function drawTable(groups) {
  const target = groups.some((group) => group.to_target !== null);
  const names = [
    "Group",
    "Best",
    "Evaluations",
    "Failed",
    "Time",
    ...(target ? ["Reached", "Evaluations to it"] : []),
    "Runs",
  ];
  byId("groups").tHead.replaceChildren(el("tr", {}, ...names.map((name) => el("th", { scope: "col" }, name))));
  const rows = groups.map((group) => {
    const links = group.runs.flatMap((name, k) => [k ? " " : null, el("a", { href: runPath(name) }, name)]);
    const reached = target ? [`${group.reached} of ${group.runs.length}`, three(group.to_target)] : [];
    const texts = [
      group.group,
      three(group.best),
      three(group.evaluations),
      three(group.failed),
      three(group.seconds, duration),
      ...reached,
    ];
    return el(
      "tr",
      {},
      ...texts.map((text, k) => el("td", { className: k ? "value" : "" }, text)),
      el("td", {}, ...links),
    );
  });
  byId("groups").tBodies[0].replaceChildren(...rows);
}

let before = "";
async function tick() {
  if (runs.length === 0) {
    say("problem", "Choose runs to compare in the list of runs.");
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
    byId("band-note").textContent = groups.some((group) => group.runs.length > 1)
      ? "median and quartiles over runs"
      : "";
    byId("curves").setAttribute(
      "aria-label",
      `Best fitness so far over evaluations: ${groups.map((g) => `${g.group} ${number(g.best[1])}`).join("; ")}`,
    );
    drawTable(groups);
    await draw("curves", () => traces(groups), { x: "evaluations", y: "best fitness so far", log: { x: wide } });
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
