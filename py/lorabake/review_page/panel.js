// The right side: one picture with its tags and its caption, or what several selected pictures have in common.

import { addTags, editCaption, editTags, moved, named, removeTag, tagsTogether, textOf, unmask, writeCaption } from "./actions.js";
import { ask, flush, url } from "./api.js";
import { complete } from "./complete.js";
import { byId, counted, el, toast } from "./dom.js";
import { emit, model, on, oneLine, tagsOf, targets } from "./model.js";

const MOST_CHIPS = 200;
const panel = byId("panel");
let shownIds = []; // what the panel shows
let editing = null; // {id, field, base}: the caption's field, whose it is, and the caption that it began with
let completions = [];
let refused = null; // {id, text}: what could not be written

const dirty = () => editing && oneLine(editing.field.value) !== oneLine(editing.base);

function key(ids) {
  return ids.join(",");
}

// Write what is typed before the panel shows something else: nothing has to be applied.
export function keep() {
  if (!dirty()) return;
  const { id, base, field } = editing;
  editing.base = oneLine(field.value);
  writeCaption(id, base, field.value);
}

function show() {
  const ids = targets();
  if (key(ids) === key(shownIds) && panel.childElementCount) return refresh();
  keep();
  editing = null; // before the field goes: taking it out of the page makes it lose the focus
  shownIds = ids;
  for (const completion of completions) completion.remove();
  completions = [];
  const parts = ids.length === 1 ? single(model.items.get(ids[0])) : several(ids);
  panel.replaceChildren(...parts);
  const field = panel.querySelector("textarea");
  if (field) editing = { id: ids[0], field, base: field.value };
  if (ids.length === 1) learn(ids[0]);
  panel.scrollTop = 0;
}

// The same pictures, after a change: what is being typed stays.
function refresh() {
  const item = model.items.get(shownIds[0]);
  const focused = [...panel.querySelectorAll(".chip")].indexOf(document.activeElement.closest(".chip"));
  if (shownIds.length === 1 && item) {
    if (!panel.querySelector(".rename")) panel.querySelector(".chips").replaceChildren(...chips(tagsOf(textOf(item)).map((tag) => ({ tag }))));
    rebase(textOf(item));
    panel.querySelector(".notes").replaceChildren(...notes(item));
    const image = panel.querySelector(".picture");
    if (image.dataset.version !== item.stamp + item.mask) {
      image.replaceWith(picture(item));
      learn(item.id);
    }
  } else {
    const box = panel.querySelector(".chips");
    if (box) box.replaceChildren(...chips(tagsTogether(shownIds).slice(0, MOST_CHIPS), shownIds.length));
  }
  if (focused >= 0) focusChip(focused);
}

// The caption is another now while its field is open: what was typed before or behind it moves along. Typed in its midst it stays as it is,
// and the server will say that the caption was changed.
function rebase(text) {
  const { field, base } = editing, typed = field.value;
  if (text === base) return;
  const now = dirty() ? moved(text, base, typed) : text;
  if (now === null) return;
  const caret = field.selectionStart + (typed.startsWith(base) ? now.length - typed.length : 0);
  field.value = now;
  field.setSelectionRange(caret, caret);
  editing.base = text;
}

function heading(ids) {
  const selected = model.selected.size;
  const what = el("h2", {}, named(ids));
  return el("div", { class: "heading" }, what, selected ? el("button", { type: "button", title: "Escape", onclick: () => emit("clear") }, `${selected.toLocaleString("en")} selected \u2715`) : null);
}

export function picture(item) {
  const hatch = el("div", { class: "hatch", hidden: !item.mask });
  if (item.mask) hatch.style.maskImage = hatch.style.webkitMaskImage = `url("${url(`mask/${item.id}?v=${item.mask}`)}")`;
  const image = el("img", { alt: item.name, draggable: false, src: url(`view/${item.id}?v=${item.stamp}`) });
  image.addEventListener("error", () => found.classList.add("broken"));
  const found = el("div", { class: "picture", data: { version: item.stamp + item.mask } }, el("div", { class: "fit" }, image, hatch));
  return found;
}

function single(item) {
  const image = picture(item);
  const tools = [["crop", "c"], ["blank", "b"], ["mask", "m"]].map(([kind, letter]) =>
    el("button", { type: "button", title: `${HINTS[kind]} (${letter})`, onclick: () => emit("look", kind) }, `${kind[0].toUpperCase()}${kind.slice(1)}`));
  const text = el("textarea", { rows: 4, spellcheck: false, value: textOf(item), placeholder: "no caption yet", "aria-label": "caption" });
  completions.push(complete(text, { after: ", " }));
  text.addEventListener("keydown", editKey);
  text.addEventListener("blur", keep);
  return [
    heading([item.id]), image,
    el("div", { class: "tools" }, el("button", { type: "button", title: "as large as the window (Enter)", onclick: () => emit("look", null) }, "Enlarge"), ...tools,
      el("button", { type: "button", class: "unmask", hidden: true, title: "all of the picture counts again", onclick: () => unmask([item.id]) }, "No mask")),
    el("p", { class: "facts soft" }),
    el("div", { class: "notes" }, ...notes(item)),
    el("div", { class: "chips", role: "group", "aria-label": "tags" }, ...chips(tagsOf(textOf(item)).map((tag) => ({ tag })))),
    adding(), el("label", { class: "caption" }, el("span", { class: "soft" }, "Caption  [ e ]"), text),
  ];
}

const HINTS = {
  crop: "keep only a rectangle; the original is kept",
  blank: "cover a place with the colour around it; the original is kept",
  mask: "leave a place out of the loss",
};

function notes(item) {
  const found = [];
  if (item.shared.length) found.push(`This caption is shared with ${item.shared.map((id) => model.items.get(id)?.name).join(", ")}: an edit is theirs too.`);
  if (item.problem) found.push(`${item.file}: ${item.problem}`);
  const lines = found.map((line) => el("p", { class: "note" }, line));
  if (refused?.id === item.id && refused.text !== textOf(item)) {
    const mine = refused.text;
    lines.push(el("div", { class: "note bad" }, el("p", {}, "This could not be saved, the file holds something else now. You had typed:"), el("q", {}, mine),
      el("button", { type: "button", onclick: () => ((refused = null), writeCaption(item.id, textOf(item), mine)) }, "Write it all the same"),
      el("button", { type: "button", onclick: () => ((refused = null), refresh()) }, "Drop it")));
  }
  return lines;
}

async function learn(id) {
  const item = model.items.get(id);
  let facts;
  try {
    facts = await ask(`api/facts/${id}`);
  } catch (error) {
    facts = { problem: error.text || error.message };
  }
  const line = panel.querySelector(".facts");
  if (shownIds.length !== 1 || shownIds[0] !== id || !line) return;
  line.classList.toggle("bad", Boolean(facts.problem));
  const parts = facts.problem ? [facts.problem] : [`${facts.width} x ${facts.height} px`, facts.format, facts.alpha && "transparent", facts.frames > 1 && "animated",
    facts.left_out > 0 && `${Math.max(1, Math.round(100 * facts.left_out))}% left out of the loss`, facts.originals && `${counted(facts.originals, "original")} kept`, facts.note];
  line.textContent = parts.filter(Boolean).join("  \u00b7  ");
  panel.querySelector(".unmask").hidden = !item.mask;
}

function several(ids) {
  if (!ids.length) return [el("p", { class: "soft empty" }, "No picture here.")];
  const replaceOld = el("input", { type: "text", id: "replace-old", spellcheck: false, placeholder: "Old tag  [ r ]", "aria-label": "tag to replace" });
  const replaceNew = el("input", { type: "text", spellcheck: false, placeholder: "new", title: "what takes its place; nothing takes it out", "aria-label": "tag in its place" });
  completions.push(complete(replaceOld), complete(replaceNew));
  const replace = async () => {
    const old = replaceOld.value.trim(), by = replaceNew.value;
    if (!old) return replaceOld.focus();
    replaceOld.value = replaceNew.value = "";
    if (!(await editTags({ replace: [`${old}=${by}`] }))) [replaceOld.value, replaceNew.value] = [old, by];
  };
  for (const input of [replaceOld, replaceNew]) input.addEventListener("keydown", (event) => event.key === "Enter" && replace());
  const masked = ids.filter((id) => model.items.get(id).mask);
  return [
    heading(ids),
    el("div", { class: "strip" }, ...ids.slice(0, 8).map((id) => el("img", { alt: "", src: url(`thumb/128/${id}?v=${model.items.get(id).stamp}`) }))),
    adding(),
    el("div", { class: "replace" }, replaceOld, el("span", { class: "soft" }, "\u2192"), replaceNew, el("button", { type: "button", onclick: replace }, "Replace")),
    el("div", { class: "tools" },
      el("button", { type: "button", title: "keep the first of tags that stand twice in a caption", onclick: () => editTags({ dedupe: true }) }, "Remove doubles"),
      el("button", { type: "button", title: "the most frequent tags of the dataset first", onclick: () => editTags({ sort: "count" }) }, "Sort by count"),
      masked.length ? el("button", { type: "button", onclick: () => unmask(masked) }, `Remove ${counted(masked.length, "mask")}`) : null),
    el("h3", {}, "Tags of these pictures"),
    el("div", { class: "chips", role: "group", "aria-label": "tags" }, ...chips(tagsTogether(ids).slice(0, MOST_CHIPS), ids.length)),
  ];
}

function adding() {
  const input = el("input", { type: "text", id: "add", spellcheck: false, placeholder: "Add tags  [ a ]", "aria-label": "add tags" });
  const add = async (first) => {
    const typed = input.value;
    if (!typed.trim()) return;
    input.value = "";
    if (!(await addTags(typed, first)) && !input.value) input.value = typed; // it could not be saved
  };
  completions.push(complete(input, { done: () => add(false) }));
  input.addEventListener("keydown", (event) => event.key === "Enter" && add(event.shiftKey));
  return el("div", { class: "add" }, input, el("button", { type: "button", title: "at the front (Shift+Enter)", onclick: () => add(true) }, "First"), el("button", { type: "button", title: "at the end (Enter)", onclick: () => add(false) }, "Add"));
}

// `of`: among how many pictures; a tag that not all carry shows its count.
function chips(tags, of = 1) {
  return tags.map(({ tag, times = 1 }) => {
    const partly = times < of;
    const label = el("button", { type: "button", class: "label", title: partly ? `on ${times} of ${of}; click: add to all` : of > 1 ? "on all of them" : "double click: edit" }, tag, partly ? el("small", {}, ` ${times}`) : null);
    const chip = el("span", { class: `chip ${partly ? "partly" : ""}`, data: { tag } }, label, el("button", { type: "button", class: "out", tabIndex: -1, title: "remove (Delete)", "aria-label": `remove ${tag}` }, "\u2715"));
    return chip;
  });
}

panel.addEventListener("click", (event) => {
  const chip = event.target.closest(".chip");
  if (event.target.closest(".picture")) emit("look", null);
  if (!chip) return;
  if (event.target.closest(".out")) removeTag(chip.dataset.tag);
  else if (chip.classList.contains("partly")) addTags(chip.dataset.tag);
});
panel.addEventListener("dblclick", (event) => {
  const chip = event.target.closest(".chip");
  if (chip && shownIds.length === 1) rename(chip);
});

// A chip becomes a field; Enter writes.
function rename(chip) {
  const old = chip.dataset.tag, item = model.items.get(shownIds[0]);
  const input = el("input", { type: "text", class: "rename", value: old, spellcheck: false, "aria-label": `edit ${old}` });
  const completion = complete(input);
  let over = false;
  const end = (write) => {
    if (over) return;
    over = true;
    completion.remove();
    input.classList.remove("rename");
    const by = tagsOf(oneLine(input.value));
    if (write && by.join(", ") !== old) editCaption(item.id, (text) => tagsOf(text).flatMap((tag) => (tag === old ? by : [tag])).join(", "));
    refresh();
  };
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") end(true);
    else if (event.key === "Escape") end(false);
    else return;
    event.stopPropagation();
  });
  input.addEventListener("blur", () => end(true));
  chip.replaceWith(input);
  input.focus();
  input.select();
}

// Keys on a tag: arrows to its neighbours, Delete takes it out, Enter edits it, Alt+arrows move it.
panel.addEventListener("keydown", (event) => {
  const chip = event.target.closest(".chip");
  if (!chip) return;
  const all = [...panel.querySelectorAll(".chip")], index = all.indexOf(chip);
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (event.key === "Delete" || event.key === "Backspace") {
    removeTag(chip.dataset.tag);
  } else if ((event.key === "Enter" || event.key === "F2") && shownIds.length === 1) rename(chip);
  else if (step && event.altKey && shownIds.length === 1) shift(index, step);
  else if (step) focusChip(index + step);
  else return;
  event.preventDefault();
  event.stopPropagation();
});

function shift(index, step) {
  const item = model.items.get(shownIds[0]), [one, two] = [index, index + step].map((at) => tagsOf(textOf(item))[at]);
  if (two === undefined) return;
  editCaption(item.id, (text) => tagsOf(text).map((tag) => (tag === one ? two : tag === two ? one : tag)).join(", "));
  refresh();
  focusChip(index + step);
}

export function focusChip(index = 0) {
  const all = panel.querySelectorAll(".chip .label");
  all[Math.max(0, Math.min(all.length - 1, index))]?.focus();
}

function editKey(event) {
  if (event.key === "Enter") {
    keep();
    if (event.ctrlKey || event.metaKey) emit("edit-next");
    else emit("leave");
  } else if (event.key === "Escape") {
    editing.field.value = editing.base;
    emit("leave");
  } else return;
  event.preventDefault();
  event.stopPropagation();
}

export function edit() {
  const field = editing?.field || byId("add");
  field?.focus();
  field?.setSelectionRange(field.value.length, field.value.length);
}

on("selection items", show);
on("refused", (what) => {
  refused = what;
  if (editing?.id !== what.id) return toast(`${model.items.get(what.id)?.name}: what was typed is kept beside the picture`, "bad");
  editing.base = editing.field.value = textOf(model.items.get(what.id) || { id: what.id });
  refresh();
});
window.addEventListener("pagehide", () => {
  keep();
  flush();
});
document.addEventListener("visibilitychange", () => document.hidden && keep());
