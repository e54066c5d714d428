import { spawnSync } from 'node:child_process';
import { assert, root, suite } from './run/suite.ts';

const test = suite('README');

test('the examples run, and what they and the main job print is what the page shows', () => {
  const { status, stderr } = spawnSync(process.execPath, ['scripts/readme.mjs', '--check'], {
    cwd: root,
    encoding: 'utf8',
  });
  assert.is(stderr, '');
  assert.is(status, 0);
});
