// What a line is to show now: the one place that decides between OK, NOT OK, amber and "not known".
import { count } from "./words.js";

export const TITLES = {
  ok: "OK",
  bad: "NOT OK",
  strange: "NOT THIS PRODUCT",
  unread: "CANNOT READ PICTURE",
  stopped: "NO NEW PICTURES",
  amber: "CHECK THE LINE",
  waiting: "WAITING",
  connecting: "CONNECTING",
  lost: "NO CONNECTION",
};

const SPOKEN = {
  ok: "OK",
  bad: "Not OK",
  strange: "The picture shows something else than this product",
  unread: "The picture cannot be read",
  stopped: "No new pictures",
  amber: "Check the line",
  waiting: "Waiting for pictures",
  connecting: "Connecting",
  lost: "No connection to the service",
};

export const spoken = (kind) => SPOKEN[kind];

/** Below this p-value the scores of good products have moved beyond doubt. */
const DRIFTED = 0.001;

/** `row` is the picture that is shown, usually the newest. */
export function standing(line, connection, row) {
  if (connection === "lost") return { kind: "lost", words: "The service does not answer. The page tries again by itself." };
  if (!line.loaded) return { kind: "connecting", words: "Reading the last pictures." };
  if (!row) return { kind: "waiting", words: "No picture has come yet." };
  const { info } = line;
  if (info.expects_every && line.age() > info.expects_every) {
    const before = row.verdict === "good" ? "OK" : row.verdict === "defective" ? "NOT OK" : "not usable";
    return { kind: "stopped", words: `The last one was ${before}. Check the camera and the line.` };
  }
  if (row.verdict === "not_this_product") return { kind: "strange", words: row.reason ?? "This is no defect: the picture shows something else." };
  if (row.verdict === "error") return { kind: "unread", words: row.reason ?? "" };
  if (info.state === "amber") return { kind: "amber", words: info.why ?? "" };
  if (row.verdict === "defective") {
    const places = row.regions.length;
    return { kind: "bad", words: places ? `${count(places, "place")} found` : "Found all over the picture" };
  }
  return { kind: "ok", words: "Nothing found" };
}

/** A note beside the verdict, or "". */
export function driftWords(line) {
  const { drift } = line.info;
  if (drift === null || drift === undefined || drift >= DRIFTED) return "";
  return "Good products score otherwise than before: check light and camera, or recalibrate.";
}
