// Start a run of a job file.
import { api, byId, control, data, el, empty, request, runPath, say, show } from "./common.js";

async function load(form) {
  try {
    const { jobs } = await request(api("/jobs"));
    form.job.replaceChildren(...jobs.map((job) => el("option", { value: job }, job)));
    if (jobs.length === 0) empty("empty", "No job files", "There is none in the folder that --jobs names.");
    show(form, jobs.length > 0);
    data.loaded = "yes";
  } catch (error) {
    say("problem", error.message);
  }
}

async function start(form) {
  const button = form.querySelector("button");
  button.disabled = true;
  byId("answer").textContent = "checking the job…";
  say("problem", "");
  const settings = form.settings.value
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
  const body = { job: form.job.value, settings, inline: form.inline.checked };
  if (form.elements.name.value.trim()) body.name = form.elements.name.value.trim();
  if (form.workers.value) body.workers = Number(form.workers.value);
  try {
    const launch = await request(api("/runs"), { method: "POST", body, seconds: 300 });
    location.href = runPath(launch.run);
  } catch (error) {
    say("problem", error.message);
    byId("answer").textContent = "";
    button.disabled = false;
  }
}

if (control) {
  const form = byId("start");
  load(form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    start(form);
  });
}
