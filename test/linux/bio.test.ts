import {
  BIO_CHAIN,
  BIO_CLONED,
  BIO_SEG_VALID,
  BIO_UPTODATE,
  BIO_USER_MAPPED,
  type Bio,
  bio_flagged,
  bio_for_each_segment,
  bio_for_each_segment_all,
  bio_sectors,
  bio_segments,
  bio_set_flag,
  EIO,
  ENOMEM,
  GFP_KERNEL,
  GFP_NOIO,
  GFP_NOWAIT,
  type LinuxApi,
  REQ_OP_DISCARD,
  REQ_OP_WRITE,
  REQ_OP_WRITE_SAME,
  REQ_SYNC,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { sink } from './device.ts';
import { assertBug, bioOf, boot, inProcess, inTask, must, objects } from './help.ts';

const test = suite('bio');

function plain(linux: LinuxApi, nr = 1): Bio {
  return must(inProcess(linux, () => linux.bio_kmalloc(GFP_KERNEL, nr)));
}

/** What is left of a bio: page number, offset and length of each piece. */
function pieces(bio: Bio): [number, number, number][] {
  const all: [number, number, number][] = [];
  bio_for_each_segment(bio, ({ bv_page, bv_offset, bv_len }) => {
    all.push([must(bv_page).pfn, bv_offset, bv_len]);
  });
  return all;
}

// ---- references

test('LIFE-01 the last put frees the bio and its vecs, never its pages', async () => {
  const linux = await boot();
  const before = objects(linux, 'biovec-16');
  const bio = must(inTask(linux, () => linux.bio_alloc(GFP_KERNEL, 10)));
  const page = must(inTask(linux, () => linux.alloc_page(GFP_KERNEL)));
  linux.bio_add_page(bio, page, 4096, 0);
  linux.bio_get(bio);
  linux.bio_put(bio);
  assert.is(objects(linux, 'biovec-16'), before + 1);
  assert.is(bio.live, true);
  linux.bio_put(bio);
  assert.is(objects(linux, 'biovec-16'), before);
  assert.is(bio.live, false);
  assert.is(linux.page_count(page), 1);
});

test('LIFE-02 a put too many is a bug', async () => {
  const linux = await boot();
  const bio = plain(linux);
  linux.bio_put(bio);
  assertBug('LIFE-02', () => linux.bio_put(bio));
  assertBug('LIFE-02', () => linux.bio_get(bio));
});

test('LIFE-02 a bio that never had a get is freed by the first put, whatever its count', async () => {
  const linux = await boot();
  const bio = plain(linux);
  bio.__bi_cnt = 5;
  linux.bio_put(bio);
  assert.is(bio.live, false);
});

test('LIFE-02 with a get the count is looked at', async () => {
  const linux = await boot();
  const bio = plain(linux);
  linux.bio_get(bio);
  bio.__bi_cnt = 0;
  assertBug('LIFE-02', () => linux.bio_put(bio));
});

test('LIFE-03 the end does not put: a bio whose owner holds it can be looked at', async () => {
  const linux = await boot();
  const bio = plain(linux);
  let seen = 0;
  bio.bi_end_io = () => {
    seen++;
  };
  bio.bi_bdev = sink(linux);
  inTask(linux, () => linux.submit_bio(bio));
  assert.equal([seen, bio.live, bio.bi_error], [1, true, 0]);
  linux.bio_put(bio);
});

test('LIFE-03 after a submit the bio may be gone already', async () => {
  const linux = await boot();
  const bio = plain(linux);
  bio.bi_end_io = (ended) => linux.bio_put(ended);
  bio.bi_bdev = sink(linux);
  inTask(linux, () => linux.submit_bio(bio));
  assert.is(bio.live, false);
  assertBug('LIFE-02', () => linux.bio_get(bio));
});

test('LIFE-04 reset keeps room, references, vecs and set, and clears the rest', async () => {
  const linux = await boot();
  const bio = must(inTask(linux, () => linux.bio_alloc(GFP_KERNEL, 20)));
  const page = must(inTask(linux, () => linux.alloc_page(GFP_KERNEL)));
  const vecs = bio.bi_io_vec;
  linux.bio_add_page(bio, page, 4096, 0);
  linux.bio_get(bio);
  bio.bi_error = -EIO;
  bio.bi_iter.bi_sector = 8;
  bio.bi_end_io = () => undefined;
  bio.bi_private = page;
  bio.__bi_remaining = 3;
  for (const flag of [BIO_CHAIN, BIO_USER_MAPPED, BIO_SEG_VALID, BIO_CLONED]) bio_set_flag(bio, flag);
  linux.bio_reset(bio);
  assert.equal([bio.bi_max_vecs, bio.bi_io_vec === vecs, bio.bi_pool === linux.fs_bio_set], [20, true, true]);
  assert.equal([bio.bi_error, bio.bi_end_io, bio.bi_private, bio.__bi_remaining], [0, null, null, 1]);
  assert.equal([bio.bi_iter.bi_sector, bio.bi_iter.bi_size, bio.bi_vcnt], [0, 0, 0]);
  for (const flag of [BIO_CHAIN, BIO_USER_MAPPED, BIO_SEG_VALID, BIO_CLONED])
    assert.is(bio_flagged(bio, flag), false);
  assert.is(bio_flagged(bio, BIO_UPTODATE), true);
  assert.is(must(bio.bi_io_vec)[0]?.bv_page, page);
  linux.bio_put(bio);
  assert.is(bio.live, true); // the second reference is still there
  linux.bio_put(bio);
  assert.is(bio.live, false);
});

// ---- the end, chains

test('LIFE-06 the end calls bi_end_io once, with the error', async () => {
  const linux = await boot();
  const bio = plain(linux);
  const seen: number[] = [];
  bio.bi_end_io = (_bio, error) => {
    seen.push(error);
  };
  linux.bio_io_error(bio);
  assert.equal(seen, [-EIO]);
  const silent = plain(linux);
  linux.bio_endio(silent);
  assert.is(silent.bi_error, 0);
});

test('LIFE-06 more ends than begun is a bug', async () => {
  const linux = await boot();
  const bio = plain(linux);
  bio_set_flag(bio, BIO_CHAIN);
  bio.__bi_remaining = 0;
  assertBug('LIFE-06', () => linux.bio_endio(bio));
});

test('LIFE-06 a chain of 100000 ends without depth', async () => {
  const linux = await boot();
  const parent = plain(linux, 0);
  let ended = 0;
  parent.bi_end_io = () => {
    ended++;
  };
  let last = parent;
  for (let i = 0; i < 100_000; i++) {
    const child = must(linux.kernel.scheduler.atomic(linux.bio_alloc_bioset(GFP_NOWAIT, 0, null)));
    linux.bio_chain(child, last);
    linux.bio_endio(last); // its own part; it waits for the child
    last = child;
  }
  assert.is(ended, 0);
  linux.bio_endio(last);
  assert.is(ended, 1);
});

for (const [name, order] of [
  ['parent first', [0, 1, 2]],
  ['children first', [1, 2, 0]],
  ['parent between', [2, 0, 1]],
] as const) {
  test(`LIFE-07 the parent ends once, when all have ended: ${name}`, async () => {
    const linux = await boot();
    const before = linux.slab_in_use();
    const family = [plain(linux), plain(linux), plain(linux)];
    const [parent, ...children] = family as [Bio, Bio, Bio];
    let ended = 0;
    parent.bi_end_io = (bio) => {
      ended++;
      linux.bio_put(bio);
    };
    for (const child of children) linux.bio_chain(child, parent);
    for (const [step, who] of order.entries()) {
      assert.is(ended, 0, `before step ${step}`);
      linux.bio_endio(must(family[who]));
    }
    assert.is(ended, 1);
    assert.equal(linux.slab_in_use(), before, 'children are put when they end');
  });
}

test('LIFE-07 the parent takes the first error of its children, and a success never clears it', async () => {
  const linux = await boot();
  const parent = plain(linux);
  const errors: number[] = [];
  parent.bi_end_io = (_bio, error) => {
    errors.push(error);
  };
  const children = [0, -EIO, -ENOMEM, 0].map((error) => {
    const child = plain(linux);
    linux.bio_chain(child, parent);
    child.bi_error = error;
    return child;
  });
  for (const child of children) linux.bio_endio(child);
  linux.bio_endio(parent);
  assert.equal(errors, [-EIO]);
});

test('LIFE-07 a child with an end of its own is a bug', async () => {
  const linux = await boot();
  const child = plain(linux);
  child.bi_end_io = () => undefined;
  assertBug('LIFE-07', () => linux.bio_chain(child, plain(linux)));
  child.bi_end_io = null;
  child.bi_private = linux;
  assertBug('LIFE-07', () => linux.bio_chain(child, plain(linux)));
});

test('LIFE-08 without a chain a second end calls bi_end_io again', async () => {
  const linux = await boot();
  const bio = plain(linux);
  let ended = 0;
  bio.bi_end_io = () => {
    ended++;
  };
  linux.bio_endio(bio);
  linux.bio_endio(bio);
  assert.is(ended, 2);
});

// ---- splitting and cloning

test('LIFE-09 split: the front shares the vecs, the bio moves behind it', async () => {
  const linux = await boot();
  const bio = bioOf(linux, 3);
  const all = pieces(bio);
  bio.bi_iter.bi_sector = 100;
  bio.bi_end_io = () => undefined;
  bio.bi_private = linux;
  bio.bi_opf = REQ_SYNC;
  const front = must(inTask(linux, () => linux.bio_split(bio, 11, GFP_NOIO, linux.fs_bio_set)));
  assert.equal([front.bi_iter.bi_sector, bio_sectors(front)], [100, 11]);
  assert.equal([bio.bi_iter.bi_sector, bio_sectors(bio)], [111, 13]);
  assert.equal([front.bi_end_io, front.bi_private, front.bi_opf], [null, null, REQ_SYNC]);
  assert.is(bio_flagged(front, BIO_CLONED), true);
  assert.is(front.bi_io_vec, bio.bi_io_vec);
  assert.is(front.bi_max_vecs, 0);
  const [first, second, third] = all.map(([pfn]) => must(pfn));
  assert.equal(pieces(front), [
    [first, 0, 4096],
    [second, 0, 1536],
  ]);
  assert.equal(pieces(bio), [
    [second, 1536, 2560],
    [third, 0, 4096],
  ]);
});

for (const sectors of [0, -1, 8, 9]) {
  test(`LIFE-09 split of ${sectors} out of 8 sectors is a bug`, async () => {
    const linux = await boot();
    const bio = bioOf(linux, 1);
    assertBug('LIFE-09', () =>
      inTask(linux, () => linux.bio_split(bio, sectors, GFP_NOIO, linux.fs_bio_set)),
    );
  });
}

test('LIFE-09 after a split each part has its own segments', async () => {
  const linux = await boot();
  const q = linux.blk_alloc_queue(GFP_KERNEL);
  linux.blk_set_default_limits(q.limits);
  q.limits.cluster = false;
  const bio = bioOf(linux, 3);
  assert.is(linux.bio_phys_segments(q, bio), 3);
  const front = must(inTask(linux, () => linux.bio_split(bio, 8, GFP_NOIO, linux.fs_bio_set)));
  assert.equal([linux.bio_phys_segments(q, front), linux.bio_phys_segments(q, bio)], [1, 2]);
});

test('LIFE-09 a split without memory is NULL and leaves the bio alone', async () => {
  const linux = await boot();
  const bio = bioOf(linux, 2);
  linux.kernel.faults.slab.failAll();
  assert.is(
    inTask(linux, () => linux.bio_split(bio, 3, GFP_NOIO, null)),
    null,
  );
  assert.is(bio_sectors(bio), 16);
});

test('LIFE-09 the front of a discard has an array of its own', async () => {
  const linux = await boot();
  const bio = plain(linux, 1);
  bio.bi_op = REQ_OP_DISCARD;
  bio.bi_iter.bi_size = 64 * 512;
  const front = must(inTask(linux, () => linux.bio_split(bio, 10, GFP_NOIO, linux.fs_bio_set)));
  assert.equal([bio_sectors(front), bio_sectors(bio), bio.bi_iter.bi_sector], [10, 54, 10]);
  assert.is.not(front.bi_io_vec, bio.bi_io_vec);
  assert.is(front.bi_op, REQ_OP_DISCARD);
});

test('LIFE-10 next_split gives the bio itself when nothing is left over', async () => {
  const linux = await boot();
  const bio = bioOf(linux, 1);
  const next = (sectors: number) =>
    inTask(linux, () => linux.bio_next_split(bio, sectors, GFP_NOIO, linux.fs_bio_set));
  assert.is(bio_sectors(must(next(3))), 3);
  assert.is(next(5), bio);
  assert.is(next(100), bio);
});

test('LIFE-12 a fast clone shares vecs and iterator', async () => {
  const linux = await boot();
  const bio = bioOf(linux, 2);
  linux.bio_advance(bio, 512);
  bio.bi_op = REQ_OP_WRITE;
  bio_set_flag(bio, BIO_USER_MAPPED);
  bio.bi_end_io = () => undefined;
  bio.bi_private = linux;
  linux.bio_get(bio);
  const pages = pieces(bio).map(([pfn]) => must(linux.pfn_to_page(pfn)));
  const clone = must(inTask(linux, () => linux.bio_clone_fast(bio, GFP_NOIO, linux.fs_bio_set)));
  assert.is(clone.bi_io_vec, bio.bi_io_vec);
  assert.equal({ ...clone.bi_iter }, { ...bio.bi_iter });
  assert.equal(
    [clone.bi_op, clone.__bi_cnt, clone.bi_end_io, clone.bi_private],
    [REQ_OP_WRITE, 1, null, null],
  );
  assert.is(clone.bi_flags, (1 << BIO_CLONED) | (1 << BIO_UPTODATE));
  assert.equal(
    pages.map((page) => linux.page_count(page)),
    [1, 1],
  );
  linux.bio_put(clone);
  assert.is(bio.bi_io_vec?.length, 2);
});

test('LIFE-12 a clone has vecs of its own for what is left', async () => {
  const linux = await boot();
  const bio = bioOf(linux, 6);
  bio.bi_iter.bi_sector = 50;
  linux.bio_advance(bio, 4096 + 1024);
  const clone = must(inTask(linux, () => linux.bio_clone(bio, GFP_NOIO)));
  assert.is.not(clone.bi_io_vec, bio.bi_io_vec);
  assert.equal([clone.bi_vcnt, clone.bi_max_vecs], [5, 5]);
  assert.equal({ ...clone.bi_iter }, { bi_sector: 60, bi_size: 5 * 4096 - 1024, bi_idx: 0, bi_bvec_done: 0 });
  assert.equal(pieces(clone), pieces(bio));
  assert.is(bio_flagged(clone, BIO_CLONED), false);
});

test('LIFE-12 a clone of a write-same has one vec, of a discard none', async () => {
  const linux = await boot();
  const same = bioOf(linux, 1, 512);
  same.bi_op = REQ_OP_WRITE_SAME;
  same.bi_iter.bi_size = 100 * 512;
  const clone = must(inTask(linux, () => linux.bio_clone(same, GFP_NOIO)));
  assert.equal([clone.bi_vcnt, bio_sectors(clone)], [1, 100]);
  const discard = plain(linux, 1);
  discard.bi_op = REQ_OP_DISCARD;
  discard.bi_iter.bi_size = 100 * 512;
  const other = must(inTask(linux, () => linux.bio_clone(discard, GFP_NOIO)));
  assert.equal([other.bi_vcnt, bio_sectors(other)], [0, 100]);
});

test('LIFE-12 what has more than 256 vecs left cannot be cloned into a set', async () => {
  const linux = await boot();
  const page = must(inTask(linux, () => linux.alloc_page(GFP_KERNEL)));
  const bio = plain(linux, 300);
  for (let i = 0; i < 300; i++) assert.is(linux.bio_add_page(bio, page, 512, (i & 3) * 1024), 512);
  const clone = () => inTask(linux, () => linux.bio_clone(bio, GFP_NOIO));
  assert.is(clone(), null);
  linux.bio_advance(bio, 44 * 512);
  assert.is(must(clone()).bi_vcnt, 256);
});

// ---- moving

test('LIFE-18 advance moves sector and position, not the vecs', async () => {
  const linux = await boot();
  const bio = bioOf(linux, 2);
  const [first, second] = pieces(bio).map(([pfn]) => pfn) as [number, number];
  bio.bi_iter.bi_sector = 10;
  linux.bio_advance(bio, 1536);
  assert.equal({ ...bio.bi_iter }, { bi_sector: 13, bi_size: 6656, bi_idx: 0, bi_bvec_done: 1536 });
  assert.equal(pieces(bio), [
    [first, 1536, 2560],
    [second, 0, 4096],
  ]);
  linux.bio_advance(bio, 2560);
  assert.equal([bio.bi_iter.bi_idx, bio.bi_iter.bi_bvec_done], [1, 0]);
  const lengths: number[] = [];
  bio_for_each_segment_all(bio, ({ bv_len }) => void lengths.push(bv_len));
  assert.equal(lengths, [4096, 4096]);
});

test('LIFE-18 past the end: a warning, and the end', async () => {
  const linux = await boot();
  const bio = bioOf(linux, 1);
  linux.bio_advance(bio, 4096);
  assert.equal(linux.kernel.warnings.all, []);
  linux.bio_advance(bio, 512);
  assert.is(bio.bi_iter.bi_size, 0);
  assert.is(linux.kernel.warnings.all[0]?.rule, 'LIFE-18');
});

test('LIFE-18 of what has no data per sector only the numbers move', async () => {
  const linux = await boot();
  const bio = bioOf(linux, 1, 512);
  bio.bi_op = REQ_OP_WRITE_SAME;
  bio.bi_iter.bi_size = 100 * 512;
  linux.bio_advance(bio, 40 * 512);
  assert.equal({ ...bio.bi_iter }, { bi_sector: 40, bi_size: 60 * 512, bi_idx: 0, bi_bvec_done: 0 });
  assert.is(bio_segments(bio), 1);
  assert.is(pieces(bio).length, 1);
});

test('bio_trim keeps a range of sectors', async () => {
  const linux = await boot();
  const bio = bioOf(linux, 2);
  const second = pieces(bio)[1]?.[0];
  bio_set_flag(bio, BIO_SEG_VALID);
  linux.bio_trim(bio, 0, 16);
  assert.is(bio_flagged(bio, BIO_SEG_VALID), true);
  linux.bio_trim(bio, 9, 3);
  assert.equal([bio.bi_iter.bi_sector, bio_sectors(bio)], [9, 3]);
  assert.equal(pieces(bio), [[must(second), 512, 1536]]);
  assert.is(bio_flagged(bio, BIO_SEG_VALID), false);
});

test('the end of a bio that was queued is traced, with its error', async () => {
  const linux = await boot();
  const bio = plain(linux);
  bio.bi_bdev = sink(linux);
  bio.bi_error = -EIO; // the driver of this device leaves it
  const events: string[] = [];
  const stop = linux.kernel.trace.listen({
    block_bio_queue: () => void events.push('queue'),
    block_bio_complete: (_q, _bio, error) => void events.push(`complete ${error}`),
  });
  inTask(linux, () => linux.submit_bio(bio));
  linux.bio_endio(bio); // not queued again: not traced again
  stop();
  assert.equal(events, ['queue', 'complete -5']);
});
