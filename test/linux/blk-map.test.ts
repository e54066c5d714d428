import {
  type AddressSpace,
  type Inode,
  PAGE_SIZE,
  type Page,
  type Sleeps,
  VM_READ,
} from '../../src/kernel/index.ts';
import {
  BIO_BOUNCED,
  BIO_NULL_MAPPED,
  BIO_USER_MAPPED,
  type Bio,
  BioVec,
  bio_flagged,
  EFAULT,
  EINTR,
  EINVAL,
  EIO,
  ENOMEM,
  EREMOTEIO,
  GFP_DMA,
  GFP_KERNEL,
  GFP_NOWAIT,
  IovIter,
  IS_ERR,
  iov_iter_advance,
  iov_iter_bvec,
  iov_iter_kvec,
  READ,
  REQ_COPY_USER,
  REQ_OP_READ,
  REQ_OP_WRITE,
  type Request,
  type RqMapData,
  WRITE,
} from '../../src/linux/index.ts';
import { diskFile } from '../kernel/files.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, inProcess, inTask, must } from './help.ts';
import {
  countsAt,
  finish,
  giveUp,
  iovs,
  iterOver,
  mapPieces,
  type Rig,
  rig,
  transfer,
  vecsOf,
  withRequest,
} from './mapper.ts';
import { asUser, BASE, map, pageAt, pattern, peek, poke } from './user.ts';

const test = suite('blk_rq_map_user');

const HIGH = 2 ** 32;
const ISA = 2 ** 24 - 1;
/** Pages of the process where a device of 24 lines does not reach. */
const FAR = { userPages: { from: HIGH } };
const SCATTERED = { placement: 'scatter', seed: 5 } as const;

/** A process with so many pages at BASE, filled. */
function withPages<T>(it: Rig, pages: number, body: (mm: AddressSpace, bytes: Uint8Array) => Sleeps<T>): T {
  return asUser(it.linux, function* (mm) {
    const bytes = pattern(pages * PAGE_SIZE, 9);
    yield* map(mm, BASE, pages);
    yield* poke(it.linux, mm, BASE, bytes);
    const result = yield* body(mm, bytes);
    return result;
  });
}

function isaLimit({ linux, q }: Rig): void {
  inProcess(linux, () => linux.blk_queue_bounce_limit(q, ISA));
}

function mapData(pages: readonly Page[], more: Partial<RqMapData> = {}): RqMapData {
  return {
    pages,
    page_order: 0,
    nr_entries: pages.length,
    offset: 0,
    null_mapped: false,
    from_user: false,
    ...more,
  };
}

function* kernelPages(it: Rig, count: number, order = 0): Sleeps<Page[]> {
  const pages: Page[] = [];
  for (let i = 0; i < count; i++) {
    const page = must(yield* it.linux.alloc_pages(GFP_KERNEL, order));
    it.linux.kernel.memory.fill(page.phys, 0xee, PAGE_SIZE << order);
    pages.push(page);
  }
  return pages;
}

function putPages(it: Rig, pages: readonly Page[]): void {
  for (const page of pages) it.linux.put_page(page);
}

/** Maps pieces and says how it failed: the real errno, with rq.bio null. */
function* mapFails(
  it: Rig,
  direction: number,
  iov: ReturnType<typeof iovs>,
  data: RqMapData | null = null,
): Sleeps<number> {
  return yield* withRequest(it, direction, function* (rq) {
    assert.is(yield* mapPieces(it, rq, direction, iov, data), -EINVAL);
    assert.equal([rq.bio, rq.biotail, rq.__data_len], [null, null, 0]);
    return rq.map_error;
  });
}

function isCopy(rq: Request): boolean {
  return rq.bio !== null && !bio_flagged(rq.bio, BIO_USER_MAPPED);
}

/** Whether a mapping of these pieces copies; it is given up afterwards. */
function* copies(it: Rig, iov: ReturnType<typeof iovs>, direction = WRITE): Sleeps<boolean> {
  return yield* withRequest(it, direction, function* (rq) {
    assert.is(yield* mapPieces(it, rq, direction, iov), 0);
    const copy = isCopy(rq);
    assert.is((rq.cmd_flags & REQ_COPY_USER) !== 0, copy);
    yield* giveUp(it, rq);
    return copy;
  });
}

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
    yield* linux.kernel.vm.dropCache(file.inode as Inode);
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

// ---- defects of 4.8 that are not here

for (const far of [false, true]) {
  test(`MAP-X1 a read that fails when it is appended leaves user memory alone${far ? ', bounced too' : ''}`, async () => {
    const it = await rig(far ? FAR : {});
    if (far) isaLimit(it);
    withPages(it, 4, function* (mm, bytes) {
      it.linux.blk_queue_max_hw_sectors(it.q, 8);
      assert.is(yield* mapFails(it, READ, iovs([BASE + 1, 2 * PAGE_SIZE])), -EINVAL);
      assert.is(yield* mapFails(it, READ, iovs([BASE, 2 * PAGE_SIZE])), -EINVAL);
      assert.equal(yield* peek(it.linux, mm, BASE, 4 * PAGE_SIZE), bytes);
      assert.is(it.linux.nr_bounce(), 0);
      assert.equal(countsAt(mm, BASE, 4), [1, 1, 1, 1]);
    });
  });
}

test('MAP-X2 a failure after several bios gives up all of them', async () => {
  const it = await rig(FAR);
  isaLimit(it);
  withPages(it, 4, function* (mm) {
    // One bio a piece: the first two fit, the third does not.
    it.linux.blk_queue_max_hw_sectors(it.q, 16);
    yield* withRequest(it, READ, function* (rq) {
      for (const n of [0, 1])
        assert.is(yield* mapPieces(it, rq, READ, iovs([BASE + n * PAGE_SIZE, PAGE_SIZE])), 0);
      const { bio } = rq;
      it.linux.blk_rq_abort_user(rq, null);
      assert.equal([rq.bio, bio?.live], [null, false]);
    });
    assert.equal(countsAt(mm, BASE, 4), [1, 1, 1, 1]);
    assert.is(it.linux.nr_bounce(), 0);
  });
});

test('MAP-X3 a copy of an iterator that has moved into a piece lands where it stands', async () => {
  const it = await rig();
  withPages(it, 2, function* (mm, bytes) {
    yield* withRequest(it, READ, function* (rq) {
      const iter = iterOver(READ, iovs([BASE + 1, 1000], [BASE + PAGE_SIZE, 1000]));
      iov_iter_advance(iter, 300);
      assert.is(yield* it.linux.blk_rq_map_user_iov(it.q, rq, null, iter, GFP_KERNEL), 0);
      assert.is(rq.__data_len, 1700);
      assert.is(yield* finish(it, rq), 0);
    });
    assert.equal(yield* peek(it.linux, mm, BASE, 301), bytes.slice(0, 301));
    assert.equal(yield* peek(it.linux, mm, BASE + 301, 700), it.device.slice(0, 700));
    assert.equal(yield* peek(it.linux, mm, BASE + PAGE_SIZE, 1000), it.device.slice(700, 1700));
  });
});

test('MAP-X4 a page that the queue refuses is freed, and nothing behind it is taken', async () => {
  const it = await rig(SCATTERED);
  const { linux, q } = it;
  linux.blk_queue_max_hw_sectors(q, 8);
  withPages(it, 4, function* (mm) {
    const iov = iovs([BASE, 512], [BASE + PAGE_SIZE, PAGE_SIZE], [BASE + 3 * PAGE_SIZE, 512]);
    const mapped = yield* linux.bio_map_user_iov(q, iterOver(WRITE, iov), GFP_KERNEL);
    if (IS_ERR(mapped)) throw new Error('no bio');
    assert.is(mapped.bi_iter.bi_size, 512);
    assert.equal(countsAt(mm, BASE, 4), [2, 1, 1, 1]);
    yield* linux.bio_unmap_user(mapped);
    const { mark } = linux.kernel.allocator;
    const copied = yield* linux.bio_copy_user_iov(
      q,
      null,
      iterOver(READ, iovs([BASE + 1, 3 * PAGE_SIZE])),
      GFP_KERNEL,
    );
    if (IS_ERR(copied)) throw new Error('no bio');
    assert.equal([copied.bi_iter.bi_size, linux.kernel.allocator.since(mark).length], [PAGE_SIZE, 1]);
    linux.bio_abort_user(copied);
  });
});

test('MAP-X5 a short read through a copy shows zeros, never what was in the page', async () => {
  const it = await rig();
  withPages(it, 2, function* (mm) {
    it.outcome.residual = 5000;
    assert.is(yield* transfer(it, READ, iovs([BASE + 1, 6000])), 0);
    assert.equal(yield* peek(it.linux, mm, BASE + 1, 1000), it.device.slice(0, 1000));
    assert.equal(yield* peek(it.linux, mm, BASE + 1001, 5000), new Uint8Array(5000));
  });
});

test('MAP-X5 the padding of a written copy is zeros', async () => {
  const it = await rig({ poison: true });
  withPages(it, 1, function* () {
    it.linux.blk_queue_dma_pad(it.q, 63);
    yield* withRequest(it, WRITE, function* (rq) {
      assert.is(yield* mapPieces(it, rq, WRITE, iovs([BASE, 100])), 0);
      const [page] = vecsOf(rq.bio)[0] ?? [null];
      const phys = must(page).phys;
      assert.equal(
        it.linux.kernel.memory.readBytes(phys + 100, PAGE_SIZE - 100),
        new Uint8Array(PAGE_SIZE - 100),
      );
      yield* finish(it, rq);
      assert.equal(it.segments, [[phys, 128]]);
    });
  });
});

test('MAP-X6 pieces that continue each other inside a page are one vec with one pin', async () => {
  const it = await rig();
  withPages(it, 2, function* (mm, bytes) {
    const iov = iovs([BASE, 512], [BASE + 512, 1024], [BASE + 1536, PAGE_SIZE]);
    yield* withRequest(it, WRITE, function* (rq) {
      assert.is(yield* mapPieces(it, rq, WRITE, iov), 0);
      assert.equal(
        vecsOf(rq.bio).map(([, offset, length]) => [offset, length]),
        [
          [0, 4096],
          [0, 1536],
        ],
      );
      assert.equal(countsAt(mm, BASE, 2), [2, 2]);
      assert.is(yield* finish(it, rq), 0);
    });
    assert.equal(it.device.slice(0, 5632), bytes.slice(0, 5632));
    // The same page twice, not continued: two pins, and two are dropped.
    assert.is(yield* transfer(it, WRITE, iovs([BASE, 512], [BASE, 512])), 0);
    assert.equal(countsAt(mm, BASE, 2), [1, 1]);
  });
});

// ---- unmapping

test('UNM-01 unmapping NULL is nothing; of several bios all are unmapped, and the first error counts', async () => {
  const it = await rig();
  withPages(it, 4, function* (mm) {
    assert.is(yield* it.linux.blk_rq_unmap_user(null), 0);
    yield* withRequest(it, READ, function* (rq) {
      for (const n of [0, 1, 2]) {
        assert.is(yield* mapPieces(it, rq, READ, iovs([BASE + n * PAGE_SIZE + (n === 2 ? 0 : 1), 512])), 0);
      }
      yield* mm.munmap(BASE, PAGE_SIZE);
      assert.is(yield* finish(it, rq), -EFAULT);
    });
    assert.equal(yield* peek(it.linux, mm, BASE + PAGE_SIZE + 1, 512), it.device.slice(512, 1024));
    assert.equal(yield* peek(it.linux, mm, BASE + 2 * PAGE_SIZE, 512), it.device.slice(1024, 1536));
    assert.is(pageAt(mm, BASE + 2 * PAGE_SIZE).count, 1);
  });
});

test('UNM-02 pages that were read into become dirty, whatever the outcome; those of a write do not', async () => {
  const it = await rig();
  withPages(it, 2, function* (mm) {
    for (const [direction, error] of [
      [READ, 0],
      [READ, -EIO],
      [WRITE, 0],
    ] as const) {
      const page = pageAt(mm, BASE);
      page.flags = 0;
      it.outcome.error = error;
      assert.is(yield* transfer(it, direction, iovs([BASE, 512])), 0);
      assert.is(it.linux.PageDirty(page), direction === READ);
      assert.is(page.count, 1);
    }
  });
});

test('UNM-02 dirtying waits for the lock of the page', async () => {
  const it = await rig();
  const { linux } = it;
  withPages(it, 1, function* (mm) {
    const page = pageAt(mm, BASE);
    yield* withRequest(it, READ, function* (rq) {
      assert.is(yield* mapPieces(it, rq, READ, iovs([BASE, 512])), 0);
      yield* linux.lock_page(page);
      linux.kernel.scheduler.spawn('unlock', function* () {
        yield* linux.kernel.scheduler.delay(50_000);
        linux.unlock_page(page);
      });
      const before = linux.kernel.machine.now();
      assert.is(yield* finish(it, rq), 0);
      assert.ok(linux.kernel.machine.now() >= before + 49_000);
    });
  });
});

test('UNM-03 all bytes of a copied read are copied out, even after an error; -EFAULT where they cannot be', async () => {
  const it = await rig();
  withPages(it, 3, function* (mm) {
    it.outcome.error = -EIO;
    assert.is(yield* transfer(it, READ, iovs([BASE + 1, 1000])), 0);
    it.outcome.error = 0;
    assert.equal(yield* peek(it.linux, mm, BASE + 1, 1000), it.device.slice(0, 1000));
    yield* withRequest(it, READ, function* (rq) {
      assert.is(yield* mapPieces(it, rq, READ, iovs([BASE + 1, 2 * PAGE_SIZE])), 0);
      yield* mm.mprotect(BASE + PAGE_SIZE, PAGE_SIZE, VM_READ);
      assert.is(yield* finish(it, rq), -EFAULT);
    });
    assert.equal(yield* peek(it.linux, mm, BASE + 1, PAGE_SIZE - 1), it.device.slice(0, PAGE_SIZE - 1));
  });
});

test('UNM-03 the pieces were copied when they were mapped: changing them later has no effect', async () => {
  const it = await rig();
  withPages(it, 2, function* (mm, bytes) {
    const iov = iovs([BASE + 1, 500], [BASE + PAGE_SIZE, 500]);
    yield* withRequest(it, READ, function* (rq) {
      assert.is(yield* mapPieces(it, rq, READ, iov), 0);
      for (const piece of iov) Object.assign(piece, { iov_base: BASE + 2000, iov_len: 3 });
      iov.length = 0;
      assert.is(yield* finish(it, rq), 0);
    });
    assert.equal(yield* peek(it.linux, mm, BASE + 1, 500), it.device.slice(0, 500));
    assert.equal(yield* peek(it.linux, mm, BASE + PAGE_SIZE, 500), it.device.slice(500, 1000));
    assert.equal(yield* peek(it.linux, mm, BASE + 2000, 3), bytes.slice(2000, 2003));
  });
});

test('UNM-04 without user memory nothing is copied, the pages are freed, and it is -EINTR for both directions', async () => {
  const it = await rig();
  const { linux } = it;
  for (const direction of [READ, WRITE]) {
    withPages(it, 1, function* (mm, bytes) {
      yield* withRequest(it, direction, function* (rq) {
        assert.is(yield* mapPieces(it, rq, direction, iovs([BASE + 1, 512])), 0);
        const { bio } = rq;
        yield* linux.blk_execute_rq(it.q, null, rq, false);
        const worker = linux.kernel.scheduler.spawn('worker', () => linux.blk_rq_unmap_user(bio), {
          kthread: true,
        });
        assert.is(yield* linux.kernel.scheduler.join(worker), -EINTR);
      });
      assert.equal(yield* peek(linux, mm, BASE, 1024), bytes.slice(0, 1024));
    });
  }
});

test('UNM-05 unmapping in an interrupt, as another process, or twice is a bug', async () => {
  const it = await rig();
  const { linux } = it;
  const mapped = function* (body: (bio: Bio | null) => Sleeps<void>): Sleeps<void> {
    yield* withRequest(it, READ, function* (rq) {
      assert.is(yield* mapPieces(it, rq, READ, iovs([BASE + 1, 512])), 0);
      const { bio } = rq;
      yield* linux.blk_execute_rq(it.q, null, rq, false);
      yield* body(bio);
    });
  };
  assertBug('UNM-05', () =>
    withPages(it, 1, () =>
      mapped(function* (bio) {
        yield* linux.blk_rq_unmap_user(bio);
        yield* linux.blk_rq_unmap_user(bio);
      }),
    ),
  );
  assertBug('UNM-05', () =>
    withPages(it, 1, () =>
      mapped(function* (bio) {
        const other = linux.kernel.spawnProcess('other', () => linux.blk_rq_unmap_user(bio));
        yield* linux.kernel.scheduler.join(other);
      }),
    ),
  );
  assertBug('UNM-05', () =>
    linux.kernel.cpu.interrupt('test', 1, () => void linux.blk_rq_unmap_user(null).next()),
  );
});

test('UNM-06 a bio that its end has moved forward is unmapped whole', async () => {
  const it = await rig(SCATTERED);
  withPages(it, 4, function* (mm) {
    yield* withRequest(it, READ, function* (rq) {
      assert.is(yield* mapPieces(it, rq, READ, iovs([BASE, 4 * PAGE_SIZE])), 0);
      const { bio } = rq;
      yield* it.linux.blk_execute_rq(it.q, null, rq, false);
      assert.equal([bio?.bi_iter.bi_size, bio?.bi_vcnt], [0, 4]);
      assert.is(yield* it.linux.blk_rq_unmap_user(bio), 0);
    });
    assert.equal(countsAt(mm, BASE, 4), [1, 1, 1, 1]);
    assert.ok([0, 1, 2, 3].every((n) => it.linux.PageDirty(pageAt(mm, BASE + n * PAGE_SIZE))));
  });
});

test('MAP-22 -EREMOTEIO is how a request ends, never how mapping does', async () => {
  const it = await rig();
  withPages(it, 1, function* () {
    it.outcome.error = -EREMOTEIO;
    yield* withRequest(it, READ, function* (rq) {
      assert.is(yield* mapPieces(it, rq, READ, iovs([BASE, 512])), 0);
      const { bio } = rq;
      assert.is(yield* it.linux.blk_execute_rq(it.q, null, rq, false), -EIO);
      assert.equal([rq.errors, bio?.bi_error], [-EREMOTEIO, -EREMOTEIO]);
      assert.is(yield* it.linux.blk_rq_unmap_user(bio), 0);
    });
  });
});
