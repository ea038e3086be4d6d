// Several lines side by side.
import { Board } from "./board.js";
import { Counts } from "./counts.js";
import { el, paced, setText } from "./dom.js";
import { Strip } from "./strip.js";
import { count, percent } from "./words.js";

const THUMBS = 6;

class Tile {
  constructor(store, name, { openPicture, standingChanged }) {
    this.store = store;
    this.name = name;
    const open = (row) => openPicture(name, row.id);
    this.board = new Board(store, name, { heading: "h3", open, standingChanged });
    this.strip = new Strip(THUMBS, open, `The last ${THUMBS} pictures of ${name}, newest first`);
    this.counts = new Counts();
    this.asked = el("a", { class: "asked", href: `#/line/${encodeURIComponent(name)}/answer`, hidden: true });
    this.node = el("article", { class: "tile", "data-line": name, "aria-label": `Line ${name}` },
      el("header", {}, el("h2", {}, el("a", { href: `#/line/${encodeURIComponent(name)}` }, name)), this.asked, this.board.drift),
      this.board.verdict, this.board.button, this.strip.list, this.counts.node);
    this.render = paced(() => this.paint());
  }

  refresh() {
    this.board.update();
    this.render();
  }

  paint() {
    const line = this.store.lines.get(this.name);
    if (!line) return;
    this.strip.update(line.recent);
    this.counts.update(line.info.shift);
    this.asked.hidden = !line.info.unanswered;
    setText(this.asked, `${count(line.info.unanswered, "picture")} to answer`);
  }
}

const STAGES = { collecting: "is being made", stopped: "training stopped", failed: "training failed", trained: "ready to be put on the line" };

/** A line that is being made. */
class DraftTile {
  constructor(store, name) {
    Object.assign(this, { store, name });
    const href = `#/line/${encodeURIComponent(name)}/make`;
    this.words = el("p", {});
    this.node = el("article", { class: "tile draft", "aria-label": `New line ${name}` },
      el("header", {}, el("h2", {}, el("a", { href }, name))), this.words, el("a", { class: "button", href }, "Go on"));
  }

  refresh() {
    const draft = this.store.drafts.get(this.name);
    if (!draft) return;
    const { state, training, pictures } = draft;
    setText(this.words, state === "training" ? `${training.doing}: ${percent(training.progress)}` : `${STAGES[state]} · ${count(pictures, "good picture")}`);
  }
}

export class Overview {
  constructor(store, actions) {
    this.tiles = [...store.lines.keys()].map((name) => new Tile(store, name, actions));
    this.drafts = [...store.drafts.keys()].map((name) => new DraftTile(store, name));
    this.node = el("div", { class: "overview" }, ...[...this.tiles, ...this.drafts].map((tile) => tile.node));
    this.node.dataset.lines = Math.min(this.tiles.length + this.drafts.length, 9);
    this.refresh();
  }

  refresh() {
    for (const tile of [...this.tiles, ...this.drafts]) tile.refresh();
  }

  change(topic, name) {
    for (const tile of [...this.tiles, ...this.drafts]) if (name === null || name === tile.name) tile.refresh();
  }

  tick() {
    for (const tile of this.tiles) tile.board.tick();
  }

  themeChanged() {}

  key() {
    return false;
  }

  close() {}
}
