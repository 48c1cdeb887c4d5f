"use strict";
// The theme button: as the system, light, dark. Remembered where the browser lets a file do so.
(() => {
  const button = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  const show = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
    button.setAttribute("aria-label", `Theme: ${theme === "auto" ? "as the system" : theme}`);
    document.dispatchEvent(new Event("themechange"));
  };
  const recall = () => {
    try {
      return localStorage.getItem("lecture-opt-theme");
    } catch {
      return null;
    }
  };
  button.addEventListener("click", () => {
    const theme = themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % 3];
    show(theme);
    try {
      localStorage.setItem("lecture-opt-theme", theme);
    } catch {
      // A page without storage forgets.
    }
  });
  show(themes.includes(recall()) ? recall() : "auto");
})();

const SVG = "http://www.w3.org/2000/svg";

// An element of the page or, with `svg: true`, of a drawing.
function make(tag, attributes = {}, text = null, { svg = false } = {}) {
  const element = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== null) element.textContent = text;
  return element;
}

function draw(tag, attributes = {}, text = null) {
  return make(tag, attributes, text, { svg: true });
}

// Okabe and Ito's black is ink: light on a dark page.
function colourOf(style) {
  return style.colour === "#000000" ? "var(--ink)" : style.colour;
}

// A number in a few digits.
function short(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5)) {
    return Number(value.toPrecision(3)).toExponential().replace("e+", "e");
  }
  return String(Number(value.toPrecision(4)));
}

// A short piece of line that shows an optimizer's colour and dashes.
function swatch(style) {
  const svg = draw("svg", { class: "swatch", viewBox: "0 0 28 10", "aria-hidden": "true" });
  const line = draw("line", { x1: 0, x2: 28, y1: 5, y2: 5, "stroke-width": 3 });
  line.style.stroke = colourOf(style);
  if (style.dashes.length) line.setAttribute("stroke-dasharray", style.dashes.join(" "));
  svg.append(line);
  return svg;
}
