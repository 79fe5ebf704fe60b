// A replay of an individual on request: its state, its pictures, what it printed; templates/replay.html has the parts.
import { duration, el, poll, request, show } from "./common.js";

const WORDS = { waiting: "waits for its turn", running: "runs", failed: "failed", cancelled: "cancelled", none: "" };

// Drive the parts in `root` for the individual at an address of the API; return what starts the replay.
export function replayPanel(root, address) {
  const part = (name) => root.querySelector(`.${name}`);
  let pictures = null;

  async function tick() {
    const replay = await request(`${address}/replay`);
    draw(replay);
    return replay.state === "waiting" || replay.state === "running" ? 1 : 0;
  }

  function draw(replay) {
    const active = replay.state === "waiting" || replay.state === "running";
    const same = replay.same ? "the fitness is the same, bit for bit" : "the fitness is NOT the same";
    const text = replay.state === "done" ? `done in ${duration(replay.seconds)}: ${same}` : WORDS[replay.state];
    part("replay-state").textContent = active && replay.seconds ? `${text}, ${duration(replay.seconds)}` : text;
    part("replay-state").classList.toggle("problem", replay.state === "failed" || replay.same === false);
    part("replay").disabled = active || replay.state === "done";
    show(part("cancel"), active);
    part("log").textContent = replay.log;
    show(part("log-section"), replay.log !== "");
    const now = replay.pictures.join("\n");
    if (now === pictures) return;
    pictures = now;
    part("pictures").replaceChildren(...replay.pictures.map(figure));
  }

  function figure(name) {
    const said = name.replace(/\.[a-z]+$/, "").replaceAll("_", " ");
    const src = `${address}/replay/${encodeURIComponent(name)}`;
    const image = el("img", { src, alt: `${said} of the replay` });
    return el("figure", {}, el("figcaption", {}, said), el("a", { href: src }, image));
  }

  const again = poll(tick);
  async function order(method) {
    try {
      draw(await request(`${address}/replay`, { method }));
    } catch (error) {
      part("replay-state").textContent = error.message;
      part("replay-state").classList.add("problem");
    }
    again();
  }
  part("replay").addEventListener("click", () => order("POST"));
  part("cancel").addEventListener("click", () => order("DELETE"));
  return () => order("POST");
}
