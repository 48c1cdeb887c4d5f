"use strict";
// What the reader does: which optimizers are shown, hovering, arrow keys, sorting, number tables.

const DATA = JSON.parse(document.getElementById("data").textContent);
const OPTIMIZERS = new Map(DATA.optimizers.map((optimizer) => [optimizer.name, optimizer]));
const hidden = new Set();
const figures = [];
let printing = false;

// ---- charts ------------------------------------------------------------------------------------

function setUp(figure) {
  const chart = DATA.charts[Number(figure.dataset.chart)];
  const own = { figure, chart, marks: [], at: null, scaleX: chart.x.scale, scaleY: chart.y.scale };
  figures.push(own);
  const positive = (values) => values.every((value) => value === null || value >= 0);
  const rows = chart.kind === "differences" || chart.kind === "ranks";
  if (!rows && positive(chart.series.flatMap((one) => one.x))) addScale(own, "scaleX", chart.x, "log x");
  if (chart.y.scale === "error") addScale(own, "scaleY", chart.y, "log error");
  else if (!rows && positive(chart.series.flatMap((one) => one.y))) addScale(own, "scaleY", chart.y, "log y");
  const tip = make("div", { class: "tip", hidden: "" });
  figure.append(tip);
  const drawing = figure.querySelector(".drawing");
  drawing.addEventListener("pointermove", (event) => hover(own, event));
  drawing.addEventListener("pointerdown", (event) => hover(own, event));
  drawing.addEventListener("pointerleave", () => point(own, null));
  drawing.addEventListener("focusout", () => point(own, null));
  drawing.addEventListener("keydown", (event) => walk(own, event));
  figure.querySelector(".numbers").addEventListener("toggle", (event) => {
    if (event.target.open && !event.target.querySelector("table")) event.target.append(numbers(chart));
  });
}

function addScale(own, key, axis, text) {
  const label = make("label", { class: "check" });
  const box = make("input", { type: "checkbox", "data-axis": key });
  box.checked = own[key] !== "linear";
  box.addEventListener("change", () => {
    own[key] = !box.checked ? "linear" : axis.scale === "linear" ? "log" : axis.scale;
    render(own);
  });
  label.append(box, ` ${text}`);
  own.figure.querySelector(".tools").append(label);
}

function render(own) {
  const view = {
    shown: (name) => !hidden.has(name),
    own: (name) => OPTIMIZERS.get(name).own,
    style: (name) => OPTIMIZERS.get(name).style,
    label: (name) => OPTIMIZERS.get(name).label,
    bands: document.getElementById("bands").checked,
    scaleX: own.scaleX,
    scaleY: own.scaleY,
    width: printing ? PHONE : null,  // narrow enough for its type to be read in two columns
  };
  own.marks = drawChart(own.figure, own.chart, view);
  own.at = null;
}

function renderAll() {
  figures.forEach(render);
}

// ---- one point at a time -----------------------------------------------------------------------

function hover(own, event) {
  const box = own.figure.querySelector(".drawing > svg").getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let [nearest, least] = [null, 60 ** 2];
  own.marks.forEach((mark, k) => {
    const distance = (mark.x - x) ** 2 + (mark.y - y) ** 2;
    if (distance < least) [nearest, least] = [k, distance];
  });
  point(own, nearest);
}

// Left and right along a line, up and down from line to line at about the same place.
function walk(own, event) {
  const { marks } = own;
  const ways = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 };
  if (event.key === "Escape") point(own, null);
  if (!(event.key in ways) || !marks.length) return;
  event.preventDefault();
  if (own.at === null) return point(own, 0, true);
  const here = marks[own.at];
  const sideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
  const rows = here.series.x.length === 1;
  if (sideways || rows) {
    const next = marks[own.at + ways[event.key]];
    if (next && (rows || next.series === here.series)) point(own, own.at + ways[event.key], true);
    return;
  }
  const order = [...new Set(marks.map((mark) => mark.series))];
  const other = order[order.indexOf(here.series) + ways[event.key]];
  if (!other) return;
  const near = marks.filter((mark) => mark.series === other);
  const best = near.reduce((a, b) => (Math.abs(b.x - here.x) < Math.abs(a.x - here.x) ? b : a));
  point(own, marks.indexOf(best), true);
}

function point(own, k, aloud = false) {
  const { figure, chart, marks } = own;
  if (own.at === k) return;
  own.at = k;
  figure.querySelector(".ring")?.remove();
  const tip = figure.querySelector(".tip");
  tip.hidden = k === null;
  for (const group of figure.querySelectorAll(".series, .label")) {
    group.classList.toggle("faded", k !== null && group.dataset.name !== marks[k].series.name);
  }
  if (k === null) return;
  const mark = marks[k];
  const svg = figure.querySelector(".drawing > svg");
  svg.append(draw("circle", { class: "ring", cx: mark.x, cy: mark.y, r: 7 }));
  const lines = words(chart, mark);
  tip.replaceChildren(make("strong", {}, lines[0]), ...lines.slice(1).map((line) => make("div", {}, line)));
  const left = mark.x > svg.clientWidth / 2 ? mark.x - tip.offsetWidth - 14 : mark.x + 14;
  const top = svg.parentElement.offsetTop + mark.y - tip.offsetHeight - 8;
  tip.style.left = `${Math.max(0, Math.min(left, svg.clientWidth - tip.offsetWidth)) + svg.parentElement.offsetLeft}px`;
  tip.style.top = `${Math.max(svg.parentElement.offsetTop, top)}px`;
  if (aloud) document.getElementById("news").textContent = lines.join("; ");
}

// What the chart says at a mark: the names, then a line for each number.
function words(chart, { series, i }) {
  const inRows = chart.kind === "differences" || chart.kind === "ranks";
  const names = chart.coinciding.find((group) => group.includes(series.name)) ?? [series.name];
  const lines = [names.filter((name) => !hidden.has(name)).join(" = "), `${chart.x.label}: ${short(series.x[i])}`];
  if (!inRows) lines.push(`${chart.y.label}: ${short(series.y[i])}`);
  if (series.low && series.high) lines.push(`from ${short(series.low[i])} to ${short(series.high[i])}`);
  if (series.notes) lines.push(series.notes[i]);
  return lines;
}

// ---- tables ------------------------------------------------------------------------------------

function numbers(chart) {
  const inRows = chart.kind === "differences" || chart.kind === "ranks";
  const heads = ["optimizer", chart.x.label, ...(inRows ? [] : [chart.y.label]), "low", "high", ""];
  const table = make("table");
  const head = make("tr");
  head.append(...heads.map((text) => make("th", { scope: "col" }, text)));
  const body = make("tbody");
  for (const one of chart.series) {
    one.x.forEach((x, i) => {
      const row = make("tr");
      row.append(make("th", { scope: "row" }, one.name));
      const values = [x, ...(inRows ? [] : [one.y[i]]), one.low?.[i], one.high?.[i]];
      row.append(...values.map((value) => make("td", {}, short(value))));
      row.append(make("td", {}, one.notes?.[i] ?? ""));
      body.append(row);
    });
  }
  table.append(make("caption", {}, chart.title), make("thead"), body);
  table.tHead.append(head);
  const scroll = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": chart.title });
  scroll.append(table);
  return scroll;
}

// Sorts by a column: rising, then falling; what has no value stays last.
function sortBy(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const falling = heads[column].getAttribute("aria-sort") === "ascending";
  for (const head of heads) head.removeAttribute("aria-sort");
  heads[column].setAttribute("aria-sort", falling ? "descending" : "ascending");
  const value = (row) => row.cells[column].dataset.value;
  const rows = [...table.tBodies[0].rows];
  const numeric = rows.every((row) => value(row) === "" || !Number.isNaN(Number(value(row))));
  rows.sort((a, b) => {
    const [p, q] = [value(a), value(b)];
    if (p === "" || q === "") return (p === "") - (q === "");
    const order = numeric ? Number(p) - Number(q) : p.localeCompare(q);
    return falling ? -order : order;
  });
  table.tBodies[0].append(...rows);
}

// ---- the legend --------------------------------------------------------------------------------

function setUpLegend() {
  const names = document.getElementById("names");
  const boxes = DATA.optimizers.map(({ name, style, own }) => {
    const label = make("label", { class: own ? "entry own" : "entry" });
    const box = make("input", { type: "checkbox" });
    box.checked = true;
    box.dataset.name = name;
    box.addEventListener("change", () => {
      hidden[box.checked ? "delete" : "add"](name);
      renderAll();
    });
    label.append(box, swatch(style), make("span", {}, name));
    names.append(label);
    return box;
  });
  const setAll = (shown) => {
    for (const box of boxes) {
      box.checked = shown;
      hidden[shown ? "delete" : "add"](box.dataset.name);
    }
    renderAll();
  };
  document.getElementById("all").addEventListener("click", () => setAll(true));
  document.getElementById("none").addEventListener("click", () => setAll(false));
  document.getElementById("bands").addEventListener("change", renderAll);
}

setUpLegend();
document.querySelectorAll("figure.chart").forEach(setUp);
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => sortBy(table, column));
  });
}
renderAll();
// Paper has no closed parts, and its own width.
const closed = [...document.querySelectorAll("details.printed:not([open])")];
for (const [name, on] of [["beforeprint", true], ["afterprint", false]]) {
  addEventListener(name, () => {
    printing = on;
    for (const part of closed) part.open = on;
    renderAll();
  });
}
let wide = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== wide) renderAll();
  wide = innerWidth;
});
