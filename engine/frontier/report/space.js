// The three axes in space: a box that turns, drawn on a canvas.
class Space {
  constructor(id) {
    this.box = document.getElementById(id);
    this.canvas = this.box.querySelector("canvas");
    this.turn = 0.6;
    this.tilt = 0.42;
    this.axes = ["latency", "throughput", ACCURACY];
    this.box.parentElement.hidden = !FRONTIER.points.some(p => this.axes.every(a => figure(p, a)));
    new ResizeObserver(() => this.draw()).observe(this.box);
    listeners.push(() => this.draw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.listen();
  }
  listen() {
    const c = this.canvas;
    let grip = null, moved = false;
    c.addEventListener("pointerdown", e => { grip = [e.clientX, e.clientY]; moved = false; c.setPointerCapture(e.pointerId); });
    c.addEventListener("pointermove", e => {
      if (!grip) return this.point(e);
      const dx = e.clientX - grip[0], dy = e.clientY - grip[1];
      moved ||= Math.abs(dx) + Math.abs(dy) > 3;
      if (!moved) return;
      grip = [e.clientX, e.clientY];
      this.rotate(dx * 0.009, dy * 0.009);
    });
    c.addEventListener("pointerup", e => {
      if (!moved) { const p = this.nearest(e); if (p) update({selected: p.id}); }
      grip = null;
    });
    c.addEventListener("pointerleave", () => { hideTip(); if (view.hover) update({hover: null}); });
    c.addEventListener("keydown", e => {
      const step = {ArrowLeft: [-0.08, 0], ArrowRight: [0.08, 0], ArrowUp: [0, -0.08], ArrowDown: [0, 0.08]}[e.key];
      if (!step) return;
      e.preventDefault();
      e.stopPropagation();
      this.rotate(...step);
    });
  }
  rotate(turn, tilt) {
    this.turn += turn;
    this.tilt = Math.max(-0.2, Math.min(1.45, this.tilt + tilt));
    this.draw();
  }
  point(e) {
    const p = this.nearest(e);
    if (p) showTip(e, p); else hideTip();
    if ((p ? p.id : null) !== view.hover) update({hover: p ? p.id : null});
  }
  nearest(e) {
    const r = this.canvas.getBoundingClientRect(), x = e.clientX - r.left, y = e.clientY - r.top;
    let best = null, distance = 15;
    for (const s of this.spots || []) {
      const d = Math.hypot(s.x - x, s.y - y);
      if (d < distance) { distance = d; best = s.p; }
    }
    return best;
  }
  // From the unit cube, with accuracy up, to pixels; depth says what is in front.
  project(a, b, c) {
    const x = a - 0.5, z = b - 0.5, y = c - 0.5;
    const x1 = x * Math.cos(this.turn) - z * Math.sin(this.turn), z1 = x * Math.sin(this.turn) + z * Math.cos(this.turn);
    const y1 = y * Math.cos(this.tilt) + z1 * Math.sin(this.tilt), depth = z1 * Math.cos(this.tilt) - y * Math.sin(this.tilt);
    const near = 1 / (1 + 0.22 * depth);
    return {x: this.left + x1 * near * this.wide, y: this.top - y1 * near * this.size, depth};
  }
  // The size and place at which the whole cube, as it is turned, is in sight with its names around it.
  fit() {
    Object.assign(this, {size: 1, wide: 1, left: 0, top: 0});
    const corners = [0, 1].flatMap(a => [0, 1].flatMap(b => [0, 1].map(c => this.project(a, b, c))));
    const low = k => Math.min(...corners.map(c => c[k])), high = k => Math.max(...corners.map(c => c[k]));
    const [x0, x1, y0, y1] = [low("x"), high("x"), low("y"), high("y")];
    const down = (this.height - 74) / (y1 - y0), across = (this.width - 130) / (x1 - x0);
    const wide = Math.min(across, 1.7 * down), size = Math.min(down, across);
    Object.assign(this, {size, wide, left: this.width / 2 - wide * (x0 + x1) / 2, top: this.height / 2 - 8 - size * (y0 + y1) / 2});
  }
  draw() {
    const ratio = devicePixelRatio || 1;
    this.width = this.box.clientWidth;
    this.height = this.box.clientHeight;
    if (this.width < 50) return;
    this.fit();
    this.canvas.width = this.width * ratio;
    this.canvas.height = this.height * ratio;
    const g = this.canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, this.width, this.height);
    const css = getComputedStyle(document.documentElement);
    this.colour = name => css.getPropertyValue("--" + name).trim();
    g.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const points = FRONTIER.points.filter(p => this.axes.every(a => figure(p, a)));
    this.spots = [];
    if (!points.length) return;
    const scales = this.axes.map(a => makeScale(points.map(p => value(p, a)), 0, 1, a));
    this.drawBox(g, scales);
    const spots = points.map(p => {
      const at = this.axes.map((a, i) => scales[i](value(p, a)));
      return {p, ...this.project(...at), floor: this.project(at[0], at[1], 0)};
    });
    const marked = s => (s.p.id === view.selected || s.p.id === view.hover ? 1 : 0);
    spots.sort((a, b) => marked(a) - marked(b) || b.depth - a.depth);
    for (const s of spots) this.drawPoint(g, s);
    this.spots = spots;
  }
  line(g, a, b, colour, width = 1) {
    g.strokeStyle = colour;
    g.lineWidth = width;
    g.beginPath();
    g.moveTo(a.x, a.y);
    g.lineTo(b.x, b.y);
    g.stroke();
  }
  drawBox(g, scales) {
    const grid = this.colour("line"), ink = this.colour("ink"), quiet = this.colour("quiet");
    for (const t of scales[0].ticks) this.line(g, this.project(scales[0](t), 0, 0), this.project(scales[0](t), 1, 0), grid);
    for (const t of scales[1].ticks) this.line(g, this.project(0, scales[1](t), 0), this.project(1, scales[1](t), 0), grid);
    const corners = [[0, 0], [1, 0], [1, 1], [0, 1]];
    for (let i = 0; i < 4; ++i) {
      const [a, b] = [corners[i], corners[(i + 1) % 4]];
      this.line(g, this.project(...a, 0), this.project(...b, 0), quiet);
    }
    // Accuracy stands at the corner that is farthest to the left; the other two along the edges in front.
    const left = corners.map(c => ({c, ...this.project(...c, 0)})).sort((a, b) => a.x - b.x)[0].c;
    this.line(g, this.project(...left, 0), this.project(...left, 1), quiet);
    const text = (s, at, dx, dy, colour, align) => {
      g.fillStyle = colour;
      g.textAlign = align;
      g.fillText(s, at.x + dx, at.y + dy);
    };
    for (const t of scales[2].ticks) text(tickText("accuracy", t, scales[2].ticks), this.project(...left, scales[2](t)), -6, 4, quiet, "right");
    text(METRIC.fraction ? METRIC.name + ", %" : METRIC.name, this.project(...left, 1), -6, -10, ink, "center");
    const front = i => (this.project(...(i ? [1, 0.5] : [0.5, 1]), 0).depth < this.project(...(i ? [0, 0.5] : [0.5, 0]), 0).depth ? 1 : 0);
    const sides = [front(0), front(1)];
    for (const i of [0, 1]) {
      const edge = u => (i === 0 ? this.project(u, sides[0], 0) : this.project(sides[1], u, 0));
      const out = edge(0.5), align = out.x < this.width / 2 ? "right" : "left", dx = align === "right" ? -6 : 6;
      for (const t of scales[i].ticks) text(tickText(this.axes[i], t, scales[i].ticks), edge(scales[i](t)), dx, 12, quiet, align);
      text(i === 0 ? `latency, ${timeUnit(scales[0].ticks[0])[0]}` : "throughput, /s", out, dx * 4, 32, ink, align);
    }
  }
  drawPoint(g, s) {
    const {p} = s, selected = p.id === view.selected, hover = p.id === view.hover;
    const colour = selected ? this.colour("selected") : p.state === "measured" ? this.colour("frontier") : this.colour("dominated");
    g.globalAlpha = 0.4;
    this.line(g, s, s.floor, colour, selected ? 1.6 : 0.8);
    g.globalAlpha = 1;
    const r = (p.state === "measured" ? 4.6 : 3.4) * (1 - 0.25 * s.depth);
    g.beginPath();
    g.arc(s.x, s.y, r, 0, 2 * Math.PI);
    g.lineWidth = 1.2;
    if (p.state === "predicted") {
      g.setLineDash([2, 2]);
      g.strokeStyle = colour;
      g.stroke();
      g.setLineDash([]);
    } else {
      g.fillStyle = colour;
      g.fill();
      g.strokeStyle = this.colour("card");
      g.stroke();
    }
    if (!selected && !hover) return;
    g.beginPath();
    g.arc(s.x, s.y, 9, 0, 2 * Math.PI);
    g.lineWidth = 2;
    g.strokeStyle = hover ? this.colour("ink") : colour;
    g.stroke();
    g.textAlign = "left";
    g.lineWidth = 3;
    g.strokeStyle = this.colour("card");
    g.strokeText(p.id, s.x + 12, s.y - 7);
    g.fillStyle = this.colour("ink");
    g.fillText(p.id, s.x + 12, s.y - 7);
  }
}
