// Pictures for understanding a run: each is drawn on the server when it is opened first, and again when asked.
import { byId, count, el, request, show } from "./common.js";

let now = null; // the run as it was last told
let address = null;

// Tell what there is to draw of; a picture of fewer generations can be drawn anew.
export function offerPictures(detail, of) {
  now = detail;
  address = of;
  show(byId("kinds"), detail.generation > 0);
  for (const kind of document.querySelectorAll(".kind[data-drawn]")) offerAgain(kind);
}

function offerAgain(kind) {
  const offered = kind.querySelector("button");
  const old = kind.dataset.drawn !== "" && kind.dataset.drawn !== `${now.id} ${now.generation}`;
  if (!old) offered?.remove();
  else if (!offered)
    kind.querySelector(".bar").append(el("button", { type: "button", onclick: () => draw(kind) }, "Draw it anew"));
}

async function draw(kind) {
  const status = kind.querySelector("[role=status]");
  kind.dataset.drawn = ""; // being drawn
  offerAgain(kind);
  status.className = "";
  status.textContent = "Drawing…";
  const of = now.id;
  try {
    const picture = await request(address("pictures", kind.dataset.kind), { seconds: 400 });
    kind.dataset.drawn = `${of} ${picture.generation}`;
    const generations = `${count(picture.generation)} generation${picture.generation === 1 ? "" : "s"}`;
    status.textContent = picture.png ? `After ${generations}` : `Not of this run: ${picture.missing}`;
    kind.querySelector(".pictures").replaceChildren(...(picture.png ? [figure(kind, picture.png)] : []));
  } catch (error) {
    delete kind.dataset.drawn; // the next opening tries again
    status.className = "problem";
    status.textContent = error.message;
  }
}

function figure(kind, png) {
  const src = `data:image/png;base64,${png}`;
  const image = el("img", { src, alt: `${kind.dataset.kind}: ${kind.querySelector("summary").textContent}` });
  return el(
    "figure",
    {},
    image,
    el("a", { href: src, download: `${now.run}_${kind.dataset.kind}.png` }, "Save as a file"),
  );
}

for (const kind of document.querySelectorAll(".kind")) {
  kind.addEventListener("toggle", () => {
    if (kind.open && kind.dataset.drawn === undefined) draw(kind);
  });
}
