// Kernels side by side agree on every controller.

import { CONTROLLERS } from '../../src/controllers/index.ts';
import { loadModule } from '../../src/machine/index.ts';
import { type CompareReport, compareKernels } from '../../src/scenario/compare.ts';
import { COMPARED } from '../../src/scenario/compare-kernels.ts';
import type { ComparedKernel } from '../../src/scenario/compare-side.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('scenario compare');
const OPERATIONS = 200;
const NARROW = ['ahci-1slot', 'nvme-mdts1', 'virtio-blk-segmax1', 'virtio-blk-sizemax4096', 'lsi53c810'];

function compare(
  controller: string,
  kernels: readonly ComparedKernel[],
  operations = OPERATIONS,
  seed = 1,
): Promise<CompareReport> {
  return loadModule().then((module) => compareKernels({ module, controller, kernels, seed, operations }));
}

for (const controller of [...CONTROLLERS.map(({ kind }) => kind), ...NARROW]) {
  test(`the kernels agree on ${controller}`, async () => {
    const { difference, failures, kernels, ok, smallest } = await compare(controller, COMPARED);
    assert.equal([ok, difference, smallest], [true, null, null]);
    assert.ok(failures.memory > 0 && failures.medium > 0 && failures.end > 0, JSON.stringify(failures));
    for (const figures of kernels) assert.ok(figures.commands > OPERATIONS / 2 && figures.segments > 0);
    // What failed half-way is some of what failed, and not at the medium.
    for (const { partial } of kernels) assert.ok(partial >= 0 && partial <= failures.memory + failures.end);
  });
}

test('a board that drives fewer lines than it claims is a difference, not an error', async () => {
  const { difference, smallest } = await compare('ahci-26lines', COMPARED, 10);
  assert.match(difference?.what ?? '', /the guard reported (map-mask|dev-truncated)/);
  assert.equal([difference?.operation, smallest], [null, 1]);
});
