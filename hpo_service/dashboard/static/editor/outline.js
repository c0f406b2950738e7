// What stands where in a YAML text that is being typed, so mostly not valid yet: keys, values, and the place of the cursor.
// The server's parser decides what is right; this one only has to guess well.
//
// outline(text) → {entries, at(offset), value(parts), keys(parts), choices(parameter)}
//     entries: [{parts: ["space", "lr"], value: "text"|null, from, to, line}]   every key, in order
//     at(offset) → {kind: "key"|"value", parts, from, to, word, flow} | null        parts: of the mapping for a key, of the value itself for a value
//     value(["algorithm", "name"]) → text | null · keys(["space"]) → names that stand there · choices("kind") → texts of space.kind.values

const KEY = /^("(?:[^"\\]|\\.)*"|'[^']*'|[^\s#{}[\],"'&*!|>%@`][^#{}[\],]*?)\s*:(?=\s|$)/;
const NEXT_KEY = /^( *)(?:- )?[\w."'-]+\s*:(?:\s|$)/;

export function outline(text) {
  const found = scan(text);
  const same = (a, b) => a.length === b.length && a.every((part, i) => part === b[i]);
  return {
    entries: found.entries,
    value: (parts) => found.entries.find((one) => same(one.parts, parts))?.value ?? null,
    keys: (parts) =>
      found.entries
        .filter((one) => one.parts.length === parts.length + 1 && same(one.parts.slice(0, -1), parts))
        .map((one) => one.parts.at(-1)),
    choices: (name) =>
      found.slots
        .filter((one) => one.flow && same(one.parts.slice(0, -1), ["space", name, "values"]))
        .map((one) => text.slice(one.from, one.to).trim())
        .filter(Boolean),
    at: (offset) => place(found.slots, text, offset),
  };
}

function place(slots, text, offset) {
  const around = slots.filter((slot) => slot.from <= offset && offset <= slot.to);
  const slot = around.sort((a, b) => a.to - a.from - (b.to - b.from))[0];
  if (!slot) return null;
  if (slot.blank) {
    const column = offset - slot.from;
    const parent = slot.blank.findLast((one) => one.indent < column) || slot.blank[0];
    return { kind: "key", parts: parent.parts, from: offset, to: offset, word: "", flow: false };
  }
  const from = Math.min(offset, slot.from + text.slice(slot.from, slot.to).match(/^\s*/)[0].length);
  const to = Math.max(offset, slot.from + text.slice(slot.from, slot.to).trimEnd().length);
  return { kind: slot.kind, parts: slot.parts, from, to, word: text.slice(from, offset), flow: Boolean(slot.flow) };
}

function scan(text) {
  const state = { text, entries: [], slots: [], stack: [{ indent: -1, parts: [], count: 0 }], block: null };
  let start = 0;
  while (start <= text.length) start = line(state, start) + 1;
  return state;
}

const endOf = (text, at) => {
  const end = text.indexOf("\n", at);
  return end < 0 ? text.length : end;
};
const bare = (raw) => raw.trim().replace(/^(["'])(.*)\1$/s, "$2");

// Reads the line at `start`, and those that a bracket on it spans; returns where the last one ends.
function line(state, start) {
  const { text, stack, slots } = state;
  const end = endOf(text, start);
  const raw = text.slice(start, end);
  let column = raw.match(/^ */)[0].length;
  if (state.block !== null) {
    if (!raw.trim() || column > state.block) return end;
    state.block = null;
  }
  if (!raw.trim()) {
    slots.push({ from: start, to: end, blank: stack.map(({ indent, parts }) => ({ indent, parts })) });
    return end;
  }
  if (raw[column] === "#") return end;
  while (/^-(\s|$)/.test(raw.slice(column))) column = item(stack, raw, column);
  while (stack.at(-1).indent >= column) stack.pop();
  return content(state, start + column, end, column);
}

function item(stack, raw, column) {
  while (stack.at(-1).indent > column || (stack.at(-1).indent === column && stack.at(-1).item)) stack.pop();
  const parent = stack.at(-1);
  stack.push({ indent: column, parts: [...parent.parts, String(parent.count ?? 0)], item: true, count: 0 });
  parent.count = (parent.count ?? 0) + 1;
  return column + 1 + raw.slice(column + 1).match(/^ */)[0].length;
}

function content(state, at, end, column) {
  const { text, stack, slots, entries } = state;
  const rest = text.slice(at, end);
  const parent = stack.at(-1);
  const key = rest.match(KEY);
  if (!key) {
    if (/^[{[]/.test(rest)) return endOf(text, flow(state, at, parent.parts, column));
    slots.push({ kind: "key", from: at, to: at + uncommented(rest).length, parts: parent.parts });
    return end;
  }
  const parts = [...parent.parts, bare(key[1])];
  const entry = { parts, value: null, from: at, to: at + key[1].length, line: 0 };
  entries.push(entry);
  slots.push({ kind: "key", from: at, to: at + key[1].length, parts: parent.parts });
  stack.push({ indent: column, parts, count: 0 });
  const value = at + key[0].length;
  const shown = text.slice(value, end);
  const first = shown.trimStart();
  if (/^[{[]/.test(first)) return endOf(text, flow(state, value + shown.length - first.length, parts, column));
  if (/^[|>]/.test(first)) state.block = column;
  entry.value = bare(uncommented(shown)) || null;
  slots.push({ kind: "value", from: Math.min(value + 1, end), to: value + Math.max(1, uncommented(shown).length), parts });
  return end;
}

const uncommented = (text) => text.replace(/(^|\s)#.*$/, "$1");

// Reads {…} or […] from its bracket on; returns the offset after its end. Where it was not closed, it ends before the next line that begins a key.
function flow(state, at, parts, column) {
  const { text, slots, entries } = state;
  const isMap = text[at] === "{";
  let pos = at + 1,
    count = 0;
  while (pos <= text.length) {
    const [from, stop] = [pos, until(text, pos, column, isMap ? /[,}\]:{[]/ : /[,}\]{[]/)];
    const sign = text[stop];
    if (isMap && sign === ":") {
      const name = bare(text.slice(from, stop));
      const inner = [...parts, name];
      const entry = { parts: inner, value: null, from: from + text.slice(from, stop).search(/\S|$/), to: stop, line: 0 };
      entries.push(entry);
      slots.push({ kind: "key", from, to: stop, parts, flow: true });
      pos = value(state, stop + 1, inner, column, entry);
    } else if (sign === "{" || sign === "[") {
      pos = flow(state, stop, isMap ? parts : [...parts, String(count)], column);
    } else {
      slots.push({ kind: isMap ? "key" : "value", from, to: stop, parts: isMap ? parts : [...parts, String(count)], flow: true });
      pos = stop;
    }
    if (pos >= text.length || text[pos] === "\n") return Math.max(pos, at + 1);
    pos += text.slice(pos).match(/^\s*/)[0].length;
    if (text[pos] === "}" || text[pos] === "]") return pos + 1;
    if (text[pos] === ",") {
      pos += 1;
      count += 1;
    } else if (pos <= from) pos += 1;
  }
  return pos;
}

function value(state, from, parts, column, entry) {
  const { text, slots } = state;
  const stop = until(text, from, column, /[,}\]{[]/);
  if ((text[stop] === "{" || text[stop] === "[") && !text.slice(from, stop).trim()) return flow(state, stop, parts, column);
  entry.value = bare(text.slice(from, stop)) || null;
  slots.push({ kind: "value", from: Math.min(from + (text[from] === " " ? 1 : 0), stop), to: stop, parts, flow: true });
  return stop;
}

// The next of `signs` outside quotes and comments; the end of the text; or the end of a line after which a new key begins at or before `column`.
function until(text, from, column, signs) {
  let quote = "";
  for (let pos = from; pos < text.length; pos += 1) {
    const sign = text[pos];
    if (quote) {
      if (sign === quote || sign === "\n") quote = "";
    } else if (sign === "\n") {
      const next = text.slice(pos + 1, endOf(text, pos + 1)).match(NEXT_KEY);
      if (next && next[1].length <= column) return pos;
    } else if ((sign === '"' || sign === "'") && /[\s,:{[]/.test(text[pos - 1])) quote = sign;
    else if (sign === "#" && /\s/.test(text[pos - 1])) pos = endOf(text, pos) - 1;
    else if (signs.test(sign) && (sign !== ":" || /[\s,}\]]|^$/.test(text[pos + 1] ?? ""))) return pos;
  }
  return text.length;
}
