import { PAGE_SIZE, type Page, type Sleeps, VM_READ } from '../../src/kernel/index.ts';
import {
  BIO_BOUNCED,
  BIO_NULL_MAPPED,
  BIO_USER_MAPPED,
  type Bio,
  bio_flagged,
  EFAULT,
  EINVAL,
  ENOMEM,
  GFP_DMA,
  GFP_KERNEL,
  GFP_NOWAIT,
  IS_ERR,
  iov_iter_advance,
  READ,
  type RqMapData,
  WRITE,
} from '../../src/linux/index.ts';
import { diskFile } from '../kernel/files.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, inTask, must } from './help.ts';
import {
  copies,
  countsAt,
  FAR,
  finish,
  giveUp,
  ISA,
  iovs,
  isaLimit,
  iterOver,
  kernelPages,
  mapData,
  mapFails,
  mapPieces,
  putPages,
  rig,
  transfer,
  vecsOf,
  withPages,
  withRequest,
} from './mapper.ts';
import { asUser, BASE, map, pageAt, peek, poke } from './user.ts';

const test = suite('bio_copy_user_iov');

// ---- copies

test('MAP-12 a copy has full pages but the last, of memory that the device reaches', async () => {
  const it = await rig(FAR);
  isaLimit(it);
  assert.is(it.q.bounce_gfp & GFP_DMA, GFP_DMA);
  withPages(it, 4, function* () {
    yield* withRequest(it, WRITE, function* (rq) {
      assert.is(yield* mapPieces(it, rq, WRITE, iovs([BASE + 1, 5000], [BASE + 8200, 5000])), 0);
      assert.equal(
        vecsOf(rq.bio).map(([, offset, length]) => [offset, length]),
        [
          [0, 4096],
          [0, 4096],
          [0, 1808],
        ],
      );
      assert.ok(vecsOf(rq.bio).every(([page]) => page?.zone === 'DMA'));
      assert.is(bio_flagged(rq.bio as Bio, BIO_BOUNCED), false);
      yield* giveUp(it, rq);
    });
  });
});

test('MAP-12 a write is copied when it is mapped; -EFAULT when the memory ends', async () => {
  const it = await rig();
  withPages(it, 2, function* (mm, bytes) {
    yield* withRequest(it, WRITE, function* (rq) {
      assert.is(yield* mapPieces(it, rq, WRITE, iovs([BASE + 1, 6000])), 0);
      yield* poke(it.linux, mm, BASE, new Uint8Array(8192));
      assert.is(yield* finish(it, rq), 0);
      assert.equal(it.device.slice(0, 6000), bytes.slice(1, 6001));
    });
    assert.is(yield* mapFails(it, WRITE, iovs([BASE + 1, 2 * PAGE_SIZE])), -EFAULT);
    it.linux.kernel.vm.copyFailures.failAll();
    assert.is(yield* mapFails(it, WRITE, iovs([BASE + 1, 512])), -EFAULT);
    it.linux.kernel.vm.copyFailures.off();
  });
});

test('MAP-13 map_data: its pages from its offset on, which moves; they stay the caller’s', async () => {
  const it = await rig();
  withPages(it, 3, function* (_mm, bytes) {
    const pages = yield* kernelPages(it, 3, 1);
    const data = mapData(pages, { page_order: 1, offset: PAGE_SIZE + 1024 });
    yield* withRequest(it, WRITE, function* (rq) {
      assert.is(yield* mapPieces(it, rq, WRITE, iovs([BASE, 8000]), data), 0);
      const [a, b] = pages as [Page, Page];
      const second = it.linux.nth_page(a, 1);
      assert.equal(vecsOf(rq.bio), [
        [second, 1024, 3072],
        [b, 0, 4096],
        [it.linux.nth_page(b, 1), 0, 832],
      ]);
      assert.is(data.offset, PAGE_SIZE + 1024 + 8000);
      assert.is(yield* finish(it, rq), 0);
    });
    assert.equal(it.device.slice(0, 8000), bytes.slice(0, 8000));
    assert.equal(
      pages.map((page) => page.count),
      [1, 1, 1],
    );
    data.offset = 5 * PAGE_SIZE;
    assert.is(yield* mapFails(it, READ, iovs([BASE, PAGE_SIZE + 512]), data), -ENOMEM);
    putPages(it, pages);
  });
});

test('MAP-13 the offset of map_data moves even if the mapping then fails', async () => {
  const it = await rig();
  withPages(it, 3, function* () {
    it.linux.blk_queue_max_hw_sectors(it.q, 8);
    const pages = yield* kernelPages(it, 3);
    const data = mapData(pages);
    assert.is(yield* mapFails(it, READ, iovs([BASE, 2 * PAGE_SIZE]), data), -EINVAL);
    assert.is(data.offset, 2 * PAGE_SIZE);
    putPages(it, pages);
  });
});

test('MAP-14 null-mapped: nothing is copied either way, and unmapping needs no user', async () => {
  const it = await rig();
  const { linux, q } = it;
  const pages = inTask(linux, () => kernelPages(it, 2));
  const data = mapData(pages, { null_mapped: true });
  for (const direction of [READ, WRITE]) {
    inTask(linux, () =>
      withRequest(it, direction, function* (rq) {
        data.offset = 0;
        assert.is(yield* linux.blk_rq_map_user(q, rq, data, 0, 5000, GFP_KERNEL), 0);
        assert.is(bio_flagged(must(rq.bio), BIO_NULL_MAPPED), true);
        assert.is(yield* finish(it, rq), 0);
        return 0;
      }),
    );
  }
  // The device saw the caller's pages: read into, then written from them.
  assert.ok(linux.kernel.memory.equals(must(pages[0]).phys, it.device, 0, PAGE_SIZE));
  inTask(linux, () =>
    withRequest(it, READ, function* (rq) {
      assert.is(yield* linux.blk_rq_map_user(q, rq, null, 0, 512, GFP_KERNEL), -EINVAL);
      data.offset = 0;
      const seen = mapData(pages);
      assert.is(yield* linux.blk_rq_map_user(q, rq, seen, 0, 512, GFP_KERNEL), -EINVAL);
    }),
  );
  putPages(it, pages);
});

test('MAP-15 from_user: bytes that the device leaves alone come back as they were', async () => {
  const it = await rig();
  for (const from_user of [false, true]) {
    withPages(it, 2, function* (mm, bytes) {
      const pages = yield* kernelPages(it, 2);
      it.outcome.residual = 1000;
      assert.is(yield* transfer(it, READ, iovs([BASE, 5000]), mapData(pages, { from_user })), 0);
      it.outcome.residual = 0;
      const rest = yield* peek(it.linux, mm, BASE + 4000, 1000);
      assert.equal(rest, from_user ? bytes.slice(4000, 5000) : new Uint8Array(1000).fill(0xee));
      putPages(it, pages);
    });
  }
});

// ---- bouncing

test('MAP-16 REQ_COPY_USER: copied, or mapped and bounced', async () => {
  const it = await rig(FAR);
  withPages(it, 2, function* () {
    assert.is(yield* copies(it, iovs([BASE, 512])), false);
    assert.is(yield* copies(it, iovs([BASE + 1, 512])), true);
    it.linux.blk_queue_bounce_limit(it.q, ISA);
    assert.is(yield* copies(it, iovs([BASE, 512])), true);
  });
});

test('MAP-17 pages out of reach are bounced; the request holds the bounce bio until it is unmapped', async () => {
  const it = await rig(FAR);
  isaLimit(it);
  for (const direction of [READ, WRITE]) {
    withPages(it, 3, function* (mm, bytes) {
      const seen: Bio[] = [];
      const stop = it.linux.kernel.trace.listen({
        block_bio_bounce: (_q, bio) => void seen.push(bio as Bio),
      });
      yield* withRequest(it, direction, function* (rq) {
        assert.is(yield* mapPieces(it, rq, direction, iovs([BASE, 3 * PAGE_SIZE])), 0);
        const clone = must(rq.bio);
        assert.is(bio_flagged(clone, BIO_BOUNCED), true);
        assert.equal(seen, [clone.bi_private]);
        assert.equal(countsAt(mm, BASE, 3), [2, 2, 2]);
        assert.is(it.linux.nr_bounce(), 3);
        assert.is(yield* finish(it, rq), 0);
      });
      assert.ok(it.segments.every(([address, length]) => address + length <= ISA + 1));
      if (direction === READ)
        assert.equal(yield* peek(it.linux, mm, BASE, 3 * PAGE_SIZE), it.device.slice(0, 3 * PAGE_SIZE));
      else assert.equal(it.device.slice(0, 3 * PAGE_SIZE), bytes);
      assert.equal(countsAt(mm, BASE, 3), [1, 1, 1]);
      assert.is(it.linux.nr_bounce(), 0);
      stop();
    });
  }
});

test('MAP-18 references: 3 mapped, 2 copied; bounced 2 and 2, or 1 and 2', async () => {
  const it = await rig(FAR);
  withPages(it, 1, function* () {
    const counts = function* (at: number): Sleeps<number[]> {
      return yield* withRequest(it, WRITE, function* (rq) {
        assert.is(yield* mapPieces(it, rq, WRITE, iovs([at, 512])), 0);
        const bio = must(rq.bio);
        const original = bio_flagged(bio, BIO_BOUNCED) ? (bio.bi_private as Bio) : null;
        const found = original === null ? [bio.__bi_cnt] : [original.__bi_cnt, bio.__bi_cnt];
        yield* finish(it, rq);
        assert.equal([bio.live, original?.live ?? false], [false, false]);
        return found;
      });
    };
    assert.equal(yield* counts(BASE), [3]);
    assert.equal(yield* counts(BASE + 1), [2]);
    it.linux.blk_queue_bounce_limit(it.q, ISA);
    assert.equal(yield* counts(BASE), [2, 2]);
    it.q.limits.bounce_pfn = 0; // not even the pages of copies are in reach
    assert.equal(yield* counts(BASE + 1), [1, 2]);
  });
});

test('MAP-10 MAP-17 bounce pages that need more segments than the device has are refused', async () => {
  const it = await rig(FAR);
  isaLimit(it);
  it.linux.blk_queue_max_segments(it.q, 1);
  withPages(it, 2, function* (mm) {
    // Contiguous memory of the process is one segment; every other page of the pool is taken away.
    const { allocator } = it.linux.kernel;
    const taken: Page[] = [];
    for (let page = allocator.alloc({ zone: 'DMA' }); page !== null; page = allocator.alloc({ zone: 'DMA' }))
      taken.push(page);
    taken.forEach((page, i) => {
      if (i % 2 === 0) allocator.put(page);
    });
    assert.is(yield* mapFails(it, WRITE, iovs([BASE, 2 * PAGE_SIZE])), -EINVAL);
    assert.is(it.linux.nr_bounce(), 0);
    for (const [i, page] of taken.entries()) if (i % 2 === 1) allocator.put(page);
    assert.equal(countsAt(mm, BASE, 2), [1, 1]);
  });
});

test('MAP-09 MAP-17 more than 256 pieces out of reach are refused, since no bounce bio has room', async () => {
  const it = await rig(FAR);
  isaLimit(it);
  it.linux.blk_queue_max_segments(it.q, 1000);
  it.linux.blk_queue_max_hw_sectors(it.q, 1024);
  withPages(it, 2, function* (mm) {
    const iov = Array.from({ length: 257 }, (_, i) => ({
      iov_base: BASE + (i % 2) * PAGE_SIZE,
      iov_len: 512,
    }));
    assert.is(yield* mapFails(it, WRITE, iov), -ENOMEM);
    assert.equal(countsAt(mm, BASE, 2), [1, 1]);
    assert.is(yield* transfer(it, WRITE, iov.slice(0, 64)), 0);
  });
});

// ---- how it is done

test('MAP-19 the mask is for bio and pages; pinning waits whatever it says', async () => {
  const it = await rig();
  const { linux, q } = it;
  asUser(linux, function* (mm) {
    const file = diskFile(linux.kernel, PAGE_SIZE);
    yield* mm.mmap({ address: BASE, length: PAGE_SIZE, prot: VM_READ, file: file.inode });
    yield* withRequest(it, WRITE, function* (rq) {
      const before = linux.kernel.machine.now();
      const mapNow = (at: number) => linux.blk_rq_map_user(q, rq, null, at, 512, GFP_NOWAIT);
      assert.is(yield* mapNow(BASE), 0);
      assert.ok(linux.kernel.machine.now() > before);
      yield* giveUp(it, rq);
      rq.bio = rq.biotail = null;
      linux.kernel.allocator.failures.failAll();
      assert.is(yield* mapNow(BASE + 1), -EINVAL);
      linux.kernel.allocator.failures.off();
      assert.is(rq.map_error, -ENOMEM);
    });
    yield* mm.munmap(BASE, PAGE_SIZE);
    yield* linux.kernel.vm.dropCache(file.inode);
  });
  assertBug('ctx-sleep', () =>
    inTask(linux, () =>
      withRequest(it, WRITE, function* (rq) {
        return linux.kernel.scheduler.atomic(linux.blk_rq_map_user(q, rq, null, BASE, 512, GFP_NOWAIT));
      }),
    ),
  );
});

test('MAP-23 the order of effects; the caller’s iterator stands still and nothing is submitted', async () => {
  const it = await rig(FAR);
  const { linux, q } = it;
  isaLimit(it);
  const events: string[] = [];
  linux.kernel.trace.listen({
    pages_pinned: (_start, pages) => void events.push(`pinned ${pages}`),
    pages_copied: (why, bytes) => void events.push(`${why} ${bytes}`),
    block_bio_bounce: (_q, bio) =>
      void events.push(`bounce ${(bio as Bio).__bi_cnt} ${(bio as Bio).bi_flags & (1 << BIO_USER_MAPPED)}`),
    block_bio_queue: () => void events.push('queue'),
    block_rq_insert: () => void events.push('insert'),
    block_rq_issue: () => void events.push('issue'),
  });
  withPages(it, 3, function* () {
    yield* withRequest(it, WRITE, function* (rq) {
      const iter = iterOver(WRITE, iovs([BASE, 512], [BASE + PAGE_SIZE, 1024]));
      iov_iter_advance(iter, 512);
      const before = JSON.stringify(iter);
      assert.is(yield* linux.blk_rq_map_user_iov(q, rq, null, iter, GFP_KERNEL), 0);
      assert.is(JSON.stringify(iter), before);
      assert.equal(events, ['pinned 1', 'bounce 1024', `bounce 2 ${1 << BIO_USER_MAPPED}`]);
      yield* giveUp(it, rq);
    });
    events.length = 0;
    const pages = yield* kernelPages(it, 1);
    const data = mapData(pages, { null_mapped: false });
    yield* withRequest(it, WRITE, function* (rq) {
      assert.is(yield* mapPieces(it, rq, WRITE, iovs([BASE, 512]), data), 0);
      assert.is(events[0], 'map-user 512');
      yield* giveUp(it, rq);
    });
    putPages(it, pages);
  });
});

test('MAP-24 bio_map_user_iov: err-ptrs of its own', async () => {
  const it = await rig();
  const { linux, q } = it;
  withPages(it, 2, function* (mm) {
    const mapped = (...pieces: (readonly [number, number])[]) =>
      linux.bio_map_user_iov(q, iterOver(READ, iovs(...pieces)), GFP_KERNEL);
    assert.is(yield* mapped([BASE + 256, 512]), -EINVAL);
    assert.is(yield* mapped(), -EINVAL);
    assert.is(yield* mapped([BASE, 0]), -EINVAL);
    assert.is(yield* mapped([2 ** 64 - PAGE_SIZE, 2 * PAGE_SIZE]), -EINVAL);
    assert.is(yield* mapped([BASE, 1025 * PAGE_SIZE]), -ENOMEM);
    linux.kernel.faults.slab.failAll();
    assert.is(yield* mapped([BASE, 512]), -ENOMEM);
    linux.kernel.faults.slab.off();
    assert.is(yield* mapped([BASE, 3 * PAGE_SIZE]), -EFAULT);
    linux.kernel.allocator.failures.failAll();
    yield* map(mm, BASE + PAGE_SIZE, 2);
    assert.is(yield* mapped([BASE, 3 * PAGE_SIZE]), -EFAULT); // the pin says -ENOMEM
    linux.kernel.allocator.failures.off();
    const bio = yield* mapped([BASE, 100]); // lengths are not looked at here
    if (IS_ERR(bio)) throw new Error('no bio');
    assert.equal([bio.__bi_cnt, bio.bi_iter.bi_size, bio.bi_end_io], [2, 100, null]);
    yield* linux.bio_unmap_user(bio);
    assert.is(pageAt(mm, BASE).count, 1);
  });
});

test('MAP-24 bio_copy_user_iov: err-ptrs of its own', async () => {
  const it = await rig();
  const { linux, q } = it;
  withPages(it, 2, function* () {
    const copied = (iov: ReturnType<typeof iovs>, data: RqMapData | null = null) =>
      linux.bio_copy_user_iov(q, data, iterOver(WRITE, iov), GFP_KERNEL);
    assert.is(yield* copied(iovs([2 ** 64 - PAGE_SIZE, 2 * PAGE_SIZE])), -EINVAL);
    assert.is(yield* copied(iovs([BASE, 1025 * PAGE_SIZE])), -ENOMEM);
    assert.is(yield* copied(Array.from({ length: 1025 }, () => ({ iov_base: BASE, iov_len: 0 }))), -ENOMEM);
    for (const nth of [1, 2]) {
      linux.kernel.faults.slab.set({ every: nth });
      assert.is(yield* copied(iovs([BASE, 512])), -ENOMEM); // the record, then the bio
      linux.kernel.faults.slab.off();
    }
    linux.kernel.allocator.failures.set({ after: 1 });
    assert.is(yield* copied(iovs([BASE, 2 * PAGE_SIZE])), -ENOMEM);
    linux.kernel.allocator.failures.off();
    const pages = yield* kernelPages(it, 1);
    assert.is(yield* copied(iovs([BASE, 2 * PAGE_SIZE]), mapData(pages)), -ENOMEM);
    putPages(it, pages);
    assert.is(yield* copied(iovs([BASE + PAGE_SIZE, 2 * PAGE_SIZE])), -EFAULT);
  });
});

test('MAP-25 a copied bio ends without a call-back and keeps its record until it is unmapped', async () => {
  const it = await rig();
  withPages(it, 1, function* () {
    const { linux, q } = it;
    const bio = yield* linux.bio_copy_user_iov(q, null, iterOver(READ, iovs([BASE + 1, 512])), GFP_KERNEL);
    if (IS_ERR(bio)) throw new Error('no bio');
    const record = bio.bi_private;
    assert.is(bio.bi_end_io, null);
    linux.bio_endio(bio);
    assert.is(bio.bi_private, record);
    bio.bi_private = 'a stacked driver was here';
    assertBug('MAP-25', () => linux.bio_uncopy_user(bio).next());
    bio.bi_private = record;
    assert.is(yield* linux.bio_uncopy_user(bio), 0);
  });
});
