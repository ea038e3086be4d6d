// The connection: server-sent events, with a watch of its own. A browser notices a dead network late or never, and
// an old OK must not look like a new one, so the page asks by itself when it hears nothing.
import * as api from "./api.js";
import { RECENT, SCORES } from "./state.js";

const QUIET = 6_000; // ms without an event until the page asks
const WAIT = 4_000; // ms for the answer
const REJECTS = 50; // the newest one that was no try by hand is among them
const RETRY = [500, 1_000, 2_000, 3_000]; // ms between attempts, the last one for ever

export class Live {
  constructor(store) {
    this.store = store;
    this.attempt = 0;
    this.asking = false;
    this.lastWall = Date.now();
    this.lastTick = performance.now();
    this.connect();
    setInterval(() => this.watch(), 1_000);
  }

  connect() {
    this.source?.close();
    clearTimeout(this.retry);
    const source = new EventSource("/v1/events");
    this.source = source;
    this.heardAt = performance.now();
    const on = (name, take) => {
      source.addEventListener(name, (event) => {
        this.heardAt = performance.now();
        take(JSON.parse(event.data));
      });
    };
    on("inspection", (row) => this.store.addInspection(row));
    on("label", (row) => this.store.addLabel(row));
    on("line", (line) => this.store.setLine(line));
    on("version", (version) => this.store.emit("version", version.line, version));
    on("making", (draft) => this.store.setDraft(draft));
    on("lines", () => this.ask(source));
    // The events are open before the lists are read, so that nothing falls between the two.
    source.addEventListener("open", () => this.load(source));
    source.addEventListener("error", () => this.fail(source));
  }

  async load(source) {
    this.store.forget();
    try {
      const all = await api.lines(WAIT);
      this.store.setLines(all);
      await Promise.all(all.lines.map(({ name }) => this.loadLine(name)));
      if (source !== this.source) return;
      this.heardAt = performance.now();
      this.attempt = 0;
      this.store.setConnection("live");
    } catch {
      this.fail(source);
    }
  }

  async loadLine(name) {
    const [recent, scores, rejects] = await Promise.all([
      api.inspections(name, { limit: RECENT }),
      api.scores(name, SCORES),
      api.inspections(name, { verdict: "defective", limit: REJECTS }),
    ]);
    this.store.setHistory(name, recent.inspections, scores, rejects.inspections.find((row) => row.source !== "page") ?? null);
  }

  fail(source) {
    if (source !== this.source) return;
    source.close();
    this.source = null;
    this.store.setConnection("lost");
    const wait = RETRY[Math.min(this.attempt++, RETRY.length - 1)];
    this.retry = setTimeout(() => this.connect(), wait);
    // The events do not say why they were refused; this call leads to the login page if that is why.
    api.lines(WAIT).catch(() => {});
  }

  watch() {
    const wall = Date.now() - this.lastWall;
    const ticked = performance.now() - this.lastTick;
    this.lastWall = Date.now();
    this.lastTick = performance.now();
    if (!this.source) return;
    // The computer slept or its clock was moved: nothing shown can be trusted.
    if (Math.abs(wall - ticked) > 3_000) {
      this.fail(this.source);
      return;
    }
    if (performance.now() - this.heardAt > QUIET) this.ask(this.source);
  }

  /** Which lines there are, and what is new at them. */
  async reload() {
    const all = await api.lines(WAIT);
    const before = new Map([...this.store.lines].map(([name, line]) => [name, line.newest?.id]));
    this.store.setLines(all);
    // A new line, or one whose pictures came without events: a proxy may hold these back.
    const behind = all.lines.filter(({ name, last }) => !before.has(name) || (last && last.id !== before.get(name)));
    await Promise.all(behind.map(({ name }) => this.loadLine(name)));
  }

  async ask(source) {
    if (this.asking || source !== this.source) return;
    this.asking = true;
    try {
      await this.reload();
      if (source === this.source) this.heardAt = performance.now();
    } catch {
      this.fail(source);
    } finally {
      this.asking = false;
    }
  }
}
