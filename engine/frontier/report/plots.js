"use strict";
// The data, units and scales, and the three plots in the plane.
const REPORT = JSON.parse(document.getElementById("data").textContent);
const FRONTIER = REPORT.frontier;
const METRIC = FRONTIER.metric;
const RUNGS = ["f32", "bf16x6", "bf16x3", "f16", "bf16", "int8", "model"];

const view = {statistic: "p50", selected: null, hover: null};
const listeners = [];
function update(change) {
  // Drawing puts new elements below the pointer, which says so: without this, for ever.
  if (Object.keys(change).length && Object.entries(change).every(([k, v]) => view[k] === v)) return;
  Object.assign(view, change);
  for (const f of listeners) f();
}

function node(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "line", "circle", "path", "text", "rect", "title"].includes(tag);
  const e = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) e.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) e.setAttribute(key, value);
  }
  e.append(...children.filter(c => c !== null && c !== undefined));
  return e;
}

// Figures: [value, low, high], measured if there, else predicted, else null.
function figure(point, axis, statistic = view.statistic) {
  if (axis === "kept") return keptAccuracy(point);
  for (const figures of [point.measured, point.predicted]) {
    const f = axis === "latency" ? (figures.latency || {})[statistic] : figures[axis];
    if (f) return f;
  }
  return null;
}
// The accuracy of f32 less the drop. The drop is of the same examples on both sides, so it is far surer than the
// difference of two accuracies, and it is what constraints are about: the plots show this where it is known.
function keptAccuracy(point) {
  const drop = figure(point, "accuracy_drop"), base = baseAccuracy();
  if (!drop || base === null) return null;
  return METRIC.larger_is_better ? [base - drop[0], base - drop[2], base - drop[1]] : drop.map(x => base + x);
}
const value = (point, axis, statistic) => (figure(point, axis, statistic) || [null])[0];
const ACCURACY = FRONTIER.points.every(p => figure(p, "accuracy_drop") || !figure(p, "accuracy")) && baseAccuracy() !== null ? "kept" : "accuracy";
const isAccuracy = axis => axis === "accuracy" || axis === "kept";

const digits = x => {
  const a = Math.abs(x);
  return a >= 100 ? x.toFixed(0) : a >= 10 ? x.toFixed(1) : a >= 1 || a === 0 ? x.toFixed(2) : a >= 0.1 ? x.toFixed(3) : x.toPrecision(3);
};
function timeUnit(seconds) {
  const units = [["ns", 1e-9], ["µs", 1e-6], ["ms", 1e-3], ["s", 1]];
  return units.filter(u => seconds >= u[1] * 0.9995).pop() || units[0];
}
function format(axis, x) {
  if (x === null || x === undefined) return "–";
  if (axis === "latency") { const u = timeUnit(x); return `${digits(x / u[1])} ${u[0]}`; }
  if (axis === "throughput") return `${digits(x)} /s`;
  if (axis === "memory") return x >= 1e9 ? `${digits(x / 1e9)} GB` : x >= 1e6 ? `${digits(x / 1e6)} MB` : `${digits(x / 1e3)} KB`;
  if (!METRIC.fraction) return digits(x);
  return isAccuracy(axis) ? `${(100 * x).toFixed(1)} %` : `${(100 * x).toFixed(2)} pp`;
}
function interval(axis, f) {
  return f && f[2] > f[1] ? `${format(axis, f[1])} to ${format(axis, f[2])}` : "";
}

// A scale from data to pixels with round ticks; logarithmic where values span more than a factor of 6.
function makeScale(values, from, to, axis) {
  let low = Math.min(...values), high = Math.max(...values);
  const log = !isAccuracy(axis) && low > 0 && high > 6 * low;
  if (log) { low /= 1.12; high *= 1.12; }
  else {
    const room = (high - low || Math.abs(high) || 1) * 0.07;
    low -= room; high += room;
    if (!isAccuracy(axis)) low = Math.max(low, 0);
  }
  const f = log ? Math.log : x => x;
  const scale = x => from + (f(x) - f(low)) / (f(high) - f(low)) * (to - from);
  scale.low = low; scale.high = high; scale.log = log;
  scale.extent = Math.abs(to - from);
  scale.ticks = log ? logTicks(low, high) : linearTicks(low, high, Math.abs(to - from) < 230 ? 4 : 5);
  return scale;
}
function linearTicks(low, high, wanted) {
  const raw = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map(m => m * power).find(s => s >= raw);
  const out = [];
  for (let i = Math.ceil(low / step); i * step <= high; ++i) out.push(i * step);
  return out;
}
function logTicks(low, high) {
  const pick = steps => {
    const out = [];
    for (let p = 10 ** Math.floor(Math.log10(low)); p <= high; p *= 10)
      for (const m of steps) if (p * m >= low && p * m <= high) out.push(p * m);
    return out;
  };
  for (const steps of [[1], [1, 3], [1, 2, 5]]) {
    const out = pick(steps);
    if (out.length >= 3) return out.length <= 8 ? out : pick([1]);
  }
  return pick([1, 2, 3, 5, 7]);
}
function tickText(axis, x, ticks) {
  const step = ticks.length > 1 ? Math.abs(ticks[1] - ticks[0]) : Math.abs(x) || 1;
  const trim = (v, s) => v.toFixed([0, 1, 2, 3, 4, 5, 6].find(d => Math.abs(s * 10 ** d - Math.round(s * 10 ** d)) < 1e-6) ?? 6);
  if (axis === "latency") { const u = timeUnit(ticks[0])[1]; return String(+(x / u).toPrecision(4)); }
  if (axis === "throughput") return x >= 1e4 ? `${+(x / 1e3).toPrecision(4)}k` : String(+x.toPrecision(4));
  return METRIC.fraction ? trim(100 * x, 100 * step) : trim(x, step);
}
function axisName(axis, ticks) {
  if (axis === "latency") return `latency ${view.statistic}, ${timeUnit(ticks[0])[0]}`;
  if (axis === "throughput") return "throughput, examples per second";
  return METRIC.name + (axis === "kept" ? " less paired drop" : "") + (METRIC.fraction ? ", %" : "");
}

// Larger is better on this axis, in terms of the plot.
const upward = axis => axis === "throughput" || (isAccuracy(axis) && METRIC.larger_is_better);

// The points that no measured one beats in these two axes alone, along x.
function projectedFrontier(xAxis, yAxis) {
  const points = FRONTIER.points.filter(p => p.state !== "predicted" && figure(p, xAxis) && figure(p, yAxis));
  const gx = p => (upward(xAxis) ? 1 : -1) * value(p, xAxis), gy = p => (upward(yAxis) ? 1 : -1) * value(p, yAxis);
  points.sort((a, b) => gx(b) - gx(a) || gy(b) - gy(a));
  const out = [];
  let best = -Infinity;
  for (const p of points) if (gy(p) > best) { out.push(p); best = gy(p); }
  return out;
}

// What f32 reaches: from itself, else from any point that knows its accuracy and its drop.
function baseAccuracy() {
  const known = FRONTIER.points.filter(q => figure(q, "accuracy") && figure(q, "accuracy_drop"));
  const p = known.find(q => q.id === "f32") || known[0];
  return p ? value(p, "accuracy") + (METRIC.larger_is_better ? 1 : -1) * value(p, "accuracy_drop") : null;
}
// A constraint as a bound on an axis of the plots; null if it is none of this axis and statistic.
function boundOn(axis, c) {
  if (c.axis === "latency") return axis === "latency" && c.statistic === view.statistic ? {bound: c.bound, atMost: c.at_most} : null;
  if (c.axis === axis) return {bound: c.bound, atMost: c.at_most};
  if (c.axis === "accuracy_drop" && isAccuracy(axis) && baseAccuracy() !== null) {
    const lost = c.relative ? c.bound * Math.abs(baseAccuracy()) : c.bound;
    const larger = METRIC.larger_is_better;
    return {bound: baseAccuracy() + (larger ? -lost : lost), atMost: larger !== c.at_most};
  }
  return null;
}

// The values on an axis, and the bounds that are not farther from them than they are from each other.
function worthShowing(points, axis) {
  const values = points.map(p => value(p, axis)), low = Math.min(...values), high = Math.max(...values), room = 1.2 * (high - low);
  const bounds = REPORT.constraints.map(c => boundOn(axis, c)).filter(Boolean).map(b => b.bound);
  return values.concat(bounds.filter(b => b >= low - room && b <= high + room));
}

const limitText = c => c.text.replace("<=", " ≤ ").replace(">=", " ≥ ");

class Plot {
  constructor(id, xAxis, yAxis) {
    Object.assign(this, {box: document.getElementById(id), xAxis, yAxis});
    this.box.parentElement.hidden = !FRONTIER.points.some(p => figure(p, xAxis) && figure(p, yAxis));
    new ResizeObserver(() => this.draw()).observe(this.box);
    listeners.push(() => this.draw());
  }
  draw() {
    const {xAxis, yAxis} = this, width = this.box.clientWidth, height = this.box.clientHeight;
    const points = FRONTIER.points.filter(p => figure(p, xAxis) && figure(p, yAxis));
    this.box.replaceChildren();
    if (!points.length || width < 50) {
      this.box.append(node("p", {class: "quiet"}, points.length ? "" : `No latency ${view.statistic} is known.`));
      return;
    }
    const left = 52, right = width - 14, top = 12, bottom = height - 40;
    const x = makeScale(worthShowing(points, xAxis), left, right, xAxis);
    const y = makeScale(worthShowing(points, yAxis), bottom, top, yAxis);
    // The view box lets print scale what was drawn for the screen.
    const svg = node("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${xAxis} and ${yAxis} of ${points.length} points`});
    this.drawAxes(svg, x, y, left, right, top, bottom);
    this.drawConstraints(svg, x, y, left, right, top, bottom);
    this.drawSteps(svg, x, y, left, right, top, bottom);
    const order = {predicted: 0, dominated: 1, measured: 2};
    const rank = p => order[p.state] + (p.id === view.selected ? 10 : 0) + (p.id === view.hover ? 20 : 0);
    for (const p of [...points].sort((a, b) => rank(a) - rank(b))) svg.append(this.mark(p, x, y, right));
    this.box.append(svg);
  }
  drawAxes(svg, x, y, left, right, top, bottom) {
    for (const t of x.ticks) {
      svg.append(node("line", {class: "grid", x1: x(t), x2: x(t), y1: top, y2: bottom}),
                 node("text", {x: x(t), y: bottom + 16, "text-anchor": "middle"}, tickText(this.xAxis, t, x.ticks)));
    }
    for (const t of y.ticks) {
      svg.append(node("line", {class: "grid", x1: left, x2: right, y1: y(t), y2: y(t)}),
                 node("text", {x: left - 7, y: y(t) + 4, "text-anchor": "end"}, tickText(this.yAxis, t, y.ticks)));
    }
    svg.append(node("rect", {class: "frame", x: left, y: top, width: right - left, height: bottom - top}),
               node("text", {class: "axis-name", x: (left + right) / 2, y: bottom + 34, "text-anchor": "middle"},
                    axisName(this.xAxis, x.ticks) + (x.log ? " (logarithmic)" : "")),
               node("text", {class: "axis-name", x: -(top + bottom) / 2, y: 12, "text-anchor": "middle", transform: "rotate(-90)"},
                    axisName(this.yAxis, y.ticks) + (y.log ? " (log.)" : "")));
  }
  drawConstraints(svg, x, y, left, right, top, bottom) {
    const clamp = (v, a, b) => Math.max(Math.min(a, b), Math.min(Math.max(a, b), v));
    for (const c of REPORT.constraints) {
      const bx = boundOn(this.xAxis, c), by = boundOn(this.yAxis, c);
      if (bx) {
        const at = bx.bound <= 0 && x.log ? left : clamp(x(bx.bound), left, right);
        const [from, to] = bx.atMost ? [at, right] : [left, at];
        svg.append(node("rect", {class: "shade", x: from, y: top, width: Math.max(0, to - from), height: bottom - top}));
        if (at > left && at < right) {
          const end = at > (left + right) / 2;
          svg.append(node("line", {class: "limit", x1: at, x2: at, y1: top, y2: bottom}),
                     node("text", {class: "limit-name", x: at + (end ? -5 : 5), y: upward(this.yAxis) ? bottom - 7 : top + 15, "text-anchor": end ? "end" : "start"}, limitText(c)));
        }
      }
      if (by) {
        const at = by.bound <= 0 && y.log ? bottom : clamp(y(by.bound), top, bottom);
        const [from, to] = by.atMost ? [top, at] : [at, bottom];
        svg.append(node("rect", {class: "shade", x: left, y: from, width: right - left, height: Math.max(0, to - from)}));
        if (at > top && at < bottom) {
          svg.append(node("line", {class: "limit", x1: left, x2: right, y1: at, y2: at}),
                     node("text", {class: "limit-name", x: right - 6, y: at + (by.atMost ? -5 : 14), "text-anchor": "end"}, limitText(c)));
        }
      }
    }
  }
  // Steps: between two points nothing is promised but what the worse one reaches.
  drawSteps(svg, x, y, left, right, top, bottom) {
    const steps = projectedFrontier(this.xAxis, this.yAxis);
    if (!steps.length) return;
    const at = p => [x(value(p, this.xAxis)), y(value(p, this.yAxis))];
    const first = at(steps[0]), last = at(steps[steps.length - 1]);
    let d = `M${first[0]} ${upward(this.yAxis) ? bottom : top}V${first[1]}`;
    for (const p of steps.slice(1)) d += `H${at(p)[0]}V${at(p)[1]}`;
    d += `H${upward(this.xAxis) ? left : right}`;
    if (last) svg.append(node("path", {class: "steps", d}));
  }
  mark(p, x, y, right) {
    const fx = figure(p, this.xAxis), fy = figure(p, this.yAxis), cx = x(fx[0]), cy = y(fy[0]);
    const selected = p.id === view.selected, hover = p.id === view.hover;
    const g = node("g", {class: `point ${p.state}${selected ? " selected" : ""}${hover ? " hover" : ""}`,
      onpointerenter: e => { showTip(e, p); update({hover: p.id}); },
      onpointerleave: () => { hideTip(); if (view.hover === p.id) update({hover: null}); },
      onclick: () => update({selected: p.id})});
    // An interval that fills the axis says nothing about this point among others: only the one looked at shows it.
    const inside = (s, v) => Math.max(s.low, Math.min(s.high, v));
    const shown = (s, f) => selected || hover || (p.state === "measured" && Math.abs(s(inside(s, f[2])) - s(inside(s, f[1]))) < 0.5 * s.extent);
    if (shown(x, fx)) g.append(node("line", {class: "whisker", x1: x(inside(x, fx[1])), x2: x(inside(x, fx[2])), y1: cy, y2: cy}));
    if (shown(y, fy)) g.append(node("line", {class: "whisker", x1: cx, x2: cx, y1: y(inside(y, fy[1])), y2: y(inside(y, fy[2]))}));
    const r = p.state === "measured" ? 4.5 : 3.5;
    g.append(node("circle", {cx, cy, r: 12, style: "fill:transparent;stroke:none"}), node("circle", {cx, cy, r}),
             node("circle", {class: "ring", cx, cy, r: 8.5}));
    if (selected || hover || p.id === "f32") {
      const end = cx > right - 60;
      g.append(node("text", {class: "name", x: cx + (end ? -12 : 12), y: cy < 34 ? cy + 17 : cy - 7, "text-anchor": end ? "end" : "start"}, p.id));
    }
    return g;
  }
}
