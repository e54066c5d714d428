// The examples run, and print what their readers are told.

import { readdirSync } from 'node:fs';
import { runNode } from './run/node.ts';
import { read } from './run/sources.ts';
import { assert, root, suite } from './run/suite.ts';

const test = suite('examples');

/** What each prints; those of IN_README stand in README.md, whose test runs them. */
const OUTPUT: Readonly<Record<string, readonly string[]>> = {
  'ahci-driver.ts': ['sda: 2048 sectors', 'write: 0', 'read: 0', 'read: -EIO', '3 interrupts, 0 findings'],
  'embed-nvme.ts': [
    'BAR 0 at fe000000 of 16384 bytes',
    'serial number: TOY-1',
    'block 7: hello from the guest',
    'written: 512 at 20000, 16 at 13010',
    '5 interrupts, line 0 - findings: 0',
  ],
  'mirror.ts': [
    'write: written',
    'sda is broken:',
    '  a read failed, sdb is asked instead',
    'read: "on both"',
    'read: "on both"',
    '  sda failed a write and is left out from now on',
    'write: written',
    'read: "on sdb alone"',
    'both are broken:',
    '  a read failed, nobody is asked instead',
    'read: -EIO',
  ],
  'sg-passthrough.ts': [
    'INQUIRY: good, direct, 60 bytes short',
    '  ATA BACKPLANE ATA DI',
    'READ CAPACITY: good, direct, 0 bytes short',
    '  2048 blocks of 512 bytes',
    'READ: good, copied, 0 bytes short',
    '  "this is sector 10, in three pieces"',
    'READ in place: good, direct, 0 bytes short',
    'READ past the end: status 2, sense key 5, code 33',
    'READ to nowhere: not sent, -EINVAL',
    'findings: 0',
  ],
  'solaris-driver.ts': [
    '  block 0: 49152 bytes, 4 windows, error 0',
    '  block 500: 8192 bytes, 1 windows, error 0',
    '  block 700: 1024 bytes, 1 windows, error 0',
    'errno 0',
    '  block 0: 49152 bytes, 4 windows, error 0',
    '  block 700: 1024 bytes, 1 windows, error 0',
    '  block 500: 1024 bytes, 0 windows, error 5',
    'errno 5',
    'b b a b',
    '0 findings',
  ],
};

const IN_README = ['emulate.ts', 'embed.ts'];

for (const [name, lines] of Object.entries(OUTPUT)) {
  test(`${name} prints what it is to show`, () => {
    const { stdout, stderr, status } = runNode(['scripts/run.mjs', `examples/${name}`], { cwd: root });
    assert.is(stderr, '');
    assert.is(status, 0);
    assert.equal(stdout.trimEnd().split('\n'), lines);
  });
}

test('every example is run by a test, and is read in one sitting', () => {
  const files = readdirSync(`${root}examples`).filter((name) => name.endsWith('.ts'));
  assert.equal(files.sort(), [...Object.keys(OUTPUT), ...IN_README].sort());
  for (const name of files) assert.ok(read(`examples/${name}`).split('\n').length <= 150, name);
});
