// The test runner fails what uvu's own would pass.

import { runNode } from './node.ts';
import { assert, root, suite } from './suite.ts';

const test = suite('runner');

function runFixture(
  name: string,
  ...args: string[]
): { code: number | null; output: string; lastLine: string } {
  const path = `test/run/fixtures/${name}.fixture.ts`;
  const { NODE_V8_COVERAGE: _, ...env } = process.env;
  const { status, stdout } = runNode(['scripts/test.mjs', path, ...args], { cwd: root, env });
  return { code: status, output: stdout, lastLine: stdout.trimEnd().split('\n').at(-1) ?? '' };
}

test('RUN-01 outcomes are counted, with the diff and the place of a failure', () => {
  const { code, output, lastLine } = runFixture('outcomes');
  assert.is(code, 1);
  assert.is(lastLine, '1 passed, 2 failed, 1 skipped');
  assert.match(
    output,
    /outcomes: fails\n[\s\S]*Actual:\n.*1\n[\s\S]*Expected:\n.*2\n[\s\S]*outcomes\.fixture\.ts:9:/,
  );
  assert.match(output, /the body returned \[object Generator\]/);
  assert.match(output, /skip .* is skipped \(for a reason\)/);
});

test('RUN-02 a hook that throws fails, and so does what it kept from running', () => {
  const { code, lastLine } = runFixture('hooks');
  assert.is(code, 1);
  assert.is(lastLine, '1 passed, 4 failed');
});

test('RUN-03 a test that never settles fails, and so does what would have come after it', () => {
  const { code, output, lastLine } = runFixture('never');
  assert.is(code, 1);
  assert.is(lastLine, '0 passed, 2 failed');
  assert.match(output, /never: never settles\n\s+never settled/);
});

test('RUN-04 an endless loop is killed', () => {
  const { code, output, lastLine } = runFixture('loop', '--timeout', '0.5');
  assert.is(code, 1);
  assert.is(lastLine, '0 passed, 1 failed');
  assert.match(output, /no progress for 0\.5 s/);
});

test('RUN-05 a file without a test fails', () => {
  const { code, output, lastLine } = runFixture('empty');
  assert.is(code, 1);
  assert.is(lastLine, '0 passed, 1 failed');
  assert.match(output, /the file runs no test/);
});

test('RUN-06 a filter that matches no test fails', () => {
  const { code, lastLine } = runFixture('outcomes', '--only', 'no such test');
  assert.is(code, 1);
  assert.is(lastLine, '0 passed, 1 failed');
});

test('RUN-07 a process that a test waits for, and that does not end, is killed', () => {
  const program = "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)";
  assert.is(runNode(['-e', program], { timeout: 1000 }).status, null);
});
