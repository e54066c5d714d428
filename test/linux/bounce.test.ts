import type { Page, Sleeps } from '../../src/kernel/index.ts';
import {
  BIO_BOUNCED,
  BIO_SNAP_STABLE,
  type Bio,
  EIO,
  GFP_DMA,
  GFP_KERNEL,
  GFP_NOIO,
  GFP_NOWAIT,
  type LinuxApi,
  REQ_OP_DISCARD,
  REQ_OP_READ,
  REQ_OP_WRITE,
  REQ_OP_WRITE_SAME,
  type RequestQueue,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, assertDeadlock, boot, inProcess, inTask } from './help.ts';

const test = suite('bounce');

const ISA_LIMIT = 2 ** 24 - 1;
const HIGH = 2 ** 32;

interface Rig {
  readonly linux: LinuxApi;
  readonly q: RequestQueue;
}

/** A kernel with a queue of a device that reaches 16 MiB. */
async function rig(limit = ISA_LIMIT): Promise<Rig> {
  const linux = await boot();
  const q = linux.blk_alloc_queue(GFP_KERNEL);
  linux.blk_queue_make_request(q, function* () {
    throw new Error('a bio was submitted');
  });
  inProcess(linux, () => linux.blk_queue_bounce_limit(q, limit));
  return { linux, q };
}

function pageFrom({ linux }: Rig, from: number, below = Number.MAX_SAFE_INTEGER): Page {
  const page = linux.kernel.allocator.alloc({ from, below });
  if (page === null) throw new Error(`no page from ${from}`);
  return page;
}

function bioOf({ linux }: Rig, op: number, vecs: readonly [Page, number, number][]): Bio {
  const bio = linux.bio_kmalloc(GFP_NOWAIT, vecs.length);
  if (bio === null) throw new Error('no bio');
  bio.bi_op = op;
  bio.bi_iter.bi_sector = 100;
  for (const [page, offset, length] of vecs) {
    if (linux.bio_add_page(bio, page, length, offset) !== length) throw new Error('the bio is full');
  }
  return bio;
}

function bounced(r: Rig, bio: Bio): Bio {
  return inTask(r.linux, () => r.linux.blk_queue_bounce(r.q, bio));
}

function pagesOf(bio: Bio): number[] {
  return (bio.bi_io_vec ?? []).slice(0, bio.bi_vcnt).map((vec) => vec.bv_page?.phys ?? -1);
}

test('BNC-01 a bio without data is not touched', async () => {
  const r = await rig();
  const bio = bioOf(r, REQ_OP_DISCARD, []);
  bio.bi_iter.bi_size = 4096;
  assert.is(bounced(r, bio), bio);
});

test('BNC-01 a queue that reaches the last page scans nothing', async () => {
  const r = await rig(HIGH * 2);
  const bio = bioOf(r, REQ_OP_READ, [[pageFrom(r, HIGH), 0, 4096]]);
  assert.is(bounced(r, bio), bio);
});

test('BNC-02 a page above the limit bounces, one at the limit does not', async () => {
  const r = await rig();
  const edge = pageFrom(r, 2 ** 24);
  r.q.limits.bounce_pfn = edge.pfn;
  const at = bioOf(r, REQ_OP_READ, [[edge, 0, 512]]);
  assert.is(bounced(r, at), at);
  r.q.limits.bounce_pfn = edge.pfn - 1;
  const clone = bounced(r, at);
  assert.is.not(clone, at);
  r.linux.bio_endio(clone);
});

test('BNC-03 only the pages above the limit are replaced, from the ISA pool', async () => {
  const r = await rig();
  const low = pageFrom(r, 0, 2 ** 19);
  const high = pageFrom(r, HIGH);
  const bio = bioOf(r, REQ_OP_READ, [
    [low, 0, 4096],
    [high, 512, 1024],
  ]);
  const clone = bounced(r, bio);
  const [first, second] = pagesOf(clone);
  assert.is(first, low.phys);
  assert.ok((second ?? HIGH) <= ISA_LIMIT);
  assert.equal([clone.bi_io_vec?.[1]?.bv_offset, clone.bi_io_vec?.[1]?.bv_len], [512, 1024]);
  assert.is(clone.bi_pool, r.linux.kernel.bioSet.fs_bio_set);
  r.linux.bio_endio(clone);
});

test('BNC-03 the pool waits for a page and never fails', async () => {
  const r = await rig();
  const { linux } = r;
  const bio = bioOf(r, REQ_OP_READ, [[pageFrom(r, HIGH), 0, 4096]]);
  linux.kernel.allocator.failures.failAll();
  const held: Bio[] = [];
  inTask(linux, function* (): Sleeps<void> {
    for (let i = 0; i < 16; i++) held.push(yield* linux.blk_queue_bounce(r.q, bio));
    const waiter = linux.kernel.scheduler.spawn('waiter', function* () {
      return yield* linux.blk_queue_bounce(r.q, bio);
    });
    yield* linux.kernel.scheduler.yieldNow();
    assert.is(waiter.state, 'sleeping');
    linux.bio_endio(held[0] as Bio);
    const clone = yield* linux.kernel.scheduler.join(waiter);
    assert.ok(clone !== undefined && clone !== bio);
  });
});

test('BNC-03 the clone is waited for, too', async () => {
  const r = await rig();
  const { linux } = r;
  const bio = bioOf(r, REQ_OP_READ, [[pageFrom(r, HIGH), 0, 4096]]);
  inTask(linux, function* (): Sleeps<void> {
    linux.kernel.faults.slab.failAll();
    const held = [yield* linux.bio_alloc(GFP_NOIO, 0), yield* linux.bio_alloc(GFP_NOIO, 0)];
    const waiter = linux.kernel.scheduler.spawn('waiter', function* () {
      return yield* linux.blk_queue_bounce(r.q, bio);
    });
    yield* linux.kernel.scheduler.yieldNow();
    assert.is(waiter.state, 'sleeping');
    linux.bio_put(held[0] as Bio);
    const clone = yield* linux.kernel.scheduler.join(waiter);
    assert.ok(clone !== undefined && clone !== bio);
  });
});

test('BNC-04 a write is copied when it is bounced, and later changes are not seen', async () => {
  const r = await rig();
  const { memory } = r.linux.kernel;
  const high = pageFrom(r, HIGH);
  memory.fill(high.phys, 0x11, 4096);
  const clone = bounced(r, bioOf(r, REQ_OP_WRITE, [[high, 100, 512]]));
  memory.fill(high.phys, 0x22, 4096);
  const page = pagesOf(clone)[0] ?? 0;
  assert.equal([...new Set(memory.readBytes(page + 100, 512))], [0x11]);
  r.linux.bio_endio(clone);
});

test('BNC-04 a write-same is a write: its block is copied', async () => {
  const r = await rig();
  const { memory } = r.linux.kernel;
  const high = pageFrom(r, HIGH);
  memory.fill(high.phys, 0x33, 4096);
  const bio = bioOf(r, REQ_OP_WRITE_SAME, [[high, 1024, 512]]);
  bio.bi_iter.bi_size = 64 * 512;
  const clone = bounced(r, bio);
  const page = pagesOf(clone)[0] ?? 0;
  assert.ok(page <= ISA_LIMIT);
  assert.equal([...new Set(memory.readBytes(page + 1024, 512))], [0x33]);
  r.linux.bio_endio(clone);
  assert.is(r.linux.nr_bounce(), 0);
});

test('BNC-04 nothing is copied in for a read', async () => {
  const r = await rig();
  const { memory } = r.linux.kernel;
  const high = pageFrom(r, HIGH);
  memory.fill(high.phys, 0x33, 4096);
  const bio = bioOf(r, REQ_OP_READ, [[high, 0, 4096]]);
  const clone = bounced(r, bio);
  assert.not.ok(memory.equals(pagesOf(clone)[0] ?? 0, new Uint8Array(4096).fill(0x33)));
  r.linux.bio_endio(clone);
});

test('BNC-05 the clone is marked and names its original, which is untouched', async () => {
  const r = await rig();
  const high = pageFrom(r, HIGH);
  const bio = bioOf(r, REQ_OP_WRITE, [[high, 0, 4096]]);
  const ended = (): void => undefined;
  bio.bi_end_io = ended;
  const clone = bounced(r, bio);
  assert.ok((clone.bi_flags & (1 << BIO_BOUNCED)) !== 0);
  assert.is(clone.bi_private, bio);
  assert.is.not(clone.bi_end_io, ended);
  assert.equal([clone.bi_iter.bi_sector, clone.bi_iter.bi_size, clone.bi_op], [100, 4096, REQ_OP_WRITE]);
  assert.equal(pagesOf(bio), [high.phys]);
  assert.is(bio.bi_end_io, ended);
  r.linux.bio_endio(clone);
});

test('BNC-06 the trace fires once a bio, with the original, before the clone is marked', async () => {
  const r = await rig();
  const seen: Bio[] = [];
  r.linux.kernel.trace.listen({
    block_bio_bounce: (_q, bio) => {
      seen.push(bio);
    },
  });
  const bio = bioOf(r, REQ_OP_READ, [
    [pageFrom(r, HIGH), 0, 4096],
    [pageFrom(r, HIGH), 0, 4096],
  ]);
  const clone = bounced(r, bio);
  assert.equal(seen.length, 1);
  assert.is(seen[0], bio);
  r.linux.bio_endio(clone);
});

test('BNC-07 a read is copied back, then the pages are back, then the original ends', async () => {
  const r = await rig();
  const { memory, allocator } = r.linux.kernel;
  const high = pageFrom(r, HIGH);
  memory.fill(high.phys, 0, 4096);
  const bio = bioOf(r, REQ_OP_READ, [[high, 512, 1024]]);
  const before = allocator.freePages;
  let atEnd: unknown[] = [];
  bio.bi_end_io = (ended, error) => {
    atEnd = [
      ended,
      error,
      memory.read8(high.phys + 512),
      allocator.freePages,
      r.linux.nr_bounce(),
      clone.live,
    ];
  };
  const clone = bounced(r, bio);
  memory.fill(pagesOf(clone)[0] ?? 0, 0x77, 4096);
  r.linux.bio_advance(clone, 1024);
  r.linux.bio_endio(clone);
  assert.equal(atEnd.slice(1), [0, 0x77, before, 0, true]); // the clone is put last
  assert.is(atEnd[0], bio);
  assert.equal([memory.read8(high.phys + 511), memory.read8(high.phys + 1536)], [0, 0]);
  assert.not.ok(clone.live);
});

test('BNC-07 nothing is copied back when the read failed', async () => {
  const r = await rig();
  const { memory } = r.linux.kernel;
  const high = pageFrom(r, HIGH);
  memory.fill(high.phys, 0x44, 4096);
  const bio = bioOf(r, REQ_OP_READ, [[high, 0, 4096]]);
  let error = 0;
  bio.bi_end_io = (_bio, result) => {
    error = result;
  };
  const clone = bounced(r, bio);
  memory.fill(pagesOf(clone)[0] ?? 0, 0x77, 4096);
  clone.bi_error = -EIO;
  r.linux.bio_endio(clone);
  assert.is(error, -EIO);
  assert.is(memory.read8(high.phys), 0x44);
});

test('BNC-08 NR_BOUNCE counts the replaced pages from bounce to end', async () => {
  const r = await rig();
  const bio = bioOf(r, REQ_OP_WRITE, [
    [pageFrom(r, HIGH), 0, 4096],
    [pageFrom(r, 0, 2 ** 19), 0, 4096],
    [pageFrom(r, HIGH), 0, 4096],
  ]);
  assert.is(r.linux.nr_bounce(), 0);
  const clone = bounced(r, bio);
  assert.is(r.linux.nr_bounce(), 2);
  r.linux.bio_endio(clone);
  assert.is(r.linux.nr_bounce(), 0);
});

test('BNC-09 a stable snapshot is copied whole, whatever its pages', async () => {
  const r = await rig();
  r.q.stable_pages_required = true;
  const low = pageFrom(r, 0, 2 ** 19);
  const bio = bioOf(r, REQ_OP_WRITE, [[low, 0, 4096]]);
  assert.is(bounced(r, bio), bio);
  bio.bi_flags |= 1 << BIO_SNAP_STABLE;
  const clone = bounced(r, bio);
  assert.is.not(pagesOf(clone)[0], low.phys);
  r.linux.bio_endio(clone);
});

test('BNC-10 an ISA queue without its pool is a bug, and the pool is made once', async () => {
  const linux = await boot();
  const q = linux.blk_alloc_queue(GFP_KERNEL);
  q.bounce_gfp = GFP_NOIO | GFP_DMA;
  q.limits.bounce_pfn = 0xfff;
  const r = { linux, q };
  const bio = bioOf(r, REQ_OP_READ, [[pageFrom(r, HIGH), 0, 4096]]);
  assertBug('BNC-10', () => bounced(r, bio));
  inProcess(linux, () => linux.blk_queue_bounce_limit(q, ISA_LIMIT));
  const { freePages } = linux.kernel.allocator;
  inProcess(linux, () => linux.blk_queue_bounce_limit(q, ISA_LIMIT));
  assert.is(linux.kernel.allocator.freePages, freePages);
});

test('BNC-11 a bio that the caller does not bounce keeps its pages', async () => {
  const r = await rig();
  const high = pageFrom(r, HIGH);
  const bio = bioOf(r, REQ_OP_READ, [[high, 0, 4096]]);
  assert.ok(r.linux.bounce_needed(r.q, bio));
  assert.equal(pagesOf(bio), [high.phys]);
});

test('DLK-11 a bio of more pages than the pool, without memory, is a deadlock', async () => {
  const r = await rig();
  const pages = Array.from({ length: 17 }, () => pageFrom(r, HIGH));
  const bio = bioOf(
    r,
    REQ_OP_READ,
    pages.map((page): [Page, number, number] => [page, 0, 4096]),
  );
  r.linux.kernel.allocator.failures.failAll();
  const report = assertDeadlock(() => bounced(r, bio));
  assert.ok(report.tasks.some(({ queue }) => queue.includes('bounce')));
});
