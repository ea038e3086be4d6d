// The versions of a line's model: what they would have done, and which one is in use.
import * as api from "./api.js";
import { confirmed } from "./confirm.js";
import { el, paced, setText } from "./dom.js";
import { attempt, toast } from "./toast.js";
import { dayAndTime, percent } from "./words.js";

const MADE = { opened: "as the line was opened", recalibrated: "recalibrated", trained: "trained on" };

export class Versions {
  constructor(store, name) {
    this.store = store;
    this.name = name;
    this.all = new Map();
    this.back = el("button", { type: "button", hidden: true, onclick: () => this.use(this.info.back) });
    this.promise = el("p", { class: "hint" });
    this.list = el("ol", { class: "versions" });
    this.node = el("section", { class: "card", "aria-labelledby": "versions-title" },
      el("header", {}, el("h2", { id: "versions-title" }, "Versions"), this.back), this.promise, this.list);
    this.cards = new Map();
    this.render = paced(() => this.paint());
    attempt(async () => (await api.versions(name)).forEach((version) => this.take(version)));
  }

  get info() {
    return this.store.lines.get(this.name)?.info;
  }

  take(version) {
    this.all.set(version.version, version);
    this.render();
  }

  paint() {
    if (!this.info) return;
    const { back, promise } = this.info;
    this.back.hidden = !back;
    setText(this.back, `Back to version ${back}`);
    setText(this.promise, promise ? `Calibrated with ${promise}.` : "");
    const sorted = [...this.all.values()].sort((a, b) => b.version - a.version);
    sorted.forEach((version, at) => {
      const inUse = version.version === this.info.version;
      const state = JSON.stringify([version, inUse]);
      let card = this.cards.get(version.version);
      // A card is made anew only if it says something else: the focus on its button stays.
      if (card?.state !== state) {
        const node = this.card(version, inUse);
        if (card) card.node.replaceWith(node);
        else this.list.insertBefore(node, this.list.children[at] ?? null);
        card = { node, state };
        this.cards.set(version.version, card);
      }
    });
  }

  card(version, inUse) {
    const { version: n, state, trial, note, from, made, created } = version;
    const title = el("h3", {}, `Version ${n}`, inUse ? el("span", { class: "in-use" }, "in use") : "");
    const about = el("p", { class: "about" }, `${MADE[made] ?? made}${from ? ` from version ${from}` : ""} · ${dayAndTime(created)} · model ${version.model || "–"}`);
    const node = el("li", { class: "version", "data-state": state }, title, about);
    if (state === "making") {
      const words = `${percent(version.progress ?? 0)}${note ? ` · ${note}` : ""}`;
      node.append(el("progress", { max: "1", value: String(version.progress ?? 0), "aria-label": `Progress of version ${n}` }), el("p", { class: "hint" }, words));
    } else if (note) {
      node.append(el("p", { class: state === "failed" ? "failed" : "hint" }, state === "failed" ? `Failed: ${note}` : note));
    }
    if (trial) {
      const [stopped, stoppedNow, good] = trial.false_alarms;
      const [found, foundNow, bad] = trial.defects;
      node.append(el("p", { class: "trial" }, `On the labelled pictures it ${trial.sentence}.`.replace(/\.\.$/, ".")),
        el("p", { class: "hint" }, `Good ones stopped: ${stopped} of ${good} (now ${stoppedNow}). Bad ones found: ${found} of ${bad} (now ${foundNow}).`));
    }
    if (state === "ready" && !inUse) node.append(el("button", { type: "button", class: "primary", onclick: () => this.use(n) }, `Use version ${n}`));
    return node;
  }

  async use(n) {
    const trial = this.all.get(n)?.trial;
    const lost = trial ? trial.defects[1] - trial.defects[0] : 0;
    if (lost > 0 && !(await confirmed(`Use version ${n}?`, `It misses ${lost} of the confirmed defects that the present version finds.`, `Use version ${n}`))) return;
    const line = await attempt(() => api.useVersion(this.name, n));
    if (!line) return;
    this.store.setLine(line);
    this.render();
    toast(`Version ${n} is in use.`);
  }
}
