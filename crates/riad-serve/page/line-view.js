// One line on the full screen.
import * as api from "./api.js";
import { Board } from "./board.js";
import { ScoreChart } from "./chart.js";
import { confirmed } from "./confirm.js";
import { Counts } from "./counts.js";
import { el, paced, setText, sign } from "./dom.js";
import { RECENT } from "./state.js";
import { Strip } from "./strip.js";
import { attempt } from "./toast.js";
import { dayAndTime } from "./words.js";

export class LineView {
  constructor(store, name, { openPicture, standingChanged }) {
    this.store = store;
    this.name = name;
    const open = (row) => openPicture(name, row.id);
    this.board = new Board(store, name, { open, standingChanged });
    this.strip = new Strip(RECENT, open, `The last ${RECENT} pictures, newest first`);
    this.chart = new ScoreChart(open);
    this.counts = new Counts();
    this.rejectWords = el("span", {});
    this.reject = el("button", { type: "button", class: "reject", hidden: true, onclick: () => open(this.line.lastReject) },
      sign("bad"), this.rejectWords);
    const legend = el("p", { class: "legend" },
      el("span", { class: "key key-ok" }, "OK"), el("span", { class: "key key-bad" }, "NOT OK"),
      el("span", { class: "key key-limit" }, "limit"), el("span", { class: "key key-median" }, "median of OK"));
    this.node = el("div", { class: "line-view", "data-line": name },
      this.board.verdict, this.board.button,
      el("section", { class: "recent", "aria-label": "Last pictures" }, this.strip.list),
      el("section", { class: "scores", "aria-labelledby": "scores-title" },
        el("header", {}, el("h2", { id: "scores-title" }, "Scores"), legend), this.board.drift, this.chart.node),
      el("section", { class: "shift-card", "aria-labelledby": "shift-title" },
        el("header", {}, el("h2", { id: "shift-title" }, "This shift"), this.counts.since,
          el("button", { type: "button", class: "small", onclick: () => this.newShift() }, "New shift")),
        this.counts.node, this.reject));
    this.render = paced(() => this.paint());
    this.refresh();
  }

  get line() {
    return this.store.lines.get(this.name);
  }

  refresh() {
    this.board.update();
    this.render();
  }

  paint() {
    if (!this.line) return;
    this.strip.update(this.line.recent);
    this.chart.set(this.line.scores, this.line.info.threshold);
    this.counts.update(this.line.info.shift);
    this.tick();
  }

  tick() {
    this.board.tick();
    const last = this.line?.lastReject;
    this.reject.hidden = !last;
    // The time of day: this computer's clock may differ from the service's by more than "ago" would tell.
    if (last) setText(this.rejectWords, `Last NOT OK: ${dayAndTime(last.received)}`);
  }

  change(topic, name) {
    if (name === null || name === this.name) this.refresh();
  }

  themeChanged() {
    this.chart.update();
  }

  key(event) {
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") this.strip.walk(event.key === "ArrowRight" ? 1 : -1);
    else if (event.key === "Enter" && document.activeElement === document.body) this.board.button.click();
    else return false;
    return true;
  }

  async newShift() {
    const sure = await confirmed("Begin a new shift?", "The counts start again at 0. Pictures and answers stay.", "Begin new shift");
    if (sure) await attempt(async () => this.store.setLine(await api.newShift(this.name)));
  }

  close() {
    this.chart.close();
  }
}
