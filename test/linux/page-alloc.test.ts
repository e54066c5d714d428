import { PAGE_SIZE, type Page } from '../../src/kernel/index.ts';
import {
  __GFP_DMA32,
  __GFP_HIGHMEM,
  __GFP_NOFAIL,
  __GFP_WAIT,
  __GFP_ZERO,
  GFP_ATOMIC,
  GFP_DMA,
  GFP_KERNEL,
  GFP_NOIO,
  gfpflags_allow_blocking,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, assertDeadlock, boot, inProcess, inTask, must } from './help.ts';

const test = suite('linux pages');

test('a zone modifier bounds the address; high memory is no further than normal', async () => {
  const linux = await boot({ placement: 'scatter', seed: 3 });
  inTask(linux, function* () {
    const seen = new Set<string>();
    for (let i = 0; i < 40; i++) {
      const dma = must(yield* linux.alloc_page(GFP_KERNEL | GFP_DMA));
      assert.is(dma.zone, 'DMA');
      const dma32 = must(yield* linux.alloc_page(GFP_KERNEL | __GFP_DMA32));
      assert.ok(dma32.phys < 2 ** 32);
      seen.add(must(yield* linux.alloc_page(GFP_KERNEL | __GFP_HIGHMEM)).zone);
    }
    assert.equal([...seen], ['NORMAL']);
  });
});

test('__GFP_ZERO clears the page, and only then', async () => {
  const linux = await boot();
  const { memory } = linux.kernel;
  const page = must(inTask(linux, () => linux.alloc_page(GFP_KERNEL)));
  memory.fill(page.phys, 0xaa, PAGE_SIZE);
  linux.__free_page(page);
  const again = must(inTask(linux, () => linux.alloc_page(GFP_KERNEL)));
  assert.is(again, page);
  assert.is(memory.read8(again.phys), 0xaa);
  linux.__free_page(again);
  const zero = must(inTask(linux, () => linux.alloc_page(GFP_KERNEL | __GFP_ZERO)));
  assert.is(memory.read8(zero.phys), 0);
});

test('several pages are a compound, aligned and counted on its head', async () => {
  const linux = await boot();
  const head = must(inTask(linux, () => linux.alloc_pages(GFP_KERNEL, 2)));
  assert.is(linux.page_to_pfn(head) % 4, 0);
  const tail = must(linux.nth_page(head, 3));
  assert.equal(
    [linux.PageCompound(tail), linux.compound_head(tail), linux.compound_order(tail)],
    [true, head, 2],
  );
  linux.get_page(tail);
  assert.is(linux.page_count(head), 2);
  linux.put_page(tail);
  linux.__free_pages(head, 2);
  assert.is(linux.page_count(head), 0);
});

test('PG-01 get_page and put_page on a free page are bugs, the last put frees', async () => {
  const linux = await boot();
  const { allocator } = linux.kernel;
  const free = allocator.freePages;
  const page = must(inTask(linux, () => linux.alloc_page(GFP_KERNEL)));
  linux.get_page(page);
  linux.release_pages([page, null], 2);
  assert.is(allocator.freePages, free - 1);
  linux.put_page(page);
  assert.is(allocator.freePages, free);
  assertBug('PG-01', () => linux.put_page(page));
  assertBug('PG-01', () => linux.get_page(page));
});

test('PG-02 set_page_dirty says whether the page was clean', async () => {
  const linux = await boot();
  const page = must(inTask(linux, () => linux.alloc_page(GFP_KERNEL)));
  assert.equal([linux.set_page_dirty(page), linux.set_page_dirty(page)], [1, 0]);
  assert.is(
    inTask(linux, () => linux.set_page_dirty_lock(page)),
    0,
  );
  assert.is(linux.PageLocked(page), false);
});

test('an allocation that may wait is a bug in atomic context', async () => {
  const linux = await boot();
  assert.is(__GFP_WAIT & GFP_NOIO, __GFP_WAIT);
  assert.equal([gfpflags_allow_blocking(GFP_NOIO), gfpflags_allow_blocking(GFP_ATOMIC)], [true, false]);
  const { cpu } = linux.kernel;
  assert.ok(linux.alloc_pages_now(GFP_KERNEL, 0), 'at set-up it is not');
  const were = cpu.irqSave();
  assertBug('ctx-sleep', () => linux.alloc_pages_now(GFP_KERNEL, 0));
  assert.ok(linux.alloc_pages_now(GFP_ATOMIC, 0));
  cpu.irqRestore(were);
});

test('without memory: at once NULL in atomic context, with WAIT after others had their turn', async () => {
  const linux = await boot();
  const { allocator, scheduler } = linux.kernel;
  const all: Page[] = [];
  for (let page = allocator.alloc(); page !== null; page = allocator.alloc()) all.push(page);
  assert.is(linux.alloc_pages_now(GFP_ATOMIC, 0), null);
  assert.is(
    inTask(linux, () => linux.alloc_page(GFP_KERNEL)),
    null,
  );
  const waiter = scheduler.spawn('waiter', () => linux.alloc_page(GFP_KERNEL));
  scheduler.spawn('freer', function* () {
    linux.put_page(must(all.pop()));
  });
  scheduler.run();
  assert.ok(waiter.exitValue);
});

test('__GFP_NOFAIL waits until there is a page', async () => {
  const linux = await boot();
  const { allocator, scheduler } = linux.kernel;
  let last: Page | null = null;
  for (let page = allocator.alloc(); page !== null; page = allocator.alloc()) last = page;
  const waiter = scheduler.spawn('waiter', () => linux.alloc_page(GFP_NOIO | __GFP_NOFAIL));
  assertDeadlock(() => scheduler.run());
  linux.put_page(must(last));
  scheduler.run({ until: waiter });
  assert.is(waiter.exitValue, last);
});

test('an injected failure is final, WAIT or not', async () => {
  const linux = await boot();
  linux.kernel.faults.page_alloc.set({ every: 2 });
  inTask(linux, function* () {
    const got = [];
    for (let i = 0; i < 4; i++) got.push((yield* linux.alloc_page(GFP_KERNEL)) !== null);
    assert.equal(got, [true, false, true, false]);
  });
});

test('kernel addresses are physical addresses', async () => {
  const linux = await boot();
  const addr = inTask(linux, () => linux.__get_free_pages(GFP_KERNEL, 1));
  const page = must(linux.virt_to_page(addr + 5000));
  assert.is(linux.page_to_phys(page), addr + PAGE_SIZE);
  assert.equal([linux.page_address(page), linux.kmap(page)], [addr + PAGE_SIZE, addr + PAGE_SIZE]);
  assert.is(linux.pfn_to_page(page.pfn), page);
  linux.kunmap(page);
  linux.free_pages(addr, 1);
  linux.free_pages(0, 0);
  assert.is(linux.page_count(page), 0);
});

test('kmalloc: pieces of one size share a page, aligned to their size', async () => {
  const linux = await boot();
  const { allocator } = linux.kernel;
  const free = allocator.freePages;
  const pieces = inTask(linux, function* () {
    const all: number[] = [];
    for (let i = 0; i < 9; i++) all.push(must(yield* linux.kmalloc(500, GFP_KERNEL)));
    return all;
  });
  assert.is(new Set(pieces).size, 9);
  assert.ok(pieces.every((addr) => addr % 512 === 0 && linux.ksize(addr) === 512));
  assert.is(allocator.freePages, free - 2);
  linux.kfree(must(pieces[3]));
  assert.is(
    inTask(linux, () => linux.kmalloc(512, GFP_KERNEL)),
    pieces[3],
  );
  for (const addr of pieces) linux.kfree(addr);
  linux.kfree(null);
  assert.is(allocator.freePages, free);
});

test('kmalloc: larger ones are whole pages; kzalloc clears; GFP_DMA is in reach', async () => {
  const linux = await boot();
  const { allocator, memory } = linux.kernel;
  const free = allocator.freePages;
  inTask(linux, function* () {
    const big = must(yield* linux.kmalloc(9000, GFP_KERNEL));
    assert.equal([linux.ksize(big), allocator.freePages], [16384, free - 4]);
    memory.fill(big, 0xff, 16384);
    linux.kfree(big);
    const zero = must(yield* linux.kzalloc(9000, GFP_KERNEL));
    assert.ok(memory.readBytes(zero, 9000).every((byte) => byte === 0));
    linux.kfree(zero);
    const dma = must(yield* linux.kmalloc(100, GFP_KERNEL | GFP_DMA));
    assert.ok(dma < 16 * 2 ** 20);
    linux.kfree(dma);
  });
  assert.is(allocator.freePages, free);
});

test('kmalloc: kfree of what is no allocation is a bug, so is put_page on its page', async () => {
  const linux = await boot();
  const addr = must(inTask(linux, () => linux.kmalloc(100, GFP_KERNEL)));
  assertBug('kfree', () => linux.kfree(addr + 8));
  assertBug('page-free', () => linux.put_page(must(linux.virt_to_page(addr))));
  const other = must(inTask(linux, () => linux.kmalloc(5000, GFP_KERNEL)));
  linux.kfree(other);
  assertBug('kfree', () => linux.kfree(other));
  assertBug('kmalloc-size', () => inTask(linux, () => linux.kmalloc(0, GFP_KERNEL)));
});

test('kmalloc fails by plan', async () => {
  const linux = await boot();
  linux.kernel.faults.slab.failAll();
  assert.is(
    inTask(linux, () => linux.kmalloc(10, GFP_KERNEL)),
    null,
  );
});

test('a slab cache hands out what was freed last, counts, and can be made to fail', async () => {
  const linux = await boot();
  let made = 0;
  const cache = must(linux.kmem_cache_create('thing', 10, 0, 0, () => ({ id: ++made })));
  const [one, two] = [
    must(linux.kmem_cache_alloc(cache, GFP_ATOMIC)),
    must(linux.kmem_cache_alloc(cache, GFP_ATOMIC)),
  ];
  linux.kmem_cache_free(cache, one);
  assert.is(linux.kmem_cache_alloc(cache, GFP_ATOMIC), one);
  assert.equal([cache.allocated, cache.freed, cache.active, made], [3, 1, 2, 2]);
  assert.equal(
    linux.slab_in_use().find((use) => use.cache === 'thing'),
    { cache: 'thing', objects: 2, bytes: 20 },
  );
  cache.failures.failAll();
  assert.is(linux.kmem_cache_alloc(cache, GFP_ATOMIC), null);
  linux.kmem_cache_free(cache, one);
  linux.kmem_cache_free(cache, two);
  assertBug('slab-free', () => linux.kmem_cache_free(cache, two));
  const were = linux.kernel.cpu.irqSave();
  assertBug('ctx-sleep', () => linux.kmem_cache_alloc(cache, GFP_KERNEL));
  linux.kernel.cpu.irqRestore(were);
  inProcess(linux, () => linux.kmem_cache_destroy(cache));
});
