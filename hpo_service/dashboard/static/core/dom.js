// Building the page out of nodes. Text is always text: nothing here parses HTML.
//
// h(tag, props|null, ...children) → HTMLElement. props: class, text, dataset: {}, style: "" | {}, on: {click: fn}, any attribute
//     (true → present, false/null/undefined → absent); value, checked, selected, indeterminate are set as properties.
//     children: nodes, strings, numbers, arrays of them, null (left out).
// svg(tag, attrs|null, ...children) → SVGElement, the same props
// replace(node, ...children) → node      its children are now these
// byId(id) → element | null
// later(ms, fn) → a function that runs fn once, ms after its last call

const SVG = "http://www.w3.org/2000/svg";
const AS_PROPERTY = new Set(["value", "checked", "selected", "indeterminate"]);

export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  append(node, children); // before the props: a <select>'s value needs its options
  return dress(node, props);
}

export function svg(tag, attrs, ...children) {
  const node = document.createElementNS(SVG, tag);
  append(node, children);
  return dress(node, attrs);
}

export function replace(node, ...children) {
  node.replaceChildren();
  append(node, children);
  return node;
}

export const byId = (id) => document.getElementById(id);

export function later(ms, fn) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => fn(...given), ms);
  };
}

function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : String(child));
  }
}

function dress(node, props) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.append(String(value));
    else if (name === "class") node.setAttribute("class", Array.isArray(value) ? value.filter(Boolean).join(" ") : value);
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (name === "style" && typeof value === "object") {
      for (const [key, one] of Object.entries(value)) node.style.setProperty(key.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`), one);
    } else if (name === "on") for (const [event, fn] of Object.entries(value)) node.addEventListener(event, fn);
    else if (AS_PROPERTY.has(name)) node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  return node;
}
