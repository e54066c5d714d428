import type { Sleeps } from '../../src/kernel/index.ts';
import {
  BIO_SEG_VALID,
  BIO_UPTODATE,
  type Bio,
  type BioSet,
  bio_list_add,
  GFP_ATOMIC,
  GFP_KERNEL,
  GFP_NOIO,
  GFP_NOWAIT,
  type LinuxApi,
  REQ_SYNC,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { sink } from './device.ts';
import { assertBug, assertDeadlock, boot, inProcess, inTask, must, objects } from './help.ts';

const test = suite('bio set');

async function withSet(pool_size: number, front_pad = 0): Promise<{ linux: LinuxApi; bs: BioSet }> {
  const linux = await boot();
  return { linux, bs: must(inProcess(linux, () => linux.bioset_create(pool_size, front_pad))) };
}

function alloc(linux: LinuxApi, gfp: number, nr: number, bs: BioSet | null): Bio | null {
  return inTask(linux, () => linux.bio_alloc_bioset(gfp, nr, bs));
}

test('BIO-01 a set of N reserves N bios and N arrays of 256 vecs', async () => {
  const linux = await boot();
  const before = objects(linux, 'biovec-256');
  const bs = must(inProcess(linux, () => linux.bioset_create(3, 24)));
  assert.is(bs.bio_slab.active, 3);
  assert.is(objects(linux, 'biovec-256') - before, 3);
  assert.equal([bs.bio_pool.curr_nr, bs.bvec_pool?.curr_nr], [3, 3]);
  assert.ok(bs.bvec_pool?.elements.every(({ length }) => length === 256));
});

test('BIO-01 a set that cannot be made whole is undone whole', async () => {
  const linux = await boot();
  const before = linux.slab_in_use();
  let tries = 0;
  for (;;) {
    linux.kernel.faults.slab.set({ after: tries });
    const bs = inProcess(linux, () => linux.bioset_create(2, 24));
    linux.kernel.faults.slab.off();
    if (bs !== null) break;
    assert.equal(linux.slab_in_use(), before);
    tries++;
  }
  assert.ok(tries >= 7, `${tries} allocations, each of which failed once`);
});

test('BIO-02 the pad stands before the bio and is never cleared', async () => {
  const { linux, bs } = await withSet(1, 8);
  const first = must(alloc(linux, GFP_NOIO, 1, bs));
  assert.is(first.front_pad.length, 8);
  assert.is(first.bi_inline_vecs.length, 4);
  first.front_pad[3] = 77;
  const context = { owner: 'driver' };
  first.container = context;
  linux.bio_put(first);
  const again = must(alloc(linux, GFP_NOIO, 1, bs));
  assert.is(again, first);
  assert.is(again.front_pad[3], 77);
  assert.is(again.container, context);
});

test('BIO-03 sets of the same element size share a slab, each with its own reserve', async () => {
  const { linux, bs } = await withSet(2, 40);
  const other = must(inProcess(linux, () => linux.bioset_create(3, 40)));
  const different = must(inProcess(linux, () => linux.bioset_create(1, 48)));
  assert.is(other.bio_slab, bs.bio_slab);
  assert.is.not(different.bio_slab, bs.bio_slab);
  assert.is(bs.bio_slab.refcount, 2);
  assert.equal([bs.bio_pool.curr_nr, other.bio_pool.curr_nr, bs.bio_slab.active], [2, 3, 5]);
  inTask(linux, () => linux.bioset_free(other));
  assert.equal([bs.bio_slab.refcount, bs.bio_slab.active], [1, 2]);
  inTask(linux, () => linux.bioset_free(bs));
  assert.is(objects(linux, bs.bio_slab.name), 0);
  assert.is(bs.bio_slab.refcount, 0);
});

for (const [nr, room] of [
  [0, 0],
  [1, 4],
  [4, 4],
  [5, 16],
  [16, 16],
  [17, 64],
  [64, 64],
  [65, 128],
  [128, 128],
  [129, 256],
  [256, 256],
] as const) {
  test(`BIO-04 BIO-05 ${nr} vecs: an array of ${room}, bi_max_vecs ${nr}`, async () => {
    const { linux, bs } = await withSet(1);
    const cache = `biovec-${room}`;
    const before = objects(linux, cache);
    const bio = must(alloc(linux, GFP_NOIO, nr, bs));
    assert.is(bio.bi_io_vec?.length ?? 0, room);
    assert.is(bio.bi_io_vec === null, nr === 0);
    assert.is(bio.bi_max_vecs, nr);
    assert.is(bio.bi_io_vec === bio.bi_inline_vecs, nr >= 1 && nr <= 4);
    assert.is(objects(linux, cache) - before, nr > 4 ? 1 : 0);
    linux.bio_put(bio);
    assert.is(objects(linux, cache), before);
  });
}

test('BIO-06 without memory but with WAIT a small array is one of 256 from the reserve, and goes back there', async () => {
  const { linux, bs } = await withSet(1);
  linux.kernel.faults.slab.failAll();
  const bio = must(alloc(linux, GFP_NOIO, 17, bs));
  assert.is(bio.bi_io_vec?.length, 256);
  assert.is(bio.bi_max_vecs, 17);
  assert.is(bs.bvec_pool?.curr_nr, 0);
  linux.bio_put(bio);
  assert.equal([bs.bvec_pool?.curr_nr, bs.bio_pool.curr_nr], [1, 1]);
});

test('BIO-06 without memory and WAIT it is NULL, and the bio is back in its pool', async () => {
  const { linux, bs } = await withSet(1);
  linux.kernel.faults.slab.failAll();
  assert.is(alloc(linux, GFP_NOWAIT, 17, bs), null);
  assert.equal([bs.bvec_pool?.curr_nr, bs.bio_pool.curr_nr, bs.bio_pool.outstanding], [1, 1, 0]);
  const biggest = must(alloc(linux, GFP_NOWAIT, 200, bs)); // only this class has a reserve of its own
  assert.is(bs.bvec_pool?.curr_nr, 0);
  linux.bio_put(biggest);
});

for (const nr of [257, -1]) {
  test(`BIO-07 ${nr} vecs from a set: NULL even with WAIT`, async () => {
    const { linux, bs } = await withSet(1);
    assert.is(alloc(linux, GFP_KERNEL, nr, bs), null);
    assert.is(bs.bio_pool.outstanding, 0);
  });
}

test('BIO-07 a negative number without a set is a bug of the caller', async () => {
  const linux = await boot();
  assertBug('BIO-07', () => alloc(linux, GFP_KERNEL, -1, null));
});

test('BIO-08 with a set and WAIT no allocation of 0..256 vecs fails, with no memory at all', async () => {
  const { linux, bs } = await withSet(1);
  linux.kernel.faults.slab.failAll();
  for (let nr = 0; nr <= 256; nr++) {
    const bio = must(alloc(linux, GFP_NOIO, nr, bs));
    assert.is(bio.bi_max_vecs, nr);
    linux.bio_put(bio);
  }
});

test('BIO-08 without a set any allocation may fail', async () => {
  const linux = await boot();
  linux.kernel.faults.slab.failAll();
  assert.is(alloc(linux, GFP_KERNEL, 1, null), null);
});

test('BIO-08 without a set there is room for up to 1024 vecs, all inside the bio', async () => {
  const linux = await boot();
  const before = linux.slab_in_use();
  const bio = must(alloc(linux, GFP_KERNEL, 1024, null));
  assert.is(bio.bi_max_vecs, 1024);
  assert.is(bio.bi_io_vec, bio.bi_inline_vecs);
  assert.ok((bio.bi_io_vec?.length ?? 0) >= 1024);
  assert.is(bio.bi_pool, null);
  assert.is(alloc(linux, GFP_KERNEL, 1025, null), null);
  linux.bio_put(bio);
  assert.equal(linux.slab_in_use(), before);
});

test('BIO-09 DLK-10 one bio at a time from a set of one: any number of tasks get on', async () => {
  const { linux, bs } = await withSet(1);
  const { scheduler, faults } = linux.kernel;
  faults.slab.failAll();
  for (let i = 0; i < 8; i++) {
    scheduler.spawn(`task ${i}`, function* () {
      for (let round = 0; round < 4; round++) {
        const bio = must(yield* linux.bio_alloc_bioset(GFP_NOIO, 100, bs));
        yield* scheduler.delay(1000);
        linux.bio_put(bio);
      }
    });
  }
  assert.is(scheduler.run(), 'idle');
  assert.is(bs.bio_pool.outstanding, 0);
});

test('BIO-09 DLK-02 a second bio before the first is submitted waits for ever', async () => {
  const { linux, bs } = await withSet(1);
  linux.kernel.faults.slab.failAll();
  const report = assertDeadlock(() =>
    inTask(linux, function* () {
      yield* linux.bio_alloc_bioset(GFP_NOIO, 1, bs);
      yield* linux.bio_alloc_bioset(GFP_NOIO, 1, bs);
    }),
  );
  assert.is(report.tasks[0]?.polls, true);
});

test('BIO-10 a reused bio is fresh, but for the contents of its vecs', async () => {
  const { linux, bs } = await withSet(1);
  const used = must(alloc(linux, GFP_NOIO, 2, bs));
  const page = must(inTask(linux, () => linux.alloc_page(GFP_KERNEL)));
  linux.bio_add_page(used, page, 512, 0);
  used.bi_iter.bi_sector = 9;
  used.bi_opf = REQ_SYNC;
  used.bi_op = 1;
  used.bi_error = -5;
  used.bi_private = page;
  used.bi_end_io = () => undefined;
  used.bi_flags |= 1 << BIO_SEG_VALID;
  linux.bio_put(used);
  const bio = must(alloc(linux, GFP_NOIO, 3, bs));
  assert.is(bio, used);
  assert.equal({ ...bio.bi_iter }, { bi_sector: 0, bi_size: 0, bi_idx: 0, bi_bvec_done: 0 });
  assert.equal(
    [bio.bi_opf, bio.bi_op, bio.bi_error, bio.bi_private, bio.bi_end_io, bio.bi_vcnt],
    [0, 0, 0, null, null, 0],
  );
  assert.equal([bio.__bi_cnt, bio.__bi_remaining, bio.bi_pool, bio.bi_max_vecs], [1, 1, bs, 3]);
  assert.is(bio.bi_flags, 1 << BIO_UPTODATE);
  assert.is(bio.bi_io_vec?.[0]?.bv_page, page);
});

test('BIO-11 a set without vecs: a warning and NULL, or a bio without vecs', async () => {
  const linux = await boot();
  const bs = must(inProcess(linux, () => linux.bioset_create_nobvec(1, 0)));
  assert.is(bs.bvec_pool, null);
  assert.is(alloc(linux, GFP_KERNEL, 1, bs), null);
  assert.is(linux.kernel.warnings.all[0]?.rule, 'BIO-11');
  assert.is(must(alloc(linux, GFP_KERNEL, 0, bs)).bi_io_vec, null);
});

test('BIO-12 bioset_free lets the rescuer finish first', async () => {
  const { linux, bs } = await withSet(1);
  const log: string[] = [];
  const bio = must(alloc(linux, GFP_NOIO, 0, bs));
  bio.bi_bdev = sink(linux);
  bio.bi_end_io = (ended) => {
    log.push('ended');
    linux.bio_put(ended);
  };
  inTask(linux, function* () {
    bio_list_add(bs.rescue_list, bio); // here, or the rescuer would have run before
    bs.rescue_workqueue.queue(bs.rescue_work);
    yield* linux.bioset_free(bs);
    log.push('freed');
  });
  assert.equal(log, ['ended', 'freed']);
  assert.is(linux.kernel.scheduler.tasks.size, 0);
});

test('BIO-12 bioset_free with a bio alive is a bug of the caller', async () => {
  const { linux, bs } = await withSet(1);
  alloc(linux, GFP_NOIO, 0, bs);
  assertBug('POOL-09', () => inTask(linux, () => linux.bioset_free(bs)));
});

test('BIO-13 atomic context: allowed without WAIT only', async () => {
  const { linux, bs } = await withSet(1);
  const { scheduler } = linux.kernel;
  const atomic = (gfp: number): Bio | null => {
    const sleeps: Sleeps<Bio | null> = linux.bio_alloc_bioset(gfp, 16, bs);
    return scheduler.atomic(sleeps);
  };
  assert.ok(atomic(GFP_ATOMIC));
  assertBug('ctx-sleep', () => atomic(GFP_NOIO));
});

test('bio_alloc takes from the set of the file systems, bio_kmalloc from no set', async () => {
  const linux = await boot();
  const bio = must(inTask(linux, () => linux.bio_alloc(GFP_KERNEL, 5)));
  assert.is(bio.bi_pool, linux.fs_bio_set);
  assert.is(linux.fs_bio_set.bio_pool.min_nr, 2);
  const plain = must(inProcess(linux, () => linux.bio_kmalloc(GFP_KERNEL, 5)));
  assert.equal([plain.bi_pool, plain.bi_max_vecs], [null, 5]);
  assert.equal(
    [0, 1, 2, 3, 4, 5].map((vec_class) => linux.bvec_nr_vecs(vec_class)),
    [1, 4, 16, 64, 128, 256],
  );
  linux.bio_put(bio);
  linux.bio_put(plain);
});
