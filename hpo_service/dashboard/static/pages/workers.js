// Nodes and workers, and what runs where.

import { watch } from "../core/live.js";

watch({ study: null, on() {} });
