// The public REST API as the pages use it. Every answer comes from /api/v1; the token stays in this tab.
//
// get(path, {signal, keep}?) → body      an answer that did not change (304) comes from memory, the same object; keep: false for what is asked once
// post(path, body?, {type, signal}?) → body   body: object (JSON), or a string with type "application/yaml"
// patch(path, body) → body
// download(path, filename) → Promise     saves the answer as a file
// blob(path) → Promise of the answer's bytes
// query({a: 1, b: ["x", "y"]}) → "?a=1&b=x&b=y"   null, undefined and "" are left out
// headers(more) → headers with the token;  tokenMark() → a short mark of the token, to keep tabs of different tokens apart
// ApiError: message, status (0: the server was not reached), detail, remedy, problems: [{path, rule, value, remedy, line, column}]

import { save } from "./files.js";

const BASE = "/api/v1";
const KEY = "hpo-token";
const KEPT = 40; // answers; a page asks for a dozen again and again
const memory = new Map(); // path → {etag, body}

export class ApiError extends Error {
  constructor(status, document) {
    const detail = document.detail || `The server answered ${status}.`;
    super(detail);
    this.name = "ApiError";
    this.status = status;
    this.detail = detail;
    this.remedy = document.remedy || "";
    this.problems = document.problems || document.errors || [];
  }
}

const token = () => sessionStorage.getItem(KEY) || "";
export const signIn = (text) => sessionStorage.setItem(KEY, text.trim());
export const signOut = () => sessionStorage.removeItem(KEY);
export const signedIn = () => Boolean(token());

export function headers(more = {}) {
  return token() ? { ...more, Authorization: `Bearer ${token()}` } : more;
}

export function tokenMark() {
  let mark = 0;
  for (const letter of token()) mark = (Math.imul(mark, 31) + letter.charCodeAt(0)) | 0;
  return (mark >>> 0).toString(36);
}

export function query(values) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") params.append(name, one === true ? "1" : String(one));
    }
  }
  const text = params.toString();
  return text ? `?${text}` : "";
}

export async function get(path, { signal, keep = true } = {}) {
  const known = memory.get(path);
  const answer = await send(path, { signal, headers: known ? { "If-None-Match": known.etag } : {} });
  if (answer.status === 304 && known) return remembered(path, known).body;
  const body = await read(answer);
  const etag = answer.headers.get("etag");
  memory.delete(path);
  if (etag && keep) remembered(path, { etag, body });
  return body;
}

// What was used last is forgotten last.
function remembered(path, entry) {
  memory.delete(path);
  memory.set(path, entry);
  if (memory.size > KEPT) memory.delete(memory.keys().next().value);
  return entry;
}

export async function post(path, body = null, { type = "application/json", signal } = {}) {
  const sent = typeof body === "string" ? body : JSON.stringify(body ?? {});
  return read(await send(path, { method: "POST", body: sent, signal, headers: { "Content-Type": type, "Idempotency-Key": unique() } }));
}

export async function patch(path, body) {
  return read(await send(path, { method: "PATCH", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }));
}

export async function download(path, filename) {
  const answer = await send(path, { headers: { Accept: "*/*" } });
  if (!answer.ok) return read(answer);
  save(await answer.blob(), filename);
  return null;
}

export async function blob(path) {
  const answer = await send(path, { headers: { Accept: "*/*" } });
  return answer.ok ? answer.blob() : read(answer);
}

async function send(path, { headers: more, ...options }) {
  try {
    return await fetch(BASE + path, { ...options, headers: headers({ Accept: "application/json", ...more }) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { detail: "The server does not answer; see whether it runs and try again." });
  }
}

async function read(answer) {
  if (answer.status === 401) dispatchEvent(new CustomEvent("hpo:sign-in"));
  if (answer.status === 204) return null;
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new ApiError(answer.status, body);
  return body;
}

// crypto.randomUUID exists on secure origins only; a server in a lab is often plain http.
function unique() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
