"use strict";
// Everything from a run folder reaches the document as text or a number, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const shown = data.groups.map((group, i) => i < 10);
const state = {curve: data.curves[0], scale: "log", lines: "mean", highlight: null};
const SVG = "http://www.w3.org/2000/svg";

document.getElementById("theme").onclick = () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
};

// A click on a column's heading sorts the table by it, another click in reverse. Missing numbers come last both ways.
for (const table of document.querySelectorAll("table")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => heading.querySelector("button")?.addEventListener("click", () => {
    const ascending = heading.getAttribute("aria-sort") !== "ascending";
    headings.forEach(other => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const number = text => text.trim() === "" ? NaN : Number(text);
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)], [m, n] = [number(x), number(y)];
      if (!isNaN(m) && !isNaN(n)) return ascending ? m - n : n - m;
      if (!isNaN(m) || !isNaN(n)) return isNaN(m) ? 1 : -1;
      return (ascending ? 1 : -1) * x.localeCompare(y);
    });
    table.tBodies[0].append(...rows);
  }));
}

// The colour keys of a row, in the results and above the chart, show and hide its curves; with Shift, hide all others.
const keys = [...document.querySelectorAll("button[data-group]")];
function showKeys() {
  for (const key of keys) key.setAttribute("aria-pressed", shown[key.dataset.group]);
}
for (const key of keys) {
  const group = Number(key.dataset.group);
  key.onclick = event => {
    if (event.shiftKey) shown.forEach((_, i) => { shown[i] = i === group; });
    else shown[group] = !shown[group];
    showKeys();
    draw();
  };
}
for (const element of document.querySelectorAll("[data-hover]")) {
  const group = Number(element.dataset.hover);
  element.onmouseenter = () => { state.highlight = group; emphasize(); };
  element.onmouseleave = () => { state.highlight = null; emphasize(); };
}
for (const choice of document.querySelectorAll(".choice")) {
  for (const button of choice.children) button.onclick = () => {
    state[choice.dataset.name] = button.dataset.value;
    for (const other of choice.children) other.setAttribute("aria-pressed", other === button);
    draw();
  };
}

const chart = document.getElementById("chart"), tip = document.getElementById("tip");

function addSvg(parent, name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

/** A row's curve over its runs, [{step, mean, low, high}], at the steps with the most runs. */
function averageCurve(group) {
  const valuesAt = new Map();
  for (const run of group.runs) for (const [step, value] of run[state.curve] ?? []) {
    if (!valuesAt.has(step)) valuesAt.set(step, []);
    valuesAt.get(step).push(value);
  }
  const steps = [...valuesAt.keys()].sort((a, b) => a - b);
  const most = Math.max(0, ...steps.map(step => valuesAt.get(step).length));
  return steps.filter(step => valuesAt.get(step).length === most).map(step => {
    const values = valuesAt.get(step);
    return {step, mean: values.reduce((a, b) => a + b, 0) / most, low: Math.min(...values), high: Math.max(...values)};
  });
}

function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map(m => m * power).find(m => m >= rough);
  const found = [];
  for (let i = Math.ceil(low / size - 1e-9); i * size <= high * (1 + 1e-9); i++) found.push(i * size);
  return found;
}

function logTicks(low, high) {
  // The margins around the values may have left the range of numbers; ticks could not be counted up to infinity.
  low = Math.max(low, Number.MIN_VALUE); high = Math.min(high, Number.MAX_VALUE);
  const multiples = [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 8]];
  for (const candidates of multiples) {
    const found = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
      for (const m of candidates) if (m * 10 ** e >= low && m * 10 ** e <= high) found.push(m * 10 ** e);
    if (found.length >= 4) return found;
  }
  return ticks(low, high, 5);
}

const short = value => String(Number(value.toPrecision(4)));
const withCommas = value => value >= 1e4 ? value.toLocaleString("en") : short(value);
let layers = [];

function draw() {
  chart.querySelector("svg")?.remove();
  tip.hidden = true;
  layers = [];
  const all = data.groups.map(averageCurve);
  const values = all.flatMap((points, i) => shown[i] ? points.flatMap(p => [p.low, p.high]) : []);
  const width = chart.clientWidth, height = Math.max(260, Math.min(420, width * 0.42));
  const left = 56, right = 14, top = 22, bottom = 42;
  const svg = addSvg(chart, "svg", {height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": state.curve});
  const addText = (text, attributes) => { addSvg(svg, "text", attributes).textContent = text; };
  if (!values.length) return addText("Nothing is shown: choose rows above.", {x: left, y: height / 2});

  const log = state.scale === "log" && Math.min(...values) > 0;
  const end = Math.max(...all.flatMap((points, i) => shown[i] ? points.map(p => p.step) : []));
  const transform = log ? Math.log : value => value;
  let low = transform(Math.min(...values)), high = transform(Math.max(...values));
  const margin = (high - low || Math.abs(high) || 1) * 0.04;
  low -= margin; high += margin;
  const x = step => left + (width - left - right) * step / (end || 1);
  const y = value => top + (height - top - bottom) * (high - transform(value)) / (high - low);
  for (const tick of log ? logTicks(Math.exp(low), Math.exp(high)) : ticks(low, high, 5)) {
    addSvg(svg, "line", {class: "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick)});
    addText(short(tick), {x: left - 8, y: y(tick) + 4, "text-anchor": "end"});
  }
  for (const tick of ticks(0, end, width < 500 ? 4 : 8))
    addText(withCommas(tick), {x: x(tick), y: height - bottom + 18, "text-anchor": "middle"});
  addText(state.curve, {x: left, y: top - 2});
  addText("optimizer steps", {x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle"});
  const line = points => points.map(([step, value], i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");

  // Drawn in reverse, so that the first row, by default the best, lies on top.
  data.groups.map((group, i) => i).reverse().forEach(i => {
    if (!shown[i] || !all[i].length) return;
    const layer = addSvg(svg, "g", {class: `c${i % 10}`, "data-group": i});
    const dash = i < 10 ? {} : {"stroke-dasharray": `${2 + 3 * Math.floor(i / 10)} 3`};
    layers.push([i, layer]);
    if (state.lines === "each") {
      for (const run of data.groups[i].runs) if (run[state.curve]) addSvg(layer, "path", {class: "each", d: line(run[state.curve]), ...dash});
      return;
    }
    const upper = all[i].map(p => [p.step, p.high]), lower = all[i].map(p => [p.step, p.low]).reverse();
    if (data.groups[i].runs.length > 1) addSvg(layer, "path", {class: "band", d: `${line(upper)}${line(lower).replace("M", "L")}Z`});
    addSvg(layer, "path", {d: line(all[i].map(p => [p.step, p.mean])), ...dash});
    if (all[i].length === 1) addSvg(layer, "circle", {cx: x(all[i][0].step), cy: y(all[i][0].mean), r: 3.5});
  });
  emphasize();

  const cursor = addSvg(svg, "g", {});
  svg.onpointerleave = () => { cursor.replaceChildren(); tip.hidden = true; };
  svg.onpointermove = event => {
    const pointedStep = (event.clientX - svg.getBoundingClientRect().left - left) / (width - left - right) * end;
    const nearest = all.flatMap((points, i) => {
      if (!shown[i] || !points.length) return [];
      return [{i, ...points.reduce((a, b) => Math.abs(b.step - pointedStep) < Math.abs(a.step - pointedStep) ? b : a)}];
    });
    const step = nearest.reduce((a, b) => Math.abs(b.step - pointedStep) < Math.abs(a.step - pointedStep) ? b : a).step;
    const points = nearest.filter(p => p.step === step).sort((a, b) => a.mean - b.mean);
    cursor.replaceChildren();
    addSvg(cursor, "line", {class: "cursor", x1: x(step), x2: x(step), y1: top, y2: height - bottom});
    for (const p of points) addSvg(cursor, "circle", {class: `c${p.i % 10}`, cx: x(step), cy: y(p.mean), r: 4});
    const title = document.createElement("p");
    title.textContent = `${state.curve} at step ${withCommas(step)}`;
    tip.replaceChildren(title, ...points.map(p => {
      const row = document.createElement("div"), key = document.createElement("span"), label = document.createElement("span");
      const value = document.createElement("b");
      key.className = `key c${p.i % 10}`;
      label.textContent = data.groups[p.i].label;
      value.textContent = p.mean.toPrecision(4);
      row.append(key, label, value);
      return row;
    }));
    tip.hidden = false;
    const rightOfCursor = x(step) + 16;
    tip.style.left = `${Math.max(0, rightOfCursor + tip.offsetWidth > width ? x(step) - 16 - tip.offsetWidth : rightOfCursor)}px`;
  };
}

function emphasize() {
  for (const [i, layer] of layers) layer.classList.toggle("dim", state.highlight !== null && state.highlight !== i && shown[state.highlight]);
}

showKeys();
if (data.curves.length) {
  let drawn = 0;
  new ResizeObserver(() => {
    if (chart.clientWidth !== drawn) { drawn = chart.clientWidth; draw(); }
  }).observe(chart);
} else document.getElementById("curves").hidden = true;
