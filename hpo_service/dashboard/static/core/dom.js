// Building the page out of nodes. Text is always text: nothing here parses HTML.
//
// h(tag, props|null, ...children) → HTMLElement. props: class, text, dataset: {}, style: "" | {}, on: {click: fn}, any attribute
//     (true → present, false/null/undefined → absent); value, checked, selected, indeterminate are set as properties.
//     children: nodes, strings, numbers, arrays of them, null (left out).
// svg(tag, attrs|null, ...children) → SVGElement, the same props
// replace(node, ...children) → node      its children are now these
// keyed(parent, items, {key(item), mark(item), make(item)})   parent's children are made(item) in this order; a child whose key and mark stayed is kept,
//     so that what the reader looks at, selects or has in focus does not jump
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

export function keyed(parent, items, { key, mark, make }) {
  const held = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const keys = new Set(items.map((item) => String(key(item))));
  for (const child of [...parent.children]) if (!keys.has(child.dataset.key)) child.remove();
  items.forEach((item, i) => {
    const name = String(key(item)),
      now = String(mark(item));
    let child = held.get(name);
    if (!child || child.dataset.mark !== now) {
      const made = make(item);
      made.dataset.key = name;
      made.dataset.mark = now;
      if (child) child.replaceWith(made);
      child = made;
    }
    if (parent.children[i] !== child) parent.insertBefore(child, parent.children[i] || null);
  });
  return parent;
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
      for (const [key, one] of Object.entries(value))
        node.style.setProperty(
          key.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`),
          one,
        );
    } else if (name === "on") for (const [event, fn] of Object.entries(value)) node.addEventListener(event, fn);
    else if (AS_PROPERTY.has(name)) node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  return node;
}
