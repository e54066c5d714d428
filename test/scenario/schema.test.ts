import { CONTROLLERS } from '../../src/controllers/index.ts';
import defaultScenario from '../../src/scenario/builtin/default.json' with { type: 'json' };
import { parseProfile } from '../../src/scenario/profile.ts';
import { parseScenario } from '../../src/scenario/schema.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('scenario schema');

const part = { title: 'a', operations: [{ op: 'read' }] };

/** What stands in a wrong scenario, and what the error must say of it. */
const WRONG: readonly [string, unknown, RegExp][] = [
  ['no name', { parts: [part] }, /name is missing/],
  [
    'an unknown field',
    { name: 'x', parts: [part], sede: 1 },
    /sede is no field of the scenario; known there are .*seed/,
  ],
  ['a seed below 0', { name: 'x', parts: [part], seed: -1 }, /seed is -1; it must be a whole number from 0/],
  [
    'an unknown operation',
    { name: 'x', parts: [{ title: 'a', operations: [{ op: 'raed' }] }] },
    /parts\[0\]\.operations\[0\]\.op is "raed"; it must be "write", "read" or "flush"/,
  ],
  [
    'an offset beyond the page',
    { name: 'x', parts: [{ title: 'a', operations: [{ op: 'read', iovec: [{ offset: 5000, bytes: 1 }] }] }] },
    /iovec\[0\]\.offset is 5000; it must be a whole number from 0 to 4095/,
  ],
  ['parts that are no list', { name: 'x', parts: 3 }, /parts is 3; it must be a list/],
  [
    'no operations',
    { name: 'x', parts: [{ title: 'a', operations: [] }] },
    /operations is \[\]; it must have at least one/,
  ],
  [
    'an unknown kernel',
    { name: 'x', kernel: 'bsd', parts: [part] },
    /kernel is "bsd"; it must be "linux" or "solaris"/,
  ],
  [
    'an unknown kernel of a part',
    { name: 'x', parts: [{ ...part, kernel: 'bsd' }] },
    /parts\[0\]\.kernel is "bsd"; it must be "linux" or "solaris"/,
  ],
  [
    'an unknown way',
    { name: 'x', parts: [{ title: 'a', operations: [{ op: 'read', through: 'dma' }] }] },
    /operations\[0\]\.through is "dma"; it must be "ddi_umem_iosetup" or "physio"/,
  ],
  [
    'a disk of nobody',
    { name: 'x', parts: [{ ...part, disk: 'old' }] },
    /parts\[0\]\.disk is "old"; it must be "fresh" or the number of an earlier part/,
  ],
  [
    'the disk of a part that comes later',
    { name: 'x', parts: [part, { ...part, disk: 2 }] },
    /parts\[1\]\.disk is 2; it must be "fresh" or the number of an earlier part, 1 to 1/,
  ],
  [
    'the disk of an earlier part where there is none',
    { name: 'x', parts: [{ ...part, disk: 1 }] },
    /parts\[0\]\.disk is 1; it must be "fresh": no part is before it/,
  ],
  [
    'an unknown rule',
    { name: 'x', parts: [{ ...part, expect: { findings: ['dev-foo'] } }] },
    /findings\[0\] is "dev-foo"; it must be "map-unknown" or/,
  ],
  [
    'a strange sector',
    { name: 'x', parts: [part], disk: { sectorBytes: 100 } },
    /disk\.sectorBytes is 100; it must be 512 or 4096/,
  ],
  ['a number', 3, /the scenario is 3; it must be an object/],
];

for (const [what, value, expected] of WRONG) {
  test(`${what} is refused by the name of its field`, () => {
    assert.throws(
      () => parseScenario(value, 'x.json'),
      (error: unknown) => {
        const { message } = error as Error;
        return message.startsWith('x.json: ') && expected.test(message);
      },
    );
  });
}

test('the built-in scenario is one', () => {
  assert.is(parseScenario(defaultScenario, 'default').controller, 'aha1542');
});

test('every profile that is shipped is one', () => {
  for (const { profiles } of CONTROLLERS) {
    for (const profile of profiles) assert.is(parseProfile(profile, profile.name).name, profile.name);
  }
});

test('a profile with a wrong field is refused by its name', () => {
  const good = { ...CONTROLLERS[0]?.profiles[0], parameters: {} };
  assert.throws(
    () => parseProfile({ ...good, addressBits: 8 }, 'p.json'),
    /p\.json: addressBits is 8; it must be a whole number from 16 to 64/,
  );
  assert.throws(
    () => parseProfile({ ...good, controller: 'nmve' }, 'p.json'),
    /controller is "nmve"; it must be/,
  );
  assert.throws(
    () => parseProfile({ ...good, parameters: { warp: 9 } }, 'p.json'),
    /parameters\.warp is no parameter of/,
  );
  assert.throws(
    () => parseProfile({ ...good, pci: { vendor: '8086', device: 1 } }, 'p.json'),
    /pci\.vendor is "8086"; it must be a number/,
  );
});
