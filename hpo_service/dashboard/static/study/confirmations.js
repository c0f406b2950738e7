// In the head of a search: what its confirmations say, each in a sentence that leads to it. Nothing where there is none.

import { h, replace } from "../core/dom.js";
import { integer } from "../core/format.js";

const SHOWN = 3;
const AGAIN_MS = 10_000;

export function mount(node, page) {
  let timer = 0;
  async function draw() {
    clearTimeout(timer);
    try {
      const { items } = await page.get("/confirmations", { filter: null });
      const newest = items.slice(-SHOWN).reverse();
      node.hidden = !newest.length;
      replace(node, newest.map(line));
      if (items.some(({ state }) => ["preflight", "running", "paused"].includes(state))) timer = setTimeout(again, AGAIN_MS);
    } catch {
      node.hidden = true; // a page without it is still a page
    }
  }
  const again = () => (document.hidden ? (timer = setTimeout(again, AGAIN_MS)) : draw());
  if (!page.definition().confirms) draw();
}

function line(one) {
  return h(
    "p",
    { class: `verdict-line is-${one.kind}`, dataset: { test: "confirmation-link" } },
    h("a", { href: `/studies/${encodeURIComponent(one.study)}` }, "Confirmation"),
    one.done < one.trials ? ` (${integer(one.done)} of ${integer(one.trials)}): ` : ": ",
    [one.verdict, one.test_verdict].filter(Boolean).join(" "),
  );
}
