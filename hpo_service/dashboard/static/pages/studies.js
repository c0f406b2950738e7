// The list of studies.

import { watch } from "../core/live.js";

watch({ study: null, on() {} });
