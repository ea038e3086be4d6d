// What the tests share: a browser, a service (the mock, or a real one at RIAD_URL), and pictures to send.
//
// Against a real service that was started with --fpr 0.05 --audit 1/4 and a fresh store, on its first line:
// RIAD_URL=http://127.0.0.1:8642 RIAD_GOOD=folder RIAD_BAD=folder node --test page.test.js
// The tests label pictures, make versions and begin shifts. They take up to 200 good pictures, all different: one that
// comes twice counts once.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import axe from "axe-core";
import { chromium } from "playwright-core";
import { Mock } from "./mock.js";
import { picture } from "./picture.js";

export const REAL = process.env.RIAD_URL ?? null;
export const SIZES = { "1920x1080": [1920, 1080], "1280x720": [1280, 720], "360x740": [360, 740] };

const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--enable-precise-memory-info", "--js-flags=--expose-gc"];

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGS });

/** The service under test: {url, line, post, get, close}. */
export async function service(options) {
  const mock = REAL ? null : await new Mock(options).listen();
  const url = REAL ?? mock.url;
  const get = async (path) => (await fetch(url + path)).json();
  const line = (await get("/v1/lines")).lines[0].name;
  const base = `/v1/lines/${encodeURIComponent(line)}`;
  let sent = 0;
  return {
    url, line, base, get, mock, close: async () => mock?.close(),
    /** Sends a picture of a "good" or "bad" product and gives what the service says of it. */
    async post(kind) {
      const response = await fetch(`${url}${base}/inspect`, { method: "POST", body: bytes(kind, sent++),
        headers: { "Content-Type": "image/png", "X-Filename": `${kind}-${sent}.png` } });
      return response.json();
    },
  };
}

/** A picture as bytes; from RIAD_GOOD and RIAD_BAD against a real service. */
export function bytes(kind, k = 0) {
  const folder = REAL && process.env[kind === "bad" ? "RIAD_BAD" : "RIAD_GOOD"];
  if (folder) {
    const names = readdirSync(folder).filter((name) => /\.(png|jpe?g|bmp|tiff?)$/i.test(name)).sort();
    return readFileSync(join(folder, names[k % names.length]));
  }
  const defects = kind === "bad" ? [{ x: 0.4, y: 0.6, rx: 0.05, ry: 0.04 }] : [];
  return picture("image", { verdict: "good", defects, turn: k * 0.5 }, 128);
}

/** A page that fails the test on an error in the console or a request to anywhere else. */
export async function openPage(browser, url, hash = "", { size = "1280x720", allow = null, ...options } = {}) {
  const [width, height] = SIZES[size] ?? size;
  const context = await browser.newContext({ viewport: { width, height }, acceptDownloads: false, ...options });
  const page = await context.newPage();
  const trouble = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !allow?.test(message.text())) trouble.push(message.text());
  });
  page.on("pageerror", (error) => trouble.push(error.stack));
  page.on("request", (request) => {
    if (!/^(blob|data):/.test(request.url()) && new URL(request.url()).origin !== url) trouble.push(`request to ${request.url()}`);
  });
  await page.goto(`${url}/${hash}`);
  return {
    page,
    async close() {
      await context.close();
      assert.deepEqual(trouble, []);
    },
  };
}

/** Waits until `read` gives something that `want` takes (a value or a test). */
export async function until(read, want, words = "in time", seconds = 60) {
  const fits = typeof want === "function" ? want : (value) => value === want;
  const end = Date.now() + seconds * 1000;
  let value;
  do {
    value = await read();
    if (fits(value)) return value;
    await new Promise((done) => setTimeout(done, 50));
  } while (Date.now() < end);
  return assert.fail(`${words}: got ${JSON.stringify(value)}${typeof want === "function" ? "" : `, wanted ${JSON.stringify(want)}`}`);
}

export const kind = (page, scope = "") => page.locator(`${scope} .verdict`).getAttribute("data-kind");

export const live = (page) => until(() => page.locator("#connection").getAttribute("data-connection"), "live", "connection");

/** What axe-core finds wrong, in short. Its script goes around the page's policy by the debugger, as Playwright's do. */
export async function violations(page) {
  await page.evaluate(axe.source);
  const { violations: found } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return found.map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => `${node.target} ${node.any[0]?.message ?? ""}`).join(" | ")}`);
}

/** Drops files on an element, as a person would from the desktop. */
export async function dropFiles(page, selector, files) {
  const transfer = await page.evaluateHandle((given) => {
    const data = new DataTransfer();
    for (const { name, body } of given) data.items.add(new File([Uint8Array.from(atob(body), (c) => c.charCodeAt(0))], name, { type: "image/png" }));
    return data;
  }, files.map(({ name, body }) => ({ name, body: body.toString("base64") })));
  await page.dispatchEvent(selector, "dragover", { dataTransfer: transfer });
  const words = await page.locator("#dropzone").textContent();
  await page.dispatchEvent(selector, "drop", { dataTransfer: transfer });
  return words;
}
