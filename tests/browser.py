"""A headless Chromium for the tests of pages: real pointers and keys, and nothing gets out."""

import json
import shutil

import pytest

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def start(folder):
    """A browser of its own profile, or a skip with the reason."""
    selenium = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return selenium.Chrome(options=options, service=selenium.ChromeService(driver))


def resize(driver, width, height=900):
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
    )


def dark(driver, on):
    value = "dark" if on else "light"
    features = [{"name": "prefers-color-scheme", "value": value}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def open_page(driver, path):
    driver.get(path.as_uri())
    return path.as_uri()


def wait(driver, script):
    """Until the page's expression gives something true, 10 seconds at most."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, 10).until(lambda driver: driver.execute_script(f"return {script}"))


def complaints(driver):
    """What the page wrote to the console, refused requests and errors among it."""
    return [entry["message"] for entry in driver.get_log("browser")]


def requests(driver):
    """Every address that a file's page asked for since the last time, but data: not the browser."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [event for event in events if event["method"] == "Network.requestWillBeSent"]
    asked = [event["params"] for event in sent if event["params"]["documentURL"][:5] == "file:"]
    urls = [one["request"]["url"] for one in asked]
    return [url for url in urls if not url.startswith(("chrome://", "data:"))]


def too_wide(driver):
    """Elements that reach beyond the window, outside of parts that scroll."""
    return driver.execute_script(
        "return [...document.querySelectorAll('body *')].filter((e) => !e.closest('.scroll') && "
        "e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 80))"
    )


def overlaps(driver):
    """Texts in drawings that lie on each other or outside of their drawing."""
    return driver.execute_script(_OVERLAPS)


def faint(driver):
    """Text and lines with less contrast than WCAG asks for: 4.5 and 3 to what is behind."""
    return driver.execute_script(_FAINT)


_OVERLAPS = """
const found = [];
const inside = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
  && a.top < b.bottom - 1 && b.top < a.bottom - 1;
for (const svg of document.querySelectorAll('.drawing > svg')) {
  const texts = [...svg.querySelectorAll('text')];
  const boxes = texts.map((text) => [text.textContent, text.getBoundingClientRect()]);
  const frame = svg.getBoundingClientRect();
  boxes.forEach(([name, box], i) => {
    const out = box.left < frame.left - 1 || box.right > frame.right + 1;
    if (out || box.bottom > frame.bottom + 1) found.push([name, 'outside']);
    for (const [other, its] of boxes.slice(0, i)) if (inside(box, its)) found.push([name, other]);
  });
}
return found;
"""

_FAINT = """
const light = (rgb) => rgb.slice(0, 3)
  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const dot = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const rgb = (colour) => {
  dot.clearRect(0, 0, 1, 1);
  dot.fillStyle = colour;
  dot.fillRect(0, 0, 1, 1);
  return [...dot.getImageData(0, 0, 1, 1).data].map((v) => v / 255);
};
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const colour = rgb(getComputedStyle(e).backgroundColor);
    if (colour[3] > 0.99) return colour;
  }
  return [1, 1, 1];
};
const contrast = (a, b) => {
  const [p, q] = [light(a), light(b)].sort((x, y) => y - x);
  return (p + 0.05) / (q + 0.05);
};
const found = new Set();
const look = (selector, property, least) => {
  for (const e of document.querySelectorAll(selector)) {
    const value = contrast(rgb(getComputedStyle(e)[property]), behind(e.parentElement));
    if (value < least) found.add(`${e.tagName}.${e.getAttribute('class')}: ${value.toFixed(2)}`);
  }
};
look('h1, h2, h3, p, li, td, th, summary, figcaption, a', 'color', 4.5);
look('.drawing text', 'fill', 4.5);
look('.drawing path.line, .whisker', 'stroke', 3);
return [...found];
"""
