import { PAGE_SIZE } from '../../src/kernel/index.ts';
import { VMALLOC_START } from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, boot, inTask, must } from './help.ts';

const test = suite('linux vmalloc');

test('an area is contiguous in its addresses, page by page, and ends before the next one', async () => {
  const linux = await boot({ placement: 'scatter' });
  const [a, b] = inTask(linux, function* () {
    return [must(yield* linux.vzalloc(3 * PAGE_SIZE - 5)), must(yield* linux.vmalloc(1))];
  }) as [number, number];
  assert.ok(a >= VMALLOC_START && a % PAGE_SIZE === 0);
  const bytes = Uint8Array.from({ length: 2 * PAGE_SIZE }, (_, i) => i % 251);
  assert.is(linux.vwrite(bytes, a + 100, bytes.length), bytes.length);
  const page = must(linux.vmalloc_to_page(a + PAGE_SIZE));
  assert.equal(linux.kernel.memory.readBytes(page.phys, 10), bytes.subarray(PAGE_SIZE - 100, PAGE_SIZE - 90));
  const back = new Uint8Array(bytes.length);
  assert.is(linux.vread(back, a + 100, back.length), back.length);
  assert.equal(back, bytes);
  // Behind the third page there is nothing, and what does not fit is not written.
  assert.is(linux.vmalloc_to_page(a + 3 * PAGE_SIZE), null);
  assert.is(linux.vread(back, a + 3 * PAGE_SIZE - 10, 20), 10);
  assert.is(linux.vmalloc_to_page(a - 1), null);
  assert.ok(b >= a + 4 * PAGE_SIZE && linux.vmalloc_to_page(b) !== null);
  assert.equal([linux.is_vmalloc_addr(a), linux.is_vmalloc_addr(page.phys)], [true, false]);
});

test('vfree gives every page back, null is nothing, and any other address is a bug', async () => {
  const linux = await boot();
  const { allocator } = linux.kernel;
  const before = allocator.usage().get('vmalloc') ?? 0;
  const areas = inTask(linux, function* () {
    return [must(yield* linux.vmalloc(5 * PAGE_SIZE)), must(yield* linux.vmalloc(PAGE_SIZE))];
  }) as [number, number];
  assert.is((allocator.usage().get('vmalloc') ?? 0) - before, 6);
  assertBug('vmalloc', () => linux.vfree(areas[0] + PAGE_SIZE));
  linux.vfree(areas[0]);
  assertBug('vmalloc', () => linux.vfree(areas[0]));
  assertBug('vmalloc', () => linux.flush_kernel_vmap_range(areas[0], 1));
  assertBug('vmalloc', () => linux.invalidate_kernel_vmap_range(areas[1], PAGE_SIZE + 1));
  linux.vfree(areas[1]);
  linux.vfree(null);
  assert.is(allocator.usage().get('vmalloc') ?? 0, before);
});

test('without memory vmalloc is null and keeps no page', async () => {
  const linux = await boot();
  const { allocator, faults } = linux.kernel;
  faults.page_alloc.set({ after: 3 });
  const got = inTask(linux, function* () {
    return [yield* linux.vmalloc(8 * PAGE_SIZE), yield* linux.vmalloc(2 ** 45), yield* linux.vmalloc(0)];
  });
  assert.equal(got, [null, null, null]);
  assert.is(allocator.usage().get('vmalloc') ?? 0, 0);
});
