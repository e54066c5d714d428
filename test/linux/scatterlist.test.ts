import { KernelBug, type Page } from '../../src/kernel/index.ts';
import { bootLinux, Scatterlist } from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('linux scatterlist');

async function boot() {
  const linux = bootLinux(await createMachine({ ram: 'small', guard: false }));
  return { linux, page: (pfn: number) => linux.kernel.frames.pfnToPage(pfn) as Page };
}

const isUninitialised = (error: unknown) => error instanceof KernelBug && error.rule === 'sg-init';

test('a new table has its end mark on the last entry and nothing in it', async () => {
  const { linux } = await boot();
  const { sgl } = linux.sg_alloc_table(3);
  assert.is(linux.sg_nents(sgl), 3);
  assert.is(linux.sg_is_last(linux.sg_last(sgl, 3)), true);
  assert.throws(() => linux.sg_page(sgl), isUninitialised);
});

test('for_each_sg gives the entries up to the count or the end', async () => {
  const { linux, page } = await boot();
  const { sgl } = linux.sg_alloc_table(3);
  let offset = 0;
  for (const sg of linux.for_each_sg(sgl, 3)) linux.sg_set_page(sg, page(16), 512, 512 * offset++);
  assert.equal(
    [...linux.for_each_sg(sgl, 2)].map((sg) => linux.sg_phys(sg)),
    [0x10000, 0x10200],
  );
  linux.sg_mark_end(sgl);
  assert.is([...linux.for_each_sg(sgl, 3)].length, 1);
});

test('chained tables are one list, over which the link itself is skipped', async () => {
  const { linux, page } = await boot();
  const first = linux.sg_alloc_table(3);
  const second = linux.sg_alloc_table(2);
  for (const sg of linux.for_each_sg(first.sgl, 3)) linux.sg_set_page(sg, page(16), 512, 0);
  for (const sg of linux.for_each_sg(second.sgl, 2)) linux.sg_set_page(sg, page(17), 512, 0);
  linux.sg_chain(first.sgl, 3, second.sgl);
  assert.equal(
    [...linux.for_each_sg(first.sgl, 9)].map((sg) => linux.sg_phys(sg)),
    [0x10000, 0x10000, 0x11000, 0x11000],
  );
  linux.sg_init_table(first.sgl, 3);
  assert.is(linux.sg_nents(first.sgl), 3);
});

test('sg-init entries that were never initialised, and a list without end, are refused', async () => {
  const { linux, page } = await boot();
  assert.throws(() => linux.sg_set_page(new Scatterlist(null), page(16), 512, 0), isUninitialised);
  const { sgl } = linux.sg_alloc_table(1);
  linux.sg_unmark_end(sgl);
  assert.throws(() => linux.sg_next(sgl), isUninitialised);
  assert.throws(() => linux.sg_init_table(sgl, 2), isUninitialised);
});
