// `backplane scripts`: files and standard input, formats, exit statuses.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Ended, runNode } from '../run/node.ts';
import { assert, root, suite } from '../run/suite.ts';
import { backplane, withFolder } from './command.ts';

const test = suite('cli scripts');

const SOURCE = 'start: MOVE 1, 0x1000, WHEN MSG_OUT\n  JUMP REL(start)\n';
const WORDS = '0e000001 00001000\n80880000 fffff0\n'.replace('fffff0', '00fffff0');

function withInput(args: readonly string[], input: string): Ended {
  return runNode([join(root, 'bin/backplane.mjs'), ...args], { input });
}

test('asm and disasm are each other’s reverse, through files and pipes', () => {
  withFolder((folder) => {
    const source = join(folder, 'a.ss');
    const json = join(folder, 'a.json');
    writeFileSync(source, SOURCE);
    assert.is(backplane(['scripts', 'asm', source, '--format', 'hex']).stdout, WORDS);
    assert.is(backplane(['scripts', 'asm', source, '--json', '--output', json]).status, 0);
    const { stdout } = backplane(['scripts', 'disasm', json]);
    assert.is(stdout, 'start:\n    MOVE 1, 0x00001000, WHEN MSG_OUT\n    JUMP REL(start)\n');
    assert.is(withInput(['scripts', 'asm', '-', '--format', 'hex'], stdout).stdout, WORDS);
    const words = JSON.parse(readFileSync(json, 'utf8')) as { words: number[] };
    assert.is(words.words.length, 4);
    const shown = JSON.parse(backplane(['scripts', 'disasm', json, '--json']).stdout) as { words: number };
    assert.is(shown.words, 4);
  });
});

test('a listing is what people get', () => {
  const { status, stdout } = withInput(['scripts', 'asm', '-'], SOURCE);
  assert.is(status, 0);
  assert.match(stdout, / 1 {2}0000 {2}0e000001 00001000 +start: MOVE 1/);
});

test('problems name file, line and column, all at once; status 2', () => {
  const { status, stdout, stderr } = withInput(['scripts', 'asm', '-'], 'MOV 1\nJUMP nowhere\n');
  assert.equal([status, stdout], [2, '']);
  assert.is(
    stderr,
    'backplane: stdin:1:1: "MOV" is no instruction; did you mean "MOVE"?\nbackplane: stdin:2:6: nothing declares "nowhere"\n',
  );
});

test('wrong usage is one line, status 2', () => {
  for (const [args, expected] of [
    [['scripts', 'asm', '/no/such'], /no such file/],
    [['scripts', 'asm', root], /it is a folder/],
    [['scripts', 'asm', '-', '--format', 'jsn'], /there is no format "jsn" \(did you mean "json"\?\)/],
    [['scripts', 'asm', '-', '--format', 'hex', '--json'], /contradict each other/],
    [['scripts', 'assm'], /unknown command 'assm' \(Did you mean asm\?\)/],
    [['scripts', 'disasm', join(root, 'README.md')], /README\.md: ".*" is no hex word of 32 bits/],
  ] as const) {
    const { status, stdout, stderr } = backplane(args);
    assert.match(stderr, expected);
    assert.equal([status, stdout, stderr.trimEnd().split('\n').length], [2, '', 1]);
  }
});

test('without a subcommand the help comes, with an example first', () => {
  const { status, stderr } = backplane(['scripts']);
  assert.is(status, 2);
  assert.match(stderr, /^Example:\n {2}backplane scripts asm /);
  assert.match(backplane(['scripts', 'asm', '--help']).stdout, /^Examples:\n {2}backplane scripts asm /);
});
