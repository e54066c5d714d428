import {
  PAGE_SIZE,
  type Page,
  PG_dirty,
  PG_error,
  PG_locked,
  PG_mappedtodisk,
  PG_uptodate,
  PG_writeback,
} from '../../src/kernel/index.ts';
import {
  BH_Write_EIO,
  BufferHead,
  buffer_dirty,
  buffer_locked,
  buffer_mapped,
  buffer_uptodate,
  clear_buffer_mapped,
  EINVAL,
  EIO,
  type GetBlock,
  GFP_KERNEL,
  type LinuxApi,
  map_bh,
  next_buffer,
  page_buffers,
  page_has_buffers,
  READ,
  set_buffer_dirty,
  WB_SYNC_ALL,
  WRITE,
  WritebackControl,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { type FileOptions, MemoryDevice, run, TestFile } from './file.ts';
import { assertBug, boot, inTask, must, objects } from './help.ts';

const test = suite('buffer');
const KIB = 1024;

async function rig(options: FileOptions, blocksize = KIB, blocks = 200) {
  const linux = await boot();
  const device = new MemoryDevice(linux, blocksize, blocks);
  const file = new TestFile(linux, device, options);
  /** Reads a page by its buffers and comes back as soon as the reads have begun. */
  const readPage = (index: number, get_block: GetBlock = file.get_block): Page => {
    const page = must(linux.kernel.allocator.alloc({ tag: 'cache' }));
    linux.kernel.memory.fill(page.phys, 0xaa, PAGE_SIZE);
    inTask(linux, function* () {
      assert.is(linux.add_to_page_cache_lru(page, file.inode.mapping, index, GFP_KERNEL), 0);
      linux.put_page(page);
      assert.is(yield* linux.block_read_full_page(page, get_block), 0);
    });
    return page;
  };
  return { linux, device, file, readPage };
}

function buffersOf(page: Page): BufferHead[] {
  const head = page_buffers(page);
  const all = [head];
  for (let bh = next_buffer(head); bh !== head; bh = next_buffer(bh)) all.push(bh);
  return all;
}

function state(page: Page): number {
  return page.flags & (PG_uptodate | PG_error | PG_locked | PG_mappedtodisk);
}

const GOOD = PG_uptodate | PG_mappedtodisk;

// ---- block_read_full_page

test('BRFP-01 buffers are made if there are none, and get_block is asked for each block of the file', async () => {
  const { device, file, readPage } = await rig({ blocks: run(3, 6), size: 6 * KIB - 100 });
  const page = readPage(0);
  assert.equal(
    [file.calls.splice(0), device.take()],
    [
      ['0+1', '1+1', '2+1', '3+1'],
      ['3', '4', '5', '6'],
    ],
  );
  assert.equal(
    buffersOf(page).map(({ b_size, b_blocknr }) => [b_size, b_blocknr]),
    [3, 4, 5, 6].map((b) => [KIB, b]),
  );
  assert.is(state(page), GOOD);
  const last = readPage(1);
  assert.equal(
    [file.calls, device.take()],
    [
      ['4+1', '5+1'],
      ['7', '8'],
    ],
  );
  assert.equal([file.contents(1), state(last)], [[7, 8, 'hole', 'hole'], PG_uptodate]);
});

test('BRFP-01 buffers that are up to date are not read, and those that are mapped not mapped again', async () => {
  const { linux, device, file, readPage } = await rig({ blocks: run(0, 4) });
  const page = readPage(0);
  file.calls.length = 0;
  device.take();
  const [first, second, third] = buffersOf(page) as [BufferHead, BufferHead, BufferHead, BufferHead];
  second.b_state = 0;
  third.b_state &= ~1; // not up to date, and still mapped
  page.clear(PG_uptodate);
  inTask(linux, function* () {
    yield* linux.lock_page(page);
    yield* linux.block_read_full_page(page, file.get_block);
  });
  assert.equal([file.calls, device.take()], [['1+1'], ['1', '2']]);
  assert.ok(buffer_uptodate(first) && page.has(PG_uptodate));
});

test('BRFP-01 a buffer that is up to date needs no block', async () => {
  const { linux, device, file, readPage } = await rig({ blocks: run(0, 4) });
  const page = readPage(0);
  file.calls.length = 0;
  device.take();
  for (const bh of buffersOf(page)) clear_buffer_mapped(bh);
  page.clear(PG_uptodate);
  inTask(linux, function* () {
    yield* linux.lock_page(page);
    yield* linux.block_read_full_page(page, file.get_block);
  });
  assert.equal([file.calls, device.take(), page.has(PG_uptodate)], [[], [], true]);
});

test('BRFP-02 a hole is zeros and up to date', async () => {
  const { device, file, readPage } = await rig({ blocks: [0, null, 2, null] });
  const page = readPage(0);
  assert.equal(
    [device.take(), file.contents(0)],
    [
      ['0', '2'],
      [0, 'hole', 2, 'hole'],
    ],
  );
  assert.ok(buffersOf(page).every(buffer_uptodate));
  assert.is(state(page), PG_uptodate);
});

test('BRFP-02 a block that get_block fails for is zeros and not up to date: the page has an error', async () => {
  const { device, file, readPage } = await rig({ blocks: run(0, 4), errors: { 2: -EIO } });
  const page = readPage(0);
  assert.equal(
    [device.take(), file.contents(0)],
    [
      ['0', '1', '3'],
      [0, 1, 'hole', 3],
    ],
  );
  assert.equal(buffersOf(page).map(buffer_uptodate), [true, true, false, true]);
  assert.is(state(page), PG_error);
});

test('BRFP-03 nothing to read: unlocked at once, up to date unless there was an error', async () => {
  const holes = await rig({ blocks: [null, null, null, null] });
  assert.is(state(holes.readPage(0)), PG_uptodate);
  const bad = await rig({ blocks: run(0, 4), errors: { 0: -EIO, 1: -EIO, 2: -EIO, 3: -EIO } });
  assert.is(state(bad.readPage(0)), PG_error);
  assert.equal([...holes.device.take(), ...bad.device.take()], []);
});

test('BRFP-03 all buffers are locked before the first is submitted, each its own bio, ascending', async () => {
  const { linux, device, file, readPage } = await rig({ blocks: [9, 4, 5, 2] });
  const locked: number[] = [];
  linux.kernel.trace.listen({
    block_bio_queue: () => {
      const page = file.page(0);
      locked.push(buffersOf(page).filter(buffer_locked).length);
    },
  });
  device.hold = true;
  const page = readPage(0);
  assert.equal(
    [device.take(), locked],
    [
      ['9', '4', '5', '2'],
      [4, 4, 4, 4],
    ],
  );
  assert.ok(page.has(PG_locked));
});

test('BRFP-03 a buffer that became up to date meanwhile is ended without I/O', async () => {
  const { linux, device, file, readPage } = await rig({ blocks: run(0, 4) });
  const { scheduler } = linux.kernel;
  let page: Page | null = null;
  const slow: GetBlock = function* (inode, iblock, bh, create) {
    const error = yield* file.get_block(inode, iblock, bh, create);
    if (iblock !== 3) return error;
    page = must(bh.b_page);
    const [first] = buffersOf(page) as [BufferHead];
    yield* linux.lock_buffer(first); // somebody else reads block 0 while this task waits for its lock
    scheduler.spawn('other', function* () {
      yield* scheduler.delay(1000);
      first.b_state |= 1; // BH_Uptodate
      linux.unlock_buffer(first);
    });
    return error;
  };
  readPage(0, slow);
  assert.equal(device.take(), ['1', '2', '3']);
  assert.is(state(must<Page>(page)), GOOD);
});

test('BRFP-04 the page unlocks with the last buffer, whatever the order', async () => {
  const { device, readPage } = await rig({ blocks: run(0, 4) });
  device.hold = true;
  const page = readPage(0);
  const [last] = device.held.splice(3, 1);
  device.finish();
  assert.ok(page.has(PG_locked) && !page.has(PG_uptodate));
  device.held.push(must(last));
  device.finish();
  assert.is(state(page), GOOD);
});

test('BRFP-04 one buffer that cannot be read: the others are up to date, the page is not', async () => {
  const { device, file, readPage } = await rig({ blocks: run(0, 4) });
  device.bad.add(1);
  const page = readPage(0);
  assert.equal(buffersOf(page).map(buffer_uptodate), [true, false, true, true]);
  assert.is(state(page), PG_error | PG_mappedtodisk);
  assert.is(file.contents(0)[3], 3);
});

test('BRFP-04 with the error flag set a page is not up to date, though all of its buffers are', async () => {
  const { linux, file, readPage } = await rig({ blocks: run(0, 4) });
  const page = readPage(0);
  for (const bh of buffersOf(page)) bh.b_state = 0;
  page.clear(PG_uptodate);
  page.set(PG_error);
  inTask(linux, function* () {
    yield* linux.lock_page(page);
    yield* linux.block_read_full_page(page, file.get_block);
  });
  assert.ok(buffersOf(page).every(buffer_uptodate));
  assert.equal([page.has(PG_uptodate), page.has(PG_locked)], [false, false]);
});

// ---- submit_bh

function stray(linux: LinuxApi, device: MemoryDevice, block: number): BufferHead {
  const bh = new BufferHead();
  const page = must(linux.kernel.allocator.alloc({ tag: 'test' }));
  linux.kernel.memory.fill(page.phys, 0xaa, PAGE_SIZE);
  map_bh(bh, { s_bdev: device, s_blocksize: KIB, s_blocksize_bits: 10 }, block);
  bh.b_page = page;
  bh.b_data = page.phys;
  return bh;
}

test('BRFP-05 submit_bh of a buffer that is not locked, not mapped or has no end is a bug', async () => {
  const { linux, device } = await rig({ blocks: [] });
  const submit = (prepare: (bh: BufferHead) => void) => (): void => {
    const bh = stray(linux, device, 1);
    bh.b_end_io = () => {};
    linux.trylock_buffer(bh);
    prepare(bh);
    inTask(linux, () => linux.submit_bh(READ, bh));
  };
  submit(() => {})();
  assertBug(
    'BRFP-05',
    submit((bh) => linux.unlock_buffer(bh)),
  );
  assertBug(
    'BRFP-05',
    submit((bh) => clear_buffer_mapped(bh)),
  );
  assertBug(
    'BRFP-05',
    submit((bh) => {
      bh.b_end_io = null;
    }),
  );
});

test('BRFP-05 a buffer across the end of the device is cut, and what is not read is zeros', async () => {
  const { linux, device } = await rig({ blocks: [] });
  device.nr_sects = 2 * 20 + 1;
  const bh = stray(linux, device, 20);
  const ends: boolean[] = [];
  const sizes: number[] = [];
  linux.kernel.trace.listen({ block_bio_queue: (_q, bio) => void sizes.push(bio.bi_iter.bi_size) });
  bh.b_end_io = (_bh, uptodate) => void ends.push(uptodate);
  linux.trylock_buffer(bh);
  inTask(linux, () => linux.submit_bh(READ, bh));
  const { memory } = linux.kernel;
  const bytes = [0, 511, 512, 1023, 1024].map((at) => memory.read8(bh.b_data + at));
  assert.equal([sizes, ends, bytes], [[512], [true], [21, 21, 0, 0, 0xaa]]);
});

test('BRFP-05 a write across the end is cut too, and what lies wholly beyond fails', async () => {
  const { linux, device } = await rig({ blocks: [] });
  device.nr_sects = 2 * 20 + 1;
  const ends: boolean[] = [];
  for (const block of [20, 21, 22]) {
    if (block === 22) device.nr_sects = 2 * 22; // where it begins the device ends
    const bh = stray(linux, device, block);
    bh.b_end_io = (_bh, uptodate) => void ends.push(uptodate);
    linux.trylock_buffer(bh);
    inTask(linux, () => linux.submit_bh(WRITE, bh));
  }
  assert.equal(ends, [true, false, false]);
  assert.equal([device.bytes[20 * KIB], device.bytes[20 * KIB + 512]], [0xaa, 21]);
});

// ---- the cache of a device

test('__bread reads a block once, and a block of another size only when nobody uses the first', async () => {
  const { linux, device } = await rig({ blocks: [] });
  inTask(linux, function* () {
    const bh = must(yield* linux.__bread(device, 5, KIB));
    assert.is(linux.kernel.memory.read8(bh.b_data), 6);
    assert.is(yield* linux.__bread(device, 5, KIB), bh);
    assert.equal([device.take(), bh.b_count], [['5'], 2]);
    assert.is(yield* linux.__bread(device, 1, PAGE_SIZE), null); // the page has buffers in use
    linux.brelse(bh);
    linux.brelse(bh);
    assertBug('buffer-put', () => linux.brelse(bh));
    const large = must(yield* linux.__bread(device, 1, PAGE_SIZE));
    assert.equal([device.take(), large.b_size], [['4-7'], PAGE_SIZE]);
    linux.brelse(large);
  });
});

test('__bread of a block that cannot be read, is beyond the end, or has a size that cannot be: null', async () => {
  const { linux, device } = await rig({ blocks: [] });
  device.bad.add(7);
  inTask(linux, function* () {
    assert.is(yield* linux.__bread(device, 7, KIB), null);
    device.bad.clear();
    linux.brelse(must(yield* linux.__bread(device, 7, KIB))); // it is tried again
    assert.is(yield* linux.__bread(device, 200, KIB), null);
    assert.is(yield* linux.__bread(device, -1, KIB), null);
    assert.is(yield* linux.__bread(device, 0, 8192), null);
    assert.is(yield* linux.__bread(device, 0, 600), null);
    linux.brelse(null);
  });
});

test('in the last page of a device only what the device has is mapped', async () => {
  const { linux } = await rig({ blocks: [] });
  const device = new MemoryDevice(linux, KIB, 5);
  inTask(linux, function* () {
    const bh = must(yield* linux.__bread(device, 4, KIB));
    assert.equal(buffersOf(must(bh.b_page)).map(buffer_mapped), [true, false, false, false]);
    linux.brelse(bh);
    assert.is(yield* linux.__getblk(device, 5, KIB), null);
  });
});

test('set_blocksize forgets what is cached; no size below the device has', async () => {
  const { linux, device } = await rig({ blocks: [] });
  device.q.limits.logical_block_size = KIB;
  inTask(linux, function* () {
    assert.is(yield* linux.set_blocksize(device, 512), -EINVAL);
    assert.is(yield* linux.set_blocksize(device, 2 * PAGE_SIZE), -EINVAL);
    linux.brelse(yield* linux.__bread(device, 0, KIB));
    assert.is(yield* linux.set_blocksize(device, 2 * KIB), 0);
    assert.is(linux.__find_get_block(device, 0, KIB), null);
  });
  assert.is(objects(linux, 'buffer_head'), 0);
});

test('a device is read through its own cache like a file', async () => {
  const { linux, device } = await rig({ blocks: [] }, PAGE_SIZE, 20);
  const inode = linux.bd_inode(device);
  const page = inTask(linux, () => linux.read_mapping_page(inode.mapping, 3));
  if (typeof page === 'number') throw new Error(`${page}`);
  assert.is(linux.kernel.memory.read8(page.phys), 4);
  linux.put_page(page);
});

test('a dirty buffer is written by sync_dirty_buffer once, ll_rw_block and write_dirty_buffer', async () => {
  const { linux, device } = await rig({ blocks: [] });
  inTask(linux, function* () {
    const bh = must(yield* linux.__bread(device, 3, KIB));
    device.take();
    assert.is(yield* linux.sync_dirty_buffer(bh), 0);
    for (const write of [
      () => linux.sync_dirty_buffer(bh),
      () => linux.ll_rw_block(WRITE, 1, [bh]),
      () => linux.write_dirty_buffer(bh, 0),
    ]) {
      linux.mark_buffer_dirty(bh);
      assert.ok(buffer_dirty(bh) && must(bh.b_page).has(PG_dirty));
      yield* write();
      yield* linux.wait_on_buffer(bh);
      assert.equal([device.take(), buffer_dirty(bh), bh.b_count], [['w 3'], false, 1]);
    }
    linux.brelse(bh);
  });
});

test('ll_rw_block reads what is not up to date, and leaves locked buffers out', async () => {
  const { linux, device } = await rig({ blocks: [] });
  inTask(linux, function* () {
    const bhs = [0, 1, 2].map((block) => linux.__getblk(device, block, KIB));
    const got: BufferHead[] = [];
    for (const bh of bhs) got.push(must(yield* bh));
    yield* linux.lock_buffer(must(got[1]));
    yield* linux.ll_rw_block(READ, 3, got);
    assert.equal(
      [device.take(), got.map(buffer_uptodate)],
      [
        ['0', '2'],
        [true, false, true],
      ],
    );
    linux.unlock_buffer(must(got[1]));
    yield* linux.ll_rw_block(READ, 3, got);
    assert.equal(device.take(), ['1']);
    for (const bh of got) linux.brelse(bh);
  });
});

test('a write that fails is reported, and the buffer is not up to date', async () => {
  const { linux, device } = await rig({ blocks: [] });
  inTask(linux, function* () {
    const bh = must(yield* linux.__bread(device, 3, KIB));
    device.bad.add(3);
    linux.mark_buffer_dirty(bh);
    assert.is(yield* linux.sync_dirty_buffer(bh), -EIO);
    assert.equal([buffer_uptodate(bh), bh.b_state & (1 << BH_Write_EIO)], [false, 1 << BH_Write_EIO]);
    linux.brelse(bh);
  });
  assert.equal(
    linux.kernel.warnings.all.map(({ what, where }) => `${what}: ${where}`),
    ['lost page write due to I/O error: block 3 of memory'],
  );
});

test('wait_on_buffer sleeps until the I/O has ended', async () => {
  const { linux, device } = await rig({ blocks: [] });
  const { scheduler } = linux.kernel;
  device.hold = true;
  inTask(linux, function* () {
    scheduler.spawn('device', function* () {
      yield* scheduler.delay(5e6);
      device.finish();
    });
    const bh = must(yield* linux.__bread(device, 3, KIB));
    assert.equal([scheduler.now() >= 5e6, buffer_uptodate(bh)], [true, true]);
    linux.brelse(bh);
  });
});

// ---- buffers and memory

test('buffers wait for memory, and pages that only have clean ones are given back under pressure', async () => {
  const { linux, file, readPage } = await rig({ blocks: run(0, 8) });
  readPage(0);
  readPage(1);
  const { allocator } = linux.kernel;
  assert.is(objects(linux, 'buffer_head'), 8);
  const [bh] = buffersOf(file.page(1)) as [BufferHead];
  linux.get_bh(bh); // in use: its page stays
  const taken: Page[] = [];
  for (let page = allocator.alloc(); page !== null; page = allocator.alloc()) taken.push(page);
  assert.equal([file.inode.mapping.find(0), page_has_buffers(file.page(1))], [null, true]);
  linux.put_bh(bh);
  const page = must(allocator.alloc());
  assert.equal([file.inode.mapping.pages.size, objects(linux, 'buffer_head')], [0, 0]);
  for (const other of [...taken, page]) allocator.put(other);
  const empty = must(allocator.alloc());
  linux.kernel.faults.slab.set({ after: 2 });
  inTask(linux, function* () {
    const { scheduler } = linux.kernel;
    scheduler.spawn('memory comes back', function* () {
      yield* scheduler.delay(2e9);
      linux.kernel.faults.slab.off();
    });
    yield* linux.create_empty_buffers(empty, KIB, 0);
  });
  assert.is(buffersOf(empty).length, 4);
  assert.equal(
    inTask(linux, function* () {
      linux.kernel.faults.slab.failAll();
      return yield* linux.alloc_page_buffers(empty, KIB, false);
    }),
    null,
  );
});

test('block_write_full_page writes dirty buffers only, and ends the writeback with the last', async () => {
  const { linux, device, file, readPage } = await rig({ blocks: run(0, 4) });
  const page = readPage(0);
  const [, second, , fourth] = buffersOf(page) as [BufferHead, BufferHead, BufferHead, BufferHead];
  for (const bh of [second, fourth]) set_buffer_dirty(bh);
  linux.kernel.memory.fill(page.phys, 0x55, PAGE_SIZE);
  device.take();
  device.hold = true;
  inTask(linux, function* () {
    yield* linux.lock_page(page);
    yield* linux.block_write_full_page(page, file.get_block, new WritebackControl());
  });
  assert.equal([device.take(), page.flags & (PG_locked | PG_writeback)], [['w 1', 'w 3'], PG_writeback]);
  device.finish();
  assert.is(page.flags & PG_writeback, 0);
  assert.equal(
    [0, 1, 2, 3].map((block) => device.bytes[block * KIB]),
    [1, 0x55, 3, 0x55],
  );
});

test('block_write_full_page gives holes their blocks, and says what get_block says', async () => {
  const { linux, device, file, readPage } = await rig({ blocks: [null, null, null, null] });
  const page = readPage(0);
  const wbc = new WritebackControl();
  wbc.sync_mode = WB_SYNC_ALL;
  const write = (get_block: GetBlock): number =>
    inTask(linux, function* () {
      yield* linux.set_page_dirty_lock(page);
      assert.ok(buffersOf(page).every(buffer_dirty));
      yield* linux.lock_page(page);
      linux.clear_page_dirty_for_io(page);
      return yield* linux.block_write_full_page(page, get_block, wbc);
    });
  const full: GetBlock = function* () {
    return -EIO;
  };
  assert.is(write(full), -EIO);
  assert.equal([device.take(), file.inode.mapping.error], [[], -EIO]);
  assert.equal(buffersOf(page).map(buffer_dirty), [false, false, false, false]);
  const grow: GetBlock = function* (_inode, iblock, bh, create) {
    if (create) map_bh(bh, { s_bdev: device, s_blocksize: KIB, s_blocksize_bits: 10 }, 50 + iblock);
    return 0;
  };
  assert.is(write(grow), 0);
  assert.equal(device.take(), ['w 50', 'w 51', 'w 52', 'w 53']);
  assert.ok(buffersOf(page).every(buffer_mapped));
});
