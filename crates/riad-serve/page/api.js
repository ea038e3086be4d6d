// The calls of the HTTP interface. Whatever goes wrong comes out as an ApiError whose message a person can read.

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const WORDS = {
  400: "The service did not accept this.",
  403: "The service does not allow this from here.",
  404: "The service does not have this; it may have been deleted.",
  413: "The picture is too large.",
  422: "The picture cannot be read.",
  503: "The service is busy. Try again in a moment.",
  504: "The service took too long.",
};

let leaving = false;

/** As a sentence: the service writes its reasons small and without a full stop. */
const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1) + (/[.!?…]$/.test(words) ? "" : ".");

async function ask(path, { wait, ...request }, again) {
  try {
    const response = await fetch(path, { ...request, signal: AbortSignal.timeout(wait), cache: "no-store" });
    return { response, answer: await response.json().catch(() => null) };
  } catch (error) {
    if (error.name === "TimeoutError") throw new ApiError("The service does not answer in time.", 0);
    if (!again) throw new ApiError("The service cannot be reached.", 0);
    // Reading may be done twice: a connection that was closed just then is no reason to show nothing.
    await new Promise((done) => setTimeout(done, 200));
    return ask(path, { wait, ...request }, false);
  }
}

async function call(path, { method = "GET", body, headers, wait = 20_000, also = [] } = {}) {
  const { response, answer } = await ask(path, { method, body, headers, wait }, method === "GET");
  if (response.status === 401) {
    if (!leaving) location.assign("/login");
    leaving = true; // several calls may be refused at once
    throw new ApiError("Please sign in.", 401);
  }
  if ((response.ok && answer) || (also.includes(response.status) && answer?.id)) return answer;
  throw new ApiError(answer?.error ? sentence(answer.error) : (WORDS[response.status] ?? `The service failed (${response.status}).`), response.status);
}

const send = (path, method, value) =>
  call(path, { method, body: JSON.stringify(value), headers: { "Content-Type": "application/json" } });

const of = (line) => `/v1/lines/${encodeURIComponent(line)}`;

export const lines = async (wait) => (await call("/v1/lines", { wait })).lines;

/** `query` filters, as the contract names them: verdict, label, audit, unanswered, before, limit. */
export const inspections = (line, query) => call(`${of(line)}/inspections?${new URLSearchParams(query)}`);

export const inspection = (line, id) => call(`${of(line)}/inspections/${id}`);

export const scores = async (line, limit) => (await call(`${of(line)}/scores?limit=${limit}`)).scores;

export const label = (line, id, value) => send(`${of(line)}/inspections/${id}/label`, "PUT", { label: value });

export const versions = async (line) => (await call(`${of(line)}/versions`)).versions;

export const makeVersion = (line, how, ids) => send(`${of(line)}/versions`, "POST", { how, inspections: ids });

export const useVersion = (line, version) => call(`${of(line)}/versions/${version}/use`, { method: "POST" });

export const newShift = (line) => call(`${of(line)}/shift`, { method: "POST" });

/** Scores a file. One that cannot be read is an answer too, with the verdict `error`. */
export const inspect = (line, file) =>
  call(`${of(line)}/inspect?source=page`, {
    method: "POST",
    body: file,
    headers: { "Content-Type": "application/octet-stream", "X-Filename": encodeURIComponent(file.name) },
    wait: 60_000,
    also: [422],
  });

/** The next page of a list, by the address that came with it. */
export const follow = (next) => call(new URL(next, location.href).pathname + new URL(next, location.href).search);
