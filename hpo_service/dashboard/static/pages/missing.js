// The page for addresses that nothing is served at: all of it is in the template; here is only the live connection.

import { watch } from "../core/live.js";

watch({ study: null, on() {} });
