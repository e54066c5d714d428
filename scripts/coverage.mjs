// Runs the tests inside a process that collects V8's coverage, then prints c8's table for src/.

import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { at, run, runTool } from './util.mjs';

/** Resolves to the tests' exit code; `args` are the arguments of scripts/test.mjs. */
export async function runWithCoverage(args) {
  const folder = at('.cache/coverage');
  rmSync(folder, { recursive: true, force: true });
  const env = { ...process.env, NODE_V8_COVERAGE: folder };
  const stdio = ['ignore', 'pipe', 'inherit'];
  const tests = await run(process.execPath, [at('scripts/test.mjs'), ...args], { env, stdio });
  for (const name of readdirSync(folder)) keepBundles(join(folder, name));
  const places = ['--temp-directory', folder, '--reports-dir', 'coverage'];
  const filters = [
    '--all',
    '--include=src/**',
    '--exclude-after-remap',
    '--reporter=text',
    '--reporter=lcov',
  ];
  const report = await runTool('c8/bin/c8.js', ['report', ...places, ...filters]);
  process.stdout.write(`${report.output}\n${tests.output}`);
  return tests.code;
}

/**
 * Leaves only the test bundles, and without Node's copy of their source maps: it names the sources by URL, which
 * c8's filters never match, and lines that c8 filters out count as covered. From disk it reads ours, with paths.
 */
function keepBundles(path) {
  const { result } = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify({ result: result.filter(({ url }) => /\.cache\/test-/.test(url)) }));
}
