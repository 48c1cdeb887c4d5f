"use strict";
// What the user sees and changes; the race itself is in rules.js.

const DATA = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const LOWEST = -5; // exponents of ten at the ends of the sliders for learning rates
const HIGHEST = 1;
const state = { surface: null, start: null, step: 0, momentum: 0.9, rates: {}, shown: {} };
let paths = {}; // name -> {points, diverged}, or null where there is none from this start

// ---- the race ----------------------------------------------------------------------------------

function race() {
  const surface = state.surface;
  paths = {};
  for (const optimizer of DATA.optimizers) {
    paths[optimizer.name] = optimizer.rule ? computed(optimizer, surface) : given(optimizer, surface);
  }
}

function computed(optimizer, surface) {
  const hyperparameters = { ...optimizer.hyperparameters };
  hyperparameters.learning_rate = state.rates[optimizer.name];
  if ("momentum" in hyperparameters) hyperparameters.momentum = state.momentum;
  return trajectory(
    surface.name, optimizer.rule, hyperparameters, state.start, DATA.noise, surface.noise
  );
}

function given(optimizer, surface) {
  const path = optimizer.paths[surface.name];
  const same = path.points[0].every((value, i) => value === state.start[i]);
  return same ? path : null;
}

// ---- the picture -------------------------------------------------------------------------------

function place(point) {
  const [x, y] = point;
  const { x: [left, right], y: [bottom, top] } = state.surface;
  const { width, height } = $("plot").getBoundingClientRect();
  return [((x - left) / (right - left)) * width, ((top - y) / (top - bottom)) * height];
}

function unplace(event) {
  const { x: [left, right], y: [bottom, top] } = state.surface;
  const box = $("plot").getBoundingClientRect();
  return [
    left + ((event.clientX - box.left) / box.width) * (right - left),
    top - ((event.clientY - box.top) / box.height) * (top - bottom),
  ];
}

// The surface as bands of equal logarithm of the height, with a line between two bands.
function drawGround() {
  const { name, floor, x: [left, right], y: [bottom, top] } = state.surface;
  const canvas = $("ground");
  const box = $("plot").getBoundingClientRect();
  const [width, height] = [Math.round(box.width), Math.round(box.height)];
  if (!width || !height) return;
  [canvas.width, canvas.height] = [width, height];
  const levels = new Float64Array(width * height);
  let highest = 0;
  for (let j = 0; j < height; j++) {
    for (let i = 0; i < width; i++) {
      const x = left + ((i + 0.5) / width) * (right - left);
      const y = top - ((j + 0.5) / height) * (top - bottom);
      const level = SURFACES[name].value(x, y) - floor;
      levels[j * width + i] = level;
      highest = Math.max(highest, level);
    }
  }
  const css = getComputedStyle(document.documentElement);
  const colour = (property) => css.getPropertyValue(property).trim().split(" ").map(Number);
  const [low, high, line] = ["--ground-low", "--ground-high", "--isoline"].map(colour);
  const bands = 14;
  const band = (k) => Math.floor((1 + Math.log10(levels[k] / highest + 1e-4) / 4) * bands);
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let k = 0; k < levels.length; k++) {
    const own = band(k);
    const edge = own !== band(k + 1 < levels.length ? k + 1 : k) || own !== band(k + width < levels.length ? k + width : k);
    const share = Math.min(1, Math.max(0, own / (bands - 1)));
    for (let c = 0; c < 3; c++) {
      image.data[4 * k + c] = edge && (k + 1) % width ? (line[c] + low[c] + high[c]) / 3 : low[c] + share * (high[c] - low[c]);
    }
    image.data[4 * k + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

function drawAxes() {
  const { width, height } = $("plot").getBoundingClientRect();
  $("paths").setAttribute("viewBox", `0 0 ${width} ${height}`);
  const { x, y, minima } = state.surface;
  const texts = [];
  for (let i = 1; i <= 3; i++) {
    const [vx, vy] = [x[0] + (i / 4) * (x[1] - x[0]), y[0] + (i / 4) * (y[1] - y[0])];
    texts.push(draw("text", { x: place([vx, 0])[0], y: height - 6, "text-anchor": "middle" }, `${i === 1 ? "x = " : ""}${short(vx)}`));
    texts.push(draw("text", { x: 6, y: place([0, vy])[1] + 4 }, `${i === 3 ? "y = " : ""}${short(vy)}`));
  }
  $("axes").replaceChildren(...texts);
  const star = "M0-8 2-2.5 8-2.5 3.2 1 5 7 0 3.5-5 7-3.2 1-8-2.5-2-2.5Z";
  $("minima").replaceChildren(
    ...minima.map((point) => draw("path", { d: star, transform: `translate(${place(point)})` }))
  );
}

function drawPaths() {
  const lines = [];
  for (const { name, style } of DATA.optimizers) {
    const path = paths[name];
    if (!path || !state.shown[name]) continue;
    const points = path.points.slice(0, state.step + 1);
    const d = points.map((point) => place(point).map((v) => v.toFixed(2)).join(" "));
    const line = draw("path", { class: "path", d: `M${d.join("L")}`, "data-name": name });
    line.style.stroke = colourOf(style);
    if (style.dashes.length) line.setAttribute("stroke-dasharray", style.dashes.map((v) => 1.3 * v).join(" "));
    lines.push(line, head(points.at(-1), style, ended(path)));
  }
  $("lines").replaceChildren(...lines);
  $("handle").setAttribute("transform", `translate(${place(state.start)})`);
}

function ended(path) {
  return path.diverged !== null && state.step >= path.diverged;
}

// A dot, or a cross where the path diverged; at the picture's edge where it is outside.
function head(point, style, diverged) {
  const { width, height } = $("plot").getBoundingClientRect();
  const [x, y] = place(point);
  const [a, b] = [Math.min(width - 8, Math.max(8, x)), Math.min(height - 8, Math.max(8, y))];
  const shape = diverged
    ? draw("path", { d: "M-7-4-4-7 0-3 4-7 7-4 3 0 7 4 4 7 0 3-4 7-7 4-3 0Z", transform: `translate(${a} ${b})` })
    : draw("circle", { r: a === x && b === y ? 5.5 : 3.5, cx: a, cy: b });
  shape.classList.add("head");
  shape.style.fill = colourOf(style);
  return shape;
}

// ---- the table ---------------------------------------------------------------------------------

function fillTable() {
  const body = $("optimizers").tBodies[0];
  for (const { name, style, rule } of DATA.optimizers) {
    const row = make("tr", { "data-name": name });
    const label = make("label", { class: "name" });
    const box = make("input", { type: "checkbox" });
    box.checked = true;
    box.addEventListener("change", () => {
      state.shown[name] = box.checked;
      drawPaths();
    });
    label.append(box, swatch(style), make("span", {}, name));
    const first = make("th", { scope: "row" });
    first.append(label);
    row.append(first, rateCell(name, rule));
    const kinds = { height: "height", distance: "to a minimum", state: "diverged" };
    for (const [kind, label] of Object.entries(kinds)) {
      row.append(make("td", { class: kind, "data-label": label }));
    }
    body.append(row);
  }
}

function rateCell(name, rule) {
  const cell = make("td");
  const span = make("span", { class: "rate" });
  if (rule) {
    const slider = make("input", {
      type: "range", min: LOWEST, max: HIGHEST, step: 0.005, "aria-label": `Learning rate of ${name}`,
    });
    slider.addEventListener("input", () => {
      const rate = Number((10 ** slider.value).toPrecision(3));
      const all = DATA.optimizers.map((optimizer) => optimizer.name);
      for (const other of $("together").checked ? all : [name]) state.rates[other] = rate;
      update();
    });
    span.append(slider);
  }
  span.append(make("output", { "aria-live": "off" }));
  cell.append(span);
  return cell;
}

function showTable() {
  for (const row of $("optimizers").tBodies[0].rows) {
    const name = row.dataset.name;
    const [path, rate] = [paths[name], state.rates[name]];
    const slider = row.querySelector("input[type=range]");
    if (slider && rate !== null) {
      slider.value = Math.log10(rate);
      slider.setAttribute("aria-valuetext", short(rate));
    }
    row.querySelector("output").textContent = rate === null ? "its own" : short(rate);
    const at = path && path.points[Math.min(state.step, path.points.length - 1)];
    row.querySelector(".height").textContent = path ? short(heightAt(at)) : "–";
    row.querySelector(".distance").textContent = path ? short(distanceAt(at)) : "–";
    const cell = row.querySelector(".state");
    cell.textContent = path ? (ended(path) ? `at step ${path.diverged}` : "no") : "no path from here";
    cell.classList.toggle("diverged", Boolean(path && ended(path)));
  }
}

function heightAt([x, y]) {
  return SURFACES[state.surface.name].value(x, y) - state.surface.floor;
}

function distanceAt([x, y]) {
  return Math.min(...state.surface.minima.map(([a, b]) => Math.hypot(x - a, y - b)));
}

// ---- what the user does ------------------------------------------------------------------------

function update() {
  race();
  show();
}

function show() {
  drawPaths();
  showTable();
  const [x, y] = state.start;
  [$("start-x").value, $("start-y").value] = [short(x), short(y)];
  const handle = $("handle");
  const { x: [left, right] } = state.surface;
  const values = { valuemin: left, valuemax: right, valuenow: x, valuetext: `x ${short(x)}, y ${short(y)}` };
  for (const [key, value] of Object.entries(values)) handle.setAttribute(`aria-${key}`, value);
  $("momentum").value = state.momentum;
  $("momentum-value").textContent = state.momentum;
  $("step").value = state.step;
  $("step-value").textContent = `${state.step} of ${DATA.steps}`;
}

function choose(name) {
  state.surface = DATA.surfaces.find((surface) => surface.name === name);
  reset();
  redraw();
}

function reset() {
  state.start = [...state.surface.start];
  state.momentum = DATA.momentum;
  state.step = DATA.steps;
  for (const { name, rates } of DATA.optimizers) state.rates[name] = rates[state.surface.name];
  update();
}

function redraw() {
  drawGround();
  drawAxes();
  drawPaths();
}

function moveStart(point) {
  const { x, y } = state.surface;
  const inside = (value, [low, high]) => Math.min(high, Math.max(low, value));
  if (!point.every(Number.isFinite)) return;
  state.start = [inside(point[0], x), inside(point[1], y)].map((value) => Number(value.toPrecision(4)));
  update();
}

function followHandle() {
  const handle = $("handle");
  handle.addEventListener("pointerdown", (event) => {
    handle.setPointerCapture(event.pointerId);
    handle.focus();
    event.preventDefault();
  });
  handle.addEventListener("pointermove", (event) => {
    if (handle.hasPointerCapture(event.pointerId)) moveStart(unplace(event));
  });
  $("paths").addEventListener("click", (event) => {
    if (!handle.contains(event.target)) moveStart(unplace(event));
  });
  handle.addEventListener("keydown", (event) => {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const way = ways[event.key];
    if (!way) return;
    event.preventDefault();
    const { x, y } = state.surface;
    const stride = event.shiftKey ? 0.05 : 0.005;
    moveStart([
      state.start[0] + way[0] * stride * (x[1] - x[0]),
      state.start[1] + way[1] * stride * (y[1] - y[0]),
    ]);
  });
}

let playing = null;

function play() {
  if (playing !== null) return pause();
  $("play").textContent = "Pause";
  const from = state.step >= DATA.steps ? 0 : state.step;
  let began = null;
  const tick = (now) => {
    began ??= now;
    state.step = Math.min(DATA.steps, from + Math.floor((now - began) / 40));
    show();
    if (state.step < DATA.steps) playing = requestAnimationFrame(tick);
    else pause();
  };
  playing = requestAnimationFrame(tick);
}

function pause() {
  cancelAnimationFrame(playing);
  playing = null;
  $("play").textContent = "Play";
  $("news").textContent = [...$("optimizers").tBodies[0].rows]
    .map((row) => `${row.dataset.name}: height ${row.querySelector(".height").textContent}`)
    .join("; ");
}

function begin() {
  for (const { name } of DATA.optimizers) state.shown[name] = true;
  fillTable();
  $("step").max = DATA.steps;
  $("surface").addEventListener("change", (event) => choose(event.target.value));
  for (const id of ["start-x", "start-y"]) {
    $(id).addEventListener("change", () => moveStart([Number($("start-x").value), Number($("start-y").value)]));
  }
  $("momentum").addEventListener("input", (event) => {
    state.momentum = Number(event.target.value);
    update();
  });
  $("step").addEventListener("input", (event) => {
    state.step = Number(event.target.value);
    show();
  });
  $("reset").addEventListener("click", reset);
  $("play").addEventListener("click", play);
  followHandle();
  choose(DATA.surfaces[0].name);
  new ResizeObserver(redraw).observe($("plot"));
  document.addEventListener("themechange", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

begin();
