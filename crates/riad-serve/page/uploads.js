// Good pictures on their way to the service: a few at once, each with its answer. They go on while another view is shown.
import * as api from "./api.js";

const AT_ONCE = 3;
const AGAIN = 1_000; // ms until one is sent again that the service had no room for
const MOST_TOLD = 500; // of those that were left out

export class Uploads {
  static all = new Map();

  /** Those of a line. */
  static of(store, line) {
    if (!Uploads.all.has(line)) Uploads.all.set(line, new Uploads(store, line));
    return Uploads.all.get(line);
  }

  static get isBusy() {
    return [...Uploads.all.values()].some((one) => one.isBusy);
  }

  constructor(store, line) {
    Object.assign(this, { store, line, waiting: [], running: 0, done: 0, total: 0, leftOut: [], error: null, stopping: null });
  }

  get isBusy() {
    return this.running > 0;
  }

  add(files) {
    if (!this.isBusy || this.stopping.signal.aborted) Object.assign(this, { done: 0, total: 0, leftOut: [], error: null, stopping: new AbortController() });
    this.waiting.push(...files);
    this.total += files.length;
    while (this.running < AT_ONCE && this.waiting.length) this.work();
    this.tell();
  }

  /** Sends no more, and breaks off what is on its way. What came stays. */
  stop() {
    this.waiting.length = 0;
    this.stopping.abort();
    this.tell();
  }

  async work() {
    this.running++;
    while (this.waiting.length) {
      const one = this.waiting.shift();
      try {
        await this.send(one);
        this.done++;
      } catch (error) {
        // What was stopped; others may have been added since.
        if (error.status === api.ABORTED) continue;
        // Without the service, or without room on its disk, all that wait would fail alike.
        if (error.status === 0 || error.status === 409 || error.status === 507 || error.status === 401) {
          this.error = error.message;
          this.waiting.length = 0;
        } else {
          this.done++;
          this.leave(one.name, error.message);
        }
      }
      this.tell();
    }
    this.running--;
    if (!this.running && this.stopping.signal.aborted) this.error = `Stopped: ${this.done} of ${this.total} were sent.`;
    this.tell();
  }

  async send({ file, name }) {
    for (;;) {
      try {
        const { left_out, making } = await api.addPicture(this.line, file, name, this.stopping.signal);
        for (const { name: which, reason } of left_out) this.leave(which, reason);
        this.store.setDraft(making);
        return;
      } catch (error) {
        if (error.status !== 503) throw error;
        await new Promise((done) => setTimeout(done, AGAIN));
        if (this.stopping.signal.aborted) throw new api.ApiError("Stopped.", api.ABORTED);
      }
    }
  }

  leave(name, reason) {
    if (this.leftOut.length < MOST_TOLD) this.leftOut.push({ name, reason });
  }

  tell() {
    this.store.emit("uploads", this.line);
  }
}
