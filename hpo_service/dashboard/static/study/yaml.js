// A JSON document as YAML that reads well and parses back to the same.
//
// document(object) → text

const PLAIN = /^[A-Za-z_][\w./ @-]*$/;
const WORDS = /^(true|false|null|yes|no|on|off|y|n|~|nan|\.inf|\.nan)$/i;
const SHORT = 88;

// Marks that turn the direction of writing, or that nobody sees, are written as escapes: shown raw they would garble the lines around them.
const UNSEEN = /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff]/g;
const quoted = (text) => JSON.stringify(text).replace(UNSEEN, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);

export function scalar(one) {
  if (typeof one === "string") return PLAIN.test(one) && !WORDS.test(one) && one.trim() === one ? one : quoted(one);
  if (typeof one === "number") return number(one);
  return JSON.stringify(one);
}

// YAML 1.1 reads 1e-5 as text; with a point and a sign it is a number everywhere.
export function number(x) {
  const text = Math.abs(x) > Number.MAX_SAFE_INTEGER ? x.toExponential() : String(x); // its digits are those of a real number
  if (!text.includes("e")) return text;
  const [digits, power] = text.split("e");
  return `${digits.includes(".") ? digits : `${digits}.0`}e${/^[+-]/.test(power) ? power : `+${power}`}`;
}

const isGroup = (one) => one !== null && typeof one === "object" && Object.keys(one).length > 0;

function flow(one) {
  if (Array.isArray(one)) return `[${one.map(flow).join(", ")}]`;
  if (one !== null && typeof one === "object")
    return `{${Object.entries(one)
      .map(([name, value]) => `${scalar(name)}: ${flow(value)}`)
      .join(", ")}}`;
  const text = scalar(one);
  return /[,[\]{}]/.test(text) && !text.startsWith('"') ? quoted(one) : text;
}

// What fits on a line stays on one, except the document's own fields of fields.
function lines(one, indent, depth) {
  const pad = "  ".repeat(indent);
  if (Array.isArray(one))
    return one.flatMap((item) =>
      isGroup(item) && flow(item).length > SHORT ? [`${pad}-`, ...lines(item, indent + 1, depth + 1)] : [`${pad}- ${flow(item)}`],
    );
  return Object.entries(one).flatMap(([name, value]) => {
    const block =
      typeof value === "string" &&
      value.includes("\n") &&
      !/^\s|[\u0000-\u0008\u000b-\u001f]/.test(value) &&
      value.search(UNSEEN) < 0 &&
      !/[ \t]$/m.test(value) &&
      !value.startsWith("\n");
    if (block) {
      const ends = value.endsWith("\n\n") ? "+" : value.endsWith("\n") ? "" : "-";
      return [
        `${pad}${scalar(name)}: |${ends}`,
        ...value
          .replace(/\n$/, "")
          .split("\n")
          .map((line) => (line ? `${pad}  ${line}` : "")),
      ];
    }
    const short = `${pad}${scalar(name)}: ${flow(value)}`;
    if (!isGroup(value) || (short.length <= SHORT && (depth > 0 || Array.isArray(value) || !Object.values(value).some(isGroup))))
      return [short];
    return [`${pad}${scalar(name)}:`, ...lines(value, indent + 1, depth + 1)];
  });
}

export const document = (object) => `${lines(object, 0, 0).join("\n")}\n`;
