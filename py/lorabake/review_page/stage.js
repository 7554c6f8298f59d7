// One picture as large as the window, and rectangles drawn on it: crop, blank, mask. Keys and mouse do the same.

import { draw, undo, unmask } from "./actions.js";
import { ask } from "./api.js";
import { byId, el } from "./dom.js";
import { model, moveTo, on, targets } from "./model.js";
import { picture } from "./panel.js";

const MODES = {
  crop: ["Crop", "Drag a rectangle: only what is inside stays."],
  blank: ["Blank", "Drag a rectangle over what shall not be seen."],
  mask: ["Mask", "Drag a rectangle over what shall not be learned."],
};
const FILLS = { edge: "colour around it", "#ffffff": "white", "#808080": "grey", "#000000": "black" };
const LEAST_PX = 4; // of the screen; less was a click
const box = byId("stage");
let item = null, size = null, mode = null, rect = null, drag = null, scale = 1, busy = false, fill = "edge";

const area = el("div", { class: "area", tabIndex: -1, autofocus: true });
const shade = el("div", { class: "shade", hidden: true }); // what a crop takes away
const frame = el("div", { class: "rect", hidden: true }, ...["nw", "ne", "sw", "se"].map((corner) => el("i", { class: corner, data: { corner } })));
const apply = el("button", { type: "button", class: "main", onclick: () => write() }, "Apply  \u23ce");
const measure = el("output", {});
const actions = el("div", { class: "rect-bar", hidden: true }, measure, apply, el("button", { type: "button", onclick: () => setRect(null) }, "Esc"));
const title = el("b", {}), hint = el("span", { class: "soft" });
const buttons = Object.entries(MODES).map(([kind, [name]]) => el("button", { type: "button", data: { kind }, onclick: () => setMode(mode === kind ? null : kind) }, name, el("kbd", {}, kind[0])));
const fills = el("select", { "aria-label": "colour that covers", title: "colour that covers", onchange: () => (fill = fills.value) }, ...Object.entries(FILLS).map(([value, name]) => el("option", { value }, name)));
const learnAll = el("button", { type: "button", title: "all of the picture counts again", onclick: () => unmask([item.id]) }, "No mask");
const steps = ["\u2039", "\u203a"].map((sign, index) => el("button", { type: "button", title: index ? "next (right arrow)" : "previous (left arrow)", onclick: () => step(index ? 1 : -1) }, sign));
box.append(el("div", { class: "bar" }, ...steps, title, hint, el("span", { class: "room" }), fills, learnAll, ...buttons, el("button", { type: "button", title: "close (Escape)", onclick: () => box.close() }, "\u2715")), area);

export function openStage(kind) {
  const [id] = targets();
  if (id === undefined) return;
  if (!box.open) box.showModal();
  setMode(kind);
  show(model.items.get(id));
}

export const stageOpen = () => box.open;

async function show(next) {
  item = next;
  size = null;
  setRect(null);
  title.textContent = item.name;
  learnAll.hidden = !item.mask;
  const image = picture(item);
  area.replaceChildren(image);
  const fit = image.querySelector(".fit");
  fit.append(shade, frame, actions);
  const wanted = item;
  try {
    const facts = await ask(`api/facts/${item.id}`);
    if (item !== wanted) return;
    size = [facts.width, facts.height];
  } catch (error) {
    if (item === wanted) area.replaceChildren(el("p", { class: "note bad" }, error.text || error.message));
    return;
  }
  place();
}

function place() {
  if (!size || !box.open) return;
  const fit = area.querySelector(".fit");
  scale = Math.min((area.clientWidth - 24) / size[0], (area.clientHeight - 24) / size[1]);
  fit.style.width = `${size[0] * scale}px`;
  fit.style.height = `${size[1] * scale}px`;
  hint.textContent = `${size[0]} x ${size[1]} px${mode ? `  \u00b7  ${MODES[mode][1]}` : ""}`;
  paint();
}

function setMode(kind) {
  mode = kind;
  box.dataset.mode = kind || "";
  for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.kind === kind));
  fills.hidden = kind !== "blank";
  if (!kind) setRect(null);
  place();
}

function setRect(found) {
  rect = found;
  paint();
}

function paint() {
  frame.hidden = actions.hidden = !rect || !mode;
  shade.hidden = frame.hidden || mode !== "crop";
  if (!rect || !size) return;
  const [x, y, w, h] = rect.map((part) => part * scale);
  Object.assign(frame.style, { left: `${x}px`, top: `${y}px`, width: `${w}px`, height: `${h}px` });
  shade.style.clipPath = `path(evenodd, "M0 0H${size[0] * scale}V${size[1] * scale}H0ZM${x} ${y}V${y + h}H${x + w}V${y}Z")`;
  measure.textContent = `${rect[2]} x ${rect[3]}`;
  const below = y + h + 44 < size[1] * scale + 30;
  Object.assign(actions.style, { left: `${Math.max(0, Math.min(x, size[0] * scale - 190))}px`, top: `${below ? y + h + 6 : Math.max(0, y + h - 44)}px` });
}

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

// Two corners in px of the picture as x, y, width, height inside it.
function between(one, two) {
  const [left, right] = [one[0], two[0]].sort((a, b) => a - b), [top, bottom] = [one[1], two[1]].sort((a, b) => a - b);
  const x = clamp(Math.round(left), 0, size[0] - 1), y = clamp(Math.round(top), 0, size[1] - 1);
  return [x, y, clamp(Math.round(right), x + 1, size[0]) - x, clamp(Math.round(bottom), y + 1, size[1]) - y];
}

function at(event) {
  const edge = area.querySelector(".fit").getBoundingClientRect();
  return [(event.clientX - edge.left) / scale, (event.clientY - edge.top) / scale];
}

area.addEventListener("pointerdown", (event) => {
  if (!mode || !size || event.button || busy || event.target.closest(".rect-bar")) return;
  event.preventDefault();
  area.setPointerCapture(event.pointerId);
  const from = at(event), corner = event.target.dataset.corner;
  if (corner) drag = { fixed: [corner.includes("w") ? rect[0] + rect[2] : rect[0], corner.includes("n") ? rect[1] + rect[3] : rect[1]] };
  else if (event.target === frame) drag = { from, was: rect };
  else drag = { fixed: from, fresh: true };
});
area.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const now = at(event);
  if (drag.fixed) {
    const small = drag.fresh && Math.abs(now[0] - drag.fixed[0]) * scale < LEAST_PX && Math.abs(now[1] - drag.fixed[1]) * scale < LEAST_PX;
    return setRect(small ? null : between(drag.fixed, now));
  }
  move(drag.was, now[0] - drag.from[0], now[1] - drag.from[1]);
});
for (const name of ["pointerup", "pointercancel"]) area.addEventListener(name, () => (drag = null));

function move([x, y, w, h], right, down) {
  setRect([clamp(Math.round(x + right), 0, size[0] - w), clamp(Math.round(y + down), 0, size[1] - h), w, h]);
}

async function write() {
  if (!rect || !mode || busy) return;
  busy = true;
  apply.disabled = true;
  const told = await draw(item, mode, rect, fill);
  busy = false;
  apply.disabled = false;
  if (told) setRect(null);
}

function step(by) {
  const index = model.place.get(item.id) ?? model.place.get(model.cursor);
  const next = model.shown[index + by];
  if (next === undefined) return;
  model.selected.clear();
  moveTo(index + by);
  show(model.items.get(next));
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

box.addEventListener("keydown", (event) => {
  if (event.target.matches("select")) return;
  const arrow = ARROWS[event.key], kind = { c: "crop", b: "blank", m: "mask" }[event.key];
  if (event.key === "Escape") {
    if (rect) setRect(null);
    else if (mode) setMode(null);
    else box.close();
  } else if (event.key === "Enter" && rect) write();
  else if (event.key === "Enter" && event.target.matches("button")) return;
  else if (event.key === "Enter") box.close();
  else if (event.key === "z") undo();
  else if (kind && !event.ctrlKey && !event.metaKey) setMode(mode === kind ? null : kind);
  else if (arrow && rect) {
    const by = event.ctrlKey ? 10 : 1;
    if (event.shiftKey) setRect([rect[0], rect[1], clamp(rect[2] + arrow[0] * by, 1, size[0] - rect[0]), clamp(rect[3] + arrow[1] * by, 1, size[1] - rect[1])]);
    else move(rect, arrow[0] * by, arrow[1] * by);
  } else if (arrow) step(arrow[0] || arrow[1]);
  else return;
  event.preventDefault();
  event.stopPropagation();
});
box.addEventListener("cancel", (event) => event.preventDefault());
new ResizeObserver(place).observe(area);
on("items", () => {
  if (!box.open) return;
  const now = model.items.get(item.id);
  if (!now) box.close();
  else if (now.stamp !== item.stamp || now.mask !== item.mask) show(now);
  else item = now;
});

