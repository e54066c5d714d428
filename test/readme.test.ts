import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CONTROLLERS } from '../src/controllers/index.ts';
import { runNode } from './run/node.ts';
import { assert, root, suite } from './run/suite.ts';

const test = suite('README');

test('the examples run, and what they and the main job print is what the page shows', () => {
  const { status, stderr } = runNode(['scripts/readme.mjs', '--check'], { cwd: root });
  assert.is(stderr, '');
  assert.is(status, 0);
});

test('the table of controllers names each of them, and each profile', () => {
  const rows = readFileSync(join(root, 'README.md'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| `'));
  for (const { kind, profiles } of CONTROLLERS) {
    const row = rows.find((line) => line.startsWith(`| \`${kind}\``)) ?? '';
    for (const { name } of profiles) assert.ok(row.includes(`\`${name}\``), `${kind}: ${name}`);
  }
});
