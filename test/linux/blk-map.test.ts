import { PAGE_SIZE, VM_READ } from '../../src/kernel/index.ts';
import {
  BioVec,
  EFAULT,
  EINVAL,
  EIO,
  ENOMEM,
  GFP_KERNEL,
  IovIter,
  iov_iter_bvec,
  iov_iter_kvec,
  READ,
  REQ_COPY_USER,
  REQ_OP_READ,
  REQ_OP_WRITE,
  WRITE,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import {
  copies,
  countsAt,
  finish,
  giveUp,
  iovs,
  isCopy,
  iterOver,
  kernelPages,
  mapData,
  mapFails,
  mapPieces,
  putPages,
  rig,
  SCATTERED,
  transfer,
  vecsOf,
  withPages,
  withRequest,
} from './mapper.ts';
import { asUser, BASE, map, pageAt, pattern, peek, poke } from './user.ts';

const test = suite('blk_rq_map_user');

// ---- the way of the data

test('MAP-01 aligned memory is read without a copy, into the pages of the process itself', async () => {
  const it = await rig(SCATTERED);
  let copied = 0;
  it.linux.kernel.trace.listen({ pages_copied: () => void copied++ });
  withPages(it, 4, function* (mm) {
    yield* withRequest(it, READ, function* (rq) {
      assert.is(yield* mapPieces(it, rq, READ, iovs([BASE + 512, 3 * PAGE_SIZE])), 0);
      assert.is(rq.__data_len, 3 * PAGE_SIZE);
      assert.equal(
        vecsOf(rq.bio).map(([page]) => page),
        [0, 1, 2, 3].map((n) => pageAt(mm, BASE + n * PAGE_SIZE)),
      );
      assert.equal(countsAt(mm, BASE, 4), [2, 2, 2, 2]);
      assert.is(yield* finish(it, rq), 0);
    });
    assert.equal(yield* peek(it.linux, mm, BASE + 512, 3 * PAGE_SIZE), it.device.slice(0, 3 * PAGE_SIZE));
    assert.equal(countsAt(mm, BASE, 4), [1, 1, 1, 1]);
  });
  assert.is(copied, 0);
});

test('MAP-01 what is not aligned goes through pages of the kernel, both ways', async () => {
  const it = await rig(SCATTERED);
  withPages(it, 4, function* (mm, bytes) {
    assert.is(yield* transfer(it, WRITE, iovs([BASE + 3, 5000], [BASE + 9001, 1001])), 0);
    assert.equal(it.device.slice(0, 5000), bytes.slice(3, 5003));
    assert.equal(it.device.slice(5000, 6001), bytes.slice(9001, 10002));
    it.device.set(pattern(6001, 77));
    assert.is(yield* transfer(it, READ, iovs([BASE + 9001, 1001], [BASE + 3, 5000])), 0);
    assert.equal(yield* peek(it.linux, mm, BASE + 9001, 1001), pattern(6001, 77).slice(0, 1001));
    assert.equal(yield* peek(it.linux, mm, BASE + 3, 5000), pattern(6001, 77).slice(1001));
    assert.equal(yield* peek(it.linux, mm, BASE, 3), bytes.slice(0, 3));
    assert.equal(countsAt(mm, BASE, 4), [1, 1, 1, 1]);
  });
});

test('MAP-02 the direction is that of the iterator, and the bio and the request take it', async () => {
  const it = await rig();
  withPages(it, 1, function* () {
    for (const [direction, op] of [
      [WRITE, REQ_OP_WRITE],
      [READ, REQ_OP_READ],
    ] as const) {
      for (const at of [BASE, BASE + 1]) {
        yield* withRequest(it, WRITE - direction, function* (rq) {
          assert.is(yield* mapPieces(it, rq, direction, iovs([at, 512])), 0);
          assert.equal([rq.bio?.bi_op, rq.op], [op, op]);
          yield* giveUp(it, rq);
        });
      }
    }
  });
});

test('MAP-03 iterators over kernel memory and pages are refused', async () => {
  const it = await rig();
  withPages(it, 1, function* () {
    const kernel = new IovIter();
    iov_iter_kvec(kernel, READ, iovs([BASE, 512]), 1, 512);
    const pages = new IovIter();
    iov_iter_bvec(pages, READ, [new BioVec()], 1, 0);
    for (const iter of [kernel, pages]) {
      yield* withRequest(it, READ, function* (rq) {
        assert.is(yield* it.linux.blk_rq_map_user_iov(it.q, rq, null, iter, GFP_KERNEL), -EINVAL);
        assert.is(rq.bio, null);
      });
    }
  });
});

test('MAP-04 one bad address or length makes the whole request a copy', async () => {
  const it = await rig();
  withPages(it, 4, function* () {
    const page = (n: number): number => BASE + n * PAGE_SIZE;
    assert.is(yield* copies(it, iovs([page(0), 512], [page(1) + 512, 1024])), false);
    assert.is(yield* copies(it, iovs([page(0), 512], [page(1) + 256, 1024])), true);
    assert.is(yield* copies(it, iovs([page(0), 512], [page(1), 1023])), true);
    assert.is(yield* copies(it, iovs([page(0), 512], [page(1) + 3, 0])), false);
    yield* withRequest(it, WRITE, function* (rq) {
      // Beyond the count nothing matters.
      const iter = iterOver(WRITE, iovs([page(0), 512], [page(1) + 3, 77]), 512);
      assert.is(yield* it.linux.blk_rq_map_user_iov(it.q, rq, null, iter, GFP_KERNEL), 0);
      assert.is(isCopy(rq), false);
      yield* giveUp(it, rq);
    });
    it.linux.blk_queue_dma_alignment(it.q, 3);
    assert.is(yield* copies(it, iovs([page(0) + 4, 1004])), false);
    it.linux.blk_queue_dma_pad(it.q, 15);
    assert.is(yield* copies(it, iovs([page(0) + 4, 1004])), true);
    assert.is(yield* copies(it, iovs([page(0) + 16, 1008])), false);
  });
});

test('MAP-04 with map_data it is always a copy', async () => {
  const it = await rig();
  withPages(it, 1, function* () {
    const pages = yield* kernelPages(it, 1);
    yield* withRequest(it, WRITE, function* (rq) {
      assert.is(yield* mapPieces(it, rq, WRITE, iovs([BASE, 512]), mapData(pages)), 0);
      assert.is(isCopy(rq), true);
      yield* giveUp(it, rq);
    });
    putPages(it, pages);
  });
});

test('MAP-05 an iovec gap against the virt boundary copies', async () => {
  const it = await rig(SCATTERED);
  it.linux.blk_queue_virt_boundary(it.q, PAGE_SIZE - 1);
  withPages(it, 8, function* (mm, bytes) {
    const page = (n: number): number => BASE + n * PAGE_SIZE;
    assert.is(yield* copies(it, iovs([page(0) + 512, PAGE_SIZE - 512], [page(2), 512])), false);
    assert.is(yield* copies(it, iovs([page(0), PAGE_SIZE], [page(4), 2 * PAGE_SIZE])), false);
    assert.is(yield* copies(it, iovs([page(0), PAGE_SIZE], [page(4) + 512, 512])), true);
    // What 4.8 misses, and then refuses:
    const missed = iovs([page(0) + 0x800, 0x1000], [page(3), 0x1000]);
    assert.is(yield* copies(it, missed), true);
    assert.is(yield* transfer(it, WRITE, missed), 0);
    assert.equal(it.device.slice(0, 0x1000), bytes.slice(0x800, 0x1800));
    assert.equal(it.device.slice(0x1000, 0x2000), bytes.slice(0x3000, 0x4000));
    // A short last piece is no gap.
    assert.is(yield* copies(it, iovs([page(0), PAGE_SIZE], [page(2), 512])), false);
    assert.equal(countsAt(mm, BASE, 8), [1, 1, 1, 1, 1, 1, 1, 1]);
  });
});

// ---- what is refused

test('MAP-06 every failure is -EINVAL with rq.bio null; the real errno is in map_error', async () => {
  const it = await rig();
  withPages(it, 2, function* (mm) {
    assert.is(yield* mapFails(it, READ, iovs([BASE + 64 * PAGE_SIZE, 512])), -EFAULT);
    assert.is(yield* mapFails(it, WRITE, iovs([BASE + 2 * PAGE_SIZE - 1, 2])), -EFAULT);
    it.linux.kernel.faults.slab.failAll();
    assert.is(yield* mapFails(it, READ, iovs([BASE, 512])), -ENOMEM);
    assert.is(yield* mapFails(it, READ, iovs([BASE + 1, 512])), -ENOMEM);
    it.linux.kernel.faults.slab.off();
    it.linux.kernel.allocator.failures.failAll();
    assert.is(yield* mapFails(it, READ, iovs([BASE + 1, 512])), -ENOMEM);
    it.linux.kernel.allocator.failures.off();
    yield* withRequest(it, READ, function* (rq) {
      rq.map_error = -EIO;
      assert.is(yield* mapPieces(it, rq, READ, iovs([BASE, 512])), 0);
      assert.is(rq.map_error, 0);
      yield* giveUp(it, rq);
    });
    assert.equal(countsAt(mm, BASE, 2), [1, 1]);
  });
});

test('MAP-06 blk_rq_map_user: -EFAULT at once for what users cannot have; the length is cut to 2^31 less a page', async () => {
  const it = await rig();
  withPages(it, 1, function* (mm, bytes) {
    yield* withRequest(it, WRITE, function* (rq) {
      const mapUser = (ubuf: number, len: number) =>
        it.linux.blk_rq_map_user(it.q, rq, null, ubuf, len, GFP_KERNEL);
      assert.is(yield* mapUser(2 ** 47, 512), -EFAULT);
      assert.is(yield* mapUser(BASE, 2 ** 50), -EINVAL); // cut, allowed, and then too much
      assert.is(rq.map_error, -ENOMEM);
      assert.is(yield* mapUser(BASE, 1024), 0);
      assert.is(yield* finish(it, rq), 0);
    });
    assert.equal(it.device.slice(0, 1024), bytes.slice(0, 1024));
    assert.is(pageAt(mm, BASE).count, 1);
  });
});

test('MAP-07 no bytes: -EINVAL, or with map_data a bio of none', async () => {
  const it = await rig();
  withPages(it, 1, function* () {
    assert.is(yield* mapFails(it, READ, []), -EINVAL);
    assert.is(yield* mapFails(it, READ, iovs([BASE, 0])), -EINVAL);
    const pages = yield* kernelPages(it, 1);
    yield* withRequest(it, READ, function* (rq) {
      assert.is(yield* mapPieces(it, rq, READ, [], mapData(pages)), 0);
      assert.equal([rq.bio?.bi_iter.bi_size, rq.bio?.bi_vcnt, rq.__data_len], [0, 0, 0]);
      yield* giveUp(it, rq);
    });
    putPages(it, pages);
  });
});

test('MAP-07 pieces without bytes are skipped', async () => {
  const it = await rig();
  withPages(it, 2, function* (_mm, bytes) {
    for (const shift of [0, 1]) {
      const iov = iovs([BASE + 77, 0], [BASE + shift, 512], [0, 0], [BASE + PAGE_SIZE, 512], [BASE, 0]);
      assert.is(yield* transfer(it, WRITE, iov), 0);
      assert.equal(it.device.slice(0, 512), bytes.slice(shift, 512 + shift));
      assert.equal(it.device.slice(512, 1024), bytes.slice(PAGE_SIZE, PAGE_SIZE + 512));
    }
  });
});

test('MAP-08 an address and length that pass the end of all addresses are refused', async () => {
  const it = await rig();
  withPages(it, 1, function* () {
    const wraps = [2 ** 64 - PAGE_SIZE, 2 * PAGE_SIZE] as const;
    assert.is(yield* mapFails(it, READ, iovs(wraps)), -EINVAL);
    assert.is(yield* mapFails(it, WRITE, iovs([BASE, 512], wraps)), -EINVAL);
    assert.is(yield* mapFails(it, READ, iovs([BASE + 1, 512], wraps)), -EINVAL); // as a copy
  });
});

test('MAP-09 more than 1024 pages are refused; a copy counts every piece, whole', async () => {
  const it = await rig();
  it.linux.blk_queue_max_hw_sectors(it.q, 1 << 20);
  withPages(it, 2, function* () {
    assert.is(yield* mapFails(it, READ, iovs([BASE, 1025 * PAGE_SIZE])), -ENOMEM);
    assert.is(yield* mapFails(it, READ, iovs([BASE + 1, 1024 * PAGE_SIZE])), -ENOMEM);
    const iov = iovs([BASE, 1024 * PAGE_SIZE], [BASE, 512]);
    yield* withRequest(it, READ, function* (rq) {
      const { linux, q } = it;
      const first = iterOver(READ, iov, PAGE_SIZE);
      assert.is(yield* linux.blk_rq_map_user_iov(q, rq, null, first, GFP_KERNEL), 0); // what is left counts
      yield* giveUp(it, rq);
      rq.bio = rq.biotail = null;
      const copy = iterOver(READ, iovs([BASE + 1, 1023 * PAGE_SIZE], [BASE, 512]), 512);
      assert.is(yield* linux.blk_rq_map_user_iov(q, rq, null, copy, GFP_KERNEL), -EINVAL);
      assert.is(rq.map_error, -ENOMEM);
    });
    const many = Array.from({ length: 1025 }, () => ({ iov_base: BASE + 1, iov_len: 0 }));
    assert.is(yield* mapFails(it, READ, [...many, ...iovs([BASE + 1, 1])]), -ENOMEM);
  });
});

test('MAP-10 more bytes or segments than the device takes are refused, and nothing stays', async () => {
  const it = await rig({ placement: 'scatter', seed: 2 });
  const { linux, q } = it;
  withPages(it, 20, function* (mm) {
    linux.blk_queue_max_hw_sectors(q, 8);
    assert.is(yield* mapFails(it, READ, iovs([BASE, PAGE_SIZE + 512])), -EINVAL);
    assert.is(yield* mapFails(it, READ, iovs([BASE + 1, PAGE_SIZE + 512])), -EINVAL);
    assert.is(yield* copies(it, iovs([BASE + 512, PAGE_SIZE])), false);
    linux.blk_queue_max_hw_sectors(q, 1024);
    linux.blk_queue_max_segments(q, 3);
    const apart = [0, 4, 8, 12].map((n) => [BASE + n * PAGE_SIZE, 512] as const);
    assert.is(yield* mapFails(it, READ, iovs(...apart)), -EINVAL);
    assert.is(yield* copies(it, iovs(...apart.slice(0, 3))), false);
    assert.equal(countsAt(mm, BASE, 20), new Array(20).fill(1));
  });
});

test('MAP-10 a second call on the same request appends, as long as the device takes it', async () => {
  const it = await rig(SCATTERED);
  withPages(it, 4, function* (mm, bytes) {
    it.linux.blk_queue_max_hw_sectors(it.q, 24);
    yield* withRequest(it, WRITE, function* (rq) {
      assert.is(yield* mapPieces(it, rq, WRITE, iovs([BASE, PAGE_SIZE])), 0);
      const first = rq.bio;
      assert.is(yield* mapPieces(it, rq, WRITE, iovs([BASE + 2 * PAGE_SIZE + 1, PAGE_SIZE])), 0);
      assert.is(rq.bio, first);
      assert.is(rq.__data_len, 2 * PAGE_SIZE);
      assert.is(rq.cmd_flags & REQ_COPY_USER, 0); // the first bio decides
      assert.is(yield* finish(it, rq), 0);
      assert.equal(it.device.slice(0, PAGE_SIZE), bytes.slice(0, PAGE_SIZE));
      assert.equal(
        it.device.slice(PAGE_SIZE, 2 * PAGE_SIZE),
        bytes.slice(2 * PAGE_SIZE + 1, 3 * PAGE_SIZE + 1),
      );
    });
    // The third does not fit: what the first two mapped is still the caller's.
    yield* withRequest(it, WRITE, function* (rq) {
      for (const n of [0, 1, 2])
        assert.is(yield* mapPieces(it, rq, WRITE, iovs([BASE + n * PAGE_SIZE, PAGE_SIZE])), 0);
      const first = rq.bio;
      assert.is(yield* mapPieces(it, rq, WRITE, iovs([BASE, 512])), -EINVAL);
      assert.is(rq.bio, null);
      assert.equal(countsAt(mm, BASE, 4), [2, 2, 2, 1]);
      assert.is(yield* it.linux.blk_rq_unmap_user(first), 0);
      assert.equal(countsAt(mm, BASE, 4), [1, 1, 1, 1]);
    });
  });
});

test('MAP-11 a page that cannot be pinned fails the mapping, and drops the pins of this call', async () => {
  const it = await rig();
  withPages(it, 4, function* (mm) {
    yield* mm.munmap(BASE + 2 * PAGE_SIZE, PAGE_SIZE);
    assert.is(yield* mapFails(it, READ, iovs([BASE, 4 * PAGE_SIZE])), -EFAULT);
    assert.is(
      yield* mapFails(it, READ, iovs([BASE, 512], [BASE + 3 * PAGE_SIZE, 512], [BASE + 2 * PAGE_SIZE, 512])),
      -EFAULT,
    );
    assert.equal(
      [0, 1, 3].map((n) => pageAt(mm, BASE + n * PAGE_SIZE).count),
      [1, 1, 1],
    );
    yield* mm.mprotect(BASE, PAGE_SIZE, VM_READ);
    assert.is(yield* mapFails(it, READ, iovs([BASE, 512])), -EFAULT); // the device would write
    assert.is(yield* copies(it, iovs([BASE, 512]), WRITE), false);
  });
});

test('MAP-11 pages that are not there are brought in', async () => {
  const it = await rig();
  asUser(it.linux, function* (mm, task) {
    yield* map(mm, BASE, 3);
    yield* poke(it.linux, mm, BASE, Uint8Array.of(1));
    assert.is(yield* transfer(it, READ, iovs([BASE, 3 * PAGE_SIZE])), 0);
    assert.equal(yield* peek(it.linux, mm, BASE, 3 * PAGE_SIZE), it.device.slice(0, 3 * PAGE_SIZE));
    assert.is(task.min_flt, 3);
  });
});
