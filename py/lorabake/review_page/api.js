// Talking to the server. Changes go out one after another and are kept until they are saved: a folder that is busy, or a server that does
// not answer, is asked again. Not here: what a change means.

import { apply, emit, model } from "./model.js";

const BASE = location.pathname.replace(/[^/]*$/, "");
const BUSY = 423;
const AGAIN_MS = 1500;
const waiting = []; // changes that are not saved yet
let working = false;
let stuck = false; // the folder is busy, or the server does not answer

export class Refused extends Error {
  constructor(told, status) {
    super(told.error || `the server answered ${status}`);
    this.told = told;
    this.status = status;
  }
  get text() {
    return [this.told.error, this.told.allowed, this.told.todo].filter(Boolean).join(" - ") || this.message;
  }
}

export const url = (path) => BASE + path;

async function answer(path, options) {
  const response = await fetch(BASE + path, { cache: "no-store", ...options });
  const json = (response.headers.get("Content-Type") || "").includes("json");
  const told = json ? await response.json() : { error: response.status === 403 ? await response.text() : "the server failed; its window says why" };
  if (!response.ok || !json) throw new Refused(told, response.status);
  return told;
}

export const ask = (path) => answer(path);
export const numWaiting = () => waiting.length;

const made = (body) => ({ ...(typeof body === "function" ? body() : body), since: model.revision });

// `body` may be a function, which is asked when its turn comes. Resolves with what the server said once it is on the disk; rejects with Refused when it cannot be done.
export function change(name, body) {
  return new Promise((resolve, reject) => {
    waiting.push({ name, body, resolve, reject });
    work();
  });
}

async function work() {
  if (working) return;
  working = true;
  while (waiting.length) {
    const { name, body, resolve, reject } = waiting[0];
    try {
      const now = made(body);
      emit("saving", { kind: "busy", text: telling(now) });
      const told = await send(name, now);
      waiting.shift();
      stuck = false;
      apply(told);
      emit("saving", { kind: "saved", text: "saved" });
      resolve(told);
    } catch (error) {
      if (error instanceof Refused && error.status === BUSY) await pause({ kind: "wait", text: `not saved yet: ${error.told.error}` });
      else if (error instanceof Refused) {
        waiting.shift();
        stuck = false;
        apply(error.told);
        emit("saving", { kind: "bad", text: "not saved" });
        reject(error);
      } else await pause({ kind: "bad", text: "not saved yet: the server does not answer. Is its window still open?" });
    }
  }
  working = false;
}

function telling(body) {
  if (waiting.length > 1) return `saving, ${waiting.length} to go`;
  return body.ids?.length > 1 ? `saving ${body.ids.length.toLocaleString("en")} pictures` : "saving";
}

const send = (name, body) =>
  answer(`api/${name}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), keepalive: JSON.stringify(body).length < 60000 });

function pause(state) {
  stuck = true;
  emit("saving", state);
  return new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
}

// When all that was done before is on the disk, or cannot get there.
export async function settled() {
  while (waiting.length && !stuck) await new Promise((resolve) => setTimeout(resolve, 30));
}

// What other programs changed.
export async function poll() {
  if (working) return;
  try {
    apply(await ask(`api/changes?since=${model.revision}`));
    emit("answering", true);
  } catch (error) {
    emit("answering", error instanceof Refused ? error.text : "the server does not answer: is its window still open?");
  }
}

// The page closes: what waits behind the change that is on its way is sent at once, and only what cannot be saved asks to stay.
export function flush() {
  for (const { name, body } of waiting.splice(working ? 1 : 0)) send(name, made(body)).catch(() => {});
}
window.addEventListener("beforeunload", (event) => {
  if (stuck) event.preventDefault();
});
