// The scores over time with the threshold and the running median of good products. On a canvas: 500 points redrawn
// at each picture would be thousands of nodes as SVG.
import { el, paced, setAttribute, setText } from "./dom.js";
import { count, hourMinute, clock, labelWord, number, wordOf } from "./words.js";

const WINDOW = 25; // good products in one median
const HEADROOM = 2.2; // the chart ends at this many thresholds; what lies above is drawn at the edge
const REACH = 24; // px from a click to the point it means
const PAD = { left: 52, right: 14, top: 12, bottom: 22 };

/** The median of the last good scores at each point; null until there are a few. */
export function runningMedian(points, size = WINDOW) {
  const last = [];
  return points.map((point) => {
    if (point.verdict === "good" && point.score !== null) {
      last.push(point.score);
      if (last.length > size) last.shift();
    }
    if (last.length < 5) return null;
    const sorted = [...last].sort((a, b) => a - b);
    return sorted[sorted.length >> 1];
  });
}

/** The next 1, 2 or 5 times a power of ten. */
function roundStep(step) {
  const unit = 10 ** Math.floor(Math.log10(step));
  return unit * [1, 2, 5, 10].find((factor) => factor * unit >= step * 0.999);
}

const SHAPES = {
  good: (g, x, y, r) => g.arc(x, y, r * 0.8, 0, 7),
  defective: (g, x, y, r) => {
    g.moveTo(x - r, y - r);
    g.lineTo(x + r, y + r);
    g.moveTo(x + r, y - r);
    g.lineTo(x - r, y + r);
  },
  not_this_product: (g, x, y, r) => {
    g.moveTo(x, y - r * 1.3);
    g.lineTo(x + r * 1.3, y);
    g.lineTo(x, y + r * 1.3);
    g.lineTo(x - r * 1.3, y);
    g.closePath();
  },
};

export class ScoreChart {
  constructor(open) {
    this.open = open;
    this.points = [];
    this.threshold = null;
    this.at = null; // the point that the keyboard is at
    this.canvas = el("canvas", { tabindex: "0", role: "button", onclick: (event) => this.click(event),
      onkeydown: (event) => this.key(event), onmousemove: (event) => this.hover(event), onmouseleave: () => this.say(null),
      onblur: () => this.say(null) });
    this.note = el("p", { class: "chart-note" });
    this.node = el("div", { class: "plot" }, this.canvas, this.note);
    this.update = paced(() => this.draw(), 200);
    this.resize = new ResizeObserver(this.update);
    this.resize.observe(this.node);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", this.update);
  }

  close() {
    this.resize.disconnect();
    this.scheme.removeEventListener("change", this.update);
  }

  set(scores, threshold) {
    this.points = scores.filter((point) => point.score !== null);
    this.threshold = threshold;
    this.update();
  }

  scale() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const most = Math.max(...this.points.map((point) => point.score), 0);
    const limit = Math.max(...this.points.map((point) => point.threshold ?? 0), this.threshold ?? 0);
    const top = limit ? Math.max(limit * 1.3, Math.min(most * 1.05, limit * HEADROOM)) : most * 1.1 || 1;
    const x = (k) => PAD.left + ((width - PAD.left - PAD.right) * (k + 0.5)) / Math.max(1, this.points.length);
    const y = (score) => height - PAD.bottom - (height - PAD.bottom - PAD.top) * Math.min(1, Math.max(0, score / top));
    return { width, height, top, limit, x, y };
  }

  draw() {
    const scale = this.scale();
    this.last = scale;
    const ratio = Math.min(3, devicePixelRatio || 1);
    if (!scale.width || !scale.height) return;
    const wide = Math.round(scale.width * ratio);
    const high = Math.round(scale.height * ratio);
    if (this.canvas.width !== wide) this.canvas.width = wide;
    if (this.canvas.height !== high) this.canvas.height = high;
    const g = this.canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, scale.width, scale.height);
    const style = getComputedStyle(this.canvas);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    g.font = `12px ${style.fontFamily}`;
    this.axes(g, scale, colour);
    this.steps(g, scale, this.points.map((point) => point.threshold ?? this.threshold), colour("chart-limit"), 2, [7, 5]);
    this.marks(g, scale, colour);
    this.steps(g, scale, runningMedian(this.points), colour("chart-median"), 2);
    const bad = this.points.filter((point) => point.verdict === "defective").length;
    setAttribute(this.canvas, "aria-label",
      `Chart of the last ${count(this.points.length, "score")}, ${bad} of them NOT OK, limit ${number(this.threshold)}. Arrow keys go from point to point, Enter opens the picture.`);
  }

  axes(g, { width, top, y, x }, colour) {
    g.fillStyle = colour("muted");
    g.strokeStyle = colour("rule");
    g.lineWidth = 1;
    g.textAlign = "right";
    g.textBaseline = "middle";
    const step = roundStep(top / 4);
    for (let k = 0; k * step <= top; k++) {
      const at = Math.round(y(k * step)) + 0.5;
      g.beginPath();
      g.moveTo(PAD.left, at);
      g.lineTo(width - PAD.right, at);
      g.stroke();
      g.fillText(number(k * step), PAD.left - 8, at);
    }
    if (this.points.length < 2) return;
    g.textBaseline = "alphabetic";
    const steps = Math.max(1, Math.min(6, Math.floor(width / 160)));
    for (let k = 0; k <= steps; k++) {
      const at = Math.round(((this.points.length - 1) * k) / steps);
      g.textAlign = k === 0 ? "left" : k === steps ? "right" : "center";
      g.fillText(hourMinute(this.points[at].received), x(at), y(0) + 17);
    }
  }

  /** A line through `values`, interrupted where they are null. */
  steps(g, { x, y }, values, colour, wide, dash = []) {
    g.strokeStyle = colour;
    g.lineWidth = wide;
    g.setLineDash(dash);
    g.beginPath();
    let down = false;
    values.forEach((value, k) => {
      if (value === null || value === undefined) down = false;
      else {
        if (down) g.lineTo(x(k), y(value));
        else g.moveTo(k === 0 ? PAD.left : x(k), y(value));
        down = true;
      }
    });
    g.stroke();
    g.setLineDash([]);
  }

  marks(g, scale, colour) {
    const radius = this.points.length > 250 ? 3 : 4;
    const colours = { good: colour("chart-ok"), defective: colour("chart-bad"), not_this_product: colour("chart-strange") };
    this.points.forEach((point, k) => {
      const shape = SHAPES[point.verdict];
      if (!shape) return;
      const [x, y] = [scale.x(k), scale.y(point.score)];
      g.beginPath();
      shape(g, x, y, point.verdict === "good" ? radius : radius + 1);
      g.strokeStyle = g.fillStyle = colours[point.verdict];
      g.lineWidth = 2.4;
      if (point.verdict === "good") g.fill();
      else g.stroke();
      if (point.label || k === this.at) {
        g.beginPath();
        g.arc(x, y, radius + 5, 0, 7);
        g.strokeStyle = colour(k === this.at ? "text" : "muted");
        g.lineWidth = k === this.at ? 3 : 1.2;
        g.stroke();
      }
    });
  }

  /** The point nearest to a place on the canvas. */
  near(event) {
    if (!this.last) return null;
    const box = this.canvas.getBoundingClientRect();
    let best = null;
    let least = REACH;
    this.points.forEach((point, k) => {
      const distance = Math.hypot(this.last.x(k) - (event.clientX - box.left), this.last.y(point.score) - (event.clientY - box.top));
      if (distance < least) [best, least] = [k, distance];
    });
    return best;
  }

  click(event) {
    const at = event.detail === 0 ? this.at : this.near(event);
    if (at !== null) this.open(this.points[at]);
  }

  hover(event) {
    const at = this.near(event);
    this.canvas.classList.toggle("over", at !== null);
    this.say(at);
  }

  say(at) {
    if (at === this.at) return;
    this.at = at;
    const point = this.points[at];
    setText(this.note, point ? [`${clock(point.received)}`, wordOf(point.verdict), `score ${number(point.score)}`, labelWord(point)].filter(Boolean).join(" · ") : "");
    this.update();
  }

  key(event) {
    const end = this.points.length - 1;
    const at = this.at ?? end + 1;
    const to = { ArrowLeft: Math.max(0, at - 1), ArrowRight: Math.min(end, at + 1), Home: 0, End: end }[event.key];
    if (to === undefined && event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    if (to !== undefined) this.say(end < 0 ? null : to);
    else if (this.at !== null && this.points[this.at]) this.open(this.points[this.at]);
  }
}
