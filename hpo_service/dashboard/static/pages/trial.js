// The page of one trial: makes the `page` object, then its panels. Nothing here draws figures.
//
// Each part is `mount(node, page)` and draws itself whenever page.on("trial" | "context" | "reports") says so:
//   page.studyId, page.number · page.study(), page.definition(), page.trial() (with attempt_rows), page.context() (null until it came), page.reports()
//   page.facts      what the study page knows of the definition: objectives, parameters, resourceName, metricName, maximize
//   page.open()     whether the trial may still change · page.reload()
import { start } from "../trial/board.js";

start();
