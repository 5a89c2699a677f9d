#include "report_page.h"

namespace jointtuner::report {

const std::string_view kReportScript = R"js(
"use strict";
const data = JSON.parse(document.getElementById("curves").textContent);
const W = 560, H = 210, L = 58, R = 22, T = 10, B = 26;
const svgNode = (name, attributes, parent) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  return parent.appendChild(node);
};
const shown = v => v === 0 ? "0" : Math.abs(v) >= 1e5 || Math.abs(v) < 1e-3 ? v.toExponential(2) : String(+v.toPrecision(4));
const ticks = (low, high, count) => {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(k => k * power).find(s => s >= raw * 0.999), out = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; ++k) out.push(+(k * step).toPrecision(12));
  return out;
};
// Exponential moving average over the points there are, corrected for its start.
const smoothed = (points, weight) => {
  let sum = 0, norm = 0;
  return points.map(([x, y]) => { sum = weight * sum + y; norm = weight * norm + 1; return [x, sum / norm]; });
};
const path = (points, x, y) => points.map(([a, b], i) => (i ? "L" : "M") + x(a).toFixed(1) + " " + y(b).toFixed(1)).join("");
const charts = [];
const draw = chart => {
  const { svg, points, color, output } = chart;
  svg.replaceChildren();
  const steps = data.step, first = steps[0], last = Math.max(steps[steps.length - 1], first + 1);
  let low = Math.min(...points.map(p => p[1])), high = Math.max(...points.map(p => p[1]));
  if (low > 0 && low < 0.6 * high) low = 0;
  if (high - low < 1e-12 * Math.max(1, Math.abs(high))) { const pad = Math.abs(high) * 0.1 || 1; low -= pad; high += pad; if (points[0][1] >= 0) low = Math.max(0, low); }
  const x = v => L + (v - first) / (last - first) * (W - L - R), y = v => H - B - (v - low) / (high - low) * (H - T - B);
  for (const t of ticks(low, high, 4)) {
    svgNode("line", { x1: L, x2: W - R, y1: y(t), y2: y(t), class: "grid" }, svg);
    svgNode("text", { x: L - 6, y: y(t) + 4, "text-anchor": "end" }, svg).textContent = shown(t);
  }
  for (const t of ticks(first, last, 6)) svgNode("text", { x: x(t), y: H - 8, "text-anchor": "middle" }, svg).textContent = t;
  const weight = chart.plain ? 0 : +slider.value, curve = smoothed(points, weight);
  const dots = points.length === 1;
  if (dots) svgNode("circle", { cx: x(points[0][0]), cy: y(points[0][1]), r: 3, fill: color }, svg);
  if (weight > 0) svgNode("path", { d: path(points, x, y), class: "raw", stroke: color }, svg);
  svgNode("path", { d: path(curve, x, y), class: "smooth", stroke: color }, svg);
  const cross = svgNode("line", { y1: T, y2: H - B, class: "cross", visibility: "hidden" }, svg);
  const dot = svgNode("circle", { r: 4, fill: color, visibility: "hidden" }, svg);
  const rest = "last " + shown(curve[curve.length - 1][1]) + (weight > 0 ? " (smoothed)" : "");
  output.textContent = rest;
  chart.hover = step => {
    const visibility = step === null ? "hidden" : "visible";
    cross.setAttribute("visibility", visibility); dot.setAttribute("visibility", visibility);
    if (step === null) { output.textContent = rest; return; }
    let i = 0;
    while (i + 1 < points.length && Math.abs(points[i + 1][0] - step) <= Math.abs(points[i][0] - step)) ++i;
    cross.setAttribute("x1", x(points[i][0])); cross.setAttribute("x2", x(points[i][0]));
    dot.setAttribute("cx", x(points[i][0])); dot.setAttribute("cy", y(curve[i][1]));
    output.textContent = "step " + points[i][0] + ": " + shown(points[i][1]) + (weight > 0 ? ", smoothed " + shown(curve[i][1]) : "");
  };
  chart.step_at = event => {
    const box = svg.getBoundingClientRect(), px = (event.clientX - box.left) / box.width * W;
    return first + (px - L) / (W - L - R) * (last - first);
  };
};
const slider = document.getElementById("smoothing");
for (const figure of document.querySelectorAll("figure.chart")) {
  const values = data[figure.dataset.curve];
  const points = data.step.map((step, i) => [step, values[i]]).filter(p => typeof p[1] === "number");
  if (!points.length) { figure.remove(); continue; }
  const svg = figure.querySelector("svg"), chart = { svg, points, color: "var(--" + figure.dataset.color + ")", output: figure.querySelector("output"), plain: "plain" in figure.dataset };
  svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
  charts.push(chart);
  svg.addEventListener("pointermove", event => { const step = chart.step_at(event); for (const c of charts) c.hover(step); });
  svg.addEventListener("pointerleave", () => { for (const c of charts) c.hover(null); });
}
const redraw = () => { document.getElementById("weight").textContent = slider.value; for (const chart of charts) draw(chart); };
slider.addEventListener("input", redraw);
redraw();
for (const cell of document.querySelectorAll("td.number, .figures b"))
  if (/^\d{5,}$/.test(cell.textContent)) cell.textContent = (+cell.textContent).toLocaleString("en");
)js";

}  // namespace jointtuner::report
