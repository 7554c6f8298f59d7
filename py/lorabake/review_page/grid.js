// The grid of pictures: only what can be seen is in the page, however many pictures there are; thumbnails are asked for a few at a time.

import { url } from "./api.js";
import { byId, el } from "./dom.js";
import { emit, model, moveTo, on, pick, tagsOf } from "./model.js";

const GAP = 10, PAD = 12, TEXT_PX = 40, SPARE_ROWS = 1;
const AT_ONCE = 4; // of the browser's six connections; the others are for edits
const scroller = byId("grid");
const spacer = scroller.querySelector(".spacer");
const cells = new Map(); // id: its element
const spare = [];
let size = 176, columns = 1, cellPx = size, rowPx = size;
let asked = false;

// Thumbnails: the newest wish first. What was scrolled away is not asked for; what was asked for is awaited, because a request that is
// given up costs the server as much as one that is not.
const wishes = new Map(); // cell: url
const loading = new Set(); // urls
function wish(cell, source) {
  if (cell.dataset.source === source) return;
  forget(cell);
  cell.dataset.source = source;
  wishes.set(cell, source);
}
function forget(cell) {
  wishes.delete(cell);
  cell.querySelector("img")?.remove();
  cell.classList.remove("ready", "broken");
  delete cell.dataset.source;
}
function next() {
  for (const [cell, source] of [...wishes].reverse()) {
    if (loading.size >= AT_ONCE) return;
    wishes.delete(cell);
    if (!loading.has(source)) load(source);
  }
}
function load(source) {
  loading.add(source);
  const image = new Image();
  image.alt = "";
  image.draggable = false;
  image.decoding = "async";
  const over = (name) => {
    loading.delete(source);
    for (const cell of cells.values()) {
      if (cell.dataset.source !== source) continue;
      if (name === "ready") cell.querySelector(".frame").prepend(image);
      cell.classList.add(name);
    }
    next();
  };
  image.onload = () => over("ready");
  image.onerror = () => over("broken");
  image.src = source;
}

function newCell() {
  return el("div", { class: "cell", role: "option" },
    el("div", { class: "frame" }, el("span", { class: "badges" }), el("span", { class: "tick" }, "\u2713")),
    el("p", { class: "words" }));
}

function fill(cell, id) {
  const item = model.items.get(id);
  const side = cellPx * devicePixelRatio <= 160 ? 128 : cellPx * devicePixelRatio <= 300 ? 256 : 512;
  wish(cell, url(`thumb/${side}/${id}?v=${item.stamp}`));
  const tags = tagsOf(item.text);
  const words = cell.querySelector(".words");
  const none = item.text === null ? item.problem || "no caption" : "no tags";
  words.textContent = tags.length ? tags.join(", ") : none;
  words.classList.toggle("none", !tags.length);
  const badges = [item.mask && "mask", item.shared.length && "shared", item.problem && "!"].filter(Boolean);
  cell.querySelector(".badges").replaceChildren(...badges.map((name) => el("i", { class: name === "!" ? "warn" : "" }, name)));
  cell.title = `${item.name}\n${item.text || none}${item.problem ? `\n${item.problem}` : ""}`;
  cell.dataset.id = id;
  cell.id = `cell-${id}`;
  mark(cell, id);
}

function mark(cell, id) {
  const selected = model.selected.has(id);
  cell.classList.toggle("selected", selected);
  cell.classList.toggle("cursor", id === model.cursor);
  cell.setAttribute("aria-selected", String(selected || (id === model.cursor && !model.selected.size)));
}

function layout() {
  const wide = scroller.clientWidth - 2 * PAD;
  columns = Math.max(1, Math.round((wide + GAP) / (size + GAP)));
  cellPx = Math.floor((wide - GAP * (columns - 1)) / columns);
  rowPx = cellPx + TEXT_PX + GAP;
  spacer.style.height = `${Math.ceil(model.shown.length / columns) * rowPx + PAD}px`;
  scroller.style.setProperty("--cell", `${cellPx}px`);
}

function render() {
  asked = false;
  const top = Math.floor((scroller.scrollTop - PAD) / rowPx) - SPARE_ROWS;
  const rows = Math.ceil(scroller.clientHeight / rowPx) + 1 + 2 * SPARE_ROWS;
  const first = Math.max(0, top * columns), last = Math.min(model.shown.length, (top + rows) * columns);
  const wanted = new Set(model.shown.slice(first, last));
  for (const [id, cell] of cells) {
    if (wanted.has(id)) continue;
    forget(cell);
    cell.remove();
    cells.delete(id);
    spare.push(cell);
  }
  for (let index = last - 1; index >= first; index--) {
    const id = model.shown[index];
    let cell = cells.get(id);
    if (!cell) {
      cell = spare.pop() || newCell();
      cells.set(id, cell);
      fill(cell, id);
      spacer.append(cell);
    }
    const x = PAD + (index % columns) * (cellPx + GAP), y = PAD + Math.floor(index / columns) * rowPx;
    cell.style.transform = `translate(${x}px, ${y}px)`;
  }
  next();
}

function renderSoon() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(render);
}

function reveal() {
  const index = model.place.get(model.cursor);
  if (index === undefined) return;
  const top = PAD + Math.floor(index / columns) * rowPx;
  if (top - PAD < scroller.scrollTop) scroller.scrollTop = top - PAD;
  else if (top + rowPx > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = top + rowPx - scroller.clientHeight;
}

// Rows a page key moves by.
export const pageRows = () => Math.max(1, Math.floor(scroller.clientHeight / rowPx) - 1);
export const columnsNow = () => columns;
export const focusGrid = () => scroller.focus({ preventScroll: true });

export function resize(px) {
  const index = model.place.get(model.cursor) ?? 0;
  size = px;
  layout();
  for (const [id, cell] of cells) fill(cell, id);
  render();
  scroller.scrollTop = Math.max(0, Math.floor(index / columns) * rowPx - scroller.clientHeight / 3);
}

export function moveBy(rows, across, extend) {
  const at = model.place.get(model.cursor) ?? 0;
  const wanted = at + across + rows * columns;
  if (rows && (wanted < 0 || wanted >= model.shown.length)) {
    const last = model.shown.length - 1;
    const sameRow = Math.floor(at / columns) === Math.floor((rows < 0 ? 0 : last) / columns);
    return moveTo(sameRow ? at : rows < 0 ? at % columns : last, { extend });
  }
  moveTo(wanted, { extend });
}

on("shown", () => {
  layout();
  scroller.scrollTop = 0;
  reveal();
  render();
});
on("items", (ids) => {
  for (const id of ids) if (cells.has(id)) fill(cells.get(id), id);
  next();
});
on("selection", (how) => {
  for (const [id, cell] of cells) mark(cell, id);
  if (how?.scroll) reveal();
  if (model.cursor !== null) scroller.setAttribute("aria-activedescendant", `cell-${model.cursor}`);
});
scroller.addEventListener("scroll", renderSoon, { passive: true });
new ResizeObserver(() => {
  layout();
  renderSoon();
}).observe(scroller);
scroller.addEventListener("mousedown", (event) => {
  const cell = event.target.closest(".cell");
  if (!cell || event.button) return;
  event.preventDefault();
  focusGrid();
  pick(Number(cell.dataset.id), { ctrl: event.ctrlKey || event.metaKey, shift: event.shiftKey });
});
scroller.addEventListener("dblclick", (event) => {
  if (event.target.closest(".cell") && !event.ctrlKey && !event.shiftKey) emit("look", null);
});
