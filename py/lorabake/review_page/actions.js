// What a person can do to the dataset, from whatever part of the page: each sends one change and says what came of it.

import { change, Refused } from "./api.js";
import { counted, toast } from "./dom.js";
import { emit, model, oneLine, plain, tagsOf, targets } from "./model.js";

const SHOWN_PROBLEMS = 3;
const sent = new Map(); // id: the caption that is on its way, so that the next edit is based on it

async function run(name, body, { quiet = false } = {}) {
  try {
    const told = await change(name, body);
    for (const problem of told.problems.slice(0, SHOWN_PROBLEMS)) toast(problem, "bad");
    if (told.problems.length > SHOWN_PROBLEMS) toast(`and ${told.problems.length - SHOWN_PROBLEMS} more`, "bad");
    if (!quiet) toast(told.said);
    emit("changed", told);
    return told;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    toast(error.text, "bad");
    return null;
  }
}

// Tags of the targets: {add, add_first, remove, replace, exactly}, each a list.
export function editTags(edits, ids = targets()) {
  if (!ids.length) return toast("no picture is selected", "bad");
  return run("tags", { ids, ...edits }, { quiet: ids.length === 1 });
}

export const addTags = (text, first = false) => tagsOf(text).length && editTags({ [first ? "add_first" : "add"]: [oneLine(text)] });
export const removeTag = (tag) => editTags({ exactly: [tag] });

// A caption as typed. `base` is the text that the person saw; what could not be written is handed to the panel.
export async function writeCaption(id, base, text) {
  const typed = oneLine(text);
  const from = sent.get(id) ?? base;
  if (typed === from) return;
  sent.set(id, typed);
  const told = await run("caption", { id, base: from, text: typed }, { quiet: true });
  if (sent.get(id) === typed) sent.delete(id);
  if (!told) emit("refused", { id, text: typed });
}
export const textOf = (item) => sent.get(item.id) ?? item.text ?? "";

export const draw = (item, kind, box, fill) => run("draw", { id: item.id, kind, box, stamp: item.stamp, fill });
export const unmask = (ids = targets()) => run("unmask", { ids });
export const undo = (number = 0) => run("undo", { number });

// Tags of several pictures with how many of them carry each, most first.
export function tagsTogether(ids) {
  const found = new Map();
  for (const id of ids) {
    const seen = new Set();
    for (const tag of tagsOf(model.items.get(id)?.text)) {
      const key = plain(tag);
      if (seen.has(key)) continue;
      seen.add(key);
      const entry = found.get(key) || { tag, times: 0 };
      entry.times += 1;
      found.set(key, entry);
    }
  }
  return [...found.values()].sort((one, two) => two.times - one.times);
}

// How the panel and the messages name what is meant.
export function named(ids) {
  return ids.length === 1 ? model.items.get(ids[0]).name : counted(ids.length, "picture");
}
