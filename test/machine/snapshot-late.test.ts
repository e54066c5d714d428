// As snapshot-media.test.ts, with media that answer later: what they were doing is begun again after a restore, and
// what they were asked for before it is void.

import { Random } from '../../src/kernel/random.ts';
import { type AsyncMedium, asyncMedium, overlay, ramMedium, type SyncMedium } from '../../src/media/index.ts';
import { turn } from '../media/help.ts';
import { assert, suite } from '../run/suite.ts';
import { checkRow, patterned, ROWS } from './snapshot-rig.ts';
import { DISK_BYTES, type Variant } from './workload.ts';

const test = suite('snapshot: late media');

const VARIANTS: readonly Variant[] = [
  { name: 'a late medium', faults: false, medium: () => late(ramMedium(DISK_BYTES)) },
  { name: 'overlays of a late medium', faults: true, medium: () => overlay(late(patterned())) },
];

/** A medium that answers at once, or after a while, or after a longer while. */
function late(medium: SyncMedium): AsyncMedium {
  const random = new Random(medium.bytes);
  return asyncMedium(medium, {
    delay: async () => {
      for (let turns = random.below(3); turns > 0; turns--) await turn();
    },
  });
}

for (const [i, row] of ROWS.entries()) {
  for (const [j, variant] of VARIANTS.entries()) {
    test(`SNAP-03 ${row.kind} with ${variant.name}: what it was doing is begun again`, async () => {
      const { asked } = await checkRow(row, variant, 301 + i + 16 * j);
      assert.ok(asked.read > 0 && asked.store > 0);
    });
  }
}
