// What only the mock can be made to do: stops, losses, floods, refusals, hostile names.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Mock, Refusal } from "./mock.js";
import { dropFiles, bytes, kind, launch, live, openPage, until, violations } from "./helpers.js";

const LOST = /ERR_|Failed to load resource/;

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser.close());

/** A mock and a page on it; `work(page, mock)`. */
async function on(options, hash, work, pageOptions) {
  const mock = await new Mock(options).listen();
  const opened = await openPage(browser, mock.url, hash, pageOptions);
  try {
    if (!options?.token) await live(opened.page);
    await work(opened.page, mock);
  } finally {
    await opened.close().finally(() => mock.close());
  }
}

const title = (page, scope = "") => page.locator(`${scope} .verdict .title`).textContent();

describe("what is not OK with the line", () => {
  test("turns amber by itself when pictures stop, and back when they come", () => on({ expectsEvery: 2 }, "", async (page, mock) => {
    mock.add("lid");
    await until(() => kind(page), "ok");
    await until(() => kind(page), "stopped", "amber", 60);
    assert.equal(await title(page), "NO NEW PICTURES");
    assert.match(await page.locator(".verdict .words").textContent(), /The last one was OK/);
    assert.match(await page.title(), /^NO NEW PICTURES/);
    assert.deepEqual(await violations(page), []);
    mock.add("lid", { verdict: "defective" });
    await until(() => kind(page), "bad");
  }));

  test("a picture of something else has a look of its own and is no defect", () => on({}, "", async (page, mock) => {
    const row = mock.add("lid", { verdict: "not_this_product" });
    await until(() => kind(page), "strange");
    assert.equal(await title(page), "NOT THIS PRODUCT");
    assert.equal(await page.locator(".verdict .words").textContent(), row.reason);
    assert.equal(await page.locator(".stage .boxes rect").count(), 0);
    assert.deepEqual(await violations(page), []);
    const counts = await page.locator(".count:visible").allTextContents();
    assert.ok(counts.some((words) => /not this product1/.test(words)), counts.join());
    await page.locator(".stage").click();
    await page.waitForSelector("text=Was this a product after all?");
  }));

  test("an unreadable picture is said so", () => on({}, "", async (page, mock) => {
    mock.add("lid", { verdict: "error" });
    await until(() => kind(page), "unread");
    assert.equal(await title(page), "CANNOT READ PICTURE");
    assert.match(await page.locator(".verdict .words").textContent(), /ends too early/);
    await page.locator(".stage").click();
    assert.equal(await page.locator(".give:visible").count(), 0);
  }));

  test("amber that the service declares is shown with its reason", () => on({}, "", async (page, mock) => {
    mock.send("line", { ...mock.line(mock.lines.get("lid")), state: "amber", why: "The disk is full." });
    await until(() => kind(page), "amber");
    assert.equal(await page.locator(".verdict .words").textContent(), "The disk is full.");
  }));

  test("a drift of good products is noted", () => on({}, "", async (page, mock) => {
    assert.ok(await page.locator(".drift").isHidden());
    mock.lines.get("lid").drift = 1e-5;
    mock.add("lid");
    await until(() => page.locator(".drift").isVisible(), true);
    assert.deepEqual(await violations(page), []);
  }));

  test("a line without a picture waits, and says how pictures come", () => on({ history: 0 }, "", async (page, mock) => {
    assert.equal(await title(page), "WAITING");
    assert.match(await page.locator(".stage").textContent(), /POST \/v1\/lines\/lid\/inspect/);
    assert.deepEqual(await violations(page), []);
    mock.add("lid");
    await until(() => kind(page), "ok");
  }));

  test("NOT OK stays in sight for a second when pictures come fast", () => on({}, "", async (page, mock) => {
    mock.add("lid", { verdict: "defective" });
    await until(() => kind(page), "bad");
    const since = Date.now();
    mock.add("lid");
    await until(() => kind(page), "ok");
    assert.ok(Date.now() - since > 500, `${Date.now() - since} ms`);
  }));
});

describe("the connection", () => {
  test("lost: nothing looks OK; found again: all that came meanwhile is there", () => on({}, "", async (page, mock) => {
    await until(() => kind(page), "ok");
    const { port } = mock;
    await mock.close();
    await until(() => kind(page), "lost", "lost", 60);
    assert.equal(await title(page), "NO CONNECTION");
    assert.match(await page.title(), /^NO CONNECTION/);
    assert.equal(await page.locator("#connection").textContent(), "no connection");
    assert.deepEqual(await violations(page), []);
    await page.getByRole("button", { name: "New shift" }).click();
    await page.getByRole("button", { name: "Begin new shift" }).click();
    await page.waitForSelector("text=The service cannot be reached.");
    const missed = mock.inspection(mock.lines.get("lid"), { verdict: "defective" });
    await mock.listen(port);
    await until(() => kind(page), "bad", "found again", 60);
    await until(() => page.locator(".strip .thumb").first().getAttribute("aria-label"), (words) => words.startsWith(`Picture ${missed.id},`));
    mock.add("lid");
    await until(() => kind(page), "ok", "events again", 60);
  }, { allow: LOST }));

  test("a network that swallows everything is noticed, and so is its end", () => on({}, "", async (page, mock) => {
    await until(() => kind(page), "ok");
    mock.silent = true;
    await until(() => kind(page), "lost", "lost", 60);
    mock.silent = false;
    await until(() => kind(page), "ok", "found again", 60);
  }, { allow: LOST }));

  test("a proxy that holds events back makes it slow, not wrong", () => on({}, "", async (page, mock) => {
    await until(() => kind(page), "ok");
    mock.send = () => {};
    const row = mock.add("lid", { verdict: "defective" });
    await until(() => kind(page), "bad", "by asking", 60);
    await until(() => page.locator(".strip .thumb").first().getAttribute("aria-label"), (words) => words.startsWith(`Picture ${row.id},`));
  }));

  test("a page that opens before the service does connects when it comes", async () => {
    const mock = await new Mock().listen();
    const opened = await openPage(browser, mock.url, "", { allow: LOST });
    const { port } = mock;
    await mock.close();
    await until(() => page().locator("#connection").getAttribute("data-connection"), "lost");
    await mock.listen(port);
    await live(page());
    await until(() => kind(page()), "ok");
    await opened.close();
    await mock.close();
    function page() {
      return opened.page;
    }
  });

  test("signs in with a token, and says when it is wrong", () => on({ token: "geheim" }, "", async (page) => {
    await page.waitForURL(/\/login$/);
    assert.deepEqual(await violations(page), []);
    assert.ok(await page.locator("#wrong").isHidden());
    await page.getByLabel("Token").fill("wrong");
    await page.keyboard.press("Enter");
    await page.waitForURL(/#wrong$/);
    assert.ok(await page.locator("#wrong").isVisible());
    assert.deepEqual(await violations(page), []);
    await page.getByLabel("Token").fill("geheim");
    await page.keyboard.press("Enter");
    await live(page);
    await until(() => kind(page), "ok");
    await page.context().clearCookies();
    await page.locator("#review").click();
    await page.waitForURL(/\/login$/);
  }, { allow: /status of 401/ }));

  test("refusals are shown in the service's own words", () => on({}, "#/line/lid/picture/30", async (page, mock) => {
    await page.waitForSelector("dialog.detail[open]");
    mock.refuse = new Refusal(503, "busy", "Too much to do; try again in 2 s.");
    await page.keyboard.press("b");
    await page.waitForSelector("text=Too much to do; try again in 2 s.");
    await page.keyboard.press("Escape");
    await dropFiles(page, "main", [{ name: "one.png", body: bytes("good") }]);
    await page.waitForSelector("text=one.png: Too much to do; try again in 2 s.");
  }, { allow: /status of 503/ }));

  test("a picture that was deleted is said so", () => on({}, "#/line/lid/picture/999999", async (page, mock) => {
    await page.waitForSelector("text=There is no such inspection");
    const row = mock.add("lid", { verdict: "defective" });
    row.kept = false;
    await page.reload();
    await until(() => page.locator(".stage .gone").textContent(), "The picture is no longer kept.");
  }, { allow: /status of 404/ }));
});

describe("several lines", () => {
  const lines = ["lid", "bottle cap/ä", "seal"];

  test("lie side by side, each with its own verdict", () => on({ lines }, "", async (page, mock) => {
    mock.add("bottle cap/ä", { verdict: "defective" });
    mock.add("seal", { verdict: "not_this_product" });
    const kinds = () => page.locator(".tile .verdict").evaluateAll((nodes) => nodes.map((node) => node.dataset.kind).join());
    await until(kinds, "ok,bad,strange");
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      assert.deepEqual(await violations(page), []);
    }
    await page.setViewportSize({ width: 360, height: 740 });
    assert.deepEqual(await violations(page), []);
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 360);
    await page.getByRole("link", { name: "bottle cap/ä" }).first().click();
    await until(() => kind(page, ".line-view"), "bad");
    assert.match(await page.title(), /^NOT OK · bottle cap\/ä/);
    await page.getByRole("link", { name: "riad, all lines" }).click();
    await until(() => page.locator(".tile").count(), 3);
  }));

  test("a picture is scored on the line that it is dropped on", () => on({ lines }, "", async (page) => {
    await page.waitForSelector(".tile .thumb");
    assert.equal(await dropFiles(page, "[data-line=seal] .stage", [{ name: "bad.png", body: bytes("bad") }]), "Drop to score on seal");
    await page.waitForSelector("dialog.detail[open]");
    assert.ok(page.url().includes("#/line/seal/picture/"));
    await page.keyboard.press("Escape");
    await until(() => page.locator(".tile").count(), 3, "back at all lines");
    assert.equal(await dropFiles(page, ".overview", [{ name: "bad.png", body: bytes("bad") }]), "Drop it on one of the lines");
  }));

  test("the queue of all lines goes to the first that waits", () => on({ lines }, "", async (page) => {
    await page.locator("#answer").click();
    await page.waitForSelector("dialog.detail[open]");
    assert.ok(page.url().includes("#/line/lid/"));
  }));

  test("a line that is added appears", () => on({ lines: ["lid"] }, "", async (page, mock) => {
    await page.waitForSelector(".line-view");
    mock.addLine("seal", 3, 600);
    await until(() => page.locator(".tile").count(), 2, "two tiles", 60);
    await until(() => kind(page, "[data-line=seal]"), "ok", "its verdict");
  }));
});

describe("answers and versions", () => {
  test("audited passed ones are asked about", () => on({}, "", async (page, mock) => {
    const row = mock.add("lid", { audit: true });
    await page.locator("#answer").click();
    await page.waitForSelector("text=Passed, and drawn by chance to be checked: is it good?");
    await page.getByRole("button", { name: "Was missed" }).click();
    await until(() => row.label, "defective");
    await until(() => page.locator(".said").textContent(), (words) => words.includes(`Picture ${row.id}: was missed.`));
  }));

  test("any passed one can be marked as missed", () => on({}, "", async (page, mock) => {
    const row = mock.add("lid");
    await page.locator(`.thumb[title^="Picture ${row.id},"]`).click();
    await page.waitForSelector(".answer.quiet");
    await page.keyboard.press("b");
    await until(() => row.label, "defective");
  }));

  test("what was drawn by chance is selected at first; a version that misses more is asked about", () => on({}, "#/line/lid/review", async (page, mock) => {
    await page.waitForSelector(".pick input");
    const audited = mock.lines.get("lid").inspections.filter((row) => row.label === "good" && row.audit).length;
    await until(() => page.locator(".pick input:checked").count(), audited);
    assert.ok(await page.locator(".warning").isHidden());
    assert.match(await page.locator(".measured").textContent(), /of the rejects are false alarms.*answered rejects of the version in use; the true share lies between 1 % and 40 %/);
    await page.getByRole("button", { name: "False alarms", exact: true }).click();
    await page.getByRole("button", { name: "Make a new version" }).click();
    await page.waitForSelector("text=A false-positive rate of 0.05 takes 1 audited pictures that are labelled good; 0 of those selected are.");
    await page.getByRole("radio", { name: /^Train on/ }).check();
    await page.getByRole("button", { name: "Make a new version" }).click();
    await page.waitForSelector("progress");
    await page.waitForSelector("text=epoch 1 of 20");
    await page.waitForSelector("text=stops 9 instead of 31 of the false alarms, still finds 48 of 50 confirmed defects");
    await page.getByRole("button", { name: "Use version 2" }).click();
    await page.waitForSelector("#confirm[open] >> text=It misses 2 of the confirmed defects");
    await page.getByRole("button", { name: "Cancel" }).click();
    assert.equal(mock.line(mock.lines.get("lid")).version, 1);
    mock.send("version", { ...mock.lines.get("lid").versions[1], version: 3, state: "failed", note: "no room on the disk", line: "lid" });
    await page.waitForSelector("text=Failed: no room on the disk");
  }, { allow: /status of 400/ }));

  test("older answers are a press away, and select like the others", () => on({ history: 400 }, "#/line/lid/review", async (page, mock) => {
    await page.waitForSelector(".pick input");
    for (const row of mock.lines.get("lid").inspections.slice(0, 130)) mock.setLabel(row, "good");
    await page.reload();
    await until(() => page.locator(".pick input").count(), 100);
    await page.getByRole("button", { name: "Older ones" }).click();
    await until(() => page.locator(".pick input").count(), (n) => n >= 130);
    assert.ok(await page.getByRole("button", { name: "Older ones" }).isHidden());
  }));

  test("an answer that somebody else gives shows here", () => on({}, "#/line/lid/review", async (page, mock) => {
    const row = mock.add("lid", { verdict: "defective" });
    mock.setLabel(row, "defective");
    mock.send("label", row);
    await page.waitForSelector(`.pick[data-id="${row.id}"]`);
    mock.setLabel(row, null);
    mock.send("label", row);
    await until(() => page.locator(`.pick[data-id="${row.id}"]`).count(), 0);
  }));
});

describe("titles", () => {
  test("the verdict is in the title, also in the background, and never an old one", () => on({}, "", async (page, mock) => {
    await until(() => page.title(), "OK · lid");
    const other = await page.context().newPage();
    await other.bringToFront();
    mock.add("lid", { verdict: "defective" });
    await until(() => page.title(), "NOT OK · lid");
    await page.bringToFront();
    await page.locator("#review").click();
    await until(() => page.title(), "Review · lid");
    await page.goto(`${mock.url}/#/line/%`);
    await until(() => page.title(), "NOT OK · lid");
  }));
});

describe("what comes from outside", () => {
  const EVIL = "<img src=x onerror=alert(1)>\"'&";

  test("is text, never markup", () => on({ lines: [EVIL] }, "", async (page, mock) => {
    mock.add(EVIL, { verdict: "not_this_product", name: EVIL, reason: EVIL });
    await until(() => page.locator(".verdict .words").textContent(), EVIL);
    assert.equal(await page.locator("#line-name").textContent(), EVIL);
    await page.locator(".stage").click();
    assert.ok((await page.locator(".detail .about").textContent()).includes(EVIL));
    await page.goto(`${mock.url}/#/line/${encodeURIComponent(EVIL)}/review`);
    await page.waitForSelector(".review");
    assert.equal(await page.locator('img[src="x"]').count(), 0);
  }));

  test("the policy forbids script and style of others", () => on({}, "", async (page) => {
    const ran = await page.evaluate(async () => {
      const script = document.createElement("script");
      script.textContent = "globalThis.ran = true";
      document.body.append(script);
      return globalThis.ran ?? false;
    });
    assert.equal(ran, false);
  }, { allow: /Content Security Policy/ }));
});

describe("screen readers", () => {
  test("hear of changes, at most once in five seconds", () => on({}, "", async (page, mock) => {
    await page.evaluate(() => {
      globalThis.said = [];
      new MutationObserver(() => globalThis.said.push(document.getElementById("live").textContent)).observe(document.getElementById("live"), { childList: true, characterData: true, subtree: true });
    });
    await until(() => page.locator("#live").textContent(), "OK");
    for (let k = 0; k < 12; k++) {
      mock.add("lid", { verdict: k % 4 === 3 ? "defective" : "good" });
      await new Promise((done) => setTimeout(done, 300));
    }
    assert.ok((await page.evaluate(() => globalThis.said.length)) <= 3);
    await until(() => page.locator("#live").textContent(), "Not OK", "the last verdict", 60);
  }));
});

const MANY = Array.from({ length: 12 }, (_, k) => `line-${k}`);

for (const lines of [["lid"], MANY]) test(`10,000 pictures leave the memory flat, with ${lines.length} on the page`, { timeout: 300_000 }, (t) => on({ lines }, "", async (page, mock) => {
  const session = await page.context().newCDPSession(page);
  const measure = async () => {
    await session.send("HeapProfiler.collectGarbage");
    const { metrics } = await session.send("Performance.getMetrics");
    const of = (name) => metrics.find((metric) => metric.name === name).value;
    return { heap: of("JSHeapUsedSize"), nodes: of("Nodes"), listeners: of("JSEventListeners") };
  };
  await session.send("Performance.enable");
  const flood = async (n) => {
    let row;
    for (let k = 0; k < n; k++) {
      row = mock.add(lines[k % lines.length], { verdict: k % 20 === 0 ? "defective" : k % 101 === 0 ? "not_this_product" : "good" });
      if (k % 50 === 0) {
        mock.setLabel(row, "good");
        mock.send("label", row);
      }
      if (k % 10 === 9) await new Promise((done) => setTimeout(done, 12));
    }
    await until(() => page.locator(`[data-line="${row.line}"] .strip .thumb`).first().getAttribute("aria-label"), (words) => words.startsWith(`Picture ${row.id},`), "the last one", 60);
    await page.waitForTimeout(1500);
  };
  await flood(1_000); // lists full, code compiled
  const first = await measure();
  await flood(10_000);
  const last = await measure();
  const kb = (bytes_) => `${Math.round(bytes_ / 1024)} KB`;
  t.diagnostic(`heap ${kb(first.heap)} before, ${kb(last.heap)} after; ${first.nodes} and ${last.nodes} nodes; ${first.listeners} and ${last.listeners} listeners`);
  assert.ok(last.heap - first.heap < 1_000_000, `${kb(first.heap)} to ${kb(last.heap)}`);
  assert.ok(last.nodes - first.nodes < 200, `${first.nodes} to ${last.nodes} nodes`);
  assert.ok(last.listeners - first.listeners < 50, `${first.listeners} to ${last.listeners} listeners`);
  assert.equal(await page.locator(".strip .thumb").count(), lines.length === 1 ? 24 : 6 * lines.length);
}));

test("what others answer for weeks leaves the review with its newest 1000", { timeout: 120_000 }, () => on({ history: 2_000 }, "#/line/lid/review", async (page, mock) => {
  const rows = mock.lines.get("lid").inspections;
  await page.waitForSelector(".pick");
  const shown = () => page.locator(".pick").evaluateAll((nodes) => nodes.map((node) => Number(node.dataset.id)));
  for (const [k, row] of rows.entries()) {
    mock.setLabel(row, k % 3 ? "good" : "defective");
    mock.send("label", row);
  }
  const newest = rows.at(-1);
  await until(async () => (await shown()).includes(newest.id), true, "the last answer", 60);
  assert.equal((await shown()).length, 1000);
  const good = await page.locator("ul[aria-label='Good ones'] .pick").evaluateAll((nodes) => nodes.map((node) => Number(node.dataset.id)));
  assert.deepEqual(good, rows.filter((row) => row.label === "good").map((row) => row.id).reverse().slice(0, good.length), "the newest, the newest first");
  mock.setLabel(newest, null);
  mock.send("label", newest);
  await until(async () => (await shown()).includes(newest.id), false, "it is taken back");
  assert.equal((await shown()).length, 999);
}));
