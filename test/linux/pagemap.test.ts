import {
  type Page,
  PG_locked,
  PG_lru,
  PG_referenced,
  PG_uptodate,
  PG_writeback,
  type Sleeps,
} from '../../src/kernel/index.ts';
import { EEXIST, EIO, GFP_KERNEL, LruList, WritebackControl } from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { MemoryDevice, run, TestFile } from './file.ts';
import { assertBug, boot, inTask, must } from './help.ts';

const test = suite('pagemap');

async function rig(pages = 16) {
  const linux = await boot();
  const device = new MemoryDevice(linux, 4096, pages);
  const file = new TestFile(linux, device, { blocks: run(0, pages) });
  const { mapping } = file.inode;
  const cached = (): number => linux.kernel.allocator.usage().get('cache') ?? 0;
  return { linux, device, file, mapping, cached };
}

test('add_to_page_cache_lru locks the page and takes a reference; a second one at the index is refused', async () => {
  const { linux, file, mapping } = await rig();
  const [page, other] = [must(file.list(3).prev), must(file.list(3).prev)];
  assert.is(linux.add_to_page_cache_lru(page, mapping, 3, GFP_KERNEL), 0);
  assert.equal([page.count, page.has(PG_locked | PG_lru), linux.find_get_page(mapping, 3)], [2, true, page]);
  assert.is(linux.add_to_page_cache_lru(other, mapping, 3, GFP_KERNEL), -EEXIST);
  assert.equal([other.count, other.flags & (PG_locked | PG_lru)], [1, 0]);
  linux.put_page(page);
  linux.put_page(page);
  assert.is(linux.find_get_page(mapping, 4), null);
});

test('delete_from_page_cache gives the reference of the cache back', async () => {
  const { linux, file, mapping, cached } = await rig();
  const page = must(file.list(0).prev);
  linux.add_to_page_cache_lru(page, mapping, 0, GFP_KERNEL);
  linux.put_page(page);
  linux.unlock_page(page);
  assertBug('page-cache', () => linux.delete_from_page_cache(page));
  assert.ok(linux.trylock_page(page));
  linux.get_page(page);
  linux.delete_from_page_cache(page);
  linux.unlock_page(page);
  assert.equal([mapping.find(0), page.count], [null, 1]);
  linux.put_page(page);
  assert.is(cached(), 0);
});

test('find_or_create_page makes a page once, and gives it locked', async () => {
  const { linux, mapping, cached } = await rig();
  inTask(linux, function* () {
    const page = must(yield* linux.find_or_create_page(mapping, 5, GFP_KERNEL));
    assert.equal([page.count, page.has(PG_locked)], [2, true]);
    linux.unlock_page(page);
    assert.is(yield* linux.find_lock_page(mapping, 5), page);
    assert.is(yield* linux.find_lock_page(mapping, 6), null);
    assert.is(cached(), 1);
    linux.kernel.faults.page_alloc.failAll();
    assert.is(yield* linux.find_or_create_page(mapping, 6, GFP_KERNEL), null);
  });
});

test('find_lock_page of a page that is truncated while it waits finds nothing', async () => {
  const { linux, mapping } = await rig();
  const { scheduler } = linux.kernel;
  inTask(linux, function* () {
    const page = must(yield* linux.find_or_create_page(mapping, 5, GFP_KERNEL));
    const finder = scheduler.spawn('finder', () => linux.find_lock_page(mapping, 5));
    yield* scheduler.delay(10);
    linux.delete_from_page_cache(page);
    linux.unlock_page(page);
    assert.is(yield* scheduler.join(finder), null);
    linux.put_page(page);
  });
});

test('read_cache_pages fills pages from the tail of the list; cached ones are dropped', async () => {
  const { linux, file, mapping } = await rig();
  const seen: number[] = [];
  function* fill(data: string, page: Page): Sleeps<number> {
    seen.push(page.index);
    assert.equal([data, page.has(PG_locked)], ['data', true]);
    linux.SetPageUptodate(page);
    linux.unlock_page(page);
    return 0;
  }
  inTask(linux, () => linux.read_cache_pages(mapping, file.list(4, 2), fill, 'data'));
  const list = file.list(1, 2, 3);
  assert.is(
    inTask(linux, () => linux.read_cache_pages(mapping, list, fill, 'data')),
    0,
  );
  assert.equal(
    [seen, list.empty, [1, 2, 3, 4].map((i) => file.page(i).count)],
    [[4, 2, 1, 3], true, [1, 1, 1, 1]],
  );
});

test('read_cache_pages stops where a page fails, and drops the rest of the list', async () => {
  const { linux, file, mapping, cached } = await rig();
  const list = file.list(0, 1, 2, 3);
  const error = inTask(linux, () =>
    linux.read_cache_pages(
      mapping,
      list,
      function* (_data, page) {
        linux.unlock_page(page);
        return page.index === 1 ? -EIO : 0;
      },
      null,
    ),
  );
  assert.equal([error, list.empty, mapping.find(2), cached()], [-EIO, true, null, 2]);
});

test('put_pages_list drops a reference of each page', async () => {
  const { linux, file, cached } = await rig();
  const list = file.list(0, 1, 2);
  assert.equal([list.length, cached()], [3, 3]);
  linux.put_pages_list(list);
  assert.equal([list.length, cached()], [0, 0]);
});

test('a list used again and again stays in order', () => {
  const list = new LruList();
  assert.equal([list.prev, list.takePrev(), list.empty], [null, null, true]);
});

test('wait_on_page_bit waits for the lock or the writeback; for others nobody would wake', async () => {
  const { linux, mapping } = await rig();
  const { scheduler } = linux.kernel;
  inTask(linux, function* () {
    const page = must(yield* linux.find_or_create_page(mapping, 0, GFP_KERNEL));
    linux.set_page_writeback(page);
    scheduler.spawn('device', function* () {
      yield* scheduler.delay(1000);
      linux.unlock_page(page);
      yield* scheduler.delay(1000);
      linux.end_page_writeback(page);
    });
    yield* linux.wait_on_page_bit(page, PG_locked);
    assert.equal([scheduler.now() >= 1000, page.has(PG_writeback)], [true, true]);
    yield* linux.wait_on_page_bit(page, PG_writeback);
    assert.ok(scheduler.now() >= 2000);
    let bug: unknown = null;
    try {
      yield* linux.wait_on_page_bit(page, PG_referenced);
    } catch (error) {
      bug = error;
    }
    assert.match(String(bug), /nobody wakes/);
    linux.put_page(page);
  });
});

test('read ahead reads what is missing up to the end of the file, without readpages page by page', async () => {
  const { linux, device, file, mapping } = await rig(6);
  inTask(linux, function* () {
    assert.is(yield* linux.__do_page_cache_readahead(mapping, 1, 2), 2);
    assert.equal(device.take(), ['1', '2']);
    assert.is(yield* linux.force_page_cache_readahead(mapping, 0, 100), 4);
  });
  assert.equal(device.take(), ['0', '3', '4', '5']);
  assert.ok(run(0, 6).every((index) => file.page(index).has(PG_uptodate)));
});

test('memory short: read ahead reads fewer pages', async () => {
  const { linux, device, mapping } = await rig(6);
  linux.kernel.faults.page_alloc.set({ after: 3 });
  assert.is(
    inTask(linux, () => linux.__do_page_cache_readahead(mapping, 0, 6)),
    3,
  );
  assert.equal(device.take(), ['0', '1', '2']);
});

test('write_cache_pages takes changed pages of the range in order, as many as it is told', async () => {
  const { linux, mapping } = await rig(8);
  const written: number[] = [];
  function* write(page: Page): Sleeps<number> {
    written.push(page.index);
    linux.unlock_page(page);
    return page.index === 6 ? -EIO : 0;
  }
  inTask(linux, function* () {
    for (const index of [5, 1, 3, 7, 6]) {
      const page = must(yield* linux.find_or_create_page(mapping, index, GFP_KERNEL));
      linux.set_page_dirty(page);
      linux.unlock_page(page);
      linux.put_page(page);
    }
    const range = Object.assign(new WritebackControl(), { range_start: 4096, range_end: 4 * 4096 - 1 });
    assert.is(yield* linux.write_cache_pages(mapping, range, write, null), 0);
    assert.equal(written.splice(0), [1, 3]);
    const few = Object.assign(new WritebackControl(), { nr_to_write: 1 });
    assert.is(yield* linux.write_cache_pages(mapping, few, write, null), 0);
    assert.equal(written.splice(0), [5]);
    assert.is(yield* linux.write_cache_pages(mapping, new WritebackControl(), write, null), -EIO);
    assert.equal(written, [6]);
  });
});
