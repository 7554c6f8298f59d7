// The start of the page, and its keys. Everything else is in the modules that are named here.

import { undo } from "./actions.js";
import { ask, numWaiting, poll } from "./api.js";
import { help, history } from "./dialogs.js";
import { byId, toast, typing } from "./dom.js";
import { filter } from "./filter.js";
import { columnsNow, focusGrid, moveBy, pageRows, resize } from "./grid.js";
import { apply, clearSelection, emit, model, moveTo, on, selectAll, show, toggle } from "./model.js";
import { edit, focusChip, keep } from "./panel.js";
import { openStage, stageOpen } from "./stage.js";

const POLL_MS = 4000;
const SIZE_KEY = "lorabake-size";
const saved = byId("saved"), size = byId("size");

on("saving", ({ kind, text }) => {
  saved.className = kind;
  saved.textContent = text;
  saved.title = kind === "saved" ? `everything is on the disk, ${new Date().toLocaleTimeString()}` : "";
});
on("answering", (how) => {
  if (how === true && saved.className === "lost") emit("saving", { kind: "saved", text: "saved" });
  else if (how !== true && !numWaiting()) emit("saving", { kind: "lost", text: how });
});
on("leave clear", focusGrid);
on("clear", clearSelection);
on("look", openStage);
on("edit-next", () => {
  clearSelection();
  moveTo((model.place.get(model.cursor) ?? -1) + 1);
  edit();
});

function setSize(px) {
  size.value = px;
  localStorage.setItem(SIZE_KEY, size.value);
  resize(Number(size.value));
}
size.addEventListener("input", () => setSize(size.value));
byId("undo").addEventListener("click", () => undo());
byId("history").addEventListener("click", history);
byId("help").addEventListener("click", help);

function escape() {
  if (model.selected.size) clearSelection();
  else if (byId("filter").value) filter("");
}

const KEYS = {
  ArrowLeft: (event) => moveBy(0, -1, event.shiftKey),
  ArrowRight: (event) => moveBy(0, 1, event.shiftKey),
  ArrowUp: (event) => moveBy(-1, 0, event.shiftKey),
  ArrowDown: (event) => moveBy(1, 0, event.shiftKey),
  PageUp: (event) => moveTo(model.place.get(model.cursor) - pageRows() * columnsNow(), { extend: event.shiftKey }),
  PageDown: (event) => moveTo(model.place.get(model.cursor) + pageRows() * columnsNow(), { extend: event.shiftKey }),
  Home: (event) => moveTo(0, { extend: event.shiftKey }),
  End: (event) => moveTo(model.shown.length - 1, { extend: event.shiftKey }),
  " ": () => model.cursor !== null && toggle(model.cursor),
  Enter: () => openStage(null),
  Escape: escape,
  "/": () => byId("filter").select(),
  t: () => byId("tag-search").select(),
  a: () => byId("add")?.focus(),
  e: edit,
  r: () => byId("replace-old") ? byId("replace-old").focus() : toast("select several pictures to replace a tag in them", "bad"),
  x: () => focusChip(),
  Delete: () => focusChip(),
  c: () => openStage("crop"),
  b: () => openStage("blank"),
  m: () => openStage("mask"),
  z: () => undo(),
  h: history,
  "?": help,
  "+": () => setSize(Number(size.value) + 16),
  "=": () => setSize(Number(size.value) + 16),
  "-": () => setSize(Number(size.value) - 16),
};
const CTRL = { a: selectAll, z: () => undo(), f: () => byId("filter").select() };

document.addEventListener("keydown", (event) => {
  if (stageOpen() || document.querySelector("dialog[open]")) return;
  if (typing(event.target)) {
    if (event.key === "Escape") focusGrid();
    return;
  }
  const ctrl = event.ctrlKey || event.metaKey;
  const own = event.target.matches("button") && (event.key === " " || event.key === "Enter");
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const action = own || event.altKey ? null : ctrl ? CTRL[key] : KEYS[key];
  if (!action) return;
  event.preventDefault();
  action(event);
});

async function start() {
  const told = await ask("api/start");
  document.title = `${told.folder} - lorabake review`;
  byId("folder").textContent = told.folder;
  byId("folder").title = told.path;
  size.value = localStorage.getItem(SIZE_KEY) || 176;
  resize(Number(size.value));
  apply(told);
  show(model.order);
  emit("saving", { kind: "saved", text: "saved" });
  focusGrid();
  model.known = (await ask("api/known")).tags;
}

setInterval(() => document.hidden || poll(), POLL_MS);
window.addEventListener("focus", poll);
window.addEventListener("blur", keep);
start().catch((error) => {
  byId("nothing").hidden = false;
  byId("nothing").textContent = error.text || error.message;
});
