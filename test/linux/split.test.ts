import type { Sleeps } from '../../src/kernel/index.ts';
import {
  type Bio,
  bootLinux,
  Gendisk,
  GFP_KERNEL,
  GFP_NOIO,
  type LinuxApi,
  REQ_NOMERGE,
  REQ_OP_DISCARD,
  REQ_OP_WRITE,
  REQ_OP_WRITE_SAME,
  type RequestQueue,
} from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, inTask, must } from './help.ts';

const test = suite('linux split');

/** Sectors and segments of a piece that came to the device. */
type Piece = readonly [sector: number, sectors: number, segments: number];

interface Rig {
  readonly linux: LinuxApi;
  readonly q: RequestQueue;
  readonly disk: Gendisk;
  /** What came, in order; each ends at once. */
  readonly pieces: Piece[];
  readonly flags: number[];
}

/** A disk whose requests end at once. */
async function boot(): Promise<Rig> {
  const machine = await createMachine({ ram: [{ base: 0, bytes: 16 * 2 ** 20 }], guard: false });
  const linux = bootLinux(machine);
  const pieces: Piece[] = [];
  const flags: number[] = [];
  const q = linux.blk_init_queue((queue) => {
    for (let rq = linux.blk_fetch_request(queue); rq !== null; rq = linux.blk_fetch_request(queue)) {
      pieces.push([rq.__sector, rq.__data_len / 512, rq.nr_phys_segments]);
      flags.push(rq.cmd_flags);
      linux.__blk_end_request_all(rq, 0);
    }
  });
  linux.blk_queue_max_hw_sectors(q, 2048);
  linux.blk_queue_max_segments(q, 1024);
  const disk = new Gendisk('test', q);
  return { linux, q, disk, pieces, flags };
}

/** A bio over pages that are apart from each other, from `sector` on. */
function* pagesBio(rig: Rig, pages: number, sector = 0, op = 0): Sleeps<Bio> {
  const { linux, disk } = rig;
  const bio = must(yield* linux.bio_alloc_bioset(GFP_KERNEL, pages, null));
  bio.bi_bdev = disk.part0;
  bio.bi_op = op;
  bio.bi_iter.bi_sector = sector;
  for (let i = 0; i < pages; i++) {
    const page = must(linux.kernel.frames.pfnToPage(1024 + 2 * i));
    assert.is(linux.bio_add_page(bio, page, 4096, 0), 4096);
  }
  return bio;
}

/** What a bio of so many separate pages becomes. */
function cut(rig: Rig, pages: number, sector = 0): readonly Piece[] {
  rig.pieces.length = 0;
  inTask(rig.linux, function* () {
    const bio = yield* pagesBio(rig, pages, sector);
    assert.is(yield* rig.linux.submit_bio_wait(bio), 0);
    rig.linux.bio_put(bio);
  });
  return rig.pieces;
}

test('SPL-01 the front is a new bio that cannot merge, the rest is submitted again before it is handled', async () => {
  const rig = await boot();
  const { linux, q, pieces, flags } = rig;
  linux.blk_queue_max_segments(q, 2);
  const events: (string | number)[][] = [];
  linux.kernel.trace.listen({
    block_split: (_q, front, rest) => {
      events.push(['split', front.bi_iter.bi_sector, rest, front.bi_phys_segments]);
    },
    block_bio_queue: (_q, bio) => {
      events.push(['queue', bio.bi_iter.bi_sector]);
    },
    block_getrq: (_q, bio) => {
      events.push(['getrq', bio?.bi_iter.bi_sector ?? -1]);
    },
  });
  inTask(linux, function* () {
    const bio = yield* pagesBio(rig, 5);
    assert.is(yield* linux.submit_bio_wait(bio), 0);
  });
  assert.equal(pieces, [
    [0, 16, 2],
    [16, 16, 2],
    [32, 8, 1],
  ]);
  assert.equal(events, [
    ['queue', 0],
    ['split', 0, 16, 2],
    ['queue', 16],
    ['getrq', 0],
    ['split', 16, 32, 2],
    ['queue', 32],
    ['getrq', 16],
    ['getrq', 32],
  ]);
  assert.equal(
    flags.map((word) => (word & REQ_NOMERGE) !== 0),
    [true, true, false],
  );
});

test('SPL-01 the owner is told once, after the last piece, and of the first error', async () => {
  const rig = await boot();
  const { linux, disk } = rig;
  const waiting: (() => void)[] = [];
  const q = linux.blk_init_queue((queue) => {
    for (let rq = linux.blk_fetch_request(queue); rq !== null; rq = linux.blk_fetch_request(queue)) {
      const mine = rq;
      const error = rq.__sector === 8 ? -61 : 0;
      waiting.push(() => linux.blk_end_request_all(mine, error));
    }
  });
  linux.blk_queue_max_segments(q, 1);
  const other = new Gendisk('slow', q);
  assert.ok(other !== disk);
  inTask(linux, function* () {
    const bio = yield* pagesBio({ ...rig, disk: other }, 3);
    let ends = 0;
    bio.bi_end_io = () => {
      ends++;
    };
    yield* linux.submit_bio(bio);
    assert.is(waiting.length, 3);
    waiting[2]?.();
    waiting[1]?.();
    assert.is(ends, 0);
    waiting[0]?.();
    assert.equal([ends, bio.bi_error], [1, -61]);
  });
});

test('SPL-02 the limit is the smaller of chunk and soft limit, in whole logical blocks', async () => {
  const rig = await boot();
  const { linux, q } = rig;
  linux.blk_queue_chunk_sectors(q, 1024);
  q.limits.max_sectors = 255;
  assert.equal(
    cut(rig, 40).map(([sector, sectors]) => [sector, sectors]),
    [
      [0, 255],
      [255, 65],
    ],
  );
  linux.blk_queue_logical_block_size(q, 4096);
  assert.equal(
    cut(rig, 40).map(([sector, sectors]) => [sector, sectors]),
    [
      [0, 248],
      [248, 72],
    ],
  );
});

test('SPL-03 a virt boundary cuts between vecs that leave a gap', async () => {
  const rig = await boot();
  const { linux, q, disk, pieces } = rig;
  linux.blk_queue_virt_boundary(q, 4095);
  inTask(linux, function* () {
    const bio = must(yield* linux.bio_alloc_bioset(GFP_KERNEL, 4, null));
    bio.bi_bdev = disk.part0;
    for (const [pfn, offset, bytes] of [
      [1000, 2048, 2048],
      [1002, 0, 4096],
      [1004, 0, 2048],
      [1006, 0, 4096],
    ] as const) {
      linux.bio_add_page(bio, must(linux.kernel.frames.pfnToPage(pfn)), bytes, offset);
    }
    assert.is(yield* linux.submit_bio_wait(bio), 0);
  });
  assert.equal(pieces, [
    [0, 16, 3],
    [16, 8, 1],
  ]);
});

test('SPL-03 inside a vec only where a segment is left for its front', async () => {
  const rig = await boot();
  const { linux, q } = rig;
  q.limits.max_sectors = 12;
  linux.blk_queue_max_segments(q, 2);
  assert.equal(cut(rig, 2), [
    [0, 12, 2],
    [12, 4, 1],
  ]);
  linux.blk_queue_max_segments(q, 1);
  assert.equal(cut(rig, 2), [
    [0, 8, 1],
    [8, 8, 1],
  ]);
});

test('SPL-03 of a bio that has advanced only what is left is looked at', async () => {
  const rig = await boot();
  const { linux, q, pieces } = rig;
  linux.blk_queue_max_segments(q, 1);
  inTask(linux, function* () {
    const bio = yield* pagesBio(rig, 2);
    linux.bio_advance(bio, 512);
    assert.is(yield* linux.submit_bio_wait(bio), 0);
  });
  assert.equal(pieces, [
    [1, 7, 1],
    [8, 8, 1],
  ]);
});

test('SPL-03 vecs that touch are one segment, as long as the limits of a segment let them', async () => {
  const rig = await boot();
  const { linux, q, disk, pieces } = rig;
  linux.blk_queue_max_segments(q, 1);
  const go = (): readonly Piece[] => {
    pieces.length = 0;
    inTask(linux, function* () {
      const bio = must(yield* linux.bio_alloc_bioset(GFP_KERNEL, 8, null));
      bio.bi_bdev = disk.part0;
      for (let i = 0; i < 8; i++)
        linux.bio_add_page(bio, must(linux.kernel.frames.pfnToPage(1020 + i)), 4096, 0);
      assert.is(yield* linux.submit_bio_wait(bio), 0);
    });
    return pieces;
  };
  assert.equal(go(), [[0, 64, 1]]);
  linux.blk_queue_max_segment_size(q, 3 * 4096);
  assert.equal(
    go().map(([, sectors]) => sectors),
    [24, 24, 16],
  );
  linux.blk_queue_max_segment_size(q, 65536);
  linux.blk_queue_segment_boundary(q, 0x3fff); // page frames 1020–1023, then 1024 and on
  assert.equal(
    go().map(([, sectors]) => sectors),
    [32, 32],
  );
});

test('SPL-03 a bio whose limits leave no room for a logical block is a bug of who made it', async () => {
  const rig = await boot();
  const { linux, q, disk } = rig;
  linux.blk_queue_max_segments(q, 1);
  assertBug('SPL-03', () =>
    inTask(linux, function* () {
      const bio = must(yield* linux.bio_alloc_bioset(GFP_KERNEL, 2, null));
      bio.bi_bdev = disk.part0;
      for (const pfn of [1000, 1002])
        linux.bio_add_page(bio, must(linux.kernel.frames.pfnToPage(pfn)), 256, 0);
      yield* linux.submit_bio(bio);
    }),
  );
});

test('SPL-04 the worked examples', async () => {
  const rig = await boot();
  const { linux, q } = rig;
  q.limits.max_sectors = 20;
  linux.blk_queue_max_segments(q, 4);
  assert.equal(cut(rig, 6), [
    [0, 20, 3],
    [20, 20, 3],
    [40, 8, 1],
  ]);
  linux.blk_queue_max_segments(q, 2);
  assert.equal(cut(rig, 6), [
    [0, 16, 2],
    [16, 16, 2],
    [32, 16, 2],
  ]);
  linux.blk_queue_max_segments(q, 4);
  linux.blk_queue_logical_block_size(q, 4096);
  assert.equal(cut(rig, 6), [
    [0, 16, 2],
    [16, 16, 2],
    [32, 16, 2],
  ]);
  linux.blk_queue_max_segments(q, 1024);
  q.limits.max_sectors = 1 << 20;
  assert.equal(cut(rig, 300), [
    [0, 2048, 256],
    [2048, 352, 44],
  ]);
  q.limits.logical_block_size = 512;
  linux.blk_queue_chunk_sectors(q, 32);
  assert.equal(cut(rig, 4, 28), [
    [28, 4, 1],
    [32, 28, 4],
  ]);
});

test('SPL-05 a discard is cut where the next piece begins aligned', async () => {
  const rig = await boot();
  const { linux, q, disk, pieces } = rig;
  q.discard = true;
  const discard = (sector: number, sectors: number): readonly (readonly number[])[] => {
    pieces.length = 0;
    inTask(linux, function* () {
      const bio = must(yield* linux.bio_alloc_bioset(GFP_KERNEL, 1, null));
      bio.bi_bdev = disk.part0;
      bio.bi_op = REQ_OP_DISCARD;
      bio.bi_iter.bi_sector = sector;
      bio.bi_iter.bi_size = sectors * 512;
      assert.is(yield* linux.submit_bio_wait(bio), 0);
    });
    return pieces.map(([first, count]) => [first, count]);
  };
  linux.blk_queue_max_discard_sectors(q, 100);
  assert.equal(discard(0, 250), [
    [0, 100],
    [100, 100],
    [200, 50],
  ]);
  q.limits.discard_granularity = 8 * 512;
  // 96 at most; from 3 on the first piece ends at 96, so that the second one is aligned.
  assert.equal(discard(3, 200), [
    [3, 93],
    [96, 96],
    [192, 11],
  ]);
  q.limits.discard_alignment = 4 * 512;
  assert.equal(discard(0, 200), [
    [0, 92],
    [92, 96],
    [188, 12],
  ]);
  // Less than the granularity: nothing to cut by.
  linux.blk_queue_max_discard_sectors(q, 7);
  assert.equal(discard(0, 40), [[0, 40]]);
});

test('SPL-05 a write-same is cut at its own limit', async () => {
  const rig = await boot();
  const { linux, q, disk, pieces } = rig;
  linux.blk_queue_max_write_same_sectors(q, 64);
  inTask(linux, function* () {
    const bio = must(yield* linux.bio_alloc_bioset(GFP_KERNEL, 1, null));
    bio.bi_bdev = disk.part0;
    bio.bi_op = REQ_OP_WRITE_SAME;
    linux.bio_add_page(bio, must(linux.kernel.frames.pfnToPage(1000)), 512, 0);
    bio.bi_iter.bi_size = 150 * 512;
    assert.is(yield* linux.submit_bio_wait(bio), 0);
  });
  assert.equal(
    pieces.map(([sector, sectors]) => [sector, sectors]),
    [
      [0, 64],
      [64, 64],
      [128, 22],
    ],
  );
});

test('SPL-06 pieces come from the set of the queue, and go back there', async () => {
  const rig = await boot();
  const { linux, q } = rig;
  linux.blk_queue_max_segments(q, 1);
  const { bio_pool } = q.bio_split;
  const seen: unknown[] = [];
  linux.kernel.trace.listen({
    block_split: (_q, front) => {
      seen.push(front.bi_pool === q.bio_split);
    },
  });
  assert.is(cut(rig, 8).length, 8);
  assert.equal(seen, new Array(7).fill(true));
  assert.is(bio_pool.curr_nr, bio_pool.min_nr);
});

test('SPL-06 pieces are allocated with NOIO', async () => {
  const rig = await boot();
  const { linux, q } = rig;
  linux.blk_queue_max_segments(q, 1);
  const { bio } = linux.kernel;
  const { bio_split } = bio;
  const masks: number[] = [];
  bio.bio_split = (whole, sectors, gfp, bs) => {
    masks.push(gfp);
    return bio_split(whole, sectors, gfp, bs);
  };
  assert.is(cut(rig, 3).length, 3);
  assert.equal(masks, [GFP_NOIO, GFP_NOIO]);
});

test('SPL-06 with memory exhausted and a set of two, a bio of many pieces still gets on', async () => {
  const rig = await boot();
  const { linux, q } = rig;
  linux.blk_queue_max_segments(q, 1);
  linux.kernel.faults.mempool.failAll();
  assert.is(cut(rig, 40).length, 40);
});

test('blk_queue_split of a stacking driver takes from the set that it is given', async () => {
  const rig = await boot();
  const { linux, q } = rig;
  linux.blk_queue_max_segments(q, 2);
  inTask(linux, function* () {
    const own = must(linux.bioset_create(4, 0));
    const bio = yield* pagesBio(rig, 3, 0, REQ_OP_WRITE);
    assert.is(linux.bio_split_point(q, bio), 16);
    const front = yield* linux.blk_queue_split(q, bio, own);
    assert.is(front.bi_pool, own);
    assert.ok(front !== bio);
    const small = must(yield* linux.bio_clone_fast(front, GFP_NOIO, own));
    assert.is(yield* linux.blk_queue_split(q, small, own), small);
    assert.is(small.bi_phys_segments, 2);
  });
});
