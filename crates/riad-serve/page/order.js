// The order in which the large picture is turned over: the line's flow, what waits for an answer, or a given list.
import * as api from "./api.js";
import { isAsked } from "./words.js";

const BATCH = 50;

export class Order {
  /** `ids` newest first; without them the line's own flow. */
  constructor(store, line, ids = null, name = "") {
    this.store = store;
    this.line = line;
    this.given = ids;
    this.name = name;
    this.isQueue = false;
  }

  static async unanswered(store, line) {
    const { inspections } = await api.inspections(line, { unanswered: "true", limit: BATCH });
    const order = new Order(store, line, inspections.map((row) => row.id));
    order.isQueue = true;
    return order;
  }

  get ids() {
    if (this.given) return this.given;
    const state = this.store.lines.get(this.line);
    if (!state) return [];
    const ids = new Set([...state.recent, ...state.scores].map((row) => row.id));
    return [...ids].sort((a, b) => b - a);
  }

  hasNewer(id) {
    return this.ids.some((one) => this.isBefore(one, id));
  }

  /** The flow goes on beyond what the page has in memory. */
  hasOlder(id) {
    return this.given ? this.ids.indexOf(id) < this.ids.length - 1 : true;
  }

  isBefore(one, id) {
    return this.given ? this.ids.indexOf(one) < this.ids.indexOf(id) : one > id;
  }

  /** The id that lies `step` (1 older, -1 newer) from `id`, or null. */
  async next(id, step) {
    const { ids } = this;
    if (this.given) return ids[ids.indexOf(id) + step] ?? null;
    if (step < 0) return ids.filter((one) => one > id).at(-1) ?? null;
    const older = ids.find((one) => one < id);
    if (older !== undefined) return older;
    const { inspections } = await api.inspections(this.line, { before: id, limit: 10 });
    return inspections.find((row) => row.source !== "page")?.id ?? null;
  }

  /** Takes an answered one out of the queue; gives the next, or null when all are answered. */
  async answered(id) {
    const at = this.given.indexOf(id);
    if (at >= 0) this.given.splice(at, 1);
    if (!this.given.length) this.given = (await Order.unanswered(this.store, this.line)).given;
    return this.given[Math.min(Math.max(0, at), this.given.length - 1)] ?? null;
  }

  asksAgain(row) {
    if (this.isQueue && !row.label && isAsked(row) && !this.given.includes(row.id)) this.given.unshift(row.id);
  }

  words(id) {
    if (!this.given || id === undefined) return "";
    const at = this.given.indexOf(id);
    if (this.isQueue) {
      const waiting = Math.max(this.store.lines.get(this.line)?.info.unanswered ?? 0, this.given.length);
      return `${waiting} to answer`;
    }
    return at < 0 ? "" : `${this.name} ${at + 1} of ${this.given.length}`.trim();
  }
}
