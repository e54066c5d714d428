import {
  PAGE_SIZE,
  type Page,
  PG_dirty,
  PG_error,
  PG_locked,
  PG_lru,
  PG_uptodate,
  PG_writeback,
} from '../../src/kernel/index.ts';
import {
  buffer_dirty,
  buffer_uptodate,
  EAGAIN,
  EIO,
  GFP_KERNEL,
  type LinuxApi,
  page_buffers,
  page_has_buffers,
  WB_SYNC_ALL,
  WritebackControl,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { type FileOptions, MemoryDevice, run, TestFile } from './file.ts';
import { assertBug, boot, inTask, must } from './help.ts';

const test = suite('mpage');

async function rig(options: FileOptions, blocksize = PAGE_SIZE, blocks = 250) {
  const linux = await boot();
  const device = new MemoryDevice(linux, blocksize, blocks);
  const file = new TestFile(linux, device, options);
  const { mapping } = file.inode;
  const read = (...indexes: number[]): number =>
    inTask(linux, () =>
      linux.mpage_readpages(mapping, file.list(...indexes), indexes.length, file.get_block),
    );
  return { linux, device, file, mapping, read };
}

function settled(page: Page): boolean {
  return (page.flags & (PG_uptodate | PG_locked | PG_error)) === PG_uptodate;
}

// ---- the order of submissions

/** 16 blocks, the indirect block between the first 12 and the others. */
const USUAL = [...run(0, 12), ...run(13, 4)];
const INDIRECT = { from: 12, disk: 12 };
const ELSEWHERE = { blocks: run(0, 16), indirect: { from: 12, disk: 200 } };

interface TableRow {
  readonly what: string;
  readonly file: FileOptions;
  readonly blocksize?: number;
  readonly vecs?: number;
  readonly order: readonly string[];
}

const TABLE: readonly TableRow[] = [
  {
    what: 'without BOUNDARY',
    file: { blocks: USUAL, indirect: INDIRECT },
    order: ['12', '0-11', '13-16'],
  },
  {
    what: 'BOUNDARY on block 11',
    file: { blocks: USUAL, indirect: INDIRECT, boundary: [11] },
    order: ['0-11', '12', '13-16'],
  },
  {
    what: 'without, the device takes 4 vecs a bio',
    file: { blocks: USUAL, indirect: INDIRECT },
    vecs: 4,
    order: ['0-3', '4-7', '12', '8-11', '13-16'],
  },
  {
    what: 'with, 4 vecs',
    file: { blocks: USUAL, indirect: INDIRECT, boundary: [11] },
    vecs: 4,
    order: ['0-3', '4-7', '8-11', '12', '13-16'],
  },
  {
    what: '1 KiB blocks, without',
    file: { blocks: USUAL, indirect: INDIRECT },
    blocksize: 1024,
    order: ['12', '0-11', '13-16'],
  },
  {
    what: '1 KiB blocks, with',
    file: { blocks: USUAL, indirect: INDIRECT, boundary: [11] },
    blocksize: 1024,
    order: ['0-11', '12', '13-16'],
  },
  { what: 'the indirect block elsewhere, without', file: ELSEWHERE, order: ['200', '0-15'] },
  {
    what: 'the indirect block elsewhere, with',
    file: { ...ELSEWHERE, boundary: [11] },
    order: ['0-11', '200', '12-15'],
  },
  {
    what: '512 B blocks, without',
    file: { blocks: USUAL, indirect: INDIRECT },
    blocksize: 512,
    order: ['12', '0-7', '8', '9', '10', '11', '13', '14', '15', '16'],
  },
  {
    what: '512 B blocks, with BOUNDARY inside of a page',
    file: { blocks: USUAL, indirect: INDIRECT, boundary: [11] },
    blocksize: 512,
    order: ['12', '0-7', '8', '9', '10', '11', '13', '14', '15', '16'],
  },
  {
    what: 'one block a call, without',
    file: { blocks: USUAL, indirect: INDIRECT, single: true },
    order: ['12', '0-11', '13-16'],
  },
  {
    what: 'one block a call, with',
    file: { blocks: USUAL, indirect: INDIRECT, boundary: [11], single: true },
    order: ['0-11', '12', '13-16'],
  },
];

for (const { what, file: options, blocksize = PAGE_SIZE, vecs, order } of TABLE) {
  test(`MPAGE-13 MPAGE-10 the order of submission: ${what}`, async () => {
    const { device, file, read } = await rig(options, blocksize);
    if (vecs !== undefined) device.q.limits.max_segments = vecs;
    const pages = (16 * blocksize) / PAGE_SIZE;
    assert.is(read(...run(0, pages)), 0);
    assert.equal(device.take(), order);
    const per = PAGE_SIZE / blocksize;
    for (let index = 0; index < pages; index++) {
      assert.ok(settled(file.page(index)));
      assert.equal(file.contents(index), options.blocks.slice(index * per, (index + 1) * per));
    }
  });
}

// ---- the list

test('MPAGE-01 pages are read from the tail of the list, and as many as are told', async () => {
  const { linux, file, mapping, device } = await rig({ blocks: run(0, 8) });
  const list = file.list(2, 0, 1); // 2 was added first: it is the tail
  assert.is(
    inTask(linux, () => linux.mpage_readpages(mapping, list, 3, file.get_block)),
    0,
  );
  assert.equal([device.take(), list.empty], [['2', '0-1'], true]);
  const short = file.list(3, 4);
  assertBug('MPAGE-01', () => inTask(linux, () => linux.mpage_readpages(mapping, short, 1, file.get_block)));
  const few = file.list(5);
  assertBug('MPAGE-01', () => inTask(linux, () => linux.mpage_readpages(mapping, few, 2, file.get_block)));
});

test('MPAGE-01 a read that fails is no error of the call', async () => {
  const { device, read } = await rig({ blocks: run(0, 2) });
  device.bad.add(1);
  assert.is(read(0, 1), 0);
});

test('MPAGE-02 a page that is cached already is left out, and the reference of the list goes in any case', async () => {
  const { linux, file, mapping, device } = await rig({ blocks: run(0, 4) });
  const before = linux.kernel.allocator.usage().get('cache') ?? 0;
  inTask(linux, () => linux.mpage_readpages(mapping, file.list(1), 1, file.get_block));
  const old = file.page(1);
  device.take();
  device.hold = true;
  const list = file.list(0, 1, 2);
  inTask(linux, () => linux.mpage_readpages(mapping, list, 3, file.get_block));
  assert.equal(device.take(), ['0', '2']);
  for (const index of [0, 2]) assert.ok(file.page(index).has(PG_locked | PG_lru));
  assert.is(file.page(1), old);
  device.finish();
  assert.equal(
    [0, 1, 2].map((index) => file.page(index).count),
    [1, 1, 1],
  );
  assert.is((linux.kernel.allocator.usage().get('cache') ?? 0) - before, 3);
  inTask(linux, () => linux.kernel.vm.dropCache(file.inode));
  assert.is((linux.kernel.allocator.usage().get('cache') ?? 0) - before, 0);
});

// ---- mapping

test('MPAGE-03 one call of get_block maps many pages, up to the end of the call or of the file', async () => {
  const { file, read } = await rig({ blocks: run(0, 10) });
  read(0, 1, 2, 3);
  assert.equal(file.calls.splice(0), ['0+4']);
  read(4, 5, 6, 7, 8, 9, 10, 11);
  assert.equal(file.calls.splice(0), ['4+6']); // 10 blocks in the file
});

test('MPAGE-03 behind pages that are left out the mapping is used on, inside of it', async () => {
  const { linux, file, mapping, device, read } = await rig({ blocks: [...run(0, 6), ...run(20, 6)] });
  read(2);
  file.calls.length = 0;
  device.take();
  const list = file.list(0, 1, 2, 3, 4, 5, 8, 9);
  inTask(linux, () => linux.mpage_readpages(mapping, list, 8, file.get_block));
  assert.equal(file.calls, ['0+8', '8+2']);
  assert.equal(device.take(), ['0-1', '3-5', '22-23']);
});

test('MPAGE-03 a get_block that maps nothing and says that it did is a bug, not a hang', async () => {
  const { linux, file, mapping } = await rig({ blocks: run(0, 2) });
  const list = file.list(0);
  assertBug('MPAGE-03', () =>
    inTask(linux, () =>
      linux.mpage_readpages(mapping, list, 1, function* (inode, iblock, bh, create) {
        yield* file.get_block(inode, iblock, bh, create);
        bh.b_size = 0;
        return 0;
      }),
    ),
  );
});

test('MPAGE-04 beyond the end of the file get_block is not asked, and a hole stays one', async () => {
  const { file, device, read } = await rig({ blocks: [5, null, 7, 8], size: 2.5 * PAGE_SIZE });
  read(0, 1, 2, 3, 4);
  assert.equal(file.calls, ['0+3', '1+2', '2+1']);
  assert.equal(device.take(), ['5', '7']);
  assert.equal(
    [0, 1, 3, 4].map((index) => file.contents(index)),
    [[5], ['hole'], ['hole'], ['hole']],
  );
  assert.ok([0, 1, 2, 3, 4].every((index) => settled(file.page(index))));
});

test('MPAGE-05 a page that is all hole is zeros without I/O, and what is gathered goes on', async () => {
  const { file, device, read } = await rig({ blocks: [100, 101, null, 102, 103] });
  read(0, 1, 2, 3, 4);
  assert.equal(device.take(), ['100-103']);
  assert.equal(
    run(0, 5).map((index) => file.contents(index)),
    [[100], [101], ['hole'], [102], [103]],
  );
});

test('MPAGE-06 of a page with a hole at its end the mapped part is read, and that at once', async () => {
  const blocks = [0, 1, 2, 3, 4, 5, null, null, 6, 7, 8, 9];
  const { linux, file, device, read } = await rig({ blocks }, 1024);
  const sizes: number[] = [];
  linux.kernel.trace.listen({ block_bio_queue: (_q, bio) => void sizes.push(bio.bi_iter.bi_size) });
  read(0, 1, 2);
  assert.equal(device.take(), ['0-5', '6-9']); // 6 follows 5, but the bio is gone
  assert.equal(sizes, [6144, 4096]);
  assert.equal(file.contents(1), [4, 5, 'hole', 'hole']);
});

test('MPAGE-06 what is behind the hole is never part of the same bio, not even where it would fit', async () => {
  const { file, device, read } = await rig({ blocks: [0, 1, 2, 3, 4, 5, null, null, 8, 9, 10, 11] }, 1024);
  read(0, 1, 2);
  assert.equal(device.take(), ['0-5', '8-11']);
  assert.equal(file.contents(2), [8, 9, 10, 11]);
});

// ---- confused

async function confusedBy(
  options: FileOptions,
  prepare: (linux: LinuxApi, file: TestFile) => void = () => {},
) {
  const made = await rig(options, 1024);
  prepare(made.linux, made.file);
  made.read(0, 1, 2);
  return made;
}

test('MPAGE-07 a block behind a hole: what is gathered goes first, then the page block by block', async () => {
  const { device, file } = await confusedBy({ blocks: [0, 1, 2, 3, 4, null, 6, 7, 8, 9, 10, 11] });
  assert.equal(device.take(), ['0-3', '4', '6', '7', '8-11']);
  assert.equal(file.contents(1), [4, 'hole', 6, 7]);
  assert.ok(page_has_buffers(file.page(1)) && !page_has_buffers(file.page(2)));
});

test('MPAGE-07 blocks that do not follow each other in a page', async () => {
  const { device, file } = await confusedBy({ blocks: [0, 1, 2, 3, 4, 5, 20, 21, 22, 23, 24, 25] });
  assert.equal(device.take(), ['0-3', '4', '5', '20', '21', '22-25']);
  assert.equal(file.contents(1), [4, 5, 20, 21]);
});

test('MPAGE-07 a get_block that fails', async () => {
  const { device, file } = await confusedBy({ blocks: run(0, 12), single: true, errors: { 5: -EIO } });
  assert.equal(device.take(), ['0-3', '4', '6', '7', '8-11']);
  assert.equal(file.page(1).flags & (PG_uptodate | PG_error | PG_locked), PG_error);
  assert.equal(file.contents(1), [4, 'hole', 6, 7]);
});

test('MPAGE-07 a get_block that fails for the last block of a page: no hole', async () => {
  const { device, file } = await confusedBy({ blocks: run(0, 12), single: true, errors: { 7: -EIO } });
  assert.equal(device.take(), ['0-3', '4', '5', '6', '8-11']);
  assert.equal(file.page(1).flags & (PG_uptodate | PG_error | PG_locked), PG_error);
});

test('MPAGE-07 a page that has buffers already', async () => {
  const { linux, file, device, mapping, read } = await rig({ blocks: run(0, 4) }, 1024);
  read(0);
  const page = file.page(0);
  inTask(linux, function* () {
    yield* linux.lock_page(page);
    yield* linux.create_empty_buffers(page, 1024, 0);
    page.clear(PG_uptodate);
    for (let bh = page_buffers(page), i = 0; i < 4; i++, bh = must(bh.b_this_page)) bh.b_state = 0;
    device.take();
    yield* linux.mpage_readpage(page, file.get_block);
  });
  assert.equal([device.take(), mapping.find(0)], [['0', '1', '2', '3'], page]);
  assert.ok(settled(page));
});

test('MPAGE-07 blocks that come filled: the rest of the page is read around them', async () => {
  const { device, file } = await confusedBy({ blocks: run(0, 12), single: true, filled: [4] });
  assert.equal(device.take(), ['0-3', '5', '6', '7', '8-11']);
  const bh = page_buffers(file.page(1));
  assert.equal([buffer_uptodate(bh), bh.b_blocknr], [true, 4]);
  assert.equal(file.contents(1), [0xee - 1, 5, 6, 7]);
});

test('MPAGE-07 no bio that takes a page: block by block, and here with an error, since the queue is gone', async () => {
  const { device, file, read } = await rig({ blocks: run(0, 2) });
  device.queue = null;
  read(0, 1);
  assert.equal(device.take(), []);
  for (const index of [0, 1]) {
    assert.ok(page_has_buffers(file.page(index)));
    assert.is(file.page(index).flags & (PG_uptodate | PG_error | PG_locked), PG_error);
  }
});

test('MPAGE-08 a block of a whole page that comes filled needs neither a read nor buffers', async () => {
  const { device, file, read } = await rig({ blocks: run(0, 3), single: true, filled: [1] });
  read(0, 1, 2);
  assert.equal(device.take(), ['0', '2']);
  assert.equal(
    run(0, 3).map((index) => file.contents(index)),
    [[0], [0xee - 1], [2]],
  );
  assert.ok(settled(file.page(1)) && !page_has_buffers(file.page(1)));
});

// ---- bios

test('MPAGE-09 a bio has room for what is left of the call, as far as the device takes it', async () => {
  const { linux, file, device, mapping } = await rig({ blocks: [...run(0, 40), ...run(60, 4)] });
  const rooms: string[] = [];
  linux.kernel.trace.listen({
    block_bio_queue: (_q, bio) => void rooms.push(`${bio.bi_iter.bi_sector}: ${bio.bi_max_vecs}`),
  });
  const list = file.list(...run(0, 44));
  inTask(linux, () => linux.mpage_readpages(mapping, list, 44, file.get_block));
  // 255 sectors are 31 pages and a bit, so 32 vecs; the 32nd page is refused.
  assert.equal(device.take(), ['0-30', '31-39', '60-63']);
  assert.equal(rooms, ['0: 32', `${31 * 8}: 13`, `${60 * 8}: 4`]);
});

test('MPAGE-09 the sector is the block in units of 512 bytes', async () => {
  const { linux, read } = await rig({ blocks: run(8, 4) }, 1024);
  const sectors: number[] = [];
  linux.kernel.trace.listen({ block_bio_queue: (_q, bio) => void sectors.push(bio.bi_iter.bi_sector) });
  read(0);
  assert.equal(sectors, [16]);
});

test('MPAGE-10 a boundary in the middle of a page submits nothing', async () => {
  const { device, read } = await rig({ blocks: run(0, 12), boundary: [5], single: true }, 1024);
  read(0, 1, 2);
  assert.equal(device.take(), ['0-11']);
});

test('MPAGE-10 a boundary at the end of a page submits, also when the next block would follow', async () => {
  const { device, read } = await rig({ blocks: run(0, 12), boundary: [7], single: true }, 1024);
  read(0, 1, 2);
  assert.equal(device.take(), ['0-7', '8-11']);
});

test('MPAGE-11 all pages of a bio share its end, and the bio is put', async () => {
  const { linux, file, device, read } = await rig({ blocks: [0, 1, 2, 10, 11] });
  const before = linux.slab_in_use().filter(({ cache }) => cache.startsWith('bio')).length;
  device.hold = true;
  device.bad.add(1);
  read(0, 1, 2, 3, 4);
  assert.ok(run(0, 5).every((index) => file.page(index).has(PG_locked)));
  device.finish();
  const flags = run(0, 5).map((index) => file.page(index).flags & (PG_uptodate | PG_error | PG_locked));
  assert.equal(flags, [PG_error, PG_error, PG_error, PG_uptodate, PG_uptodate]);
  assert.is(linux.slab_in_use().filter(({ cache }) => cache.startsWith('bio')).length, before);
});

test('MPAGE-11 the pages of a bio are unlocked from the last to the first', async () => {
  const { linux, file, device, read } = await rig({ blocks: run(0, 3) });
  device.hold = true;
  read(0, 1, 2);
  const order: number[] = [];
  const { scheduler } = linux.kernel;
  for (const index of [1, 0, 2]) {
    scheduler.spawn(`reader ${index}`, function* () {
      yield* linux.lock_page(file.page(index));
      order.push(index);
      linux.unlock_page(file.page(index));
    });
  }
  scheduler.spawn('disk', function* () {
    yield* scheduler.delay(1000);
    device.finish();
  });
  scheduler.run();
  assert.equal(order, [2, 1, 0]);
});

test('MPAGE-12 what is left is submitted when the call returns', async () => {
  const { device, read } = await rig({ blocks: run(0, 2) });
  device.hold = true;
  read(0);
  assert.equal(device.take(), ['0']);
});

test('MPAGE-14 one page that is locked in its cache', async () => {
  const { linux, file, mapping, device } = await rig({ blocks: run(7, 3) });
  const page = must(linux.kernel.allocator.alloc({ tag: 'cache' }));
  inTask(linux, function* () {
    assert.is(linux.add_to_page_cache_lru(page, mapping, 1, GFP_KERNEL), 0);
    assert.is(yield* linux.mpage_readpage(page, file.get_block), 0);
    yield* linux.wait_on_page_locked(page);
  });
  assert.equal([device.take(), file.calls, file.contents(1)], [['8'], ['1+1'], [8]]);
  assert.ok(settled(page));
  inTask(linux, function* () {
    yield* linux.lock_page(page);
  });
  linux.unlock_page(page);
  assertBug('page-lock', () => inTask(linux, () => linux.mpage_readpage(page, file.get_block)));
});

// ---- writing

/** The pages changed: filled with what a number says. */
function dirty(linux: LinuxApi, file: TestFile, ...indexes: number[]): void {
  inTask(linux, function* () {
    for (const index of indexes) {
      linux.kernel.memory.fill(file.page(index).phys, 0xd0 + index, PAGE_SIZE);
      yield* linux.set_page_dirty_lock(file.page(index));
    }
  });
}

test('MPAGE-15 a boundary on the last block of a page starts the write of the block behind it', async () => {
  const { linux, file, device, mapping, read } = await rig({ blocks: USUAL, boundary: [11] });
  read(...run(0, 16));
  inTask(linux, function* () {
    const indirect = must(yield* linux.__bread(device, 12, PAGE_SIZE));
    linux.kernel.memory.fill(indirect.b_data, 0x99, PAGE_SIZE);
    linux.mark_buffer_dirty(indirect);
    linux.brelse(indirect);
  });
  dirty(linux, file, ...run(9, 5));
  device.take();
  const wbc = new WritebackControl();
  assert.is(
    inTask(linux, () => linux.mpage_writepages(mapping, wbc, file.get_block)),
    0,
  );
  assert.equal(device.take(), ['w 9-11', 'w 12', 'w 13-14']);
  assert.equal(
    [9, 11, 12, 13].map((block) => device.bytes[block * PAGE_SIZE]),
    [0xd9, 0xdb, 0x99, 0xdc],
  );
  assert.ok(
    run(9, 5).every((index) => (file.page(index).flags & (PG_dirty | PG_writeback | PG_locked)) === 0),
  );
});

test('MPAGE-15 a block behind the boundary that is clean or not cached is left alone', async () => {
  const { linux, file, device, mapping, read } = await rig({ blocks: USUAL, boundary: [11] });
  read(...run(0, 16));
  dirty(linux, file, 11, 12);
  inTask(linux, function* () {
    linux.brelse(yield* linux.__bread(device, 12, PAGE_SIZE));
  });
  device.take();
  inTask(linux, () => linux.mpage_writepages(mapping, new WritebackControl(), file.get_block));
  assert.equal(device.take(), ['w 11', 'w 13']);
});

test('MPAGE-15 mpage_writepage writes one page by its dirty buffers, which are clean afterwards', async () => {
  const { linux, file, device, read } = await rig({ blocks: run(0, 4), single: true, errors: {} }, 1024);
  read(0);
  const page = file.page(0);
  inTask(linux, function* () {
    yield* linux.lock_page(page);
    yield* linux.create_empty_buffers(page, 1024, 0);
    let bh = page_buffers(page);
    for (let i = 0; i < 4; i++, bh = must(bh.b_this_page)) {
      yield* file.get_block(file.inode, i, bh, false);
      linux.mark_buffer_dirty(bh);
    }
    linux.kernel.memory.fill(page.phys, 0x77, PAGE_SIZE);
    device.take();
    assert.is(linux.clear_page_dirty_for_io(page), true);
    assert.is(yield* linux.mpage_writepage(page, file.get_block, new WritebackControl()), 0);
    yield* linux.wait_on_page_writeback(page);
    assert.is(buffer_dirty(bh), false);
  });
  assert.equal([device.take(), device.bytes[4095], device.bytes[4096]], [['w 0-3'], 0x77, 5]);
});

test('writing beyond the end of the file: the last page is padded with zeros', async () => {
  const { linux, file, device, mapping, read } = await rig({ blocks: run(0, 8), size: 4096 + 1500 }, 1024);
  read(0, 1);
  dirty(linux, file, 0, 1);
  device.take();
  inTask(linux, () => linux.mpage_writepages(mapping, new WritebackControl(), file.get_block));
  assert.equal(device.take(), ['w 0-5']);
  assert.equal(Array.from(device.bytes.subarray(4096 + 1498, 4096 + 1502)), [0xd1, 0xd1, 0, 0]);
});

test('what mpage cannot write goes to writepage, and without one it is -EAGAIN', async () => {
  const blocks = [0, 1, 9, 10, 4, 5, 6, 7];
  const { linux, file, device, mapping, read } = await rig({ blocks }, 1024);
  read(0, 1);
  dirty(linux, file, 0, 1);
  device.take();
  inTask(linux, function* () {
    const page = file.page(0);
    yield* linux.lock_page(page);
    linux.clear_page_dirty_for_io(page);
    assert.is(yield* linux.mpage_writepage(page, file.get_block, new WritebackControl()), -EAGAIN);
    assert.ok(page.has(PG_locked));
    linux.unlock_page(page);
  });
  assert.equal(device.take(), []);
  assert.is(mapping.error, 0);
});

test('mpage_writepages falls back to block_write_full_page, in order', async () => {
  const blocks = [0, 1, 2, 3, 4, 5, 19, 20, 8, 9, 10, 11];
  let file: TestFile | null = null;
  let linux: LinuxApi | null = null;
  const ops = {
    writepage: (page: Page, wbc: WritebackControl) =>
      must(linux).block_write_full_page(page, must(file).get_block, wbc),
  };
  const made = await rig({ blocks, ops }, 1024);
  ({ linux, file } = made);
  const { device, mapping, read } = made;
  read(0, 1, 2);
  dirty(linux, file, 0, 1, 2);
  device.take();
  const wbc = new WritebackControl();
  wbc.sync_mode = WB_SYNC_ALL;
  assert.is(
    inTask(linux, () => made.linux.mpage_writepages(mapping, wbc, made.file.get_block)),
    0,
  );
  assert.equal(device.take(), ['w 0-3', 'w 4', 'w 5', 'w 19', 'w 20', 'w 8-11']);
  assert.equal(
    [0, 4, 19, 8].map((block) => device.bytes[block * 1024]),
    [0xd0, 0xd1, 0xd1, 0xd2],
  );
  assert.ok(run(0, 3).every((index) => (made.file.page(index).flags & (PG_dirty | PG_writeback)) === 0));
});

test('a write that fails is noted in the mapping', async () => {
  const { linux, file, device, mapping, read } = await rig({ blocks: run(0, 2) });
  read(0, 1);
  dirty(linux, file, 0, 1);
  device.bad.add(1);
  inTask(linux, () => linux.mpage_writepages(mapping, new WritebackControl(), file.get_block));
  assert.is(mapping.error, -EIO);
  assert.ok(file.page(1).has(PG_error));
});

test('nothing is left when the cache of a file is dropped, buffers too', async () => {
  const { linux, file, read } = await rig({ blocks: [...run(0, 6), ...run(9, 24)] }, 1024);
  const heads = (): number => linux.slab_in_use().find(({ cache }) => cache === 'buffer_head')?.objects ?? 0;
  read(...run(0, 7));
  assert.is(heads(), 4); // those of the page whose blocks are not neighbours
  inTask(linux, () => linux.kernel.vm.dropCache(file.inode));
  assert.equal([heads(), linux.kernel.allocator.usage().get('cache') ?? 0], [0, 0]);
});
