// The last pictures, small, newest first. Its nodes are reused: the page stays open for weeks.
import { el, setAttribute, setSign, sign } from "./dom.js";
import { clock, kindOf, labelWord, wordOf } from "./words.js";

class Cell {
  constructor(open) {
    this.id = null;
    this.image = el("img", { alt: "", decoding: "async", draggable: "false" });
    this.mark = sign("ok");
    this.button = el("button", { type: "button", class: "thumb", onclick: () => open(this.row) }, this.image, this.mark);
    this.node = el("li", {}, this.button);
    this.image.addEventListener("load", () => this.button.classList.remove("loading"));
    this.image.addEventListener("error", () => this.image.removeAttribute("src"));
  }

  set(row) {
    this.row = row;
    const kind = kindOf(row.verdict);
    setAttribute(this.button, "data-kind", kind);
    setAttribute(this.button, "data-label", row.label ?? "");
    setSign(this.mark, kind);
    const words = [`Picture ${row.id}`, wordOf(row.verdict), clock(row.received), labelWord(row)].filter(Boolean).join(", ");
    setAttribute(this.button, "aria-label", words);
    setAttribute(this.button, "title", words);
    if (this.id !== row.id) {
      if (row.verdict === "error" || !row.kept) this.image.removeAttribute("src");
      else {
        this.button.classList.add("loading");
        this.image.src = row.links.thumbnail;
      }
    }
    this.id = row.id;
  }
}

export class Strip {
  constructor(size, open, label) {
    this.cells = [];
    this.size = size;
    this.open = open;
    this.list = el("ol", { class: "strip", "aria-label": label });
  }

  update(rows) {
    const wanted = rows.slice(0, this.size);
    const ids = new Set(wanted.map((row) => row.id));
    const kept = new Map();
    const free = [];
    for (const cell of this.cells) {
      if (ids.has(cell.id)) kept.set(cell.id, cell);
      else free.push(cell);
    }
    wanted.forEach((row, at) => {
      const cell = kept.get(row.id) ?? free.pop() ?? this.make();
      cell.set(row);
      const there = this.list.children[at];
      // Moving a node that lies right would take the focus from it.
      if (there !== cell.node) this.list.insertBefore(cell.node, there ?? null);
    });
    for (const cell of free) cell.node.remove();
    this.cells = this.cells.filter((cell) => cell.node.parentNode);
  }

  make() {
    const cell = new Cell(this.open);
    this.cells.push(cell);
    return cell;
  }

  /** Moves the focus by `step` pictures, from outside to the newest. */
  walk(step) {
    const buttons = [...this.list.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    buttons[at < 0 ? 0 : Math.max(0, Math.min(buttons.length - 1, at + step))]?.focus();
  }
}
