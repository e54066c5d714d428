// Runs one TypeScript file of the project: node scripts/run.mjs bench/main.ts [arguments]

import { pathToFileURL } from 'node:url';
import { build } from './build.mjs';
import { bundleFiles } from './bundle.mjs';

const [, , source, ...rest] = process.argv;
if (source === undefined) throw new Error('usage: node scripts/run.mjs FILE.ts [arguments]');
// Examples import the library as a user does, from what was built.
await build(['wasm', 'js']);
const [[, bundle]] = await bundleFiles('run', [source]);
process.setSourceMapsEnabled(true);
process.argv = [process.argv[0], bundle, ...rest];
await import(pathToFileURL(bundle).href);
