// Note and tags of a run: shown, and edited where the page has control.
import { byId, control, request, say, show, tagList } from "./common.js";

let shown = null;
let now = null;
let savedAt = 0; // ms on the page's clock

// asked: when the detail was asked for, ms; one that was asked for before a save may not know of it
export function drawNotes(detail, address, asked) {
  now = asked < savedAt ? { ...detail, note: now.note, tags: now.tags } : detail;
  const text = JSON.stringify([now.note, now.tags]);
  if (text !== shown) {
    say("note", now.note);
    byId("tags").replaceChildren(...tagList(now.tags));
    show(byId("tags"), now.tags.length > 0);
  }
  shown = text;
  if (control) {
    show(byId("edit"));
    byId("edit-form").onsubmit = (event) => save(event, address);
  }
}

// what is typed stays while the run goes on: the form is filled when it is opened
byId("edit").addEventListener("toggle", () => {
  if (!byId("edit").open || now === null) return;
  const { note, tags } = byId("edit-form").elements;
  note.value = now.note;
  tags.value = now.tags.join(" ");
});

async function save(event, address) {
  event.preventDefault();
  const { note, tags } = event.target.elements;
  const answer = byId("edit-answer");
  answer.className = "";
  answer.textContent = "saving…";
  try {
    const body = { note: note.value, tags: tags.value.split(/\s+/).filter(Boolean) };
    const saved = await request(address("notes"), { method: "PUT", body });
    savedAt = performance.now();
    drawNotes({ ...now, ...saved }, address, savedAt);
    answer.textContent = "saved";
  } catch (error) {
    answer.className = "problem";
    answer.textContent = error.message;
  }
}
