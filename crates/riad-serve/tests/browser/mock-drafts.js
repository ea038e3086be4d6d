// Lines that are being made, for the mock.
import { picture } from "./picture.js";

export class Refusal extends Error {
  constructor(status, kind, words) {
    super(words);
    Object.assign(this, { status, kind });
  }
}

const NEEDED = 29;
const STEP = 150; // ms between two epochs
const EPOCHS = 12;

const PLANS = [["tiny", 128, 260], ["small", 128, 900], ["tiny", 256, 1400], ["paper", 128, 9000], ["small", 256, 16000], ["paper", 256, 90000]];

/** Offered as well if pictures are much larger. */
const TILED = [["tiny", 128, 1800], ["tiny", 256, 7200]];

const FOUND = {
  sentence: "Made-up defects: finds 9 of 10 scratches from 14 pixels on, spots from 28; fewer of dents, even at 112",
  note: "Made-up defects: no real one was measured. They tell from which size on a kind of change is seen, not how many real defects are found.",
  lengths: [7, 14, 28, 56, 112, 225],
  kinds: [
    { name: "scratches", from: 14, found: [[4, 10], [9, 10], [10, 10], [10, 10], [10, 10], [10, 10]] },
    { name: "spots", from: 28, found: [[1, 10], [6, 10], [9, 10], [10, 10], [10, 10], [10, 10]] },
    { name: "dents", from: null, found: [[0, 10], [2, 10], [3, 10], [7, 10], [8, 10], null] },
  ],
  rate: 0.05, threshold: 0.1534,
  promise: "19 good images, for false-positive rates from 0.05 on; a rate of 0.05 stops at most 1 in 20 good products on average over calibrations",
  smallest_rate: 0.05,
};

export class Drafts {
  constructor(mock) {
    this.mock = mock;
    this.drafts = new Map();
    this.next = 1;
    this.step = STEP;
    this.isSlow = false; // pictures that come in wait until it is not so
  }

  all() {
    return [...this.drafts.values()].filter((draft) => draft.state !== "used").map((draft) => this.state(draft));
  }

  state({ name, created, state, note, goods, plan, training, found, white, likely, region }) {
    return { name, created, state, note, pictures: goods.length, bytes: goods.reduce((sum, one) => sum + one.bytes, 0), needed: NEEDED, plan, white_level: white,
      likely_white: likely && !white ? likely : null, region: region && { mask: `/v1/lines/${name}/region?is=${region.is}`, share: 0.5 },
      training: training && { ...training, losses: [...training.losses] }, found };
  }

  tell(draft) {
    this.mock.send("making", this.state(draft));
  }

  begin(name) {
    if (!/^[\w-]{1,40}$/.test(name)) throw new Refusal(400, "bad_request", `a line's name must have 1 to 40 letters, digits, - or _, and "${name}" does not`);
    if (this.drafts.has(name) || this.mock.lines.has(name)) throw new Refusal(409, "conflict", `there is a line ${name} already; choose another name`);
    const draft = { name, created: new Date().toISOString(), state: "collecting", note: null, goods: [], plan: null, training: null, found: null, white: null, likely: null, region: null, isLarge: false };
    this.drafts.set(name, draft);
    this.mock.send("lines", null);
    return draft;
  }

  good(draft, one) {
    return { id: one.id, name: one.name, bytes: one.bytes, width: 900, height: 900, thumbnail: `/v1/lines/${draft.name}/pictures/${one.id}/thumbnail` };
  }

  /** Gives a line a picture; a file whose name says so is none. */
  take(draft, name, bytes) {
    if (draft.state === "training") throw new Refusal(409, "conflict", `line ${draft.name} is being trained; its pictures stay as they are`);
    const left = /\.txt$|broken/.test(name);
    const one = { id: this.next++, name, bytes };
    if (!left) {
      draft.goods.push(one);
      this.changed(draft);
    }
    this.tell(draft);
    return { taken: left ? [] : [this.good(draft, one)], left_out: left ? [{ name, reason: "the format is not known; replace the file or remove it" }] : [], making: this.state(draft) };
  }

  changed(draft) {
    Object.assign(draft, { state: "collecting", note: null, plan: null, training: null, found: null });
  }

  train(draft, plan) {
    const goesOn = draft.state === "stopped" && JSON.stringify(plan) === JSON.stringify(draft.plan);
    Object.assign(draft, { state: "training", note: null, plan, found: null });
    if (!goesOn) draft.training = { doing: "training", progress: 0, seconds_left: null, epoch: 0, epochs: EPOCHS, losses: [] };
    const step = () => {
      if (draft.state !== "training") return;
      const { training } = draft;
      training.epoch++;
      training.losses.push({ epoch: training.epoch, learned: 0.3 * 0.8 ** training.epoch, watched: 0.32 * 0.82 ** training.epoch });
      training.progress = training.epoch / EPOCHS;
      training.seconds_left = 60 * (EPOCHS - training.epoch);
      if (training.epoch >= EPOCHS) {
        draft.state = "trained";
        draft.found = { ...FOUND, suspects: draft.goods.slice(2, 3).map(({ id, name }) => ({ id, name, reason: "more anomalous than the others: a score of 0.3100, and usual is 0.1200" })) };
      } else setTimeout(step, this.step);
      this.tell(draft);
    };
    setTimeout(step, this.step);
    this.tell(draft);
  }

  /** {status, value} or {status, value, kind}; null if it is about something else. */
  async answer(request, url, part, body) {
    const { method } = request;
    if (!part.length) return { status: 201, value: this.state(this.begin(JSON.parse(body).name)) };
    const draft = this.drafts.get(part[0]);
    if (!draft) return null;
    const call = `${method} ${part[1] ?? ""}`;
    if (call === "GET making") return { status: 200, value: this.state(draft) };
    if (call === "DELETE ") {
      this.drafts.delete(draft.name);
      this.mock.lines.delete(draft.name);
      this.mock.send("lines", null);
      return { status: 204 };
    }
    if (call === "POST pictures") while (this.isSlow) await new Promise((done) => setTimeout(done, 20));
    if (call === "POST pictures") return { status: 200, value: this.take(draft, decodeURIComponent(request.headers["x-filename"] ?? "picture"), body.length) };
    if (part[1] === "pictures") return this.pictures(method, url, part, draft);
    if (call === "GET suspects") {
      const suspects = draft.goods.slice(0, 2).map(({ id, name }, k) => ({ id, name, reason: k ? "darker than the others: a mean of 0.100, and usual is 0.500" : `hardly differs from ${draft.goods[1].name}: a second picture of one part?` }));
      return { status: 200, value: { suspects, looked_at: draft.goods.length } };
    }
    if (call === "GET plans") {
      const plan = (tile) => ([preset, size, seconds]) => ({ preset, size, tile, method: tile ? "riad" : "restore", ends_early: tile, seconds,
        estimated: seconds > 5000, epochs: 100, advised: preset === "tiny" && size === 256 && !tile });
      const plans = [...PLANS.map(plan(false)), ...(draft.isLarge ? TILED.map(plan(true)) : [])].sort((a, b) => a.seconds - b.seconds);
      return { status: 200, value: { pictures: [draft.goods.length - 22, 3, 19], plans } };
    }
    if (part[1] === "region") return this.region(method, draft, body);
    if (call === "PUT white-level") {
      draft.white = JSON.parse(body).white_level;
      return this.renewed(draft);
    }
    if (call === "POST train") {
      this.train(draft, JSON.parse(body));
      return { status: 202, value: this.state(draft) };
    }
    if (call === "DELETE train") {
      if (draft.state === "training") Object.assign(draft, { state: "stopped", note: "stopped; nothing is lost, and it can go on" });
      this.tell(draft);
      return { status: 202, value: this.state(draft) };
    }
    if (call === "POST use") {
      if (draft.state !== "trained") throw new Refusal(409, "conflict", `line ${draft.name} is being made and judges nothing yet`);
      draft.state = "used";
      this.mock.addLine(draft.name, 0, 600);
      this.tell(draft);
      this.mock.send("lines", null);
      return { status: 200, value: this.mock.line(this.mock.lines.get(draft.name)) };
    }
    if (this.mock.lines.has(draft.name)) return null;
    throw new Refusal(409, "conflict", `line ${draft.name} is being made and judges nothing yet: give it good pictures and train its model`);
  }

  renewed(draft) {
    this.changed(draft);
    this.tell(draft);
    return { status: 200, value: this.state(draft) };
  }

  region(method, draft, body) {
    if (method === "GET") {
      if (!draft.region) throw new Refusal(404, "not_found", `line ${draft.name} looks for defects everywhere`);
      return { status: 200, kind: "image/png", value: draft.region.png };
    }
    draft.region = method === "PUT" ? { png: body, is: this.next++ } : null;
    return this.renewed(draft);
  }

  pictures(method, url, part, draft) {
    if (part.length === 2) {
      const after = Number(url.searchParams.get("after") ?? 0);
      const limit = Number(url.searchParams.get("limit") ?? 100);
      const rest = draft.goods.filter((one) => one.id > after);
      const pictures = rest.slice(0, limit).map((one) => this.good(draft, one));
      return { status: 200, value: { pictures, next: rest.length > limit ? `${url.pathname}?after=${pictures.at(-1).id}` : null } };
    }
    const one = draft.goods.find(({ id }) => id === Number(part[2]));
    if (!one) throw new Refusal(404, "not_found", `this line has no good picture ${part[2]}`);
    if (part[3] === "thumbnail") return { status: 200, kind: "image/png", value: picture("image", { verdict: "good", defects: [], turn: one.id * 0.4 }, 160) };
    if (part[3] === "image") return { status: 200, kind: "image/png", value: picture("image", { verdict: "good", defects: [], turn: one.id * 0.4 }, 450) };
    draft.goods = draft.goods.filter((other) => other !== one);
    return this.renewed(draft);
  }
}
