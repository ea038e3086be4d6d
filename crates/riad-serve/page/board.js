// The verdict and the current picture of one line, for the full screen and for a tile among others.
import { el, paced, setSign, setText, sign } from "./dom.js";
import { Picture } from "./picture.js";
import { TITLES, driftWords, standing } from "./standing.js";
import { ago, clock, labelWord, number } from "./words.js";

const HOLD = 1_000; // ms that NOT OK stays in sight when pictures come faster than people read
const PACE = 150; // ms between two pictures on the screen

export class Board {
  constructor(store, name, { heading = "h2", open, standingChanged }) {
    this.store = store;
    this.name = name;
    this.standingChanged = standingChanged;
    this.sign = sign("connecting");
    this.title = el(heading, { class: "title" });
    this.words = el("p", { class: "words" });
    this.age = el("p", { class: "age" });
    this.drift = el("p", { class: "drift", hidden: true }); // beside the verdict, which needs its room
    this.meterFill = el("span", { class: "fill" });
    this.meterWords = el("span", { class: "meter-words" });
    this.meter = el("div", { class: "meter" }, el("span", { class: "track", "aria-hidden": "true" }, this.meterFill), this.meterWords);
    this.verdict = el("section", { class: "verdict", "aria-label": `Verdict of ${name}` },
      el("div", { class: "shout" }, this.sign, this.title), el("div", { class: "facts" }, this.words, this.meter, this.age));
    this.picture = new Picture();
    this.caption = el("span", { class: "caption" });
    this.button = el("button", { class: "stage", type: "button", onclick: () => this.shown && open(this.shown) }, this.picture.frame, this.caption);
    this.shown = null;
    this.shownAt = 0;
    this.kind = null;
    this.update = paced(() => this.render(), PACE);
  }

  get line() {
    return this.store.lines.get(this.name);
  }

  /** The newest picture, unless a reject has been seen for too short a time. */
  choose() {
    const { newest } = this.line;
    if (newest?.id === this.shown?.id) return newest;
    const rest = this.shownAt + HOLD - performance.now();
    if (this.shown?.verdict === "defective" && newest?.verdict === "good" && rest > 0) {
      setTimeout(this.update, rest);
      return this.line.recent.find((row) => row.id === this.shown.id) ?? this.shown;
    }
    this.shownAt = performance.now();
    return newest;
  }

  /** How pictures come to a line that has none yet. */
  hint() {
    const { watch } = this.line.info;
    return `${watch ? `Put pictures into ${watch}` : `Send pictures to POST /v1/lines/${this.name}/inspect`}, or drag one onto this page.`;
  }

  render() {
    if (!this.line) return;
    this.shown = this.choose();
    const row = this.shown;
    this.picture.show(row, "image", this.hint());
    this.button.disabled = !row;
    setText(this.caption, row ? [`${row.name ?? `picture ${row.id}`}`, clock(row.received), labelWord(row)].filter(Boolean).join(" · ") : "");
    const scored = row && row.score !== null && row.threshold;
    this.meter.hidden = !scored || row.verdict === "not_this_product";
    if (scored) {
      this.meterFill.style.inlineSize = `${Math.min(100, (50 * row.score) / row.threshold)}%`;
      setText(this.meterWords, `score ${number(row.score)}, limit ${number(row.threshold)}`);
    }
    const drift = driftWords(this.line);
    setText(this.drift, drift);
    this.drift.title = drift;
    this.drift.hidden = !drift;
    this.tick();
  }

  /** What changes with time alone. */
  tick() {
    if (!this.line) return;
    const { kind, words } = standing(this.line, this.store.connection, this.shown);
    const age = this.line.age();
    setText(this.words, words);
    setText(this.age, age === null ? "" : `last picture ${ago(age)}`);
    this.meter.classList.toggle("old", kind !== "ok" && kind !== "bad");
    if (kind !== this.kind) {
      this.kind = kind;
      for (const node of [this.verdict, this.button]) node.dataset.kind = kind;
      setSign(this.sign, kind);
      setText(this.title, TITLES[kind]);
    }
    this.standingChanged(this.name, kind);
  }
}
