// Speaks the HTTP contract of `riad serve` with made-up data, for the page's tests and for working on the page.
// `node mock.js 8700` serves the page on that port with a picture a second.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { extname, join, normalize } from "node:path";
import { Drafts, Refusal } from "./mock-drafts.js";
import { picture } from "./picture.js";

const PAGE = fileURLToPath(new URL("../../page/", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml" };
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; " +
  "form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
const THRESHOLD = 0.15;

export class Mock {
  constructor({ lines = ["lid"], token = null, history = 240, expectsEvery = 600 } = {}) {
    this.token = token;
    this.seed = 7;
    this.nextId = 1;
    this.lines = new Map();
    this.drafts = new Drafts(this);
    this.listeners = new Set();
    this.pictures = new Map();
    this.pageRequests = [];
    this.refuse = null; // a Refusal for the next writes
    this.silent = false; // hold every answer, as a network that swallows packets does
    for (const name of lines) this.addLine(name, history, expectsEvery);
  }

  random() {
    this.seed = (this.seed * 1103515245 + 12345) & 0x7fffffff;
    return this.seed / 0x7fffffff;
  }

  addLine(name, history, expectsEvery) {
    const line = {
      name, expectsEvery, inspections: [], drift: 0.42, trouble: null,
      shift: { since: new Date(Date.now() - 2 * 3600e3).toISOString(), good: 0, defective: 0, not_this_product: 0, error: 0 },
      versions: [{ version: 1, model: "3fa8c0d1e2b4", made: "opened", from: null, created: new Date(Date.now() - 864e5).toISOString(),
        in_use: true, state: "ready", progress: 1, note: null, trial: null }],
      back: null,
    };
    this.lines.set(name, line);
    for (let k = 0; k < history; k++) {
      const verdict = k % 37 === 29 ? "defective" : "good";
      const row = this.inspection(line, { verdict, ago: (history - k) * 4000 + 3000, rise: 0.03 * (k / history), audit: k % 60 === 50 });
      if (row.verdict === "defective" && k < history - 90) this.setLabel(row, k % 74 === 29 ? "good" : "defective");
      else if (row.audit && k < history - 90) this.setLabel(row, "good");
    }
  }

  /** Adds an inspection without telling anyone. */
  inspection(line, { verdict = "good", ago = 0, rise = 0, audit = false, source = "http", name = null, reason = null } = {}) {
    const id = this.nextId++;
    const bad = verdict === "defective";
    const defects = [];
    for (let k = 0; bad && k < 1 + (id % 2); k++) {
      const angle = this.random() * 6.28;
      const far = 0.12 + this.random() * 0.2;
      defects.push({ x: 0.5 + far * Math.cos(angle), y: 0.5 + far * Math.sin(angle), rx: 0.02 + 0.04 * this.random(), ry: 0.02 + 0.03 * this.random() });
    }
    const scored = verdict === "good" || bad;
    const score = bad ? 0.17 + 0.25 * this.random() : 0.07 + 0.05 * this.random() + rise;
    const base = `/v1/lines/${encodeURIComponent(line.name)}/inspections/${id}`;
    const row = {
      id, line: line.name, received: new Date(Date.now() - ago).toISOString(), source,
      name: name ?? `cam1-${String(id).padStart(5, "0")}.png`, verdict,
      reason: reason ?? (verdict === "not_this_product" ? "The picture is nearly black: no product is seen." : verdict === "error" ? "The file ends too early; it may not be written completely." : null),
      score: verdict === "error" ? null : scored ? score : 0.9, p_value: verdict === "error" ? null : bad ? 0.004 : this.random(),
      threshold: verdict === "error" ? null : THRESHOLD, rate: verdict === "error" ? null : 0.05, confidence: null,
      regions: defects.map((d, k) => ({
        x: Math.round(900 * (d.x - 1.3 * d.rx)), y: Math.round(900 * (d.y - 1.3 * d.ry)),
        width: Math.round(900 * 2.6 * d.rx), height: Math.round(900 * 2.6 * d.ry), area: Math.round(2e6 * d.rx * d.ry), peak: score - 0.02 * k,
      })),
      regions_total: defects.length,
      width: verdict === "error" ? null : 900, height: verdict === "error" ? null : 900,
      model: "3fa8c0d1e2b4", version: line.versions.find((v) => v.in_use).version, riad_version: "0.1.0", ms: 7.9,
      audit, label: null, labelled: null, kept: true,
      links: { self: base, image: `${base}/image`, thumbnail: `${base}/thumbnail`, heat_map: `${base}/heat-map`, overlay: `${base}/overlay` },
    };
    Object.defineProperty(row, "drawn", { value: { verdict, defects, turn: (id % 12) * 0.5 }, enumerable: false });
    line.inspections.push(row);
    if (line.inspections.length > 3000) line.inspections.shift();
    if (source !== "page") line.shift[verdict]++;
    return row;
  }

  /** An inspection that comes in now. */
  add(name, options = {}) {
    const line = this.lines.get(name);
    const row = this.inspection(line, options);
    this.send("inspection", row);
    if (row.source !== "page") this.sendLine(line);
    return row;
  }

  setLabel(row, label) {
    row.label = label;
    row.labelled = label ? new Date().toISOString() : null;
  }

  flow(line) {
    return line.inspections.filter((row) => row.source !== "page");
  }

  line(line) {
    const flow = this.flow(line);
    const last = flow.at(-1) ?? null;
    const seconds = last ? (Date.now() - Date.parse(last.received)) / 1000 : null;
    const strange = last && (last.verdict === "not_this_product" || last.verdict === "error");
    const stopped = last && seconds > line.expectsEvery;
    return {
      name: line.name, state: !last ? "idle" : stopped || strange ? "amber" : "running",
      why: stopped ? `No image for ${Math.round(seconds)} s; one is expected every ${line.expectsEvery} s.` : strange ? last.reason : null,
      model: "3fa8c0d1e2b4", version: line.versions.find((v) => v.in_use).version, back: line.back, method: "restore",
      width: 128, height: 128, channels: 3, rate: 0.05, confidence: null, threshold: THRESHOLD,
      promise: "120 good images, for false-positive rates from 0.0083 on; a rate of 0.05 stops at most 1 in 20 good products on average over calibrations", watch: null, expects_every: line.expectsEvery,
      last, seconds_since_last: seconds, shift: { ...line.shift }, queue: 0,
      unanswered: flow.filter(unanswered).length, drift: line.drift,
      measured: this.measured(flow),
    };
  }

  measured(flow) {
    const rejects = flow.filter((row) => row.label && row.verdict === "defective");
    const passed = flow.filter((row) => row.label && row.verdict === "good" && row.audit);
    const share = (rows, label) => [rows.filter((row) => row.label === label).length, rows.length, 0.01, 0.4];
    return { false_alarms: share(rejects, "good"), misses: share(passed, "defective") };
  }

  send(event, data) {
    const text = `id: ${this.nextId}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
    for (const response of this.listeners) if (!this.silent) response.write(text);
  }

  sendLine(line) {
    this.send("line", this.line(line));
  }

  async listen(port = 0) {
    this.server = createServer((request, response) => {
      this.answer(request, response).catch((error) => {
        const refusal = error instanceof Refusal ? error : new Refusal(500, "internal", String(error));
        json(response, refusal.status, { error: refusal.message, kind: refusal.kind });
      });
    });
    await new Promise((done) => this.server.listen(port, "127.0.0.1", done));
    this.port = this.server.address().port;
    this.url = `http://127.0.0.1:${this.port}`;
    return this;
  }

  async close() {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
    this.listeners.clear();
  }

  async answer(request, response) {
    if (this.silent) return;
    const url = new URL(request.url, "http://mock");
    response.setHeader("Content-Security-Policy", CSP);
    response.setHeader("X-Content-Type-Options", "nosniff");
    response.setHeader("Referrer-Policy", "no-referrer");
    const body = await read(request);
    const { origin, host } = request.headers;
    if (request.method !== "GET" && origin && origin !== `http://${host}`) throw new Refusal(403, "forbidden", "a page from elsewhere asked for this");
    const free = ["/login", "/assets/style.css", "/assets/icon.svg"].includes(url.pathname);
    if (this.token && !free && !(request.headers.cookie ?? "").includes(`riad=${this.token}`)) {
      if (url.pathname === "/") return redirect(response, "/login");
      throw new Refusal(401, "unauthorized", "A token is needed.");
    }
    if (url.pathname === "/login" && request.method === "POST") {
      if (new URLSearchParams(body.toString()).get("token") !== this.token) return redirect(response, "/login#wrong");
      response.setHeader("Set-Cookie", `riad=${this.token}; HttpOnly; SameSite=Strict; Path=/`);
      return redirect(response, "/");
    }
    if (url.pathname === "/v1/events") return this.events(request, response);
    if (url.pathname.startsWith("/v1/lines")) return this.api(request, response, url, body);
    return this.file(response, url.pathname);
  }

  async file(response, path) {
    const name = path === "/" ? "index.html" : path === "/login" ? "login.html" : path.startsWith("/assets/") ? path.slice(8) : null;
    if (!name || normalize(name).startsWith("..")) throw new Refusal(404, "not_found", "There is no such page.");
    this.pageRequests.push(path);
    const data = await readFile(join(PAGE, name)).catch(() => { throw new Refusal(404, "not_found", "There is no such file."); });
    response.writeHead(200, { "Content-Type": TYPES[extname(name)], "Cache-Control": "no-cache" });
    response.end(data);
  }

  events(request, response) {
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
    response.write(": hello\n\n");
    this.listeners.add(response);
    for (const line of this.lines.values()) this.sendLine(line);
    request.on("close", () => this.listeners.delete(response));
  }

  async api(request, response, url, body) {
    const part = url.pathname.split("/").slice(3).map(decodeURIComponent);
    const write = request.method !== "GET";
    if (write && this.refuse) throw this.refuse;
    if (!part.length && !write) {
      return json(response, 200, { lines: [...this.lines.values()].map((line) => this.line(line)), being_made: this.drafts.all() });
    }
    const made = await this.drafts.answer(request, url, part, body);
    if (made) {
      response.writeHead(made.status, { "Content-Type": made.kind ?? "application/json", "Cache-Control": "no-store" });
      response.end(made.kind ? made.value : made.status === 204 ? undefined : JSON.stringify(made.value));
      return undefined;
    }
    const line = this.lines.get(part[0]);
    if (!line) throw new Refusal(404, "not_found", `There is no line ${part[0]}.`);
    if (part.length === 1) return json(response, 200, this.line(line));
    if (part[1] === "inspect") return this.inspect(request, response, url, line, body);
    if (part[1] === "scores") {
      const rows = this.flow(line).filter((row) => row.score !== null).slice(-Number(url.searchParams.get("limit") ?? 500));
      return json(response, 200, { scores: rows.map(({ id, received, score, verdict, label, threshold }) => ({ id, received, score, verdict, label, threshold })) });
    }
    if (part[1] === "shift") {
      line.shift = { since: new Date().toISOString(), good: 0, defective: 0, not_this_product: 0, error: 0 };
      this.sendLine(line);
      return json(response, 200, this.line(line));
    }
    if (part[1] === "versions") return this.versions(request, response, line, part, body);
    if (part.length === 2) return this.list(response, url, line);
    const row = line.inspections.find((one) => one.id === Number(part[2]));
    if (!row) throw new Refusal(404, "not_found", "There is no such inspection; it may have been deleted.");
    if (part.length === 3) return json(response, 200, row);
    if (part[3] === "label") {
      this.setLabel(row, JSON.parse(body).label);
      this.send("label", row);
      this.sendLine(line);
      return json(response, 200, row);
    }
    return this.image(response, row, part[3]);
  }

  image(response, row, kind) {
    if (row.verdict === "error" || !row.kept) throw new Refusal(404, "not_found", "The picture is no longer kept.");
    const [drawn, size] = kind === "thumbnail" ? ["image", 160] : [kind, 450];
    const key = `${drawn} ${size} ${row.drawn.defects.length ? row.id : row.drawn.verdict + row.drawn.turn}`;
    if (!this.pictures.has(key)) this.pictures.set(key, picture(drawn, row.drawn, size));
    response.writeHead(200, { "Content-Type": "image/png", "Cache-Control": "max-age=31536000, immutable" });
    response.end(this.pictures.get(key));
  }

  list(response, url, line) {
    const query = url.searchParams;
    const limit = Number(query.get("limit") ?? 50);
    let rows = [...line.inspections].reverse();
    if (query.get("verdict")) rows = rows.filter((row) => row.verdict === query.get("verdict"));
    if (query.get("label")) rows = rows.filter((row) => (row.label ?? "none") === query.get("label"));
    if (query.get("audit")) rows = rows.filter((row) => row.audit);
    if (query.get("unanswered")) rows = rows.filter((row) => row.source !== "page" && unanswered(row));
    if (query.get("before")) rows = rows.filter((row) => row.id < Number(query.get("before")));
    const more = rows.length > limit;
    rows = rows.slice(0, limit);
    query.set("before", rows.at(-1)?.id);
    return json(response, 200, { inspections: rows, next: more ? `${url.pathname}?${query}` : null });
  }

  /** What is dropped is taken for good, unless its name says otherwise. */
  inspect(request, response, url, line) {
    const name = decodeURIComponent(request.headers["x-filename"] ?? "picture.png");
    const verdict = /bad/.test(name) ? "defective" : /black/.test(name) ? "not_this_product" : /broken/.test(name) ? "error" : "good";
    const row = this.add(line.name, { verdict, name, source: url.searchParams.get("source") === "page" ? "page" : "http" });
    return json(response, verdict === "error" ? 422 : 200, row);
  }

  versions(request, response, line, part, body) {
    if (part[3] === "use") {
      const version = line.versions.find((one) => one.version === Number(part[2]));
      if (!version) throw new Refusal(404, "not_found", "There is no such version.");
      const before = line.versions.find((one) => one.in_use);
      before.in_use = false;
      version.in_use = true;
      line.back = before.version;
      for (const one of [before, version]) this.send("version", { ...one, line: line.name });
      this.sendLine(line);
      return json(response, 200, this.line(line));
    }
    if (request.method === "GET") return json(response, 200, { versions: [...line.versions].reverse() });
    const { how, inspections } = JSON.parse(body);
    const drawn = line.inspections.filter((row) => row.audit && row.label === "good" && inspections.includes(row.id)).length;
    if (how === "recalibrate" && !drawn) throw new Refusal(400, "bad_request", "a false-positive rate of 0.05 takes 1 audited pictures that are labelled good; 0 of those selected are");
    const version = { version: line.versions.length + 1, model: "9be1f2a3c4d5", made: how === "train" ? "trained" : "recalibrated",
      from: line.versions.find((one) => one.in_use).version, created: new Date().toISOString(), in_use: false, state: "making",
      progress: 0, note: how === "train" ? "epoch 1 of 20" : null, trial: null };
    line.versions.push(version);
    const step = () => {
      version.progress = Math.min(1, version.progress + 0.25);
      if (version.progress >= 1) {
        Object.assign(version, { state: "ready", note: null, trial: {
          sentence: "stops 9 instead of 31 of the false alarms, still finds 48 of 50 confirmed defects",
          false_alarms: [9, 31, 60], defects: [48, 50, 50] } });
      } else setTimeout(step, 300);
      this.send("version", { ...version, line: line.name });
    };
    setTimeout(step, 300);
    return json(response, 202, version);
  }
}

const unanswered = (row) => !row.label && (row.verdict === "defective" || (row.audit && row.verdict === "good"));

async function read(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

function json(response, status, value) {
  response.writeHead(status, { "Content-Type": "application/json", "Cache-Control": "no-store" });
  response.end(JSON.stringify(value));
}

function redirect(response, to) {
  response.writeHead(303, { Location: to });
  response.end();
}

export { Refusal };

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const mock = await new Mock({ lines: process.argv.slice(3).length ? process.argv.slice(3) : ["lid"], expectsEvery: 10 }).listen(Number(process.argv[2] ?? 8700));
  process.stdout.write(`${mock.url}\n`);
  setInterval(() => {
    for (const name of mock.lines.keys()) {
      const luck = Math.random();
      mock.add(name, { verdict: luck < 0.1 ? "defective" : luck < 0.12 ? "not_this_product" : "good", audit: luck > 0.97 });
    }
  }, 1000);
}
