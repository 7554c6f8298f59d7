// The filter box: an expression over tags, evaluated by the server. Pictures that an edit takes out of it stay until it is asked again.

import { ask, Refused } from "./api.js";
import { complete, inExpression } from "./complete.js";
import { byId, counted, el } from "./dom.js";
import { emit, model, on, show } from "./model.js";
import { expression } from "./taglist.js";

const TYPING_MS = 180, AFTER_EDIT_MS = 300;
const input = byId("filter"), problem = byId("filter-problem"), clear = byId("filter-clear"), again = byId("refilter");
let asked = 0, timer = 0, checking = 0, active = "";

export async function filter(text = input.value) {
  const expr = text.trim(), mine = ++asked;
  input.value = text;
  clear.hidden = !expr;
  again.hidden = true;
  try {
    const ids = expr ? (await ask(`api/find?q=${encodeURIComponent(expr)}`)).ids : model.order;
    if (mine !== asked) return;
    const wanted = new Set(ids);
    active = expr;
    tell("");
    show(expr ? model.order.filter((id) => wanted.has(id)) : model.order);
  } catch (error) {
    if (mine === asked) tell(error instanceof Refused ? error.told.error.replace(/^.*cannot be understood: /, "") : "the server does not answer: is its window still open?");
  }
}

function tell(text) {
  problem.replaceChildren(text, el("small", {}, 'tags joined by and, or, not and brackets; * for anything; "quotes" where a tag has brackets'));
  problem.hidden = !text;
  input.setAttribute("aria-invalid", String(Boolean(text)));
}

function told() {
  const total = model.items.size, selected = model.selected.size;
  const shown = model.shown.length === total ? counted(total, "picture") : `${model.shown.length.toLocaleString("en")} of ${counted(total, "picture")}`;
  byId("count").textContent = selected ? `${shown}, ${selected.toLocaleString("en")} selected` : shown;
  const nothing = byId("nothing");
  nothing.hidden = model.shown.length > 0;
  nothing.replaceChildren(active ? "No picture fits this filter." : "There are no pictures.");
}

// After an edit: how many pictures the filter would show now.
function check() {
  clearTimeout(checking);
  if (!active) return;
  checking = setTimeout(async () => {
    let ids;
    try {
      ({ ids } = await ask(`api/find?q=${encodeURIComponent(active)}`));
    } catch {
      return; // the next edit asks again
    }
    const differ = ids.filter((id) => !model.place.has(id)).length + model.shown.length - ids.filter((id) => model.place.has(id)).length;
    again.hidden = !differ;
    again.replaceChildren("Filter again ", el("small", {}, `${differ} differ`));
  }, AFTER_EDIT_MS);
}

complete(input, { place: inExpression, insert: expression });
input.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(filter, TYPING_MS);
});
input.addEventListener("keydown", async (event) => {
  if (event.key === "Enter" || event.key === "ArrowDown") {
    clearTimeout(timer);
    await filter();
    if (problem.hidden) emit("leave");
  } else if (event.key === "Escape") {
    clearTimeout(timer);
    if (input.value) filter("");
    emit("leave");
  } else return;
  event.preventDefault();
});
clear.addEventListener("click", () => {
  filter("");
  emit("leave");
});
again.addEventListener("click", () => filter());

on("filter-by", ({ text, how }) => {
  const now = input.value.trim();
  const bracketed = / or /i.test(now) ? `(${now})` : now;
  if (!how) filter(now === text ? "" : text);
  else filter(now ? `${bracketed} ${how} ${text}` : how === "and" ? text : `not ${text}`);
});
on("list", () => (active ? check() : show(model.order)));
on("items", check);
on("selection items", told);
