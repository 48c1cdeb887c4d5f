"use strict";
// One chart: `drawChart(figure, chart, view)` draws what `view` shows of it into the figure's
// drawing and returns its marks: [{series, i, x, y}], the places of the points for the reader's
// pointer and arrow keys.
//
// view: {shown(name), own(name), style(name), label(name), bands, scaleX, scaleY, width: in pixels,
// or null for that of the window}

const ROW = 26;
const LABEL = 14;  // from a label to the next
const PHONE = 480;  // narrower, labels are a key under the drawing

function drawChart(figure, chart, view) {
  const home = figure.querySelector(".drawing");
  const width = view.width ?? Math.max(240, home.clientWidth);
  const series = chart.series.filter((one) => view.shown(one.name));
  const inRows = chart.kind === "differences" || chart.kind === "ranks";
  const svg = draw("svg", {
    width, role: "application", tabindex: "0",
    "aria-label": `${chart.task ? `${chart.task}: ` : ""}${chart.title}. Arrow keys walk over the points; the same numbers are in the table below.`,
  });
  home.replaceChildren(svg);
  const frame = { home, svg, width, height: 0, series, chart, view, phone: width < PHONE };
  const marks = !series.length ? [] : inRows ? drawRows(frame) : drawLines(frame);
  if (!series.length) {
    frame.height = 80;
    svg.append(draw("text", { x: width / 2, y: 40, "text-anchor": "middle" }, "No optimizer is shown."));
  }
  svg.setAttribute("height", frame.height);
  svg.setAttribute("viewBox", `0 0 ${width} ${frame.height}`);
  return marks;
}

function styled(tag, attributes, style, property = "stroke") {
  const element = draw(tag, attributes);
  element.style[property] = colourOf(style);
  return element;
}

const MEASURE = document.createElement("canvas").getContext("2d");

function textWidth(text, size) {
  MEASURE.font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
  return MEASURE.measureText(text).width;
}

// ---- lines -------------------------------------------------------------------------------------

// The lines to draw: [{one, names}], those that lie on each other as one.
function distinct({ series, chart }) {
  const group = (name) => chart.coinciding.find((names) => names.includes(name)) ?? [name];
  const shown = series.map((one) => one.name);
  const lines = series.map((one) => ({ one, names: group(one.name).filter((name) => shown.includes(name)) }));
  return lines.filter(({ one, names }) => names[0] === one.name);
}

function drawLines(frame) {
  const { svg, width, chart, view, phone } = frame;
  const lines = distinct(frame);
  const rows = lines.flatMap(({ names }) => names).length;
  const texts = lines.flatMap(({ names }) => names.map((name) => view.label(name)));
  const room = phone ? 10 : 40 + Math.max(...texts.map((text) => textWidth(text, 11.5) + 14));
  frame.height = phone ? 260 : Math.max(300, LABEL * rows + 60);
  const box = { left: 58, right: width - room, top: 10, bottom: frame.height - 42 };
  const banded = (one) => view.bands && one.joined && one.low && one.high;
  const ys = lines.flatMap(({ one }) => [...one.y, ...(banded(one) ? [...one.low, ...one.high] : [])]);
  if (chart.kind === "metric") ys.push(chart.line);
  if (chart.kind === "profiles") ys.push(0, 1);
  const x = scale(extent(lines.flatMap(({ one }) => one.x), view.scaleX), box.left, box.right, view.scaleX);
  const y = scale(extent(ys, view.scaleY, chart.y), box.bottom, box.top, view.scaleY);
  drawGrid(svg, box, x, y, chart);
  const reference = drawReference(frame, box, y);
  const drawn = lines.map((line) => ({ ...line, ...drawLine(line.one, { ...frame, box, x, y, banded }) }));
  for (const { group, one } of drawn) if (!view.own(one.name)) svg.append(group);
  for (const { group, one } of drawn) if (view.own(one.name)) svg.append(group);  // above the others
  if (phone) frame.home.append(key(lines, view, chart, reference));
  else drawLabels(frame, box, drawn, reference);
  return drawn.flatMap(({ marks }) => marks);
}

// One line with its band and dots: {group, marks, end: the last point inside the box, or null}.
function drawLine(one, { chart, view, box, x, y, banded }) {
  const group = draw("g", { class: view.own(one.name) ? "series own" : "series", "data-name": one.name });
  const [wide, high] = [box.right - box.left, box.bottom - box.top];
  const part = { x: box.left, y: box.top, width: wide, height: high };  // what lies outside is cut
  const inner = draw("svg", { ...part, viewBox: `${box.left} ${box.top} ${wide} ${high}` });
  group.append(inner);
  const style = view.style(one.name);
  const far = (place) => Math.max(box.top - 1e4, Math.min(box.bottom + 1e4, place));  // no digits run out
  const place = (f, values) => values.map((value) => (value === null || !Number.isFinite(f(value)) ? null : far(f(value))));
  const [xs, ys] = [place(x, one.x), place(y, one.y)];
  if (banded(one)) {
    const [least, most] = [place(y, one.low), place(y, one.high)];
    for (const run of stretches(xs, least, most)) {
      const edge = [...run.map((i) => [xs[i], most[i]]), ...run.toReversed().map((i) => [xs[i], least[i]])];
      inner.append(styled("path", { class: "band", d: pathOf(edge) + "Z" }, style, "fill"));
    }
  }
  const marks = [];
  let end = null;
  for (const run of stretches(xs, ys)) {
    if (one.joined) {
      const points = run.map((i) => [xs[i], ys[i]]);
      const line = styled("path", { class: "line", d: pathOf(points, chart.kind === "profiles") }, style);
      if (style.dashes.length) line.setAttribute("stroke-dasharray", style.dashes.join(" "));
      inner.append(line);
    }
    const dotted = !one.joined || chart.kind === "rates" || run.length === 1;
    for (const i of run) {
      const inside = ys[i] >= box.top && ys[i] <= box.bottom;
      if (dotted && inside) inner.append(styled("circle", { class: "dot", cx: xs[i], cy: ys[i], r: 2.5 }, style, "fill"));
      if (inside) end = [xs[i], ys[i]];
      marks.push({ series: one, i, x: xs[i], y: Math.max(box.top, Math.min(box.bottom, ys[i])) });
    }
  }
  return { group, marks, end };
}

function pathOf(points, stepped = false) {
  const text = points.map((point) => point.map((v) => v.toFixed(1)));
  return text.map(([px, py], k) => (k === 0 ? `M${px} ${py}` : stepped ? `H${px}V${py}` : `L${px} ${py}`)).join("");
}

function drawGrid(svg, box, x, y, chart) {
  for (const tick of x.ticks(Math.max(3, (box.right - box.left) / 75))) {
    svg.append(draw("line", { class: "grid", x1: x(tick), x2: x(tick), y1: box.top, y2: box.bottom }));
    svg.append(draw("text", { class: "tick", x: x(tick), y: box.bottom + 16, "text-anchor": "middle" }, short(tick)));
  }
  const middle = (box.left + box.right) / 2;
  svg.append(draw("text", { class: "axis", x: middle, y: box.bottom + 36, "text-anchor": "middle" }, chart.x.label));
  if (!y) return;
  let last = Infinity;
  for (const tick of y.ticks((box.bottom - box.top) / 45).toSorted((a, b) => a - b)) {
    if (last - y(tick) < 12) continue;
    last = y(tick);
    svg.append(draw("line", { class: "grid", x1: box.left, x2: box.right, y1: y(tick), y2: y(tick) }));
    svg.append(draw("text", { class: "tick", x: box.left - 6, y: y(tick) + 4, "text-anchor": "end" }, short(tick)));
  }
  const label = chart.y.label;
  const room = box.bottom - box.top;
  const at = `translate(12 ${(box.top + box.bottom) / 2}) rotate(-90)`;
  const text = draw("text", { class: "axis", transform: at, "text-anchor": "middle" }, label);
  if (textWidth(label, 12.5) > room) text.setAttribute("textLength", room);
  if (textWidth(label, 12.5) > room) text.setAttribute("lengthAdjust", "spacingAndGlyphs");
  svg.append(text);
}

// The value to compare with, where it lies inside the box: its place, or null.
function drawReference({ svg, chart }, box, y) {
  const at = chart.line === null ? NaN : y(chart.line);
  if (!(at >= box.top && at <= box.bottom)) return null;
  svg.append(draw("line", { class: "reference", x1: box.left, x2: box.right, y1: at, y2: at }));
  return at;
}

// The names at the right, each as near as may be to where its line ends.
function drawLabels({ svg, chart, view }, box, drawn, reference) {
  const rows = drawn.flatMap(({ one, names, end }) =>
    names.map((name, k) => ({ one, name, end, first: k === 0, at: end?.[1] ?? box.top })));
  if (reference !== null) rows.push({ one: null, name: chart.line_label, end: [box.right, reference], first: true, at: reference });
  rows.sort((a, b) => a.at - b.at);
  const places = spread(rows.map(({ at }) => at), LABEL, box.top + 4, box.bottom + 30);
  rows.forEach(({ one, name, first, end }, k) => {
    const at = places[k];
    const own = one && view.own(name);
    const group = draw("g", { class: own ? "label own" : "label", "data-name": one ? one.name : "" });
    const stroke = (tag, attributes) => (one ? styled(tag, attributes, view.style(one.name)) : draw(tag, { ...attributes, class: "reference" }));
    if (first && end && box.right - end[0] < 30) {
      group.append(stroke("path", { class: "leader", d: `M${end[0]} ${end[1]}L${box.right + 8} ${at}` }));
    }
    if (first) {
      const line = stroke("line", { class: "line", x1: box.right + 10, x2: box.right + 34, y1: at, y2: at });
      if (one?.name && view.style(one.name).dashes.length) line.setAttribute("stroke-dasharray", view.style(one.name).dashes.join(" "));
      group.append(line);
    }
    const label = one ? `${first ? "" : "= "}${view.label(name)}` : name;
    const text = draw("text", { class: "name", x: box.right + 38, y: at + 4 }, label);
    text.append(draw("title", {}, name));
    group.append(text);
    svg.append(group);
  });
}

// The same as a list, for drawings too narrow for labels.
function key(lines, view, chart, reference) {
  const list = make("ul", { class: "key" });
  for (const { one, names } of lines) {
    const item = make("li", { class: names.some(view.own) ? "own" : "" });
    item.append(swatch(view.style(one.name)), make("span", {}, names.join(" = ")));
    list.append(item);
  }
  if (reference !== null) {
    const [item, dotted] = [make("li"), draw("svg", { class: "swatch", viewBox: "0 0 28 10", "aria-hidden": "true" })];
    dotted.append(draw("line", { class: "reference", x1: 0, x2: 28, y1: 5, y2: 5 }));
    item.append(dotted, make("span", {}, chart.line_label));
    list.append(item);
  }
  return list;
}

// ---- rows: paired differences and mean ranks ---------------------------------------------------

function drawRows(frame) {
  const { svg, width, chart, view, phone } = frame;
  const ranks = chart.kind === "ranks";
  const series = ranks ? frame.series.toSorted((a, b) => a.x[0] - b.x[0]) : frame.series;
  const step = phone ? 38 : ROW;  // a phone has the names above their rows
  const names = series.map((one) => textWidth(view.label(one.name), 12.5));
  const margin = phone ? 12 : Math.max(...names) + 24;
  frame.height = 70 + step * series.length;
  const side = ranks ? 20 + 10 * Math.min(6, chart.groups.length) : 14;
  const box = { left: margin, right: width - side, top: 24, bottom: frame.height - 42 };
  const ends = series.flatMap((one) => [one.x[0], ...(one.low ?? []), ...(one.high ?? [])]);
  const least = Math.min(...series.map((one) => one.x[0]));
  if (ranks && chart.line !== null) ends.push(least + chart.line);
  if (!ranks) ends.push(0, chart.x.low ?? 0, chart.x.high ?? 0);
  const x = scale(extent(ends, "linear", chart.x), box.left, box.right, "linear", 0.05);
  drawGrid(svg, box, x, null, chart);
  if (ranks) drawCritical(svg, box, x, least, chart, series, step);
  else drawZero(svg, box, x, chart);
  return series.map((one, row) => drawRow(one, { svg, chart, view, phone, box, x }, box.top + step * (row + (phone ? 0.72 : 0.5))));
}

// Zero, and what does not matter around it.
function drawZero(svg, box, x, chart) {
  if (chart.margin !== null) {
    const [left, right] = [-chart.margin, chart.margin].map((v) => Math.max(box.left, Math.min(box.right, x(v))));
    svg.append(draw("rect", { class: "margin", x: left, width: right - left, y: box.top, height: box.bottom - box.top }));
  }
  svg.append(draw("line", { class: "zero", x1: x(0), x2: x(0), y1: box.top, y2: box.bottom }));
}

function drawRow(one, { svg, chart, view, phone, box, x }, y) {
  const group = draw("g", { class: view.own(one.name) ? "series own" : "series", "data-name": one.name });
  const style = view.style(one.name);
  const text = phone ? { x: box.left, y: y - 9 } : { x: box.left - 10, y: y + 4, "text-anchor": "end" };
  const name = draw("text", { class: "row-name", ...text }, view.label(one.name));
  name.append(draw("title", {}, one.name));
  group.append(name);
  const inside = (place) => Math.max(box.left, Math.min(box.right, place));
  if (one.low && one.low[0] !== null && one.high[0] !== null) {
    group.append(styled("line", { class: "whisker", x1: inside(x(one.low[0])), x2: inside(x(one.high[0])), y1: y, y2: y }, style));
  }
  const at = x(one.x[0]);
  const out = at < box.left ? -1 : at > box.right ? 1 : 0;
  if (out) {  // an arrow with the number
    const edge = out < 0 ? box.left : box.right;
    group.append(styled("path", { class: "dot", d: `M${edge} ${y}l${-9 * out} -5v10Z` }, style, "fill"));
    const anchor = out < 0 ? "start" : "end";
    group.append(draw("text", { class: "tick beyond", x: edge - 14 * out, y: y - 4, "text-anchor": anchor }, short(one.x[0])));
  } else {
    group.append(styled("circle", { class: "dot", cx: at, cy: y, r: 5 }, style, "fill"));
  }
  svg.append(group);
  return { series: one, i: 0, x: inside(at), y };
}

// The length of the critical difference at the top, and at the right a bar for every group.
function drawCritical(svg, box, x, least, chart, series, step) {
  if (chart.line === null) return;
  const [start, end] = [x(least), x(least + chart.line)];
  svg.append(draw("path", { class: "critical", d: `M${start} 14V22M${start} 18H${end}M${end} 14V22` }));
  const label = `critical difference ${short(chart.line)}`;
  const middle = Math.max((start + end) / 2, textWidth(label, 11.5) / 2 + 4);
  svg.append(draw("text", { class: "tick", x: middle, y: 12, "text-anchor": "middle" }, label));
  chart.groups.forEach((group, k) => {
    const rows = series.map((one, row) => (group.includes(one.name) ? row : -1)).filter((row) => row >= 0);
    if (rows.length < 2) return;
    const at = box.right + 10 + 10 * (k % 6);
    const [first, last] = [rows[0], rows.at(-1)].map((row) => box.top + step * (row + 0.5));
    svg.append(draw("line", { class: "group", x1: at, x2: at, y1: first - 8, y2: last + 8 }));
  });
}
