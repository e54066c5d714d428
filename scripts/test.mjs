// Builds, checks types, style and rules, and runs the tests. The last line is always `N passed, N failed`.
//
//   node scripts/test.mjs [PART…] [--only NAME] [--jobs N] [--timeout SECONDS] [--coverage] [--checks]
//
// PART is a part of a test file's path (or the whole path of a file of another name). --only runs the tests whose `suite: name` contains NAME. With either
// the checks are left out; --checks runs them alone. --timeout: how long a file may go without a sign of life.

import { parseArgs } from 'node:util';
import { build } from './build.mjs';
import { bundleFiles } from './bundle.mjs';
import { runTestFile } from './test-file.mjs';
import { filesBelow, progress, runTool } from './util.mjs';

const { values: options, positionals: parts } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string', default: '' },
    jobs: { type: 'string', default: '2' },
    timeout: { type: 'string', default: '120' },
    coverage: { type: 'boolean', default: false },
    checks: { type: 'boolean', default: false },
  },
});

const checks = [
  ['types of src, test, bench, examples', 'typescript/bin/tsc', ['-p', 'tsconfig.json']],
  ['types of assembly', 'typescript/bin/tsc', ['-p', 'assembly/tsconfig.json']],
  [
    'format and lint (biome)',
    '@biomejs/biome/bin/biome',
    ['check', '--error-on-warnings', '--max-diagnostics=20', '.'],
  ],
  ['lint with types (oxlint)', 'oxlint/bin/oxlint', ['--type-aware', '--deny-warnings']],
];

const total = { passed: 0, failures: [], skips: [] };

function fail(label, text) {
  total.failures.push({ label, text });
}

async function runCheck([label, tool, args]) {
  const { code, output } = await runTool(tool, args);
  progress(`${code === 0 ? 'ok  ' : 'FAIL'}  ${label}`);
  if (code === 0) total.passed++;
  else fail(label, output);
}

async function runFile([source, bundle]) {
  const outcome = await runTestFile(bundle, { only: options.only, timeout: Number(options.timeout) });
  const { passed, failures, skips, printed, milliseconds } = outcome;
  const named = ({ label, ...rest }) => ({ label: label === '' ? source : `${source} › ${label}`, ...rest });
  total.passed += passed;
  total.failures.push(...failures.map(named));
  total.skips.push(...skips.map(named));
  const count = passed + failures.length;
  progress(`${failures.length === 0 ? 'ok  ' : 'FAIL'}  ${source} (${count} tests, ${milliseconds} ms)`);
  if (printed !== '') process.stderr.write(printed.replace(/\n?$/, '\n'));
  return count + skips.length;
}

async function runFiles() {
  const matches = (file) => parts.length === 0 || parts.some((part) => file.includes(part));
  const isWanted = (file) => (file.endsWith('.test.ts') ? matches(file) : parts.includes(file));
  const wanted = filesBelow('test').filter(isWanted);
  if (wanted.length === 0) return fail('test files', `no test file matches ${parts.join(' ')}`);
  let queue;
  try {
    queue = await bundleFiles('test', wanted, { coverage: options.coverage });
  } catch (error) {
    return fail('bundling the tests', error.message);
  }
  let count = 0;
  const takeNext = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) count += await runFile(next);
  };
  await Promise.all(Array.from({ length: Math.max(1, Number(options.jobs)) }, takeNext));
  if (count === 0) fail('--only', `no test's name contains “${options.only}”`);
}

async function main() {
  try {
    await build();
  } catch (error) {
    fail('build', error.message);
  }
  if (options.checks || (parts.length === 0 && options.only === '')) await Promise.all(checks.map(runCheck));
  if (options.checks) return;
  await runFiles();
}

// Node collects coverage for whole processes only.
if (options.coverage && process.env.NODE_V8_COVERAGE === undefined) {
  const { runWithCoverage } = await import('./coverage.mjs');
  process.exit(await runWithCoverage(process.argv.slice(2)));
}
await main();
const { passed, failures, skips } = total;
for (const { label, reason } of skips) console.log(`skip ${label} (${reason})`);
for (const { label, text } of failures)
  console.log(`\nFAIL ${label}\n${text.trimEnd().replace(/^(?=.)/gm, '    ')}`);
console.log(
  `\n${passed} passed, ${failures.length} failed${skips.length > 0 ? `, ${skips.length} skipped` : ''}`,
);
process.exitCode = failures.length > 0 ? 1 : 0;
