"use strict";
// Building elements, where every text becomes a text node, and the choice between light and dark.

/** An element with attributes, listeners (`onclick: f`), custom properties (`"--x": v`), children; null is left out. */
function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const byId = (id) => document.getElementById(id);
const readJson = (id) => JSON.parse(byId(id).textContent);

/** A file's or network's name, which may be broken after its underscores and slashes. */
const named = (text) => text.split(/(?<=[_/])/).flatMap((part, i) => (i ? [h("wbr"), part] : [part]));

const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** Numbers at which an axis from `low` to `high` is marked, about `count` of them: 1, 2 or 5 times a power of ten. */
function ticks(low, high, count) {
  const rough = (high - low) / Math.max(count, 1) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-6; i++) {
    found.push(Number((i * step).toPrecision(12)));
  }
  return found;
}

function setUpTheme() {
  const themes = ["system", "light", "dark"];
  const button = byId("theme");
  let theme = "system";
  try { theme = localStorage.getItem("theme") ?? theme; } catch { /* a page opened from a file may have no storage */ }
  const apply = () => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
  };
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try { localStorage.setItem("theme", theme); } catch { /* then it holds for this visit */ }
    apply();
  });
  if (!themes.includes(theme)) theme = "system";
  apply();
}

setUpTheme();
