// The rescuer of bio sets, and the deadlocks that it breaks and does not break.

import { type DeadlockReport, describeDeadlock, type Sleeps } from '../../src/kernel/index.ts';
import {
  type Bio,
  type BioSet,
  bio_list_empty,
  GFP_KERNEL,
  GFP_NOIO,
  GFP_NOWAIT,
  type LinuxApi,
  REQ_OP_WRITE,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { sink, TestDevice } from './device.ts';
import { assertDeadlock, bioOf, boot, inProcess, inTask, must } from './help.ts';

const test = suite('rescuer');

function setOf(linux: LinuxApi, pool_size: number, front_pad = 0): BioSet {
  return must(inProcess(linux, () => linux.bioset_create(pool_size, front_pad)));
}

/** From now on there is nothing but the reserves. */
function exhaust(linux: LinuxApi): void {
  linux.kernel.faults.slab.failAll();
}

/** Runs `body` as the make_request function of a device, in a task of its own; returns once that has returned. */
function underMakeRequest(linux: LinuxApi, body: (bio: Bio) => Sleeps<void>): void {
  const upper = new TestDevice('upper');
  upper.q.make_request_fn = (_q, bio) => body(bio);
  linux.kernel.faults.slab.off();
  const bio = must(inProcess(linux, () => linux.bio_kmalloc(GFP_KERNEL, 0)));
  bio.bi_bdev = upper;
  bio.bi_op = REQ_OP_WRITE;
  bio.bi_iter.bi_size = 4096;
  exhaust(linux);
  inTask(linux, () => linux.submit_bio(bio));
  linux.kernel.scheduler.run();
}

/** A child from the set, for a device and a sector; it is put when it ends. */
function* child(linux: LinuxApi, bs: BioSet, device: TestDevice, sector: number, vecs = 1): Sleeps<Bio> {
  const bio = must(yield* linux.bio_alloc_bioset(GFP_NOIO, vecs, bs));
  bio.bi_bdev = device;
  bio.bi_iter.bi_sector = sector;
  bio.bi_iter.bi_size = 512;
  bio.bi_op = REQ_OP_WRITE;
  bio.bi_end_io = (ended) => linux.bio_put(ended);
  return bio;
}

/** True once the rescuer of a set was kicked: its thread is made then. */
function kicked(linux: LinuxApi, bs: BioSet): boolean {
  return Array.from(linux.kernel.scheduler.tasks.values()).some(({ name }) => name === bs.name);
}

/** Sectors that went through the checks, in order. */
function traced(linux: LinuxApi): number[] {
  const sectors: number[] = [];
  linux.kernel.trace.listen({
    block_bio_queue: (_q, bio) => void sectors.push(bio.bi_iter.bi_sector),
  });
  return sectors;
}

test('RSC-01 DLK-01 with a bio waiting in the list, an exhausted set is rescued and the allocation returns', async () => {
  const linux = await boot();
  const bs = setOf(linux, 1);
  const lower = sink(linux);
  let second = false;
  underMakeRequest(linux, function* () {
    yield* linux.generic_make_request(yield* child(linux, bs, lower, 1));
    yield* linux.generic_make_request(yield* child(linux, bs, lower, 2));
    second = true;
  });
  assert.is(second, true);
  assert.equal(lower.got.length, 2);
  assert.is(bs.bio_pool.outstanding, 0);
  assert.is(kicked(linux, bs), true);
  assert.is(linux.kernel.scheduler.now(), 0); // rescued, not polled
});

test('RSC-01 in sorted order a bio that waits behind what is submitted meanwhile counts, too', async () => {
  const linux = await boot({ submission: 'sorted' });
  const bs = setOf(linux, 1);
  const lower = sink(linux);
  const middle = new TestDevice('middle');
  middle.q.make_request_fn = function* (_q, bio) {
    yield* linux.generic_make_request(yield* child(linux, bs, lower, 2));
    linux.bio_endio(bio);
  };
  const above = setOf(linux, 1, 8);
  underMakeRequest(linux, function* () {
    yield* linux.generic_make_request(yield* child(linux, above, middle, 0));
    yield* linux.generic_make_request(yield* child(linux, bs, lower, 1));
  });
  assert.equal(lower.got.length, 2);
  assert.is(kicked(linux, bs), true);
});

test('RSC-01 with an empty list the allocation waits as usual', async () => {
  const linux = await boot();
  const bs = setOf(linux, 1);
  const lower = sink(linux);
  const { scheduler } = linux.kernel;
  const held = inTask(linux, () => child(linux, bs, lower, 1));
  scheduler.spawn('holder', function* () {
    yield* scheduler.delay(1000);
    linux.bio_put(held);
  });
  underMakeRequest(linux, function* () {
    linux.bio_put(yield* child(linux, bs, lower, 2));
  });
  assert.is(kicked(linux, bs), false);
  assert.is(scheduler.now(), 1000);
});

test('RSC-02 the vec array alone can be what is exhausted', async () => {
  const linux = await boot();
  const bs = setOf(linux, 1);
  inProcess(linux, () => linux.mempool_resize(bs.bio_pool, 8));
  const lower = sink(linux);
  underMakeRequest(linux, function* () {
    yield* linux.generic_make_request(yield* child(linux, bs, lower, 1, 256));
    assert.is(bs.bvec_pool?.curr_nr, 0);
    yield* linux.generic_make_request(yield* child(linux, bs, lower, 2, 20));
  });
  assert.equal([lower.got.length, bs.bio_pool.outstanding, bs.bvec_pool?.curr_nr], [2, 0, 1]);
  assert.is(kicked(linux, bs), true);
});

test('RSC-02 a mask that was not weakened is never punted', async () => {
  const linux = await boot();
  const bs = setOf(linux, 1);
  const lower = sink(linux);
  underMakeRequest(linux, function* () {
    yield* linux.generic_make_request(yield* child(linux, bs, lower, 1));
    linux.kernel.faults.slab.off(); // memory is there: the first try succeeds
    yield* linux.generic_make_request(yield* child(linux, bs, lower, 2));
  });
  assert.is(kicked(linux, bs), false);
});

test('RSC-03 only bios of the set are punted, in order; all others stay, in order', async () => {
  const linux = await boot();
  const [a, b] = [setOf(linux, 2), setOf(linux, 2, 8)];
  const lower = sink(linux);
  const order: number[] = [];
  const { make_request_fn } = lower.q;
  lower.q.make_request_fn = (q, bio) => {
    order.push(bio.bi_iter.bi_sector);
    return must(make_request_fn)(q, bio);
  };
  underMakeRequest(linux, function* () {
    for (const [bs, sector] of [
      [a, 1],
      [b, 2],
      [a, 3],
      [b, 4],
    ] as const) {
      yield* linux.generic_make_request(yield* child(linux, bs, lower, sector));
    }
    yield* linux.generic_make_request(yield* child(linux, a, lower, 5));
  });
  assert.equal(order, [1, 3, 2, 4, 5]);
});

test('RSC-03 DLK-04 a list with bios of other sets only: the rescuer is kicked for nothing', async () => {
  const linux = await boot();
  const [a, b] = [setOf(linux, 1), setOf(linux, 1, 8)];
  const lower = sink(linux);
  let report: DeadlockReport | null = null;
  report = assertDeadlock(() =>
    underMakeRequest(linux, function* () {
      yield* child(linux, a, lower, 1); // kept, not submitted
      yield* linux.generic_make_request(yield* child(linux, b, lower, 2));
      yield* child(linux, a, lower, 3);
    }),
  );
  assert.is(report.tasks[0]?.polls, true);
  assert.is(kicked(linux, a), true);
  assert.is(lower.got.length, 0);
});

test('RSC-04 the rescuer submits one bio at a time from a thread of the kernel', async () => {
  const linux = await boot();
  const { scheduler } = linux.kernel;
  const bs = setOf(linux, 2);
  const log: string[] = [];
  const lower = new TestDevice('slow');
  lower.q.make_request_fn = function* (_q, bio) {
    const sector = bio.bi_iter.bi_sector;
    log.push(`${linux.kernel.current?.comm} ${sector}`);
    yield* scheduler.delay(1000);
    log.push(`done ${sector}`);
    linux.bio_endio(bio);
  };
  underMakeRequest(linux, function* () {
    for (const sector of [1, 2, 3]) {
      yield* linux.generic_make_request(yield* child(linux, bs, lower, sector));
    }
  });
  assert.equal(log.slice(0, 4), [`${bs.name} 1`, 'done 1', `${bs.name} 2`, 'test 3']);
  assert.is(log.length, 6);
});

test('RSC-05 a rescued bio passes the checks again: it is traced twice', async () => {
  const linux = await boot();
  const bs = setOf(linux, 1);
  const disk = sink(linux);
  const part = Object.assign(new TestDevice('part'), {
    queue: disk.queue,
    bd_contains: disk,
    start_sect: 100,
  });
  const sectors = traced(linux);
  underMakeRequest(linux, function* () {
    yield* linux.generic_make_request(yield* child(linux, bs, part, 1));
    yield* linux.generic_make_request(yield* child(linux, bs, part, 2));
  });
  assert.equal(sectors, [0, 101, 101, 102]); // remapped once
});

test('RSC-06 without WAIT there is no punt, just NULL', async () => {
  const linux = await boot();
  const bs = setOf(linux, 1);
  const lower = sink(linux);
  underMakeRequest(linux, function* () {
    yield* linux.generic_make_request(yield* child(linux, bs, lower, 1));
    assert.is(yield* linux.bio_alloc_bioset(GFP_NOWAIT, 1, bs), null);
    const list = must(linux.kernel.current?.bio_list)[0];
    assert.is(bio_list_empty(list), false);
  });
  assert.is(kicked(linux, bs), false);
});

test('RSC-07 too many vecs under a list that is not empty: a punt, then NULL', async () => {
  const linux = await boot();
  const bs = setOf(linux, 2);
  const lower = sink(linux);
  underMakeRequest(linux, function* () {
    yield* linux.generic_make_request(yield* child(linux, bs, lower, 1));
    assert.is(yield* linux.bio_alloc_bioset(GFP_NOIO, 257, bs), null);
    assert.is(bio_list_empty(must(linux.kernel.current?.bio_list)[0]), true);
    assert.is(bs.bio_pool.outstanding, 1); // the child that waits for the rescuer
  });
  assert.equal([kicked(linux, bs), bs.bio_pool.outstanding, lower.got.length], [true, 0, 1]);
});

test('RSC-08 a punted bio may arrive after one that was submitted later', async () => {
  const linux = await boot();
  const { scheduler } = linux.kernel;
  const bs = setOf(linux, 3);
  const order: number[] = [];
  const lower = new TestDevice('slow');
  lower.q.make_request_fn = function* (_q, bio) {
    order.push(bio.bi_iter.bi_sector);
    yield* scheduler.delay(1000);
    linux.bio_endio(bio);
  };
  underMakeRequest(linux, function* () {
    for (const sector of [1, 2, 3, 4]) {
      yield* linux.generic_make_request(yield* child(linux, bs, lower, sector));
    }
  });
  assert.equal(order, [1, 2, 4, 3]);
});

test('DLK-03 a first child that is kept and not submitted: nothing can be rescued', async () => {
  const linux = await boot();
  const bs = setOf(linux, 1);
  const lower = sink(linux);
  assertDeadlock(() =>
    underMakeRequest(linux, function* () {
      yield* child(linux, bs, lower, 1);
      yield* child(linux, bs, lower, 2);
    }),
  );
  assert.is(kicked(linux, bs), false);
});

for (const sets of [1, 2]) {
  test(`DLK-05 two stacked drivers with ${sets} set${sets > 1 ? 's progress' : ' wait for ever'}`, async () => {
    const linux = await boot();
    const upperSet = setOf(linux, 1);
    const lowerSet = sets === 1 ? upperSet : setOf(linux, 1, 8);
    const disk = sink(linux);
    const middle = new TestDevice('middle');
    middle.q.make_request_fn = function* (_q, bio) {
      const clone = yield* child(linux, lowerSet, disk, 2);
      clone.bi_end_io = () => {
        linux.bio_put(clone);
        linux.bio_endio(bio);
      };
      yield* linux.generic_make_request(clone);
    };
    const run = (): void =>
      underMakeRequest(linux, function* () {
        yield* linux.generic_make_request(yield* child(linux, upperSet, middle, 1));
      });
    if (sets === 1) assertDeadlock(run);
    else run();
    assert.is(disk.got.length, sets - 1);
  });
}

for (const where of ['mempool', 'front_pad'] as const) {
  test(`DLK-06 two children with context from ${where}`, async () => {
    const linux = await boot();
    const bs = setOf(linux, 1, where === 'front_pad' ? 16 : 0);
    const cache = must(linux.kmem_cache_create('context', 16, 0, 0, () => ({})));
    const pool = must(inProcess(linux, () => linux.mempool_create_slab_pool(1, cache)));
    const lower = sink(linux);
    const run = (): void =>
      underMakeRequest(linux, function* () {
        for (const sector of [1, 2]) {
          const context = where === 'mempool' ? yield* linux.mempool_alloc(pool, GFP_NOIO) : null;
          const bio = yield* child(linux, bs, lower, sector);
          if (where === 'front_pad') bio.front_pad[0] = sector;
          bio.bi_end_io = () => {
            linux.mempool_free(context, pool);
            linux.bio_put(bio);
          };
          yield* linux.generic_make_request(bio);
        }
      });
    if (where === 'mempool') assertDeadlock(run);
    else run();
    assert.is(lower.got.length, where === 'mempool' ? 0 : 2);
  });
}

for (const submission of ['fifo', 'sorted'] as const) {
  test(`DLK-08 a credit held by the front while the rest is ahead of its child: ${submission}`, async () => {
    const linux = await boot({ submission });
    const { scheduler } = linux.kernel;
    const lower = sink(linux);
    const pool = must(
      inProcess(linux, () =>
        linux.mempool_create_slab_pool(1, must(linux.kmem_cache_create('credit', 8, 0, 0, () => ({})))),
      ),
    );
    const top = new TestDevice('top');
    top.q.make_request_fn = function* (_q, bio) {
      const credit = yield* linux.mempool_alloc(pool, GFP_NOIO);
      const front = yield* linux.bio_next_split(bio, 8, GFP_NOIO, linux.fs_bio_set);
      if (front === null) throw new Error('NULL');
      if (front !== bio) {
        linux.bio_chain(front, bio);
        yield* linux.generic_make_request(bio);
      }
      const clone = yield* child(linux, linux.fs_bio_set, lower, 0);
      clone.bi_end_io = () => {
        linux.bio_put(clone);
        linux.mempool_free(credit, pool);
        linux.bio_endio(front);
      };
      yield* linux.generic_make_request(clone);
    };
    const bio = bioOf(linux, 2);
    bio.bi_bdev = top;
    let ended = false;
    bio.bi_end_io = () => {
      ended = true;
    };
    linux.kernel.faults.mempool.failAll(); // the reserves only
    inProcess(linux, () => linux.mempool_resize(linux.fs_bio_set.bio_pool, 8));
    scheduler.spawn('writer', () => linux.submit_bio(bio));
    if (submission === 'fifo') assertDeadlock(() => scheduler.run());
    else scheduler.run();
    assert.is(ended, submission === 'sorted');
  });
}

test('DLK-09 the lower driver, run by the rescuer, allocates from the set that is being rescued', async () => {
  const linux = await boot();
  const bs = setOf(linux, 1);
  const disk = sink(linux);
  const lower = new TestDevice('lower');
  lower.q.make_request_fn = function* (_q, bio) {
    linux.bio_put(yield* child(linux, bs, disk, 9));
    linux.bio_endio(bio);
  };
  const report = assertDeadlock(() =>
    underMakeRequest(linux, function* () {
      yield* linux.generic_make_request(yield* child(linux, bs, lower, 1));
      yield* linux.generic_make_request(yield* child(linux, bs, lower, 2));
    }),
  );
  assert.equal(
    report.tasks.map(({ name }) => name),
    ['test', bs.name],
  );
  const [test, rescuer] = report.tasks;
  const pool = `mempool bios of ${bs.name}`;
  const owner = `who frees the one element of bios of ${bs.name}`;
  const waits = `waits for an element of a memory pool on ${pool} since 0 ns, wakes only to poll, to be woken by ${owner}`;
  const under = 'is under a make_request function; until that returns no bio waits';
  assert.equal(describeDeadlock(report).split('\n').slice(1), [
    `  test (${test?.pid}) ${waits}`,
    `  ${bs.name} (${rescuer?.pid}) ${waits}`,
    `  note: test (${test?.pid}) ${under}`,
    `  note: ${bs.name} (${rescuer?.pid}) ${under}`,
  ]);
});
