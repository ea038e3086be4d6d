// Tells screen readers about verdicts, sparingly: only a change, and at most one every few seconds, the latest.
import { spoken } from "./standing.js";
import { setText } from "./dom.js";

const GAP = 5_000;

export class Announcer {
  constructor(region) {
    this.region = region;
    this.kinds = new Map();
    this.pending = new Map();
    this.timer = null;
    this.last = -Infinity;
  }

  /** `several`: whether the line has to be named. */
  verdict(name, kind, several) {
    const before = this.kinds.get(name);
    if (before === kind) return;
    this.kinds.set(name, kind);
    if (before === undefined && kind === "connecting") return;
    this.pending.set(name, (several ? `${name}: ` : "") + spoken(kind));
    if (this.timer) return;
    this.timer = setTimeout(() => this.speak(), Math.max(0, this.last + GAP - performance.now()));
  }

  speak() {
    this.timer = null;
    this.last = performance.now();
    setText(this.region, [...this.pending.values()].join(". "));
    this.pending.clear();
  }
}
