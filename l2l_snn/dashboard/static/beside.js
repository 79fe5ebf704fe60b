// Two individuals beside each other: fitness, metrics and replay of each, and the parameters that differ.
import {
  api,
  byId,
  count,
  data,
  describeFacts,
  describeMetrics,
  el,
  number,
  query,
  request,
  runPath,
  say,
  show,
} from "./common.js";
import { replayPanel } from "./replay_panel.js";

const sides = [...document.querySelectorAll(".side")].map((root) => {
  const { run, generation, index } = root.dataset;
  const path = runPath(run, "individuals", generation, index);
  root.querySelector(".to-individual").href = path;
  return { root, run, generation, index, address: api(path), replay: replayPanel(root, api(path)) };
});

async function load({ root, address }) {
  const found = await request(address);
  root.querySelector(".error").textContent = found.error;
  show(root.querySelector(".error"), found.error !== "");
  root.querySelector(".facts").replaceChildren(...describeFacts(found), ...describeMetrics(found));
}

async function compare([first, { run, generation, index }]) {
  const { same, differing, note } = await request(`${first.address}/beside${query({ run, generation, index })}`);
  byId("note").textContent = note || `${count(same)} of ${count(same + differing.length)} parameters are the same.`;
  const rows = differing.map((one) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, one.name),
      el("td", {}, one.left || "–"),
      el("td", {}, one.right || "–"),
      el("td", { className: "number" }, number(one.largest)),
      el("td", { className: "number" }, one.size > 1 ? `${count(one.entries)} of ${count(one.size)}` : "–"),
    ),
  );
  byId("differences").tBodies[0].replaceChildren(...rows);
  show(byId("differences"), rows.length > 0);
}

byId("both").addEventListener("click", () => {
  for (const side of sides) side.replay();
});
try {
  await Promise.all([...sides.map(load), compare(sides)]);
  data.loaded = "yes";
} catch (error) {
  say("problem", error.message);
}
