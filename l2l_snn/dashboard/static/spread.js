// Where an axis may end so that a few values far from all others don't rule it; those others are marked, not lost.

const SHARE = 0.02; // of the values that an axis may leave out at an end
const FEW = 10; // values that are always shown

const finite = (values) => values.filter((value) => typeof value === "number" && Number.isFinite(value));

// The lowest value to show; null where all can be. What lies near the others is shown too.
export function lowest(values) {
  const known = finite(values).sort((a, b) => a - b);
  if (known.length < FEW) return null;
  const kept = known[Math.max(1, Math.floor(SHARE * known.length))];
  const highest = known.at(-1);
  if (highest === kept || kept - known[0] <= 2 * (highest - kept)) return null;
  return known.find((value) => value >= kept - 0.5 * (highest - kept));
}

export function highest(values) {
  const low = lowest(finite(values).map((value) => -value));
  return low === null ? null : -low;
}

// The range of an axis from `low` (null: the lowest value) to `high`, with a margin; null where nothing is cut off.
export function axisRange(values, low, high = null) {
  if (low === null && high === null) return null;
  const known = finite(values);
  const from = low ?? known.reduce((a, b) => Math.min(a, b));
  const to = high ?? known.reduce((a, b) => Math.max(a, b));
  const margin = 0.06 * (to - from);
  return [from - margin, to + margin];
}
