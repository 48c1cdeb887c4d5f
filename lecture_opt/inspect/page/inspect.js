"use strict";
// The schedules as lines, the marks of the groups, and the tree's filter.

const DATA = JSON.parse(document.getElementById("data").textContent);
const styleOf = (group) => DATA.groups[group].style;

for (const mark of document.querySelectorAll(".mark")) {
  const group = Number(mark.dataset.group);
  mark.append(swatch(styleOf(group)));
  mark.title = `group ${group + 1}`;
}

// ---- schedules ---------------------------------------------------------------------------------

const ROOM = 14;  // from a label to the next

function drawSchedules() {
  const home = document.getElementById("drawing");
  if (!home) return;
  const [width, height] = [Math.max(240, home.clientWidth), Math.max(260, 50 + ROOM * DATA.schedules.length)];
  const names = DATA.schedules.map(({ groups }) => listed(groups));
  const room = Math.min(0.4 * width, 40 + Math.max(...names.map((name) => 6.6 * name.length)));
  const box = { left: 58, right: width - room, top: 12, bottom: height - 42 };
  const positive = DATA.schedules.some(({ y }) => y.some((value) => value > 0));
  const kind = document.getElementById("log").checked && positive ? "log" : "linear";
  const values = DATA.schedules.flatMap(({ y }) => y);
  const x = scale(extent(DATA.schedules.flatMap((one) => one.x), "linear"), box.left, box.right, "linear");
  const y = scale(extent(kind === "log" ? values : [0, ...values], kind), box.bottom, box.top, kind);
  const svg = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Learning rate against gradient, for ${names.join("; ")}` });
  drawAxes(svg, box, x, y);
  const ends = DATA.schedules.map((one) => drawSchedule(svg, one, x, y));
  const order = ends.map((end, k) => k).sort((a, b) => ends[a][1] - ends[b][1]);
  const places = spread(order.map((k) => ends[k][1]), ROOM, box.top, box.bottom);
  order.forEach((k, i) => label(svg, names[k], DATA.schedules[k], ends[k], box.right, places[i]));
  home.replaceChildren(svg);
}

// "groups 1, 2 and 5"
function listed(groups) {
  const numbers = groups.map((group) => group + 1);
  if (numbers.length === 1) return `group ${numbers[0]}`;
  if (numbers.length > 4) return `groups ${numbers.slice(0, 3).join(", ")} and ${numbers.length - 3} more`;
  return `groups ${numbers.slice(0, -1).join(", ")} and ${numbers.at(-1)}`;
}

function drawAxes(svg, box, x, y) {
  for (const tick of x.ticks(Math.max(3, (box.right - box.left) / 75))) {
    svg.append(draw("line", { class: "grid", x1: x(tick), x2: x(tick), y1: box.top, y2: box.bottom }));
    svg.append(draw("text", { class: "tick", x: x(tick), y: box.bottom + 16, "text-anchor": "middle" }, short(tick)));
  }
  for (const tick of y.ticks(5)) {
    svg.append(draw("line", { class: "grid", x1: box.left, x2: box.right, y1: y(tick), y2: y(tick) }));
    svg.append(draw("text", { class: "tick", x: box.left - 6, y: y(tick) + 4, "text-anchor": "end" }, short(tick)));
  }
  svg.append(draw("text", { class: "axis", x: (box.left + box.right) / 2, y: box.bottom + 36, "text-anchor": "middle" }, "gradient"));
  const turn = `translate(12 ${(box.top + box.bottom) / 2}) rotate(-90)`;
  svg.append(draw("text", { class: "axis", transform: turn, "text-anchor": "middle" }, "learning rate"));
}

// One schedule; where it ends.
function drawSchedule(svg, { x: steps, y: rates, groups }, x, y) {
  const style = styleOf(groups[0]);
  let end = [x(steps.at(-1)), y.bottom ?? 0];
  for (const run of stretches(steps, rates.map((rate) => (Number.isFinite(y(rate)) ? rate : null)))) {
    const points = run.map((i) => [x(steps[i]), y(rates[i])]);
    const line = draw("path", { class: "line", d: points.map(([a, b], k) => `${k ? "L" : "M"}${a.toFixed(1)} ${b.toFixed(1)}`).join("") });
    line.style.stroke = colourOf(style);
    if (style.dashes.length) line.setAttribute("stroke-dasharray", style.dashes.join(" "));
    svg.append(line);
    end = points.at(-1);
  }
  return end;
}

function label(svg, name, { groups }, [x, y], right, place) {
  const leader = draw("path", { class: "leader", d: `M${x} ${y}L${right + 8} ${place}` });
  leader.style.stroke = colourOf(styleOf(groups[0]));
  svg.append(leader, draw("text", { class: "tick", x: right + 12, y: place + 4 }, name));
}

// ---- the tree ----------------------------------------------------------------------------------

const parts = [...document.querySelectorAll(".tree details")];

function filter(text) {
  const wanted = text.trim().toLowerCase();
  let count = 0;
  for (const leaf of document.querySelectorAll(".leaf")) {
    leaf.hidden = !leaf.dataset.path.toLowerCase().includes(wanted);
    count += leaf.hidden ? 0 : 1;
  }
  for (const branch of document.querySelectorAll(".branch")) {
    branch.hidden = !branch.querySelector(".leaf:not([hidden])");
    if (wanted && !branch.hidden) branch.querySelector("details").open = true;
  }
  document.getElementById("news").textContent = `${count} leaves`;
}

// The leaf that the address names, with all that it lies in, unfolded.
function reveal() {
  const leaf = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = leaf?.querySelector("details"); part; part = part.parentElement.closest("details")) part.open = true;
  leaf?.scrollIntoView({ block: "center" });
}

document.getElementById("filter").addEventListener("input", (event) => filter(event.target.value));
document.getElementById("unfold").addEventListener("click", () => parts.forEach((part) => { part.open = true; }));
document.getElementById("fold").addEventListener("click", () => parts.forEach((part) => { part.open = false; }));
document.getElementById("log")?.addEventListener("change", drawSchedules);
addEventListener("hashchange", reveal);
addEventListener("resize", drawSchedules);
drawSchedules();
reveal();
