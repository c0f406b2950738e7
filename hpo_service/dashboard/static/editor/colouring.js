// Colours of a YAML text, line by line: what is a key, a text, a number, a comment. Guesses where the text is not valid.
//
// coloured(text) → [[{kind: "key"|"text"|"number"|"word"|"sign"|"comment"|"plain", text}…]…]   the tokens of every line

const TOKEN =
  /(?<comment>(?<=^|\s)#.*)|(?<quoted>"(?:[^"\\]|\\.)*"?|'(?:[^']|'')*'?)|(?<sign>[{}[\],]|:(?=\s|$)|-(?=\s|$))|(?<key>[^\s#{}[\],:"'][^{}[\],#]*?(?=\s*:(?:\s|$)))|(?<plain>[^\s{}[\],]+(?:[ ]+(?!#)[^\s{}[\],]+)*)|(?<space>\s+)/g;
const NUMBER = /^[-+]?(?:(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?|\.inf|0x[\da-fA-F]+|0o[0-7]+)$/;
const WORD = /^(?:true|false|null|~)$/i;
const BLOCK = /:\s+[|>][-+\d]*\s*(?:#.*)?$/;

export function coloured(text) {
  let block = -1;
  return text.split("\n").map((line) => {
    const indent = line.match(/^ */)[0].length;
    if (block >= 0 && (indent > block || !line.trim())) return [{ kind: "text", text: line }];
    block = BLOCK.test(line) ? indent : -1;
    return tokens(line);
  });
}

function tokens(line) {
  const found = [];
  let last = 0;
  for (const match of line.matchAll(TOKEN)) {
    if (match.index > last) found.push({ kind: "plain", text: line.slice(last, match.index) });
    last = match.index + match[0].length;
    found.push({ kind: kindOf(match, line.slice(last)), text: match[0] });
  }
  if (last < line.length) found.push({ kind: "plain", text: line.slice(last) });
  return found;
}

function kindOf({ groups }, after) {
  if (groups.comment !== undefined) return "comment";
  if (groups.quoted !== undefined) return /^\s*:(\s|$)/.test(after) ? "key" : "text";
  if (groups.sign !== undefined) return "sign";
  if (groups.key !== undefined) return "key";
  if (groups.plain !== undefined) return NUMBER.test(groups.plain) ? "number" : WORD.test(groups.plain) ? "word" : "text";
  return "plain";
}
