// A run that is saved, disturbed and put back at random moments does the same as one that is not.

import { suite } from '../run/suite.ts';
import { checkRow, ROWS } from './snapshot-rig.ts';
import type { Variant } from './workload.ts';

const test = suite('snapshot');

const VARIANTS: readonly Variant[] = [
  { name: 'disks in RAM', faults: false, medium: null },
  { name: 'disks in RAM that fail', faults: true, medium: null },
  // Without guard and trace the DMA port goes other ways.
  { name: 'nobody watching', faults: true, medium: null, unwatched: true },
];

for (const [i, row] of ROWS.entries()) {
  for (const [j, variant] of VARIANTS.entries()) {
    test(`SNAP-01 ${row.kind} with ${variant.name}: continued from a snapshot it does the same`, async () => {
      await checkRow(row, variant, 1 + i + 16 * j);
    });
  }
}
