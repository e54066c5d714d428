#!/usr/bin/env node
// Starts the server that speaks qtest; its first argument is the architecture. In a clone that was not built yet, builds
// it first.

import { startBuilt } from './start.mjs';

await startBuilt('system');
