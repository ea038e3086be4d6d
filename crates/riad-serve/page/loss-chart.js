// The losses of a training over its epochs.
import { el, setText, svg } from "./dom.js";
import { number } from "./words.js";

const WIDTH = 600;
const HEIGHT = 200;

export class LossChart {
  constructor() {
    this.learned = svg("path", { class: "learned" });
    this.watched = svg("path", { class: "watched" });
    this.drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": "No losses yet" }, this.learned, this.watched);
    this.high = el("span", { class: "high" });
    this.low = el("span", { class: "low" });
    this.last = el("span", { class: "last" });
    this.node = el("figure", { class: "losses" }, el("figcaption", {}, el("span", { class: "key-learned" }, "loss of what is learned from"),
      el("span", { class: "key-watched" }, "of what is held out")), el("div", { class: "losses-plot" }, this.high, this.low, this.drawing, this.last));
  }

  /** Each with epoch, learned and watched (or null). */
  set(losses) {
    const values = losses.flatMap(({ learned, watched }) => [learned, watched]).filter((value) => value > 0);
    this.node.hidden = losses.length < 2;
    if (this.node.hidden) return;
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const last = losses.at(-1).epoch;
    const x = (epoch) => (WIDTH * (epoch - 1)) / Math.max(1, last - 1);
    // By orders of magnitude: losses fall fast first, and what matters comes later.
    const range = Math.log(high / low) || 1;
    const y = (value) => 6 + (HEIGHT - 12) * (Math.log(high / value) / range);
    const line = (read) => losses.filter((one) => read(one) > 0).map((one, k) => `${k ? "L" : "M"}${x(one.epoch).toFixed(1)} ${y(read(one)).toFixed(1)}`).join("");
    this.learned.setAttribute("d", line((one) => one.learned));
    this.watched.setAttribute("d", line((one) => one.watched));
    setText(this.high, number(high));
    setText(this.low, number(low));
    setText(this.last, `epoch ${last}`);
    const [first, end] = [losses[0], losses.at(-1)];
    this.drawing.setAttribute("aria-label", `Loss from ${number(first.learned)} in epoch ${first.epoch} to ${number(end.learned)} in epoch ${end.epoch}`);
  }
}
