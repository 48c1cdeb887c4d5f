"use strict";
// One chart: `drawChart(figure, chart, view)` draws what `view` shows of it into the figure's
// drawing and returns its marks: [{series, i, x, y}], the places of the points for the reader's
// pointer and arrow keys.
//
// view: {shown(name), style(name), bands, logX, logY}

const HEIGHT = 300;
const ROW = 26;

function drawChart(figure, chart, view) {
  const home = figure.querySelector(".drawing");
  const width = Math.max(240, home.clientWidth);
  const series = chart.series.filter((one) => view.shown(one.name));
  const inRows = chart.kind === "differences" || chart.kind === "ranks";
  const height = inRows ? 70 + ROW * series.length : HEIGHT;
  const svg = draw("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "application", tabindex: "0",
    "aria-label": `${chart.task ? `${chart.task}: ` : ""}${chart.title}. Arrow keys walk over the points; the same numbers are in the table below.`,
  });
  home.replaceChildren(svg);
  if (!series.length) {
    svg.append(draw("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "No optimizer is shown."));
    return [];
  }
  const frame = { svg, width, height, series, chart, view };
  return inRows ? drawRows(frame) : drawLines(frame);
}

function styled(tag, attributes, style, property = "stroke") {
  const element = draw(tag, attributes);
  element.style[property] = colourOf(style);
  return element;
}

// ---- lines -------------------------------------------------------------------------------------

function drawLines(frame) {
  const { svg, width, height, series, chart, view } = frame;
  const box = { left: 58, right: width - 10, top: 10, bottom: height - 42 };
  const banded = (one) => view.bands && one.joined && one.low && one.high;
  const below = (values) => values.map((value) => (value !== null && chart.y.top !== null ? Math.min(value, chart.y.top) : value));
  const ys = series.flatMap((one) => [...one.y, ...(banded(one) ? [...one.low, ...one.high] : [])]);
  if (chart.line !== null) ys.push(chart.line);
  const x = scale(extent(series.flatMap((one) => one.x), view.logX), box.left, box.right, view.logX);
  const y = scale(extent(below(ys), view.logY), box.bottom, box.top, view.logY);
  drawGrid(svg, box, x, y, chart);
  const usable = (value, log) => value !== null && (!log || value > 0);
  if (chart.line !== null && usable(chart.line, view.logY)) drawReference(svg, box, y(chart.line), chart.line_label);
  const marks = [];
  for (const one of series) {
    const group = draw("g", { class: view.own(one.name) ? "series own" : "series", "data-name": one.name });
    const style = view.style(one.name);
    const clean = (values, log) => values.map((value) => (usable(value, log) ? value : null));
    const [xs, values] = [clean(one.x, view.logX), below(clean(one.y, view.logY))];
    if (banded(one)) {
      const [low, high] = [below(clean(one.low, view.logY)), below(clean(one.high, view.logY))];
      for (const run of stretches(xs, low, high)) {
        const edge = [...run.map((i) => [x(xs[i]), y(high[i])]), ...run.toReversed().map((i) => [x(xs[i]), y(low[i])])];
        group.append(styled("path", { class: "band", d: pathOf(edge) + "Z" }, style, "fill"));
      }
    }
    for (const run of stretches(xs, values)) {
      const points = run.map((i) => [x(xs[i]), y(values[i])]);
      if (one.joined) {
        const line = styled("path", { class: "line", d: pathOf(points, chart.kind === "profiles") }, style);
        if (style.dashes.length) line.setAttribute("stroke-dasharray", style.dashes.join(" "));
        group.append(line);
      }
      const dotted = !one.joined || chart.kind === "rates" || run.length === 1;
      points.forEach(([px, py], k) => {
        if (dotted) group.append(styled("circle", { class: "dot", cx: px, cy: py, r: 2.5 }, style, "fill"));
        marks.push({ series: one, i: run[k], x: px, y: py });
      });
    }
    svg.append(group);
  }
  svg.append(...svg.querySelectorAll(".series.own"));  // above the others
  return marks;
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
  if (!y) return;
  for (const tick of y.ticks(5)) {
    svg.append(draw("line", { class: "grid", x1: box.left, x2: box.right, y1: y(tick), y2: y(tick) }));
    svg.append(draw("text", { class: "tick", x: box.left - 6, y: y(tick) + 4, "text-anchor": "end" }, short(tick)));
  }
  const middle = (box.top + box.bottom) / 2;
  svg.append(draw("text", { class: "axis", x: (box.left + box.right) / 2, y: box.bottom + 36, "text-anchor": "middle" }, chart.x.label));
  svg.append(draw("text", { class: "axis", transform: `translate(12 ${middle}) rotate(-90)`, "text-anchor": "middle" }, chart.y.label));
}

function drawReference(svg, box, y, label) {
  svg.append(draw("line", { class: "reference", x1: box.left, x2: box.right, y1: y, y2: y }));
  svg.append(draw("text", { class: "tick", x: box.right - 4, y: y - 4, "text-anchor": "end" }, label));
}

// ---- rows: paired differences and mean ranks ---------------------------------------------------

function drawRows(frame) {
  const { svg, width, height, chart, view } = frame;
  const ranks = chart.kind === "ranks";
  const series = ranks ? frame.series.toSorted((a, b) => a.x[0] - b.x[0] || (a.name < b.name ? -1 : 1)) : frame.series;
  const margin = Math.min(240, 0.42 * width);
  const box = { left: margin, right: width - (ranks ? 20 + 10 * chart.groups.length : 12), top: 24, bottom: height - 42 };
  const ends = series.flatMap((one) => [one.x[0], ...(one.low ?? []), ...(one.high ?? [])]);
  const least = Math.min(...series.map((one) => one.x[0]));
  if (ranks && chart.line !== null) ends.push(least + chart.line);
  if (!ranks) ends.push(0);
  const x = scale(extent(ends, false), box.left, box.right, false, 0.05);
  drawGrid(svg, box, x, null, chart);
  svg.append(draw("text", { class: "axis", x: (box.left + box.right) / 2, y: height - 6, "text-anchor": "middle" }, chart.x.label));
  if (ranks) drawCritical(svg, box, x, least, chart, series);
  else svg.append(draw("line", { class: "zero", x1: x(0), x2: x(0), y1: box.top, y2: box.bottom }));
  return series.map((one, row) => {
    const y = box.top + ROW * (row + 0.5);
    const group = draw("g", { class: "series", "data-name": one.name });
    const style = view.style(one.name);
    const name = draw("text", { class: "row-name", x: box.left - 10, y: y + 4, "text-anchor": "end" }, fitted(one.name, margin - 14));
    name.append(draw("title", {}, one.name));
    group.append(name);
    if (one.low && one.low[0] !== null && one.high[0] !== null) {
      group.append(styled("line", { class: "whisker", x1: x(one.low[0]), x2: x(one.high[0]), y1: y, y2: y }, style));
    }
    group.append(styled("circle", { class: "dot", cx: x(one.x[0]), cy: y, r: 5 }, style, "fill"));
    svg.append(group);
    return { series: one, i: 0, x: x(one.x[0]), y };
  });
}

// The length of the critical difference at the top, and at the right a bar for every group.
function drawCritical(svg, box, x, least, chart, series) {
  if (chart.line === null) return;
  const [start, end] = [x(least), x(least + chart.line)];
  svg.append(draw("path", { class: "critical", d: `M${start} 14V22M${start} 18H${end}M${end} 14V22` }));
  svg.append(draw("text", { class: "tick", x: (start + end) / 2, y: 12, "text-anchor": "middle" }, `critical difference ${short(chart.line)}`));
  chart.groups.forEach((group, k) => {
    const rows = series.map((one, row) => (group.includes(one.name) ? row : -1)).filter((row) => row >= 0);
    if (rows.length < 2) return;
    const at = box.right + 10 + 10 * k;
    const [first, last] = [rows[0], rows.at(-1)].map((row) => box.top + ROW * (row + 0.5));
    svg.append(draw("line", { class: "group", x1: at, x2: at, y1: first - 8, y2: last + 8 }));
  });
}

// The text, cut to about so many pixels.
function fitted(text, room) {
  const most = Math.max(6, Math.floor(room / 7.3));
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}
