// What stands around the plots: the chosen point, the tables, how it was measured.
const byId = id => document.getElementById(id);
const pointOf = id => FRONTIER.points.find(p => p.id === id);
const plain = () => pointOf("f32");
const countRungs = p => {
  const count = {};
  for (const c of p.choices) count[c.rung] = (count[c.rung] || 0) + 1;
  return count;
};
const rungText = p => RUNGS.filter(r => countRungs(p)[r]).map(r => `${countRungs(p)[r]} ${r}`).join(", ") || p.precision;
const settingText = p => `batch ${p.batch}, ${p.streams} stream${p.streams === 1 ? "" : "s"} × ${p.threads} thread${p.threads === 1 ? "" : "s"}`;

function showTip(event, p) {
  const tip = byId("tip");
  tip.replaceChildren(node("b", {}, p.id), ` · ${p.state}\n`,
    ["latency", "throughput", "accuracy", "accuracy_drop"].filter(a => figure(p, a))
      .map(a => `${a === "accuracy" ? METRIC.name : a === "accuracy_drop" ? "drop" : a === "latency" ? `latency ${view.statistic}` : a}  ${format(a, value(p, a))}${interval(a, figure(p, a)) ? ` (${interval(a, figure(p, a))})` : ""}`).join("\n"),
    `\n${settingText(p)}\n${rungText(p)}`);
  tip.hidden = false;
  const w = tip.offsetWidth, h = tip.offsetHeight;
  tip.style.left = `${Math.max(4, Math.min(innerWidth - w - 8, event.clientX + 16))}px`;
  tip.style.top = `${event.clientY + h + 24 > innerHeight ? event.clientY - h - 12 : event.clientY + 16}px`;
}
function hideTip() {
  byId("tip").hidden = true;
}

// Whether the unfavourable end of the point's interval meets the constraint; null if it is not known.
function meets(p, c) {
  let f = figure(p, c.axis, c.statistic);
  if (!f) return null;
  if (c.relative) {
    const base = Math.abs(value(p, "accuracy") + (METRIC.larger_is_better ? 1 : -1) * f[0]);
    f = f.map(x => x / base);
  }
  return c.at_most ? f[2] <= c.bound : f[1] >= c.bound;
}

function drawSummary() {
  const p = pointOf(view.selected), base = plain(), box = byId("summary");
  if (!p) return box.replaceChildren("No point to show.");
  const fact = (label, axis, statistic, note) => {
    const f = figure(p, axis, statistic);
    return f && node("div", {}, node("span", {class: "label"}, label), node("span", {class: "value"}, format(axis, f[0])),
                     node("span", {class: "note"}, note || interval(axis, f) || " "));
  };
  const ratio = axis => {
    const a = base && base !== p && value(base, axis, "p50"), b = value(p, axis, "p50");
    return a && b ? axis === "latency" ? a / b : b / a : null;
  };
  const times = axis => ratio(axis) && `${digits(ratio(axis))} × f32${axis === "latency" ? "'s speed" : ""}`;
  box.replaceChildren(...[
    node("div", {class: "name"}, node("span", {class: "label"}, REPORT.selected === p.id && REPORT.objective ? `chosen: ${REPORT.objective}` : p.id === REPORT.knee ? "point (the knee)" : "point"),
         node("b", {}, p.id), node("span", {class: "note"}, settingText(p))),
    fact("latency p50", "latency", "p50", times("latency")), fact("latency p99", "latency", "p99"),
    fact("throughput", "throughput", "p50", times("throughput")), fact(METRIC.name, "accuracy"),
    fact("drop against f32", "accuracy_drop"), fact("memory", "memory", "p50", base && base !== p && figure(base, "memory") ? `f32: ${format("memory", value(base, "memory"))}` : null),
  ].filter(Boolean));
  byId("constraints").replaceChildren(...REPORT.constraints.map(c => {
    const met = meets(p, c);
    return node("span", {class: met ? "met" : "not"}, `${met ? "✓" : met === null ? "?" : "✗"} ${limitText(c)}`);
  }));
}

const latencyOf = p => (value(p, "latency", "p50") === null ? Infinity : value(p, "latency", "p50"));
const sorted = [...FRONTIER.points].sort((a, b) => latencyOf(a) - latencyOf(b));

function drawPoints() {
  const dropped = FRONTIER.points.some(p => figure(p, "accuracy_drop"));
  const head = ["point", `latency ${view.statistic}`, "throughput", METRIC.name, ...(dropped ? ["drop"] : []), ...(REPORT.constraints.length ? ["meets"] : [])];
  const rows = sorted.map(p => {
    const met = REPORT.constraints.filter(c => meets(p, c)).length;
    return node("tr", {class: `${p.state}${p.id === view.selected ? " selected" : ""}${p.id === view.hover ? " hover" : ""}`, tabindex: "0",
      onclick: () => update({selected: p.id}), onkeydown: e => { if (e.key === "Enter") update({selected: p.id}); },
      onpointerenter: () => update({hover: p.id}), onpointerleave: () => { if (view.hover === p.id) update({hover: null}); }},
      node("td", {class: "left", title: p.state}, node("span", {class: "dot"}), p.id), node("td", {}, format("latency", value(p, "latency"))),
      node("td", {}, format("throughput", value(p, "throughput"))), node("td", {}, format("accuracy", value(p, "accuracy"))),
      dropped ? node("td", {title: interval("accuracy_drop", figure(p, "accuracy_drop"))}, format("accuracy_drop", value(p, "accuracy_drop"))) : null,
      REPORT.constraints.length ? node("td", {}, REPORT.constraints.length === 1 ? (met ? "✓" : "✗") : met === REPORT.constraints.length ? "all" : `${met} of ${REPORT.constraints.length}`) : null);
  });
  const table = byId("point-table");
  const had = table.tBodies[0];
  // Rows that the pointer rests on must stay the same elements: only their classes change.
  if (had && had.rows.length === rows.length && table.dataset.statistic === view.statistic) {
    rows.forEach((r, i) => { had.rows[i].className = r.className; });
    return;
  }
  table.dataset.statistic = view.statistic;
  table.replaceChildren(node("thead", {}, node("tr", {}, ...head.map((h, i) => node("th", {class: i ? "" : "left"}, h)))), node("tbody", {}, ...rows));
}

let nodeOrder = "graph";
let drawnChoices = "";
function drawChoices() {
  const p = pointOf(view.selected);
  if (!p || drawnChoices === `${p.id} ${nodeOrder}`) return;
  drawnChoices = `${p.id} ${nodeOrder}`;
  byId("choices-title").textContent = `Where each node of ${p.id} is, and why`;
  const noise = p.choices.reduce((s, c) => s + c.noise, 0), longest = Math.max(1e-9, ...p.choices.map(c => c.time_share));
  const loudest = Math.max(1e-300, ...p.choices.map(c => c.noise));
  const about = c => `${c.node} (${c.op})\n${c.rung}, ${(100 * c.time_share).toFixed(1)} % of the time${c.reason ? "\n" + c.reason : ""}`;
  byId("strip").setAttribute("aria-label", `Nodes in the order of the graph, as wide as their time: ${rungText(p)}`);
  byId("strip").replaceChildren(...p.choices.map(c => node("span", {style: `flex:${Math.max(c.time_share, 1e-4)};background:var(--${c.rung})`, title: about(c)})));
  byId("rungs").replaceChildren(...RUNGS.filter(r => countRungs(p)[r]).map(r => {
    const mine = p.choices.filter(c => c.rung === r), time = mine.reduce((s, c) => s + c.time_share, 0);
    const loud = noise > 0 ? `, ${(100 * mine.reduce((s, c) => s + c.noise, 0) / noise).toFixed(0)} % of noise` : "";
    return node("span", {}, node("i", {class: "square", style: `background:var(--${r})`}), `${r}: ${mine.length} nodes, ${(100 * time).toFixed(0)} % of time${loud}`);
  }));
  const keys = {graph: null, time: c => -c.time_share, noise: c => -c.noise};
  const list = [...p.choices];
  if (keys[nodeOrder]) list.sort((a, b) => keys[nodeOrder](a) - keys[nodeOrder](b));
  const bar = (share, text, colour) => node("span", {class: "cell"}, node("span", {}, text), node("span", {class: "bar", style: `width:${(44 * share).toFixed(1)}px${colour ? `;background:var(--${colour})` : ""}`}));
  byId("node-table").replaceChildren(
    node("thead", {}, node("tr", {}, ...["node", "rung", "time", "noise", "why"].map(h => node("th", {class: "left"}, h)))),
    node("tbody", {}, ...list.map(c => node("tr", {},
      node("td", {class: "left node", title: [`${c.node}\n${c.op}`, c.kernel, c.layout].filter(Boolean).join(", ")}, c.node),
      node("td", {class: "left"}, node("span", {class: `rung ${c.rung}`, style: `background:var(--${c.rung})`}, c.rung)),
      node("td", {class: "left"}, bar(c.time_share / longest, `${(100 * c.time_share).toFixed(1)} %`, c.rung)),
      node("td", {class: "left"}, noise > 0 ? bar(c.noise / loudest, `${(100 * c.noise / noise).toFixed(1)} %`) : "–"),
      node("td", {class: "left why"}, [c.reason, c.kernel && `on ${c.kernel}`, c.layout].filter(Boolean).join("; "))))));
  if (!p.choices.length) byId("node-table").replaceChildren(node("tbody", {}, node("tr", {}, node("td", {class: "left why"}, `All nodes: ${p.precision}.`))));
}

function drawFacts() {
  const p = pointOf(view.selected), m = FRONTIER.machine, d = FRONTIER.data, put = [];
  const add = (name, text) => { if (text) put.push(node("dt", {}, name), node("dd", {}, text)); };
  add("model", `${FRONTIER.model.file}${FRONTIER.model.sha1 ? ` (SHA-1 ${FRONTIER.model.sha1})` : ""}`);
  add("machine", [m.cpu, m.cpus && `${m.cpus} CPUs`, m.isa, m.l2_kib && `L2 ${m.l2_kib} KiB`, m.l3_kib && `L3 ${m.l3_kib} KiB`, m.os].filter(Boolean).join(" · "));
  add("data", d.source && `${d.source}: ${d.calibration} examples to calibrate, ${d.selection} to select, ${d.report} to report; no example in two of them`);
  add("accuracy", `${METRIC.name}; ${METRIC.larger_is_better ? "larger" : "smaller"} is better`);
  add("seed", String(FRONTIER.seed));
  add("written by", FRONTIER.tool);
  if (p) add(p.id, [p.provenance, p.samples && `${p.samples} timed runs`, `${p.layouts} layouts`, rungText(p)].filter(Boolean).join(" · "));
  add("bars", "95 % confidence intervals. A point is greyed if another is nowhere worse and somewhere better by more than the intervals; the stepped line is the frontier of two axes alone.");
  if (ACCURACY === "kept") add("plots", `${METRIC.name} less paired drop: what f32 reaches less the drop, which compares the same examples and so has narrower intervals than ${METRIC.name} itself (in the table)`);
  byId("facts").replaceChildren(...put);
}

function segments(id, names, chosen, choose) {
  const draw = () => byId(id).replaceChildren(...names.map(n => node("button", {role: "radio", "aria-checked": String(n === chosen()), onclick: () => { choose(n); draw(); }}, n)));
  draw();
}

function start() {
  const title = REPORT.title || FRONTIER.model.file || "Skyline";
  document.title = `${title} – Skyline`;
  byId("title").textContent = title;
  const count = s => FRONTIER.points.filter(p => p.state === s).length;
  byId("subtitle").textContent = `${count("measured")} plan${count("measured") === 1 ? "" : "s"} on the frontier of latency, throughput and accuracy; ${count("dominated")} dominated, ${count("predicted")} predicted only · ${FRONTIER.machine.cpu || "unknown machine"}`;
  const limited = REPORT.constraints.find(c => c.axis === "latency");
  const known = ["mean", "p50", "p90", "p99"].filter(s => FRONTIER.points.some(p => figure(p, "latency", s)));
  view.statistic = limited && known.includes(limited.statistic) ? limited.statistic : known.includes("p50") ? "p50" : known[0] || "p50";
  const wanted = FRONTIER.points.find(p => location.hash === `#${encodeURIComponent(p.id)}`);  // report.html#p7
  view.selected = wanted ? wanted.id : pointOf(REPORT.selected) ? REPORT.selected
    : pointOf(REPORT.knee) ? REPORT.knee : sorted.length ? sorted[0].id : null;
  segments("statistic", known, () => view.statistic, n => update({statistic: n}));
  segments("node-order", ["graph", "time", "noise"], () => nodeOrder, n => { nodeOrder = n; drawChoices(); });
  byId("legend").replaceChildren(...[["frontier", "on the frontier"], ["dominated", "dominated"], ["selected", "selected"]].map(
    ([c, t]) => node("span", {}, node("i", {style: `background:var(--${c})`}), t)),
    node("span", {}, node("i", {style: "border:1.3px dashed var(--dominated)"}), "predicted, not measured"),
    ...(REPORT.constraints.length ? [node("span", {}, node("i", {class: "square", style: "background:var(--shade);border:1px dashed var(--selected)"}), "outside the constraints")] : []));
  new Plot("plot-la", "latency", ACCURACY);
  new Plot("plot-ta", "throughput", ACCURACY);
  new Plot("plot-lt", "latency", "throughput");
  new Space("plot-3d");
  listeners.push(drawSummary, drawPoints, drawChoices, drawFacts);
  addEventListener("keydown", e => {
    const step = {ArrowLeft: -1, ArrowRight: 1}[e.key];
    if (!step) return;
    const i = sorted.findIndex(p => p.id === view.selected) + step;
    if (sorted[i]) update({selected: sorted[i].id});
  });
  update({});
}
start();
