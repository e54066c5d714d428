#!/usr/bin/env node
// Starts the command line. In a clone that was not built yet, builds it first.

import { startBuilt } from './start.mjs';

await startBuilt('cli');
