// Widths of the trial table's columns, measured once per page of rows: each row is laid out by itself, so that those out of sight cost nothing.
//
// template(columns, rows, table) → {columns: CSS grid-template-columns, least: pixels}

import { shown } from "./columns.js";

const PADDING = 20;
const LEAST = { state: 104, kept: 90, tags: 130, time: 130, text: 60, number: 52 };
const MOST = { state: 104, kept: 300, tags: 300, time: 150, text: 230, number: 170 };
const PICK = 38;
const ARROW = 16;
let pen = null;

export function template(columns, rows, table) {
  const style = getComputedStyle(table);
  pen ??= document.createElement("canvas").getContext("2d");
  const measure = (text, weight) => {
    pen.font = `${weight} ${style.fontSize} ${style.fontFamily}`;
    return pen.measureText(text).width;
  };
  const number = Math.max(64, measure(String(Math.max(0, ...rows.map((row) => row.number))), 560) + 46);
  const widths = columns.map((column) => {
    const longest = rows.reduce((most, row) => {
      const text = column.kind === "state" || column.kind === "tags" ? "" : shown(column, row);
      return text.length > most.length ? text : most;
    }, "");
    const head = measure(column.label.slice(0, 40), 600) + (column.sort ? ARROW : 0);
    const wanted =
      Math.max(
        measure(longest.slice(0, 60), 400) + 4,
        Math.min(head, 220),
        column.kind === "tags" && rows.some((row) => row.tags.length) ? 280 : 0,
      ) + PADDING;
    return Math.round(Math.min(Math.max(wanted, LEAST[column.kind]), Math.max(MOST[column.kind], head + PADDING)));
  });
  return {
    columns: [`${PICK}px`, `${Math.round(number)}px`, ...widths.map((width) => `minmax(${width}px, ${width}fr)`)].join(" "),
    least: PICK + Math.round(number) + widths.reduce((sum, width) => sum + width, 0),
  };
}
