// The curves of a run and the cloud of its individuals, fetched whole or joined with what is new.
import { query, request } from "./common.js";

const CURVES = ["generation", "last", "evaluations", "failed", "best", "mean", "best_so_far", "seconds"];
const CLOUD = ["generation", "individual", "fitness"];

export async function fetchAll(address) {
  const [curves, cloud] = await Promise.all([request(address("generations")), request(address("cloud"))]);
  return { curves, cloud };
}

// What was thinned in another way can't be joined, and is fetched whole.
export async function fetchNew(address, have) {
  const after = query({ after: have.curves.last.at(-1) ?? -1 });
  const asked = [request(address("generations") + after), request(address("cloud") + after)];
  const [curves, cloud] = await Promise.all(asked);
  const sameCurves = curves.every === have.curves.every;
  const sameCloud = cloud.every === have.cloud.every && cloud.per_generation === have.cloud.per_generation;
  return {
    curves: sameCurves ? join(have.curves, curves, CURVES) : await request(address("generations")),
    cloud: sameCloud ? join(have.cloud, cloud, CLOUD) : await request(address("cloud")),
  };
}

// The entries of `more` take the place of those of `have` from the first one that both have.
function join(have, more, keys) {
  const start = more.generation.length ? have.generation.findIndex((g) => g >= more.generation[0]) : -1;
  const kept = start < 0 ? have.generation.length : start;
  const result = { ...more };
  for (const key of keys) result[key] = have[key].slice(0, kept).concat(more[key]);
  return result;
}
