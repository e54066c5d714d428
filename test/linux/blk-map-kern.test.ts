import { Inode, PAGE_SIZE, type Page, type Sleeps, VM_READ } from '../../src/kernel/index.ts';
import {
  EFAULT,
  EINVAL,
  ENOMEM,
  GFP_KERNEL,
  READ,
  REQ_COPY_USER,
  STACK_TAG,
  WRITE,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { must } from './help.ts';
import {
  countsAt,
  finish,
  giveUp,
  HIGH,
  ISA,
  iovs,
  isaLimit,
  isCopy,
  mapPieces,
  putPages,
  type Rig,
  rig,
  SCATTERED,
  withPages,
  withRequest,
} from './mapper.ts';
import { asUser, BASE, pattern } from './user.ts';

const test = suite('blk_rq_map_kern, 3.11');

// ---- memory of the kernel

/** A request over a buffer of the kernel, executed; the buffer is filled with a pattern first. */
function* kernTransfer(
  it: Rig,
  direction: number,
  ...buffers: (readonly [addr: number, len: number])[]
): Sleeps<number> {
  return yield* withRequest(it, direction, function* (rq) {
    for (const [addr, len] of buffers) {
      assert.is(yield* it.linux.blk_rq_map_kern(it.q, rq, addr, len, GFP_KERNEL), 0);
    }
    yield* it.linux.blk_execute_rq(it.q, null, rq, false);
    return rq.cmd_flags & REQ_COPY_USER;
  });
}

function* buffer(
  it: Rig,
  pages: number,
  where: Parameters<typeof it.linux.kernel.allocator.alloc>[0] = {},
): Sleeps<Page> {
  const page = must(it.linux.kernel.allocator.alloc({ order: Math.ceil(Math.log2(pages)), ...where }));
  it.linux.kernel.memory.writeBytes(page.phys, pattern(pages * PAGE_SIZE, 4));
  return page;
}

test('MAP-20 a buffer of the kernel is mapped as it is; there is nothing to unmap', async () => {
  const it = await rig();
  const { memory } = it.linux.kernel;
  asUser(it.linux, function* () {
    const page = yield* buffer(it, 4);
    assert.is(yield* kernTransfer(it, WRITE, [page.phys + 512, 3 * PAGE_SIZE]), 0);
    assert.equal(it.device.slice(0, 3 * PAGE_SIZE), memory.readBytes(page.phys + 512, 3 * PAGE_SIZE));
    assert.equal(it.segments, [[page.phys + 512, 3 * PAGE_SIZE]]);
    it.device.set(pattern(8192, 50));
    assert.is(yield* kernTransfer(it, READ, [page.phys, 8192]), 0);
    assert.equal(memory.readBytes(page.phys, 8192), pattern(8192, 50));
    assert.is(page.count, 1);
    it.linux.put_page(page);
  });
});

test('MAP-20 unaligned, or on a stack, it is copied; a read arrives at the end of the bio', async () => {
  const it = await rig();
  const { memory } = it.linux.kernel;
  asUser(it.linux, function* () {
    const page = yield* buffer(it, 2);
    const stack = yield* buffer(it, 1, { tag: STACK_TAG });
    const cases = [
      [page.phys + 1, 512],
      [page.phys, 513],
      [page.phys + 7, 6000],
      [stack.phys, 512],
    ] as const;
    for (const [addr, len] of cases) {
      assert.is(yield* kernTransfer(it, WRITE, [addr, len]), REQ_COPY_USER);
      assert.equal(it.device.slice(0, len), memory.readBytes(addr, len));
      it.device.set(pattern(len, addr));
      assert.is(yield* kernTransfer(it, READ, [addr, len]), REQ_COPY_USER);
      assert.equal(memory.readBytes(addr, len), pattern(len, addr));
    }
    putPages(it, [page, stack]);
  });
});

test('MAP-20 too long, empty, NULL, or more than the queue takes: -EINVAL, and nothing stays', async () => {
  const it = await rig();
  const { linux, q } = it;
  asUser(linux, function* () {
    const page = yield* buffer(it, 8);
    linux.blk_queue_max_hw_sectors(q, 16);
    yield* withRequest(it, READ, function* (rq) {
      const mapKern = (addr: number, len: number) => linux.blk_rq_map_kern(q, rq, addr, len, GFP_KERNEL);
      assert.is(yield* mapKern(page.phys, 8193), -EINVAL);
      assert.is(yield* mapKern(page.phys, 0), -EINVAL);
      assert.is(yield* mapKern(0, 512), -EINVAL);
      linux.kernel.faults.slab.failAll();
      assert.is(yield* mapKern(page.phys, 512), -ENOMEM);
      assert.is(yield* mapKern(page.phys + 1, 512), -ENOMEM);
      linux.kernel.faults.slab.off();
      linux.kernel.allocator.failures.failAll();
      assert.is(yield* mapKern(page.phys + 1, 512), -ENOMEM);
      linux.kernel.allocator.failures.off();
      assert.is(rq.bio, null);
      assert.is(yield* mapKern(page.phys, 4096), 0);
      const { bio } = rq;
      const before = linux.kernel.memory.readBytes(page.phys, 4 * PAGE_SIZE);
      assert.is(yield* mapKern(page.phys + PAGE_SIZE, 8192), -EINVAL); // too much with the first
      assert.is(yield* mapKern(page.phys + PAGE_SIZE + 1, 8191), -EINVAL);
      assert.equal(linux.kernel.memory.readBytes(page.phys, 4 * PAGE_SIZE), before);
      assert.equal([rq.bio, rq.__data_len], [bio, 4096]);
      linux.bio_endio(must(bio));
    });
    // Every other page of a buffer cannot be a segment of its own when there is one segment only.
    linux.blk_queue_max_segments(q, 1);
    q.limits.cluster = false;
    yield* withRequest(it, WRITE, function* (rq) {
      assert.is(yield* linux.blk_rq_map_kern(q, rq, page.phys, 8192, GFP_KERNEL), -EINVAL);
      assert.is(yield* linux.blk_rq_map_kern(q, rq, page.phys + 1, 8191, GFP_KERNEL), -EINVAL);
    });
    linux.put_page(page);
  });
});

test('MAP-20 several buffers are appended, and each one that is out of reach is bounced', async () => {
  const it = await rig();
  isaLimit(it);
  asUser(it.linux, function* () {
    const near = yield* buffer(it, 1, { zone: 'DMA' });
    const far = [yield* buffer(it, 1, { from: HIGH }), yield* buffer(it, 1, { from: HIGH })] as const;
    const all = [near, ...far].map((page) => [page.phys, PAGE_SIZE] as const);
    yield* kernTransfer(it, WRITE, ...all);
    assert.ok(it.segments.every(([address, length]) => address + length <= ISA + 1));
    for (const [i] of all.entries())
      assert.equal(it.device.slice(i * PAGE_SIZE, (i + 1) * PAGE_SIZE), pattern(PAGE_SIZE, 4));
    it.device.set(pattern(3 * PAGE_SIZE, 61));
    yield* kernTransfer(it, READ, ...all);
    for (const [i, [addr]] of all.entries()) {
      assert.ok(
        it.linux.kernel.memory.equals(
          addr,
          pattern(3 * PAGE_SIZE, 61).subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE),
        ),
      );
    }
    assert.is(it.linux.nr_bounce(), 0);
    putPages(it, [near, ...far]);
  });
});

// ---- 3.11

test('MAP-21 3.11 blk_rq_map_user says the real errno', async () => {
  const it = await rig(SCATTERED);
  const { linux, q } = it;
  withPages(it, 3, function* (mm, bytes) {
    yield* withRequest(it, WRITE, function* (rq) {
      const mapUser = (ubuf: number, len: number) =>
        linux.v3.blk_rq_map_user(q, rq, null, ubuf, len, GFP_KERNEL);
      assert.is(yield* mapUser(BASE, 256 * 512), -EINVAL); // more than the device takes
      assert.is(yield* mapUser(BASE, 0), -EINVAL);
      assert.is(yield* mapUser(0, 512), -EINVAL);
      assert.is(yield* mapUser(BASE + 2 * PAGE_SIZE, 2 * PAGE_SIZE), -EFAULT);
      assert.is(rq.bio, null);
      linux.kernel.faults.slab.failAll();
      assert.is(yield* mapUser(BASE, 512), -ENOMEM);
      linux.kernel.faults.slab.off();
      assert.is(yield* mapUser(BASE + 5, 9000), 0);
      assert.is(rq.cmd_flags & REQ_COPY_USER, REQ_COPY_USER);
      const { bio } = rq;
      yield* linux.blk_execute_rq(q, null, rq, false);
      assert.is(yield* linux.v3.blk_rq_unmap_user(bio), 0);
    });
    assert.equal(it.device.slice(0, 9000), bytes.slice(5, 9005));
    assert.equal(countsAt(mm, BASE, 3), [1, 1, 1]);
  });
});

test('MAP-21 3.11 blk_rq_map_user goes in chunks of 256 pages', async () => {
  const it = await rig();
  const { linux, q } = it;
  linux.blk_queue_max_hw_sectors(q, 4096);
  linux.blk_queue_max_segments(q, 600);
  asUser(linux, function* (mm) {
    // 257 pages with the tail of the first missing: one page many times over.
    const file = new Inode('file', 512 * PAGE_SIZE);
    for (let n = 0; n < 300; n++) {
      yield* mm.mmap({ address: BASE + n * PAGE_SIZE, length: PAGE_SIZE, prot: VM_READ, shared: true, file });
    }
    for (const [offset, sizes] of [
      [0, [256, 2]],
      [512, [255, 3]],
    ] as const) {
      yield* withRequest(it, WRITE, function* (rq) {
        const len = 258 * PAGE_SIZE;
        assert.is(yield* linux.v3.blk_rq_map_user(q, rq, null, BASE + offset, len, GFP_KERNEL), 0);
        const found: number[] = [];
        for (let bio = rq.bio; bio !== null; bio = bio.bi_next) found.push(bio.bi_iter.bi_size / PAGE_SIZE);
        assert.equal(found, [...sizes]);
        assert.is(rq.__data_len, len);
        yield* giveUp(it, rq);
      });
    }
    yield* mm.munmap(BASE, 300 * PAGE_SIZE);
    yield* linux.kernel.vm.dropCache(file);
  });
});

test('MAP-21 MAP-07 3.11 blk_rq_map_user_iov: one bio for all, and no empty pieces', async () => {
  const it = await rig(SCATTERED);
  const { linux, q } = it;
  withPages(it, 4, function* (mm, bytes) {
    yield* withRequest(it, WRITE, function* (rq) {
      const mapIov = (iov: ReturnType<typeof iovs> | null, count: number, len: number) =>
        linux.v3.blk_rq_map_user_iov(q, rq, null, iov, count, len, GFP_KERNEL);
      const iov = iovs([BASE, 512], [BASE + PAGE_SIZE, 1000]);
      assert.is(yield* mapIov(null, 1, 512), -EINVAL);
      assert.is(yield* mapIov(iov, 0, 512), -EINVAL);
      assert.is(yield* mapIov(iovs([BASE, 512], [BASE, 0]), 2, 512), -EINVAL);
      assert.is(yield* mapIov(iov, 2, 1511), -EINVAL); // not what the pieces have
      assert.is(yield* mapIov(iovs([BASE, 512], [BASE + 64 * PAGE_SIZE, 512]), 2, 1024), -EFAULT);
      assert.equal(countsAt(mm, BASE, 4), [1, 1, 1, 1]);
      assert.is(yield* mapIov(iov, 2, 1512), 0);
      assert.is(isCopy(rq), false); // lengths are not looked at, but for padding
      yield* giveUp(it, rq);
      rq.bio = rq.biotail = null;
      linux.blk_queue_dma_pad(q, 3);
      assert.is(yield* mapIov(iovs([BASE, 510], [BASE + PAGE_SIZE, 1000]), 2, 1510), 0);
      assert.is(isCopy(rq), true);
      assert.is(yield* finish(it, rq), 0);
    });
    assert.equal(it.device.slice(0, 510), bytes.slice(0, 510));
    linux.blk_queue_max_hw_sectors(q, 8);
    yield* withRequest(it, WRITE, function* (rq) {
      const iov = iovs([BASE, PAGE_SIZE], [BASE + PAGE_SIZE, 512]);
      assert.is(
        yield* linux.v3.blk_rq_map_user_iov(q, rq, null, iov, 2, PAGE_SIZE + 512, GFP_KERNEL),
        -EINVAL,
      );
      assert.is(rq.bio, null);
    });
    assert.equal(countsAt(mm, BASE, 4), [1, 1, 1, 1]);
  });
});

test('UNM-04 3.11: without user memory unmapping says 0', async () => {
  const it = await rig();
  const { linux } = it;
  withPages(it, 1, function* () {
    yield* withRequest(it, READ, function* (rq) {
      assert.is(yield* mapPieces(it, rq, READ, iovs([BASE + 1, 512])), 0);
      const { bio } = rq;
      yield* linux.blk_execute_rq(it.q, null, rq, false);
      const worker = linux.kernel.scheduler.spawn('worker', () => linux.v3.blk_rq_unmap_user(bio), {
        kthread: true,
      });
      assert.is(yield* linux.kernel.scheduler.join(worker), 0);
    });
  });
});
