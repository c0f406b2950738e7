// Completion in the filter field: a listbox under it, moved through with the arrow keys. What is offered comes from filter_check.js.

import { h, replace } from "../core/dom.js";
import { complete } from "./filter_check.js";

export function completer({ input, options }, page, changed) {
  let offer = null,
    current = -1;

  function close() {
    offer = null;
    current = -1;
    options.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function update() {
    offer = complete(input.value, input.selectionStart ?? input.value.length, page);
    current = -1;
    if (!offer.items.length) {
      close();
      return;
    }
    replace(
      options,
      offer.items.map(({ text, hint }, index) =>
        h(
          "li",
          {
            id: `filter-option-${index}`,
            role: "option",
            "aria-selected": "false",
            dir: "auto",
            on: {
              pointerdown: (event) => {
                event.preventDefault();
                take(index);
              },
            },
          },
          h("span", null, text),
          h("span", { class: "quiet small" }, hint),
        ),
      ),
    );
    options.hidden = false;
    input.setAttribute("aria-expanded", "true");
  }

  function mark(index) {
    current = (index + offer.items.length) % offer.items.length;
    [...options.children].forEach((one, i) => one.setAttribute("aria-selected", String(i === current)));
    options.children[current].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", `filter-option-${current}`);
  }

  function take(index) {
    const { text } = offer.items[index];
    const { value } = input;
    const before = value.slice(0, offer.start) + text;
    input.value = before + value.slice(offer.end);
    input.setSelectionRange(before.length, before.length);
    close();
    if (/[:=]$/.test(text)) update();
    changed();
  }

  // Whether the key was for the list.
  function key(event) {
    if (event.key === "ArrowDown" && !offer) {
      update();
      event.preventDefault();
      return true;
    }
    if (!offer) return false;
    if (event.key === "ArrowDown" || event.key === "ArrowUp")
      mark(current < 0 && event.key === "ArrowUp" ? offer.items.length - 1 : current + (event.key === "ArrowDown" ? 1 : -1));
    else if ((event.key === "Enter" && current >= 0) || (event.key === "Tab" && current >= 0)) take(current);
    else if (event.key === "Escape") close();
    else if (event.key === "Enter") {
      close();
      return false;
    } else return false;
    event.preventDefault();
    return true;
  }

  return { update, close, key };
}
