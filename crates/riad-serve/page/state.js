// What the page knows of the lines. Every list here has an end: the page stays open for weeks.

export const RECENT = 24;
export const SCORES = 500;

class LineState {
  constructor(name) {
    this.name = name;
    this.info = null;
    this.recent = []; // inspections of the line's own flow, newest first
    this.scores = []; // oldest first, as the chart runs
    this.lastReject = null;
    this.lastAt = null; // performance.now() of the last picture: a clock that nobody sets
    this.loaded = false;
  }

  get newest() {
    return this.recent[0] ?? null;
  }

  /** Seconds since the last picture, or null. */
  age() {
    return this.lastAt === null ? null : Math.max(0, (performance.now() - this.lastAt) / 1000);
  }

  /** Forgets all rows: what is read next may be of another store, whose numbers are lower. */
  forget() {
    this.recent = [];
    this.scores = [];
    this.lastReject = null;
    this.lastAt = null;
    this.loaded = false;
  }

  /** Takes a row that is new, known or late; says whether it is the newest now. */
  take(row) {
    if (row.source === "page") return false;
    const isNewest = !this.newest || row.id > this.newest.id;
    const at = this.recent.findIndex((one) => one.id <= row.id);
    if (at >= 0 && this.recent[at].id === row.id) this.recent[at] = row;
    else if (at >= 0) this.recent.splice(at, 0, row);
    else if (this.recent.length < RECENT) this.recent.push(row);
    this.recent.length = Math.min(this.recent.length, RECENT);
    this.takeScore(row);
    if (row.verdict === "defective" && row.id >= (this.lastReject?.id ?? 0)) this.lastReject = row;
    return isNewest;
  }

  takeScore({ id, received, score, verdict, label, threshold }) {
    const point = { id, received, score, verdict, label, threshold };
    const end = this.scores.at(-1);
    if (!end || id > end.id) {
      if (this.scores.push(point) > SCORES) this.scores.shift();
      return;
    }
    const at = this.scores.findIndex((one) => one.id >= id);
    if (this.scores[at].id === id) this.scores[at] = point;
    else if (at > 0) {
      this.scores.splice(at, 0, point);
      if (this.scores.length > SCORES) this.scores.shift();
    }
  }
}

export class Store {
  constructor() {
    this.lines = new Map();
    this.drafts = new Map(); // lines that are being made, by name
    this.isRead = false;
    this.connection = "connecting"; // then "live" or "lost"
    this.listeners = new Set();
  }

  /** `listener(topic, line name or null, data)`; topics: connection, lines, line, inspection, label, version, making, uploads. */
  listen(listener) {
    this.listeners.add(listener);
  }

  emit(topic, name = null, data = null) {
    for (const listener of this.listeners) listener(topic, name, data);
  }

  setConnection(connection) {
    if (this.connection === connection) return;
    this.connection = connection;
    this.emit("connection");
  }

  /** Before all is read anew. What comes from now on counts. */
  forget() {
    for (const line of this.lines.values()) line.forget();
  }

  /** All lines as the service has them: those that are served, and those that are being made. */
  setLines({ lines: infos, being_made: drafts }) {
    const before = this.names();
    const names = new Set(infos.map((info) => info.name));
    for (const name of this.lines.keys()) if (!names.has(name)) this.lines.delete(name);
    for (const info of infos) {
      if (!this.lines.has(info.name)) this.lines.set(info.name, new LineState(info.name));
      this.setLine(info);
    }
    const making = new Set(drafts.map((draft) => draft.name));
    for (const name of this.drafts.keys()) if (!making.has(name)) this.drafts.delete(name);
    for (const draft of drafts) this.setDraft(draft, true);
    if (before !== this.names() || !this.isRead) {
      this.isRead = true;
      this.emit("lines");
    }
  }

  names() {
    return [[...this.lines.keys()], [...this.drafts.keys()]].map((names) => names.join("\n")).join("\n\n");
  }

  /** Of a line that is being made; one that is not known is new only if `isNew` says so. */
  setDraft(draft, isNew = false) {
    if (draft.state === "used" || (!isNew && !this.drafts.has(draft.name))) return;
    this.drafts.set(draft.name, draft);
    this.emit("making", draft.name);
  }

  /** Of a line that is known; which there are, setLines says, and an event may come before it. */
  setLine(info) {
    const line = this.lines.get(info.name);
    if (!line) return;
    line.info = info;
    const known = line.newest;
    if (info.last) line.take(info.last);
    // An answer may be older than the events that overtook it.
    if (known && info.last && info.last.id < known.id) info.last = known;
    else if (info.seconds_since_last !== null) line.lastAt = performance.now() - info.seconds_since_last * 1000;
    this.emit("line", info.name);
  }

  /** The rows and scores of a line as the service has them, merged with what came meanwhile. */
  setHistory(name, rows, scores, lastReject) {
    const line = this.lines.get(name);
    if (!line) return;
    const meanwhile = line.recent;
    line.recent = [];
    line.scores = scores.slice(-SCORES);
    line.lastReject = lastReject;
    for (const row of [...rows, ...meanwhile]) line.take(row);
    line.loaded = true;
    this.emit("line", name);
  }

  addInspection(row) {
    const line = this.lines.get(row.line);
    if (!line) return;
    if (line.take(row)) {
      line.lastAt = performance.now();
      line.info.last = row;
      if (row.verdict === "good" || row.verdict === "defective") Object.assign(line.info, { state: "running", why: null });
    }
    this.emit("inspection", row.line, row);
  }

  addLabel(row) {
    const line = this.lines.get(row.line);
    if (!line) return;
    if (line.scores.length && row.id >= line.scores[0].id) line.take(row);
    else if (line.lastReject?.id === row.id) line.lastReject = row;
    this.emit("label", row.line, row);
  }
}
