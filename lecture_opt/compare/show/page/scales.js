"use strict";
// From numbers to places: scales and their ticks. Nothing here touches the page.

// The least and the greatest of the finite numbers; of the positive ones for a logarithmic scale.
function extent(values, log) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value === null || !Number.isFinite(value) || (log && value <= 0)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return log ? [0.1, 1] : [0, 1];
  if (low === high) return log ? [low / 2, high * 2] : [low - Math.abs(low || 1) / 2, high + Math.abs(high || 1) / 2];
  return [low, high];
}

// A function from numbers to places between `from` and `to`, with a little room at both ends.
function scale([low, high], from, to, log, room = 0.03) {
  const f = log ? Math.log : (value) => value;
  const wide = f(high) - f(low);
  const [start, end] = [f(low) - room * wide, f(high) + room * wide];
  const place = (value) => from + ((f(value) - start) / (end - start)) * (to - from);
  place.ticks = (count) => (log ? logTicks(low, high, count) : linearTicks(low, high, count));
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
