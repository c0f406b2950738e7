// The study page: makes the `page` object, the header, the filter bar and the views; each view mounts its panels when they are scrolled into view.
//
// A chart is `export const info = {id, title, help}` and `export function mount(panel, page) → {refresh(): Promise, changed?(changes)}`.
// The page calls refresh() once after mount, at once when the filter changes, and at most every page.pace() on live changes, never while the panel is out
// of sight or the tab is hidden. It never calls refresh() twice at the same time, calls panel.loading() before the first, and shows what refresh() throws
// with panel.problem(error): charts need no try/catch and no timers. To draw again after a control was used: return page.refresh(panel).
// study/table.js: mount(node, page, {compact}); study/notes.js, events.js, definition.js: mount(node, page). These listen with page.on(…) themselves.
//
// page.id                      the study's id
// page.study()                 the newest Study row; page.definition() its definition. Both are there before anything is mounted.
// page.seq()                   the log position of what is shown
// page.constraints             [{metric, sign: "≤" | "≥", bound}], which trials have to keep; mostly none
// page.objectives              [{metric, direction}], the first one decides; page.metricName, page.direction and page.maximize are those of the first
// page.parameters              [{name, type: "number"|"category", log: bool, integer: bool, low, high, labels: [text], values: […], when}] in the definition's order
// page.metrics()               names of the metrics seen so far, the objectives first
// page.running()               numbers of the trials that run now (≤ 1,000)
// page.pace()                 milliseconds for which what is drawn is left as it is: 5 s, longer where many pages are open
// page.resourceName            "epochs" or "resource", for axis titles; page.resourceText(x) "27 epochs" or "resource 27"
// page.hasRungs                whether the algorithm compares trials at rungs
// page.get(rest, query, options) GET /studies/{id}{rest}; adds the filter to the query (pass {filter: null} to leave it out)
// page.filter                  the filter text in force: the last one that parses. Use this for requests; page.selection to change it.
// page.selection               core/selection.js: text, set(text), terms(), range(field, lo, hi), term(field, op, value), toggleNumber(n), remove(raw), clear()
// page.on(kind, fn) → off()    "study" (row) after every answer · "changes" (answer of /changes) · "filter" (text) · "hover" (trial number or null)
// page.hover(n)                points at a trial in all charts (null: at none)
// page.trialUrl(n)             its page; page.openTrial(n, event) goes there (a new tab with Ctrl, ⌘ or the middle button)
// page.mayEdit()               whether to offer what changes the study
// page.reload()                asks for what changed, now (after an action)
// page.view                    the current view's id; page.show(view) goes to another
//
// Names in the URL that are taken: view, filter; progress: x, logy, wide; curves: lines, by, metric, smooth, logc; parallel: axes; table: sort, cols, cursor, heat, stat.
// Prefix yours with two letters of the chart ("co.x", "sl.p") and leave defaults out.

import { start } from "../study/board.js";

start();
