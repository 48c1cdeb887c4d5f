"use strict";
// From numbers to places: scales and their ticks. Nothing here touches the page.
// A scale is "linear", "log", or "error": accuracies, spaced as the logarithm of the error.

const SPACED = {
  linear: (value) => value,
  log: (value) => (value > 0 ? Math.log(value) : NaN),
  error: (value) => (value < 1 ? -Math.log1p(-value) : NaN),
};

// The least and the greatest of the numbers that the scale can place, within `axis.low` and `.high`.
function extent(values, kind, axis = {}) {
  let [low, high] = [Infinity, -Infinity];
  const [least, most] = [axis.low ?? -Infinity, axis.high ?? Infinity];
  for (const value of values) {
    if (value === null) continue;
    const inside = Math.min(Math.max(value, least), most);
    if (!Number.isFinite(SPACED[kind](inside))) continue;
    low = Math.min(low, inside);
    high = Math.max(high, inside);
  }
  if (low > high) return kind === "log" ? [0.1, 1] : [0, 1];
  if (low < high) return [low, high];
  if (kind === "log") return [low / 2, high * 2];
  if (kind === "error") return [Math.max(0, 1 - 2 * (1 - low)), 1 - (1 - high) / 2];
  return [low - Math.abs(low || 1) / 2, high + Math.abs(high || 1) / 2];
}

// A function from numbers to places between `from` and `to`, with a little room at both ends.
function scale([low, high], from, to, kind, room = 0.03) {
  const f = SPACED[kind];
  const wide = f(high) - f(low);
  const [start, end] = [f(low) - room * wide, f(high) + room * wide];
  const place = (value) => from + ((f(value) - start) / (end - start)) * (to - from);
  place.ticks = (count) => TICKS[kind](low, high, count);
  return place;
}

function linearTicks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) {
    ticks.push(Number((k * step).toPrecision(12)));
  }
  return ticks;
}

// Powers of ten; between them 2 and 5, or evenly spaced numbers, where there are few powers.
function logTicks(low, high, count) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const stride = Math.max(1, Math.ceil((last - first) / count));
  const within = (tick) => tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9);
  const powers = [];
  for (let k = first; k <= last; k++) powers.push(k);
  const tens = powers.filter((k) => k % stride === 0).map((k) => 10 ** k).filter(within);
  if (tens.length > 2) return tens;
  const finer = powers.flatMap((k) => [1, 2, 5].map((m) => m * 10 ** k)).filter(within);
  return finer.length > 2 ? finer : linearTicks(low, high, count);
}

// One less than the ticks of the error: 0.5, 0.8, 0.9, 0.95, ...
function errorTicks(low, high, count) {
  return logTicks(1 - high, 1 - low, count).map((error) => Number((1 - error).toPrecision(12)));
}

const TICKS = { linear: linearTicks, log: logTicks, error: errorTicks };

// The stretches of indices between which no number is missing.
function stretches(...columns) {
  const found = [];
  let open = null;
  const whole = (i) => columns.every((column) => column[i] !== null && Number.isFinite(column[i]));
  for (let i = 0; i < columns[0].length; i++) {
    if (!whole(i)) open = null;
    else if (open) open.push(i);
    else found.push((open = [i]));
  }
  return found;
}

// Places at least `apart` from each other between `low` and `high`, each as near as may be to where
// it wants to be; in order.
function spread(wanted, apart, low, high) {
  const places = [...wanted];
  for (let k = 0; k < places.length; k++) {
    places[k] = Math.max(places[k], k ? places[k - 1] + apart : low);
  }
  for (let k = places.length - 1, most = high; k >= 0; k--) {
    places[k] = Math.min(places[k], most);
    most = places[k] - apart;
  }
  return places;
}
