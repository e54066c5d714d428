import { Inode, PAGE_SIZE, type Page, PG_dirty, VM_READ } from '../../src/kernel/index.ts';
import { EFAULT, FOLL_TOUCH, type LinuxOptions } from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, boot, inTask } from './help.ts';
import { counts, gup, type Pages, putAll } from './pinner.ts';
import { asUser, BASE, map, pageAt, pattern, peek, poke } from './user.ts';

const test = suite('get_user_pages_fast, put_page');

test('GUP-26 PG-01 each pin needs a put; one put too many is a bug', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 1);
    const pages: Pages = [];
    for (let n = 0; n < 3; n++) assert.is(yield* linux.get_user_pages_fast(BASE, 1, true, pages, n), 1);
    assert.is(pageAt(mm, BASE).count, 4);
    putAll(linux, pages);
    assert.is(pageAt(mm, BASE).count, 1);
  });
  const page = inTask(linux, () => linux.alloc_page(0));
  if (page === null) throw new Error('no page');
  linux.put_page(page);
  assertBug('PG-01', () => linux.put_page(page));
  assertBug('PG-01', () => linux.get_page(page));
});

test('PG-01 references to any part of a compound count on its head', async () => {
  const linux = await boot();
  const head = inTask(linux, () => linux.alloc_pages(0, 2));
  const tail = head === null ? null : linux.nth_page(head, 3);
  if (head === null || tail === null) throw new Error('no pages');
  linux.get_page(tail);
  assert.equal([linux.page_count(head), linux.page_count(tail)], [2, 2]);
  linux.put_page(head);
  linux.put_page(tail);
  assert.is(head.count, 0);
});

test('GUP-26 PG-02 set_page_dirty says 1 only for a clean page, and asks the mapping', async () => {
  const linux = await boot();
  asUser(linux, function* () {
    const dirtied: number[] = [];
    const file = new Inode('file', PAGE_SIZE, {
      setPageDirty(page) {
        dirtied.push(page.index);
        return !page.testSet(PG_dirty);
      },
    });
    const cached = yield* linux.kernel.vm.getPage(file, 0);
    const own = yield* linux.alloc_page(0);
    if (typeof cached === 'number' || own === null) throw new Error('no page');
    for (const page of [cached, own]) {
      assert.equal([linux.set_page_dirty(page), linux.set_page_dirty(page)], [1, 0]);
      assert.is(yield* linux.set_page_dirty_lock(page), 0);
      assert.is(linux.PageLocked(page), false);
      linux.put_page(page);
    }
    assert.equal(dirtied, [0, 0, 0]);
    yield* linux.kernel.vm.dropCache(file);
  });
});

test('PG-02 set_page_dirty_lock waits for the lock of the page', async () => {
  const linux = await boot();
  const { scheduler } = linux.kernel;
  const page = inTask(linux, () => linux.alloc_page(0));
  if (page === null) throw new Error('no page');
  assert.is(linux.trylock_page(page), true);
  const task = scheduler.spawn('dirty', () => linux.set_page_dirty_lock(page));
  scheduler.run({ untilNs: 10 });
  assert.equal([task.state, linux.PageDirty(page)], ['sleeping', false]);
  linux.unlock_page(page);
  scheduler.run({ until: task });
  assert.is(task.exitValue, 1);
  linux.put_page(page);
});

test('GUP-27 get_user_pages_fast: the lock only where the page is not there; fast count before a slow error', async () => {
  const linux = await boot();
  asUser(linux, function* (mm, task) {
    yield* map(mm, BASE, 3);
    yield* poke(linux, mm, BASE, pattern(2 * PAGE_SIZE));
    const writer = linux.kernel.scheduler.spawn('writer', function* () {
      yield* mm.mmapSem.write();
      yield* linux.kernel.scheduler.delay(1e6);
      mm.mmapSem.unlockWrite();
    });
    yield* linux.kernel.scheduler.yieldNow();
    const pages: Pages = [];
    assert.is(yield* linux.get_user_pages_fast(BASE + 100, 2, true, pages), 2); // another holds the lock
    assert.is(writer.state, 'sleeping');
    assert.is(yield* linux.get_user_pages_fast(BASE + 100, 3, true, pages), 3);
    assert.is(writer.state, 'dead');
    assert.is(task.locksHeld, 0);
    assert.equal(counts(pages), [3, 3, 2]);
    linux.put_page(pages[0] as Page);
    linux.put_page(pages[1] as Page);
    putAll(linux, pages);
    assert.is(yield* linux.get_user_pages_fast(BASE + PAGE_SIZE, 5, true, pages), 2);
    putAll(linux, pages);
    assert.is(yield* linux.get_user_pages_fast(BASE + 3 * PAGE_SIZE, 1, true, pages), -EFAULT);
  });
});

test('GUP-27 get_user_pages_fast with the lock held for writing, or without user memory, is a bug', async () => {
  const linux = await boot();
  assertBug('GUP-27', () =>
    asUser(linux, function* (mm) {
      yield* map(mm, BASE, 1);
      yield* mm.mmapSem.write();
      yield* linux.get_user_pages_fast(BASE, 1, true, []);
    }),
  );
  assertBug('GUP-27', () => inTask(linux, () => linux.get_user_pages_fast(BASE, 1, true, [])));
});

test('GUP-27 __get_user_pages_fast pins what is there and never sleeps', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 3);
    yield* poke(linux, mm, BASE, pattern(PAGE_SIZE + 1));
    const pages: Pages = [];
    assert.is(linux.__get_user_pages_fast(BASE, 3, true, pages), 2);
    putAll(linux, pages);
    yield* peek(linux, mm, BASE + 2 * PAGE_SIZE, 1); // the zero page: left to the slow way
    assert.is(linux.__get_user_pages_fast(BASE + 2 * PAGE_SIZE, 1, false, pages), 0);
    yield* mm.mprotect(BASE, PAGE_SIZE, VM_READ);
    assert.is(linux.__get_user_pages_fast(BASE, 1, true, pages), 0);
    assert.is(linux.__get_user_pages_fast(BASE, 1, false, pages), 1);
    putAll(linux, pages);
  });
});

test('GUP-28 a pin outlives unmapping and the process; the last put frees', async () => {
  const linux = await boot();
  const { allocator, memory, scheduler, spawnProcess } = linux.kernel;
  const pages: Pages = [];
  const task = spawnProcess('user', function* (_task, mm) {
    yield* map(mm, BASE, 2);
    yield* poke(linux, mm, BASE, pattern(2 * PAGE_SIZE));
    assert.is(yield* linux.get_user_pages_fast(BASE, 2, true, pages), 2);
    yield* mm.munmap(BASE, PAGE_SIZE);
    assert.equal(counts(pages), [1, 2]);
  });
  scheduler.run({ until: task });
  const [first, second] = pages as [Page, Page];
  assert.equal(counts(pages), [1, 1]);
  assert.equal(memory.readBytes(first.phys, 16), pattern(2 * PAGE_SIZE).slice(0, 16));
  const free = allocator.freePages;
  linux.put_page(first);
  linux.put_page(second);
  assert.is(allocator.freePages, free + 2);
});

test('pages_pinned tells of pins, wherever they were made', async () => {
  const linux = await boot();
  const seen: (readonly [number, number, boolean])[] = [];
  linux.kernel.trace.listen({
    pages_pinned: (start, pages, write) => void seen.push([start - BASE, pages, write]),
  });
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 3);
    yield* poke(linux, mm, BASE, Uint8Array.of(1));
    const pages: Pages = [];
    assert.is(yield* linux.get_user_pages_fast(BASE + 5, 3, true, pages), 3);
    assert.is(yield* gup(linux, mm, BASE, 2, FOLL_TOUCH), 2); // no pin
    putAll(linux, pages);
  });
  assert.equal(seen, [
    [0, 1, true],
    [PAGE_SIZE, 2, true],
  ]);
});

/** Options are accepted by all tests above; this one runs them on memory that is not contiguous. */
const SCATTERED: LinuxOptions = { placement: 'scatter', seed: 3 };

test('GUP-04 pages come in the order of their addresses, wherever they are', async () => {
  const linux = await boot(SCATTERED);
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 10);
    const bytes = pattern(10 * PAGE_SIZE);
    yield* poke(linux, mm, BASE, bytes);
    const pages: Pages = [];
    assert.is(yield* linux.get_user_pages_fast(BASE, 10, false, pages), 10);
    for (const [n, page] of pages.entries()) {
      assert.ok(
        linux.kernel.memory.equals(page?.phys ?? 0, bytes.subarray(n * PAGE_SIZE, (n + 1) * PAGE_SIZE)),
      );
    }
    putAll(linux, pages);
  });
});
