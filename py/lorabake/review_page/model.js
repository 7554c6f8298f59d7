// What the page knows: pictures, which are shown, where the cursor is, what is selected, how often each tag stands. No DOM, no server.

export const model = {
  items: new Map(), // id: {id, name, file, text, problem, stamp, mask, shared}
  order: [], // ids of all pictures
  shown: [], // ids that the filter lets through
  place: new Map(), // id: its index in shown
  selected: new Set(),
  cursor: null,
  anchor: null, // where a range begins
  revision: -1,
  counts: new Map(), // plain tag: pictures that carry it
  spellings: new Map(), // plain tag: Map of spelling: captions
  known: [], // a tagger's tags, for completing
};

const listeners = new Map();
export function on(names, listener) {
  for (const name of names.split(" ")) listeners.set(name, [...(listeners.get(name) || []), listener]);
}
export function emit(name, detail) {
  for (const listener of listeners.get(name) || []) listener(detail);
}

// As lorabake.captions.split_tags and lorabake.tag_query.plain.
export const tagsOf = (text) => (text || "").split(",").map((tag) => tag.trim()).filter(Boolean);
export function plain(tag) {
  const found = tag.trim().toLowerCase().replaceAll("\\(", "(").replaceAll("\\)", ")");
  return /[\p{L}\p{N}]/u.test(found) ? found.replaceAll("_", " ") : found;
}
const oneLine = (text) => text.split(/\s+/).filter(Boolean).join(" ");
export { oneLine };

function count(item, sign) {
  const seen = new Set();
  for (const tag of tagsOf(item.text)) {
    const key = plain(tag);
    const spellings = model.spellings.get(key) || new Map();
    spellings.set(tag, (spellings.get(tag) || 0) + sign);
    model.spellings.set(key, spellings);
    if (seen.has(key)) continue;
    seen.add(key);
    const total = (model.counts.get(key) || 0) + sign;
    if (total > 0) model.counts.set(key, total);
    else {
      model.counts.delete(key);
      model.spellings.delete(key);
    }
  }
}

// The spelling that is most common.
export function spelled(key) {
  let best = key, most = 0;
  for (const [tag, times] of model.spellings.get(key) || []) if (times > most) [best, most] = [tag, times];
  return best;
}

// Take in what the server says that changed.
export function apply(told) {
  if (told.revision === undefined || told.revision < model.revision) return;
  model.revision = told.revision;
  let listed = false;
  for (const item of told.items) {
    const before = model.items.get(item.id);
    if (before) count(before, -1);
    else {
      model.order.push(item.id);
      listed = true;
    }
    model.items.set(item.id, item);
    count(item, 1);
  }
  for (const id of told.gone) {
    const before = model.items.get(id);
    if (!before) continue;
    count(before, -1);
    model.items.delete(id);
    model.selected.delete(id);
    listed = true;
  }
  if (listed) {
    model.order = model.order.filter((id) => model.items.has(id));
    emit("list");
  }
  if (told.items.length || told.gone.length) emit("items", told.items.map((item) => item.id));
}

// Which pictures are shown; the selection keeps only those, so that nothing that is not seen is changed.
export function show(ids) {
  const before = model.place.get(model.cursor) ?? 0;
  model.shown = ids.filter((id) => model.items.has(id));
  model.place = new Map(model.shown.map((id, index) => [id, index]));
  for (const id of [...model.selected]) if (!model.place.has(id)) model.selected.delete(id);
  if (!model.place.has(model.cursor)) model.cursor = model.shown[Math.min(before, model.shown.length - 1)] ?? null;
  if (!model.place.has(model.anchor)) model.anchor = model.cursor;
  emit("shown");
  emit("selection");
}

// What an edit changes: the selection, or the picture at the cursor without one.
export function targets() {
  if (model.selected.size) return model.shown.filter((id) => model.selected.has(id));
  return model.cursor === null ? [] : [model.cursor];
}

export function moveTo(index, { extend = false } = {}) {
  if (!model.shown.length) return;
  const at = Math.max(0, Math.min(model.shown.length - 1, index));
  if (extend) range(model.place.get(model.anchor) ?? at, at);
  model.cursor = model.shown[at];
  if (!extend) model.anchor = model.cursor;
  emit("selection", { scroll: true });
}

function range(from, to) {
  const [low, high] = from < to ? [from, to] : [to, from];
  model.selected = new Set(model.shown.slice(low, high + 1));
}

export function toggle(id) {
  if (model.selected.has(id)) model.selected.delete(id);
  else model.selected.add(id);
  model.cursor = model.anchor = id;
  emit("selection");
}

// A click: alone, added with Ctrl, or as the end of a range with Shift.
export function pick(id, { ctrl, shift }) {
  if (ctrl) {
    if (!model.selected.size && model.cursor !== null && model.cursor !== id) model.selected.add(model.cursor);
    return toggle(id);
  }
  if (shift) return moveTo(model.place.get(id), { extend: true });
  model.selected.clear();
  moveTo(model.place.get(id));
}

export function selectAll() {
  model.selected = new Set(model.shown);
  emit("selection");
}

export function clearSelection() {
  model.selected.clear();
  emit("selection");
}
