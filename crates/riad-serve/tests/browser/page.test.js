// Every flow of the page, in a real browser, against the mock or a real service (see helpers.js).
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { REAL, SIZES, bytes, dropFiles, kind, launch, live, openPage, service, until, violations } from "./helpers.js";

const KINDS = { good: "ok", defective: "bad", not_this_product: "strange", error: "unread" };

let browser;
let riad;
let address;

before(async () => {
  browser = await launch();
  riad = await service();
  address = `#/line/${encodeURIComponent(riad.line)}`;
  for (let k = 0; k < 8; k++) await riad.post(k % 3 === 2 ? "bad" : "good");
});

after(async () => {
  await browser.close();
  await riad.close();
});

/** Opens the page, runs `work`, and looks for trouble in the console. */
async function on(hash, work, options) {
  const opened = await openPage(browser, riad.url, hash, options);
  try {
    await live(opened.page);
    await work(opened.page);
  } finally {
    await opened.close();
  }
}

const inspection = (id) => riad.get(`${riad.base}/inspections/${id}`);

/** Until the large picture takes the next key: it refuses answers for what is not shown yet. */
const idle = (page) => page.waitForSelector("dialog.detail[aria-busy=false]");

/** A reject that nobody has answered yet. */
async function reject() {
  for (let k = 0; k < 10; k++) {
    const row = await riad.post("bad");
    if (row.verdict === "defective") return row;
  }
  return assert.fail("none of ten bad pictures was stopped");
}

describe("the line", () => {
  test("shows each verdict as it comes, with a sign and words", () => on("", async (page) => {
    for (const sent of ["good", "bad", "good"]) {
      const row = await riad.post(sent);
      const expected = KINDS[row.verdict];
      await until(() => kind(page), expected, sent, 60);
      await until(() => page.locator(".stage img").getAttribute("alt"), (words) => words.startsWith(`Picture ${row.id}:`));
      assert.equal(await page.locator(".verdict .title").textContent(), { ok: "OK", bad: "NOT OK", strange: "NOT THIS PRODUCT" }[expected]);
      assert.equal(await page.locator(".verdict .sign use").getAttribute("href"), `#sign-${expected}`);
      assert.match(await page.locator(".verdict .age").textContent(), /^last picture \d+ s ago$/);
      assert.match(await page.title(), new RegExp(`^${{ ok: "OK", bad: "NOT OK" }[expected] ?? ".*"} · `));
    }
  }));

  test("outlines what was found, in the picture's own pixels", () => on("", async (page) => {
    const row = await reject();
    // The one before may have as many boxes.
    await until(() => page.locator(".stage img").getAttribute("alt"), (words) => words.startsWith(`Picture ${row.id}:`));
    await until(() => page.locator(".stage .boxes .over").count(), row.regions.length);
    assert.equal(await page.locator(".stage .boxes").getAttribute("viewBox"), `0 0 ${row.width} ${row.height}`);
    const [box] = row.regions;
    const drawn = await page.locator(".stage .boxes .over").first().evaluate((node) => ["x", "y", "width", "height"].map((name) => Number(node.getAttribute(name))));
    const around = [drawn[0] <= box.x, drawn[0] + drawn[2] >= box.x + box.width, drawn[1] <= box.y, drawn[1] + drawn[3] >= box.y + box.height];
    assert.ok(around.every(Boolean), `${JSON.stringify(drawn)} around ${JSON.stringify(box)}`);
    // The drawing lies over the picture, not beside it.
    const places = await page.locator(".stage").evaluate((stage) => [".picture img", ".boxes"].map((one) => {
      const { x, y, width, height } = stage.querySelector(one).getBoundingClientRect();
      return [x, y, width, height];
    }));
    assert.deepEqual(places[0], places[1]);
  }));

  test("keeps the last 24 as thumbnails, newest first, with their marks", () => on("", async (page) => {
    const { inspections } = await riad.get(`${riad.base}/inspections?limit=24`);
    const rows = inspections.filter((row) => row.source !== "page");
    await until(() => page.locator(".strip .thumb").count(), rows.length);
    const kinds = await page.locator(".strip .thumb").evaluateAll((nodes) => nodes.map((node) => node.dataset.kind));
    assert.deepEqual(kinds, rows.map((row) => KINDS[row.verdict]));
    await until(() => page.locator(".strip img").evaluateAll((images) => images.every((image) => image.complete && image.naturalWidth > 0)), true, "thumbnails loaded");
  }));

  test("counts the shift and begins a new one when asked", () => on("", async (page) => {
    const { shift } = await riad.get(riad.base);
    const shown = () => page.locator(".count dd").first().textContent();
    await until(shown, shift.good.toLocaleString("en"));
    await page.getByRole("button", { name: "New shift" }).click();
    await page.getByRole("button", { name: "Cancel" }).click();
    assert.equal((await riad.get(riad.base)).shift.good, shift.good);
    await page.getByRole("button", { name: "New shift" }).click();
    await page.getByRole("button", { name: "Begin new shift" }).click();
    await until(shown, "0");
    assert.equal((await riad.get(riad.base)).shift.good, 0);
  }));

  test("opens pictures from the chart, by mouse and keyboard", () => on("", async (page) => {
    await until(() => page.locator("canvas").getAttribute("aria-label"), (words) => /Chart of the last \d+ score/.test(words));
    await page.locator("canvas").focus();
    await page.keyboard.press("End");
    assert.match(await page.locator(".chart-note").textContent(), /score/);
    await page.keyboard.press("Enter");
    await page.waitForSelector("dialog.detail[open]");
    const { scores } = await riad.get(`${riad.base}/scores?limit=500`);
    assert.ok(page.url().endsWith(`/picture/${scores.at(-1).id}`), page.url());
    await page.keyboard.press("Escape");
    await page.waitForSelector("dialog.detail", { state: "hidden" });
    // Where points lie is not known here: the mouse looks for one.
    const box = await page.locator("canvas").boundingBox();
    search: for (let x = box.width - 16; x > 60; x -= 16) {
      for (let y = 10; y < box.height - 20; y += 16) {
        await page.mouse.move(box.x + x, box.y + y);
        if (await page.locator("canvas.over").count()) break search;
      }
    }
    await page.mouse.down();
    await page.mouse.up();
    await page.waitForSelector("dialog.detail[open]");
  }));
});

describe("the large picture", () => {
  test("shows picture, overlay and heat map, regions and numbers", async () => {
    const row = await reject();
    await on(`${address}/picture/${row.id}`, async (page) => {
      await page.waitForSelector("dialog.detail[open]");
      const image = page.locator(".detail .picture img");
      const loaded = () => image.evaluate((node) => node.complete && node.naturalWidth > 0);
      await until(loaded, true);
      assert.equal(await page.locator(".detail .boxes .over").count(), row.regions.length);
      for (const [view, part] of [["Overlay", "overlay"], ["Heat map", "heat-map"], ["Picture", "image"]]) {
        await page.getByRole("button", { name: view, exact: true }).click();
        assert.match(await image.getAttribute("src"), new RegExp(`/${part}(\\?|$)`));
        await until(loaded, true, view);
        assert.equal(await page.getByRole("button", { name: view, exact: true }).getAttribute("aria-pressed"), "true");
      }
      const numbers = await page.locator(".numbers").textContent();
      for (const part of [row.model, `Version${row.version}`, row.riad_version, `${row.width} × ${row.height} px`]) assert.ok(numbers.includes(part), part);
      assert.equal(await page.locator(".regions li").count(), row.regions.length);
      await page.locator(".detail .picture").click({ position: { x: 100, y: 100 } });
      assert.match(await page.locator(".detail .picture img").evaluate((node) => getComputedStyle(node).transform), /^matrix\(2\.5/);
    });
  });

  test("is turned over by arrows and closed by Esc; the address follows", () => on(address, async (page) => {
    const { inspections } = await riad.get(`${riad.base}/inspections?limit=24`);
    const ids = inspections.filter((row) => row.source !== "page").map((row) => row.id);
    await page.locator(".stage").click();
    await page.waitForSelector("dialog.detail[open]");
    assert.ok(page.url().endsWith(`/picture/${ids[0]}`));
    for (const [key, at] of [["ArrowRight", 1], ["ArrowRight", 2], ["ArrowLeft", 1]]) {
      await page.keyboard.press(key);
      await until(() => page.url().split("/").pop(), String(ids[at]));
    }
    await page.getByRole("button", { name: "Older picture" }).click();
    await until(() => page.url().split("/").pop(), String(ids[2]));
    await page.keyboard.press("Escape");
    await page.waitForSelector("dialog.detail", { state: "hidden" });
    await until(() => page.url().endsWith(address), true, "back at the line");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter");
    await page.waitForSelector("dialog.detail[open]");
    assert.ok(page.url().endsWith(`/picture/${ids[1]}`));
    await page.goBack();
    await page.waitForSelector("dialog.detail", { state: "hidden" });
  }));

  test("takes really bad, false alarm and undo", async () => {
    const row = await reject();
    await on(`${address}/picture/${row.id}`, async (page) => {
      const label = async () => (await inspection(row.id)).label;
      await page.getByRole("button", { name: "Really bad", exact: true }).click();
      await until(label, "defective");
      await until(() => page.getByRole("button", { name: "Really bad", exact: true }).getAttribute("aria-pressed"), "true");
      await page.getByRole("button", { name: "Undo" }).click();
      await until(label, null);
      await idle(page);
      await page.keyboard.press("f");
      await until(label, "good");
      await until(() => page.locator(".said").textContent(), (words) => words.includes(`Picture ${row.id}: false alarm.`));
      await idle(page);
      await page.keyboard.press("z");
      await until(label, null);
      await idle(page);
      await page.keyboard.press("b");
      await until(label, "defective");
      await page.keyboard.press("Escape");
      await until(() => page.locator(".strip .thumb[data-label=defective]").count(), (n) => n > 0, "mark on the thumbnail");
    });
  });

  test("asks about what waits for an answer, one after the other", async () => {
    await reject();
    await reject();
    await on(address, async (page) => {
      const waiting = async () => (await riad.get(riad.base)).unanswered;
      const before = await waiting();
      await until(() => page.locator("#answer").textContent(), `To answer: ${before}`);
      await page.locator("#answer").click();
      await page.waitForSelector("dialog.detail[open]");
      const first = Number((await page.locator(".detail .about").textContent()).match(/Picture (\d+)/)[1]);
      await page.keyboard.press("f");
      await until(waiting, before - 1);
      await until(() => page.locator(".detail .about").textContent(), (words) => !words.includes(`Picture ${first} `), "the next one");
      await idle(page);
      await page.getByRole("button", { name: "Undo" }).click();
      await until(waiting, before);
      await until(() => page.locator(".detail .about").textContent(), (words) => words.includes(`Picture ${first} `), "the first one again");
      await idle(page);
      for (let left = before; left > 0; left--) {
        await page.keyboard.press(left % 2 ? "b" : "f");
        await until(waiting, left - 1);
        await until(() => page.locator(".detail .where").textContent(), left > 1 ? `${left - 1} to answer` : "");
        await idle(page);
      }
      await page.waitForSelector("text=All answered");
      await page.getByRole("button", { name: "Close" }).click();
      await until(() => page.locator("#answer").textContent(), "To answer: 0");
      await page.locator("#answer").click();
      await page.waitForSelector("text=All answered");
    });
  });
});

describe("scoring by hand", () => {
  test("scores a chosen file and keeps it out of the line's flow", () => on("", async (page) => {
    await page.waitForSelector(".strip .thumb");
    const flow = () => page.locator(".stage img").getAttribute("alt");
    const before = await flow();
    const chooser = page.waitForEvent("filechooser");
    await page.getByRole("button", { name: "Score a picture" }).click();
    await (await chooser).setFiles({ name: "by hand ä.png", mimeType: "image/png", buffer: bytes("bad") });
    await page.waitForSelector("dialog.detail[open]", { timeout: 60_000 });
    assert.match(await page.locator(".detail .about").textContent(), /by hand ä\.png.*scored by hand, not part of the line/);
    await page.keyboard.press("Escape");
    assert.equal(await flow(), before);
  }));

  test("scores dropped pictures one after the other", () => on("", async (page) => {
    await page.waitForSelector(".strip .thumb");
    const words = await dropFiles(page, "main", [{ name: "one.png", body: bytes("good") }, { name: "two bad.png", body: bytes("bad") }]);
    assert.equal(words, `Drop to score on ${riad.line}`);
    await page.waitForSelector("dialog.detail[open]", { timeout: 60_000 });
    assert.match(await page.locator(".detail .about").textContent(), /one\.png/);
    assert.equal(await page.locator(".detail .where").textContent(), "Scored by hand: 1 of 2");
    await page.keyboard.press("ArrowRight");
    await until(() => page.locator(".detail .about").textContent(), (text) => text.includes("two bad.png"));
  }));

  test("says in words why a file cannot be scored", () => on("", async (page) => {
    await page.waitForSelector(".strip .thumb");
    await dropFiles(page, "main", [{ name: "broken.png", body: Buffer.from("not a picture") }]);
    await page.waitForSelector("dialog.detail[open]");
    assert.equal(await page.locator("#detail-title").textContent(), "Cannot be read");
    assert.ok((await page.locator(".reason").textContent()).length > 10);
  }, { allow: /status of 422/ }));
});

/** Sends pictures until so many that were drawn by chance are labelled good: a real service recalibrates with no fewer. */
async function drawnGoodOnes(wanted) {
  const { inspections } = await riad.get(`${riad.base}/inspections?label=good&audit=true&limit=100`);
  let have = inspections.length;
  for (let k = 0; have < wanted; k++) {
    assert.ok(k < 400, "start the service with --audit 1/4");
    const { id, audit } = await riad.post("good");
    if (!audit) continue;
    await fetch(`${riad.url}${riad.base}/inspections/${id}/label`, { method: "PUT", body: '{"label":"good"}', headers: { "Content-Type": "application/json" } });
    have++;
  }
}

describe("review", () => {
  test("makes a version of the selected, says what it would have done, uses it and goes back", async () => {
    await drawnGoodOnes(REAL ? 25 : 1);
    await on(`${address}/review`, async (page) => {
      const { version } = await riad.get(riad.base);
      const chosen = () => page.locator(".pick input:checked").count();
      await page.waitForSelector(".pick input");
      await page.getByRole("button", { name: "None", exact: true }).click();
      assert.equal(await chosen(), 0);
      assert.ok(await page.getByRole("button", { name: "Make a new version" }).isDisabled());
      await page.getByRole("button", { name: "All", exact: true }).click();
      const all = await chosen();
      assert.equal(await page.locator(".selected").textContent(), `${all} good one${all === 1 ? "" : "s"} selected`);
      assert.ok(await page.locator(".warning").isVisible());
      await page.getByRole("radio", { name: /^Train on/ }).check();
      assert.ok(!(await page.locator(".warning").isVisible()));
      await page.getByRole("radio", { name: /^Recalibrate/ }).check();
      await page.getByRole("button", { name: "Make a new version" }).click();
      const made = await until(async () => (await riad.get(`${riad.base}/versions`)).versions[0].version, (n) => n > version, "a new version", 60);
      const use = page.getByRole("button", { name: `Use version ${made}` });
      const failed = page.locator(`.version:has-text("Version ${made}") .failed`);
      await use.or(failed).waitFor({ timeout: 120_000 });
      assert.ok(await use.isVisible(), (await failed.allTextContents()).join());
      assert.ok((await page.locator(".trial").first().textContent()).length > 10);
      await use.click();
      // A version that finds less is asked about once more.
      const question = page.locator("#confirm[open]");
      await Promise.race([question.waitFor(), page.waitForSelector(`text=Version ${made} is in use.`)]);
      if (await question.isVisible()) await question.getByRole("button", { name: `Use version ${made}` }).click();
      await until(async () => (await riad.get(riad.base)).version, made);
      await page.getByRole("button", { name: `Back to version ${version}` }).click();
      await until(async () => (await riad.get(riad.base)).version, version);
      await until(() => page.locator(".version:has(.in-use) h3").textContent(), `Version ${version}in use`);
    });
  });

  test("opens the labelled ones, in their order", () => on(`${address}/review`, async (page) => {
    await page.locator(".pick .open").first().click();
    await page.waitForSelector("dialog.detail[open]");
    assert.match(await page.locator(".detail .where").textContent(), /^Labelled 1 of \d+$/);
    await page.keyboard.press("Escape");
    await until(() => page.url().endsWith(`${address}/review`), true, "back at the review");
  }));
});

describe("everybody can use it", () => {
  test("help opens by ? and changes the display, which is kept", () => on("", async (page) => {
    await page.keyboard.press("?");
    await page.waitForSelector("#help[open]");
    await page.locator("#display").selectOption("projector");
    assert.equal(await page.evaluate(() => document.documentElement.dataset.display), "projector");
    await page.keyboard.press("Escape");
    await page.reload();
    assert.equal(await page.evaluate(() => document.documentElement.dataset.display), "projector");
  }));

  test("the tab key reaches every control in turn", () => on("", async (page) => {
    await page.waitForSelector(".strip .thumb");
    const seen = new Set();
    for (let k = 0; k < 45; k++) {
      await page.keyboard.press("Tab");
      seen.add(await page.evaluate(() => document.activeElement.id || document.activeElement.className || document.activeElement.tagName));
    }
    for (const part of ["skip", "answer", "review", "score", "help-open", "stage", "thumb", "CANVAS", "small"]) assert.ok(seen.has(part), `${part} in ${[...seen]}`);
  }));

  test("a line that is not there is said in words", () => on("#/line/nothing", async (page) => {
    await page.waitForSelector("text=There is no line nothing.");
    await page.waitForSelector(".verdict");
  }));

  test("nothing is wider than a phone of 320 px", async () => {
    const row = await reject();
    for (const hash of [address, `${address}/picture/${row.id}`, `${address}/review`]) {
      await on(hash, async (page) => {
        await page.waitForTimeout(300);
        assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 320, hash);
        const body = await page.locator(".detail-body").evaluate((node) => node.scrollWidth);
        assert.ok(body <= 320, `${hash}: ${body}`);
      }, { size: [320, 640] });
    }
  });

  for (const colorScheme of ["light", "dark"]) {
    for (const size of Object.keys(SIZES)) {
      test(`axe finds nothing in ${colorScheme} at ${size}`, async () => {
        const bad = await reject();
        for (const hash of [address, `${address}/picture/${bad.id}`, `${address}/review`]) {
          await on(hash, async (page) => {
            await page.waitForSelector(hash.includes("picture") ? "dialog.detail[open] .numbers dt" : hash.includes("review") ? ".version" : ".strip .thumb");
            await page.waitForTimeout(200);
            assert.deepEqual(await violations(page), [], hash);
            if (hash !== address) return;
            await page.keyboard.press("?");
            assert.deepEqual(await violations(page), [], "help");
          }, { size, colorScheme });
        }
      });
    }
  }

  test("axe finds nothing on a projector, and with more contrast", async () => {
    await on("", async (page) => {
      await page.evaluate(() => riadDisplay.set("projector"));
      assert.deepEqual(await violations(page), []);
    });
    await on("", async (page) => assert.deepEqual(await violations(page), []), { contrast: "more", reducedMotion: "reduce" });
  });
});

test("the first paint is quick and the page is small", (t) => on("", async (page) => {
  await page.waitForSelector(".strip .thumb");
  const [paint, size] = await page.evaluate(() => [
    performance.getEntriesByName("first-contentful-paint")[0].startTime,
    [...performance.getEntriesByType("resource"), ...performance.getEntriesByType("navigation")]
      .filter((entry) => !entry.name.includes("/v1/")).reduce((sum, entry) => sum + entry.decodedBodySize, 0),
  ]);
  t.diagnostic(`first contentful paint after ${Math.round(paint)} ms, ${size} bytes of page`);
  assert.ok(size < 300_000, `${size} bytes`);
}));
