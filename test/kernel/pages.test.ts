import {
  type AllocOptions,
  DMA_END,
  DMA32_END,
  Inode,
  type KernelBase,
  PAGE_SIZE,
  type Page,
  PG_dirty,
  PG_head,
  PG_hwpoison,
  PG_locked,
  PG_private,
  PG_reserved,
  PG_tail,
  PG_writeback,
  POISON_FREE,
  SIGKILL,
} from '../../src/kernel/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, assertDeadlock, makeKernel } from './help.ts';

const test = suite('pages');

function mustAlloc({ allocator }: KernelBase, options?: AllocOptions): Page {
  const page = allocator.alloc(options);
  if (page === null) throw new Error('no page');
  return page;
}

/** Takes pages until there are none. */
function takeAll({ allocator }: KernelBase, options?: AllocOptions): Page[] {
  const pages: Page[] = [];
  for (let page = allocator.alloc(options); page !== null; page = allocator.alloc(options)) pages.push(page);
  return pages;
}

test('every page of RAM is found by its number, holes have none', async () => {
  const { frames } = await makeKernel();
  assert.is(frames.pages.length, 128 + 32 + 64);
  for (const page of frames.pages) {
    assert.is(frames.pfnToPage(page.pfn), page);
    assert.is(frames.physToPage(page.phys + 4095), page);
    assert.is(page.phys, page.pfn * PAGE_SIZE);
  }
  assert.is(frames.pfnToPage(128), null);
  assert.is(frames.physToPage(0x1020000), null);
  assert.is(frames.physToPage(2 ** 40), null);
});

test('zones follow the addresses, page 0 is never handed out', async () => {
  const kernel = await makeKernel();
  assert.equal(
    kernel.allocator.zones.map(({ name, managed }) => [name, managed]),
    [
      ['DMA', 127],
      ['DMA32', 32],
      ['NORMAL', 64],
    ],
  );
  const all = takeAll(kernel);
  assert.is(all.length, 127 + 32 + 64 - 1); // one is the zero page
  assert.not.ok(all.some(({ pfn }) => pfn === 0));
  assert.is(kernel.allocator.freePages, 0);
});

test('a low reserve is kept free', async () => {
  const kernel = await makeKernel({ lowReserve: 0x10000 });
  assert.is(kernel.allocator.zone('DMA').managed, 112);
  assert.not.ok(takeAll(kernel).some(({ phys }) => phys < 0x10000));
});

test('allocation begins in the highest zone asked for and falls back to lower ones', async () => {
  const kernel = await makeKernel();
  const zones = takeAll(kernel).map(({ zone }) => zone);
  assert.equal(zones, [
    ...new Array<string>(64).fill('NORMAL'),
    ...new Array<string>(31).fill('DMA32'),
    ...new Array<string>(127).fill('DMA'),
  ]);
  const second = await makeKernel();
  assert.ok(takeAll(second, { zone: 'DMA32' }).every(({ phys }) => phys < DMA32_END));
  assert.is(second.allocator.zone('NORMAL').free, 64);
  assert.ok(takeAll(await makeKernel(), { zone: 'DMA' }).every(({ phys }) => phys < DMA_END));
});

test('limits from and below are kept to the byte', async () => {
  const kernel = await makeKernel();
  const taken = takeAll(kernel, { from: 0x3001, below: 0x6fff }).map(({ phys }) => phys);
  assert.equal(taken, [0x4000, 0x5000]);
  assert.equal(
    takeAll(kernel, { from: 0x3000, below: 0x7000 }).map(({ phys }) => phys),
    [0x3000, 0x6000],
  );
});

test('a reserve of the zone DMA is only for those who ask for it', async () => {
  const kernel = await makeKernel({ dmaReserve: 16 });
  takeAll(kernel);
  assert.is(kernel.allocator.zone('DMA').free, 16);
  assert.is(takeAll(kernel, { zone: 'DMA' }).length, 16);
});

test('contiguous placement takes neighbours in ascending order, freed ones again', async () => {
  const kernel = await makeKernel();
  const pages = Array.from({ length: 8 }, () => mustAlloc(kernel));
  assert.equal(
    pages.map(({ phys }) => phys - 2 ** 32),
    [0, 1, 2, 3, 4, 5, 6, 7].map((i) => i * PAGE_SIZE),
  );
  kernel.allocator.put(pages[3] as Page);
  assert.is(mustAlloc(kernel), pages[3]);
});

test('scattered placement is another for each seed, the same for the same one, and uses every page', async () => {
  const order = async (seed: number): Promise<number[]> =>
    takeAll(await makeKernel({ seed, placement: 'scatter' })).map(({ pfn }) => pfn);
  const first = await order(1);
  assert.equal(first, await order(1));
  assert.not.equal(first, await order(2));
  assert.is(new Set(first).size, 127 + 32 + 64 - 1);
  const neighbours = first.filter((pfn, i) => pfn === (first[i - 1] ?? -2) + 1).length;
  assert.ok(neighbours < 60, `${neighbours} neighbours`);
});

test('an order gives aligned contiguous pages, as a compound with one count', async () => {
  for (const placement of ['contiguous', 'scatter'] as const) {
    const kernel = await makeKernel({ placement });
    const { allocator, frames } = kernel;
    const before = allocator.freePages;
    mustAlloc(kernel, { zone: 'DMA' });
    const head = mustAlloc(kernel, { order: 3, zone: 'DMA' });
    assert.is(head.pfn % 8, 0);
    assert.ok(head.has(PG_head));
    const last = frames.compoundPage(head, 7);
    assert.is(last.pfn, head.pfn + 7);
    assert.ok(last.has(PG_tail));
    assert.is(last.compoundHead, head);
    allocator.get(last);
    assert.is(head.count, 2);
    assert.is(last.count, 2);
    allocator.put(head);
    assert.is(allocator.freePages, before - 9);
    allocator.put(last);
    assert.is(allocator.freePages, before - 1);
    assert.not.ok(last.compound);
  }
});

test('an order that does not fit in what is left gives null', async () => {
  const kernel = await makeKernel();
  const pages = takeAll(kernel, { zone: 'DMA' });
  for (const page of pages) if (page.pfn % 2 === 0) kernel.allocator.put(page);
  assert.is(kernel.allocator.alloc({ zone: 'DMA', order: 1 }), null);
  for (const page of pages) if (page.pfn === 9) kernel.allocator.put(page);
  assert.is(mustAlloc(kernel, { zone: 'DMA', order: 1 }).pfn, 8);
  assertBug('page-order', () => kernel.allocator.alloc({ order: 11 }));
});

test('a compound never spans a gap of RAM, even where its page numbers are aligned', async () => {
  const kernel = await makeKernel({
    ram: [
      { base: 0, bytes: 0x3000 },
      { base: 0x4000, bytes: 0x2000 },
    ],
  });
  takeAll(kernel, { order: 1 });
  assert.is(kernel.allocator.alloc({ order: 2 }), null);
});

test('a split compound is pages of their own', async () => {
  const kernel = await makeKernel();
  const head = mustAlloc(kernel, { order: 2 });
  kernel.allocator.split(head);
  const second = kernel.frames.pages[head.frame + 1] as Page;
  kernel.allocator.put(head);
  assert.is(second.count, 1);
  assert.is(second.compoundHead, second);
  kernel.allocator.put(second);
  assertBug('PG-01', () => kernel.allocator.put(second));
});

test('zero fills with zeros, default leaves what was there', async () => {
  const kernel = await makeKernel();
  const page = mustAlloc(kernel);
  kernel.memory.fill(page.phys, 0x55, PAGE_SIZE);
  kernel.allocator.put(page);
  assert.is(mustAlloc(kernel), page);
  assert.is(kernel.memory.read32(page.phys), 0x55555555);
  kernel.allocator.put(page);
  assert.is(mustAlloc(kernel, { zero: true }), page);
  assert.ok(kernel.memory.equals(page.phys, new Uint8Array(PAGE_SIZE)));
});

test('PG-01 a reference to a free page and a reference dropped too often are bugs', async () => {
  const kernel = await makeKernel();
  const page = mustAlloc(kernel);
  kernel.allocator.get(page);
  kernel.allocator.put(page);
  kernel.allocator.put(page);
  assert.is(page.count, 0);
  assertBug('PG-01', () => kernel.allocator.put(page));
  assertBug('PG-01', () => kernel.allocator.get(page));
});

test('page-free freeing a page in use in some way is a bug', async () => {
  for (const flag of [PG_locked, PG_writeback, PG_private]) {
    const kernel = await makeKernel();
    const page = mustAlloc(kernel);
    page.set(flag);
    assertBug('page-free', () => kernel.allocator.put(page));
  }
  const kernel = await makeKernel();
  assert.ok(kernel.vm.zeroPage.has(PG_reserved));
  assertBug('page-free', () => kernel.allocator.put(kernel.vm.zeroPage));
});

test('many single pages are those that one after the other would be, all or none', async () => {
  const options: AllocOptions[] = [
    {},
    { zone: 'DMA32' },
    { zone: 'DMA' },
    { from: 0x40000, below: 0x1008000 },
    { below: 0x5800 },
    { placement: 'scatter' },
  ];
  for (const dmaReserve of [0, 9]) {
    for (const option of options) {
      for (const count of [0, 1, 5, 70, 110, 222, 223]) {
        const [one, many] = [await makeKernel({ dmaReserve }), await makeKernel({ dmaReserve })];
        const singles: Page[] = [];
        for (const kernel of [one, many]) mustAlloc(kernel, { below: 0x6000 });
        for (let i = 0; i < count; i++) {
          const page = one.allocator.alloc(option);
          if (page !== null) singles.push(page);
        }
        const free = many.allocator.freePages;
        const pages = many.allocator.allocMany(count, option);
        if (singles.length < count) {
          assert.is(pages, null);
          assert.is(many.allocator.freePages, free);
        } else {
          assert.equal(
            pages?.map(({ pfn, _count }) => [pfn, _count]),
            singles.map(({ pfn, _count }) => [pfn, _count]),
          );
          assert.is(many.allocator.freePages, one.allocator.freePages);
        }
      }
    }
  }
});

test('many single pages ask the failure plan for each, and the shrinkers', async () => {
  const { allocator } = await makeKernel();
  allocator.failures.set({ every: 4 });
  const free = allocator.freePages;
  assert.is(allocator.allocMany(4), null);
  assert.is(allocator.failures.calls, 4);
  assert.is(allocator.freePages, free);
  allocator.failures.off();
  const kept = allocator.allocMany(free - 2) ?? [];
  allocator.shrinkers.push(() => {
    const page = kept.pop();
    if (page !== undefined) allocator.put(page);
    return 1;
  });
  assert.is(allocator.allocMany(5)?.length, 5);
  assert.is(kept.length, free - 5);
});

test('allocations fail as the plan says', async () => {
  const kernel = await makeKernel();
  const { allocator } = kernel;
  allocator.failures.set({ every: 3 });
  const got = Array.from({ length: 6 }, () => allocator.alloc() !== null);
  assert.equal(got, [true, true, false, true, true, false]);
  allocator.failures.failAll();
  assert.is(allocator.alloc(), null);
  allocator.failuresOnly = 'bounce';
  assert.ok(allocator.alloc({ tag: 'user' }) !== null);
  assert.is(allocator.alloc({ tag: 'bounce' }), null);
  allocator.failures.off();
  assert.ok(allocator.alloc({ tag: 'bounce' }) !== null);
});

test('what is in use is told by purpose, since a mark', async () => {
  const kernel = await makeKernel();
  const { allocator } = kernel;
  mustAlloc(kernel, { tag: 'bounce' });
  const { mark } = allocator;
  const page = mustAlloc(kernel, { tag: 'user' });
  mustAlloc(kernel, { tag: 'ring', order: 2 });
  allocator.put(page);
  assert.equal([...allocator.usage(mark)], [['ring', 4]]);
  assert.equal([...allocator.usage()].sort(), [
    ['bounce', 1],
    ['ring', 4],
  ]);
});

test('with poison a write to a freed page is reported when the page is handed out again', async () => {
  const kernel = await makeKernel({ poison: true });
  const page = mustAlloc(kernel, { tag: 'bounce' });
  kernel.allocator.put(page);
  assert.is(kernel.memory.read8(page.phys + 100), POISON_FREE);
  kernel.memory.write8(page.phys + 100, 1);
  mustAlloc(kernel);
  const [warning] = kernel.warnings.all;
  assert.is(warning?.rule, 'page-use-after-free');
  assert.match(warning?.what ?? '', /offset 100 .*"bounce"/);
  assert.is(kernel.warnings.all.length, 1);
});

test('pages come and go before the eyes of a watcher', async () => {
  const kernel = await makeKernel();
  const log: string[] = [];
  kernel.allocator.watch = {
    allocated: (page, order) => void log.push(`+${page.pfn} ${order}`),
    freed: (page, order) => void log.push(`-${page.pfn} ${order}`),
  };
  const page = mustAlloc(kernel, { order: 1, zone: 'DMA' });
  kernel.allocator.put(page);
  assert.equal(log, ['+2 1', '-2 1']);
});

test('a poisoned page is never handed out again', async () => {
  const kernel = await makeKernel();
  const [free, used] = [mustAlloc(kernel, { zone: 'DMA' }), mustAlloc(kernel, { zone: 'DMA' })];
  kernel.allocator.put(free);
  kernel.vm.poison(free);
  kernel.vm.poison(used);
  kernel.allocator.put(used);
  assert.ok(used.has(PG_hwpoison));
  const all = takeAll(kernel);
  assert.not.ok(all.includes(free) || all.includes(used));
  assert.is(all.length, 127 + 32 + 64 - 3);
});

test('allocWait waits until a page is freed; for ever is a deadlock', async () => {
  const kernel = await makeKernel();
  const { allocator, scheduler } = kernel;
  const pages = takeAll(kernel);
  const waiter = scheduler.spawn('waiter', () => allocator.allocWait({}, 'a page for the test'));
  scheduler.spawn('holder', function* () {
    yield* scheduler.delay(1234);
    allocator.put(pages[7] as Page);
  });
  scheduler.run();
  assert.is(waiter.exitValue, pages[7]);
  scheduler.spawn('unlucky', () => allocator.allocWait({}, 'a page for the test'));
  assert.is(assertDeadlock(() => scheduler.run()).tasks[0]?.what, 'a page for the test');
});

test('when there is no page shrinkers are asked, before giving up', async () => {
  const kernel = await makeKernel();
  const pages = takeAll(kernel);
  let asked = 0;
  kernel.allocator.shrinkers.push(() => {
    asked++;
    const page = pages.pop();
    if (page === undefined) return 0;
    kernel.allocator.put(page);
    return 1;
  });
  assert.ok(kernel.allocator.alloc() !== null);
  assert.is(asked, 1);
});

test('the page lock admits one at a time, and may be released by an interrupt', async () => {
  const kernel = await makeKernel();
  const { scheduler, locks } = kernel;
  const page = mustAlloc(kernel);
  const log: string[] = [];
  for (const name of ['a', 'b']) {
    scheduler.spawn(name, function* () {
      yield* locks.lock(page);
      log.push(`${name} in`);
      yield* scheduler.delay(10);
      log.push(`${name} out`);
      locks.unlock(page);
    });
  }
  scheduler.run();
  assert.equal(log, ['a in', 'a out', 'b in', 'b out']);
  assertBug('page-unlock', () => locks.unlock(page));
});

test('DLK a wait for a page lock names the page and who locked it', async () => {
  const kernel = await makeKernel();
  const { scheduler, locks } = kernel;
  const page = mustAlloc(kernel, { zone: 'DMA' });
  scheduler.spawn('locker', function* () {
    yield* locks.lock(page);
    yield* locks.lock(page);
  });
  const [task] = assertDeadlock(() => scheduler.run()).tasks;
  assert.is(task?.queue, 'page 0x1');
  assert.is(task?.wakers, 'locker (1), who locked it');
});

test('a fatal signal ends lockKillable without the lock', async () => {
  const kernel = await makeKernel();
  const { scheduler, locks } = kernel;
  const page = mustAlloc(kernel);
  locks.tryLock(page);
  const task = scheduler.spawn('task', () => locks.lockKillable(page));
  scheduler.run({ blocked: 'return' });
  scheduler.signal(task, SIGKILL);
  scheduler.run();
  assert.is(task.exitValue, false);
});

test('waiting for the end of writeback', async () => {
  const kernel = await makeKernel();
  const { scheduler, locks } = kernel;
  const page = mustAlloc(kernel);
  assert.ok(locks.startWriteback(page));
  assert.not.ok(locks.startWriteback(page));
  const task = scheduler.spawn('task', function* () {
    yield* locks.waitWriteback(page);
    return scheduler.now();
  });
  scheduler.spawn('disk', function* () {
    yield* scheduler.delay(77);
    locks.endWriteback(page);
  });
  scheduler.run();
  assert.is(task.exitValue, 77);
  assertBug('page-writeback', () => locks.endWriteback(page));
});

test('PG-02 setting a page dirty is true only from clean to dirty, and a bug in an interrupt', async () => {
  const kernel = await makeKernel();
  const { scheduler, locks, cpu } = kernel;
  const page = mustAlloc(kernel);
  assert.ok(locks.setDirty(page));
  assert.not.ok(locks.setDirty(page));
  page.clear(PG_dirty);
  assert.ok(scheduler.complete('task', () => locks.setDirtyLock(page)));
  assert.not.ok(page.has(PG_locked));
  cpu.interrupt('disk', 5, () => {
    assertBug('PG-02', () => locks.setDirty(page));
    assertBug('PG-02', () => scheduler.atomic(locks.setDirtyLock(page)));
  });
});

test('PG-02 a page is marked dirty at once unless somebody has its lock, one of a file under the lock', async () => {
  const kernel = await makeKernel();
  const { locks, cpu } = kernel;
  const page = mustAlloc(kernel);
  locks.tryLock(page);
  assert.not.ok(locks.trySetDirtyLock(page));
  assert.not.ok(page.has(PG_dirty));
  locks.unlock(page);
  assert.ok(locks.trySetDirtyLock(page));
  assert.ok(page.has(PG_dirty) && !page.has(PG_locked));
  let locked = false;
  const setPageDirty = (dirtied: Page): boolean => {
    locked = dirtied.has(PG_locked);
    return true;
  };
  page.mapping = new Inode('file', PAGE_SIZE, { setPageDirty }).mapping;
  assert.ok(locks.trySetDirtyLock(page));
  assert.ok(locked && !page.has(PG_locked));
  locks.tryLock(page);
  assert.not.ok(locks.trySetDirtyLock(page));
  cpu.interrupt('disk', 5, () => {
    locks.unlock(page);
    assertBug('PG-02', () => locks.trySetDirtyLock(page));
  });
});
