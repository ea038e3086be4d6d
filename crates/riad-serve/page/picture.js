// One picture with what the model found drawn around, in the picture's own pixels.
import { el, setText, svg } from "./dom.js";
import { kindOf, wordOf } from "./words.js";

/** Boxes get some air, so that they do not hide what they are about. */
const AIR = 0.012;

export function address(row, view) {
  if (view === "heat-map") return row.links.heat_map;
  return `${view === "overlay" ? row.links.overlay : row.links.image}?for=page`;
}

export class Picture {
  constructor() {
    this.image = el("img", { alt: "", decoding: "async", draggable: "false" });
    this.boxes = svg("svg", { class: "boxes", "aria-hidden": "true", focusable: "false" });
    this.gone = el("p", { class: "gone", hidden: true });
    this.frame = el("div", { class: "picture" }, this.image, this.boxes, this.gone);
    this.row = null;
    this.source = null;
    this.image.addEventListener("load", () => this.drawBoxes());
    this.image.addEventListener("error", () => this.lack(this.row?.kept ? "The picture cannot be loaded." : "The picture is no longer kept."));
  }

  /** Without a row, shows the words. */
  show(row, view = "image", words = "") {
    const source = row && row.verdict !== "error" ? address(row, view) : null;
    const same = source === this.source;
    this.row = row;
    this.view = view;
    this.source = source;
    if (!source) {
      this.image.removeAttribute("src");
      this.image.alt = "";
      this.lack(row ? "There is no picture to show." : words);
      return;
    }
    this.image.alt = `Picture ${row.id}: ${wordOf(row.verdict)}`;
    if (same) return;
    // Boxes of the new picture over the old one would point at the wrong places.
    this.boxes.replaceChildren();
    this.frame.classList.add("loading");
    this.image.src = source;
  }

  lack(words) {
    this.frame.classList.remove("loading");
    this.boxes.replaceChildren();
    setText(this.gone, words);
    this.gone.hidden = !words;
    this.image.hidden = true;
  }

  drawBoxes() {
    this.frame.classList.remove("loading");
    this.gone.hidden = true;
    this.image.hidden = false;
    const { row } = this;
    this.boxes.replaceChildren();
    if (!row?.width || this.view !== "image") return;
    this.boxes.setAttribute("viewBox", `0 0 ${row.width} ${row.height}`);
    this.boxes.setAttribute("class", `boxes ${kindOf(row.verdict)}`);
    const air = AIR * Math.max(row.width, row.height);
    for (const { x, y, width, height } of row.regions) {
      const box = { x: x - air, y: y - air, width: width + 2 * air, height: height + 2 * air, rx: air };
      this.boxes.append(svg("rect", { class: "under", ...box }), svg("rect", { class: "over", ...box }));
    }
  }

  /** Makes one box stand out, or none. */
  point(index) {
    this.boxes.querySelectorAll(".over").forEach((box, k) => box.classList.toggle("pointed", k === index));
  }
}
