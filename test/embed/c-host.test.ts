// The module without JavaScript: the C host of examples/embed-c, built as its page says, prints what the page says.

import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { scratchFolder } from '../media/help.ts';
import { needing } from '../media/qemu.ts';
import { read } from '../run/sources.ts';
import { assert, root, suite } from '../run/suite.ts';

const test = suite('embed: C host');
/** The release that the example is written for: later ones call the functions of a module differently. */
const WABT = '1.0.32';
const installed = spawnSync('wasm2c', ['--version'], { encoding: 'utf8' }).stdout?.trim() ?? WABT;
const other = `wasm2c is ${installed}; the example is for ${WABT}`;
const cTest =
  installed === WABT
    ? needing(test, ['wasm2c', 'cc'], 'wabt and gcc')
    : (name: string) => test.skip(name, other);
const folder = scratchFolder();

/** What stands between fences in the example's page, without the language. */
const fences = Array.from(
  read('examples/embed-c/README.md').matchAll(/```\n([^`]*)```/g),
  ([, text]) => text ?? '',
);
const [commands = '', output = ''] = fences;

cTest('EMB-60 reads a sector by DMA through the exports, and prints it', () => {
  const steps = commands.trim().split('\n');
  const [wasm2c = '', cc = '', host = ''] = steps.map((step) =>
    step
      .replace('dist/', `${root}dist/`)
      .replace('examples/', `${root}examples/`)
      // What the compiler makes of the module is not the point here.
      .replace('-O2', '-O0'),
  );
  for (const step of [wasm2c, cc]) {
    const { status, stderr } = spawnSync(step, { cwd: folder, shell: true, encoding: 'utf8' });
    assert.is(status, 0, stderr);
  }
  assert.is(execFileSync(join(folder, host), { encoding: 'utf8' }), output);
});

test('EMB-61 its page has the two commands and the program, in this order', () => {
  assert.match(commands, /^wasm2c .*\ncc .*host\.c .*\n\.\/host\n$/);
  assert.match(output, /this is sector 5, by DMA/);
});
