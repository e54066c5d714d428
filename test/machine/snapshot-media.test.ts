// As snapshot.test.ts, with disks that the host holds: a snapshot takes along what they keep in memory.

import { overlay, ramMedium } from '../../src/media/index.ts';
import { suite } from '../run/suite.ts';
import { checkRow, patterned, ROWS } from './snapshot-rig.ts';
import { DISK_BYTES, type Variant } from './workload.ts';

const test = suite('snapshot: media');

const VARIANTS: readonly Variant[] = [
  { name: 'overlays', faults: true, medium: () => overlay(patterned()) },
  { name: 'a medium in memory', faults: false, medium: () => ramMedium(DISK_BYTES) },
];

for (const [i, row] of ROWS.entries()) {
  for (const [j, variant] of VARIANTS.entries()) {
    test(`SNAP-02 ${row.kind} with ${variant.name}: continued from a snapshot it does the same`, async () => {
      await checkRow(row, variant, 201 + i + 16 * j);
    });
  }
}
