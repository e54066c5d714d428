import { SIGKILL } from '../../src/kernel/index.ts';
import {
  __GFP_DIRECT_RECLAIM,
  __GFP_IO,
  __GFP_NOMEMALLOC,
  __GFP_NORETRY,
  __GFP_NOWARN,
  __GFP_ZERO,
  ENOMEM,
  GFP_ATOMIC,
  GFP_KERNEL,
  GFP_NOFS,
  GFP_NOIO,
  GFP_NOWAIT,
  type LinuxApi,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, assertDeadlock, boot, inProcess, inTask } from './help.ts';

const test = suite('mempool');

interface Element {
  readonly id: number;
}

/** An allocator that can be empty, and writes down what it is asked. */
async function make(min_nr: number) {
  const linux = await boot();
  const source = {
    refuse: 0,
    left: Number.POSITIVE_INFINITY,
    made: 0,
    asked: [] as number[],
    freed: [] as number[],
  };
  const create = () =>
    linux.mempool_create<Element, typeof source>(
      min_nr,
      (gfp, data) => {
        data.asked.push(gfp);
        if (data.refuse-- > 0) return null;
        return data.left-- > 0 ? { id: ++data.made } : null;
      },
      (element, data) => void data.freed.push(element.id),
      source,
    );
  const pool = inProcess(linux, create);
  if (pool === null) throw new Error('no pool');
  source.asked.length = 0;
  return { linux, pool, source, create };
}

/** Tables of pools that are in use. */
function tables(linux: LinuxApi): number {
  return linux.slab_in_use().find(({ cache }) => cache === 'mempool-table')?.objects ?? 0;
}

test('POOL-01 create fills the reserve with GFP_KERNEL', async () => {
  const linux = await boot();
  const asked: number[] = [];
  const pool = inProcess(linux, () =>
    linux.mempool_create(
      3,
      (gfp) => {
        asked.push(gfp);
        return {};
      },
      () => undefined,
      null,
    ),
  );
  assert.equal(asked, [GFP_KERNEL, GFP_KERNEL, GFP_KERNEL]);
  assert.is(pool?.curr_nr, 3);
});

test('POOL-01 a create that fails gives back what it got and returns NULL', async () => {
  const { linux, source, create } = await make(3);
  source.left = 2;
  const before = tables(linux);
  assert.is(inProcess(linux, create), null);
  assert.is(tables(linux), before);
  assert.equal([...source.freed].sort(), [4, 5]);
});

test('POOL-02 the reserve is used before direct reclaim is tried', async () => {
  const { linux, pool, source } = await make(1);
  source.left = 0;
  const element = inTask(linux, () => linux.mempool_alloc(pool, GFP_KERNEL));
  assert.is(element?.id, 1);
  const added = __GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN;
  assert.equal(source.asked, [(GFP_KERNEL | added) & ~(__GFP_DIRECT_RECLAIM | __GFP_IO)]);
});

test('POOL-02 with the reserve empty the allocator is asked again with the full mask', async () => {
  const { linux, pool, source } = await make(1);
  pool.elements.length = 0;
  source.refuse = 1;
  const element = inTask(linux, () => linux.mempool_alloc(pool, GFP_KERNEL));
  assert.is(element?.id, 2);
  const added = __GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN;
  assert.is(source.asked[1], GFP_KERNEL | added);
  assert.is(source.asked.length, 2);
});

for (const [name, gfp, calls] of [
  ['ATOMIC', GFP_ATOMIC, 1],
  ['NOWAIT', GFP_NOWAIT, 1],
  ['KERNEL without WAIT', GFP_KERNEL & ~__GFP_DIRECT_RECLAIM, 2],
] as const) {
  test(`POOL-03 ${name} with nothing left: ${calls} calls of the allocator, then NULL`, async () => {
    const { linux, pool, source } = await make(1);
    source.left = 0;
    pool.elements.length = 0;
    assert.is(
      inTask(linux, () => linux.mempool_alloc(pool, gfp)),
      null,
    );
    assert.is(source.asked.length, calls);
  });
}

for (const [name, gfp] of [
  ['NOIO', GFP_NOIO],
  ['NOFS', GFP_NOFS],
  ['KERNEL', GFP_KERNEL],
] as const) {
  test(`POOL-03 ${name} with nothing left: 2 calls, then one a wake-up`, async () => {
    const { linux, pool, source } = await make(1);
    const { scheduler } = linux.kernel;
    source.left = 0;
    const task = scheduler.spawn('waiter', function* () {
      yield* linux.mempool_alloc(pool, gfp);
      yield* linux.mempool_alloc(pool, gfp);
    });
    scheduler.run({ untilNs: 1 });
    assert.is(source.asked.length, 3); // the first found the reserve, the second asked twice
    assert.is(task.state, 'sleeping');
    scheduler.run({ untilNs: 5e9 });
    assert.is(source.asked.length, 4);
    scheduler.run({ untilNs: 10e9 });
    assert.is(source.asked.length, 5);
  });
}

test('POOL-04 with WAIT it polls every 5 s and gets on when the allocator recovers', async () => {
  const { linux, pool, source } = await make(1);
  const { scheduler } = linux.kernel;
  source.left = 0;
  const task = scheduler.spawn('waiter', function* () {
    yield* linux.mempool_alloc(pool, GFP_NOIO);
    return yield* linux.mempool_alloc(pool, GFP_NOIO);
  });
  scheduler.run({ untilNs: 7e9 });
  source.left = 1;
  scheduler.run({ until: task });
  assert.is(task.exitValue?.id, 2);
  assert.is(scheduler.now(), 10e9);
});

test('POOL-04 a signal does not end the sleep', async () => {
  const { linux, pool, source } = await make(1);
  const { scheduler } = linux.kernel;
  source.left = 0;
  let held: Element | null = null;
  const task = scheduler.spawn('waiter', function* () {
    held = yield* linux.mempool_alloc(pool, GFP_NOIO);
    return yield* linux.mempool_alloc(pool, GFP_NOIO);
  });
  scheduler.run({ untilNs: 1 });
  scheduler.signal(task, SIGKILL);
  scheduler.run({ untilNs: 2 });
  assert.is(task.state, 'sleeping');
  linux.mempool_free<Element>(held, pool);
  scheduler.run({ until: task });
  assert.is(task.exitValue?.id, 1);
});

test('POOL-04 POOL-07 DLK-12 waiting for what never comes is reported as a deadlock of pollers', async () => {
  const { linux, pool, source } = await make(1);
  source.left = 0;
  const report = assertDeadlock(() =>
    inTask(linux, function* () {
      yield* linux.mempool_alloc(pool, GFP_NOIO);
      yield* linux.mempool_alloc(pool, GFP_NOIO);
    }),
  );
  assert.is(report.tasks[0]?.polls, true);
  assert.match(report.tasks[0]?.wakers ?? '', 'the one element');
});

test('POOL-05 the element returned last is handed out first, as it was left', async () => {
  const { linux, pool, source } = await make(2);
  source.left = 0;
  inTask(linux, function* () {
    const first = yield* linux.mempool_alloc(pool, GFP_NOIO);
    const second = yield* linux.mempool_alloc(pool, GFP_NOIO);
    Object.assign(second ?? {}, { mark: 'kept' });
    linux.mempool_free(first, pool);
    linux.mempool_free(second, pool);
    const again = yield* linux.mempool_alloc(pool, GFP_NOIO);
    assert.is(again, second);
    assert.is((again as { mark?: string } | null)?.mark, 'kept');
  });
});

test('POOL-06 a free fills the reserve, then goes to the allocator; NULL is no element', async () => {
  const { linux, pool, source } = await make(1);
  linux.mempool_free(null, pool);
  inTask(linux, function* () {
    const fresh = yield* linux.mempool_alloc(pool, GFP_NOIO);
    source.left = 0;
    const reserve = yield* linux.mempool_alloc(pool, GFP_NOIO);
    assert.is(reserve?.id, 1);
    linux.mempool_free(fresh, pool); // not the element that came from the reserve
    assert.is(pool.curr_nr, 1);
    assert.equal(source.freed, []);
    linux.mempool_free(reserve, pool);
    assert.equal(source.freed, [1]);
  });
  assertBug('POOL-06', () => linux.mempool_free({ id: 9 }, pool));
});

test('POOL-06 a free into the reserve wakes all sleepers, one gets it', async () => {
  const { linux, pool, source } = await make(1);
  const { scheduler } = linux.kernel;
  source.left = 0;
  let held: Element | null = null;
  scheduler.spawn('holder', function* () {
    held = yield* linux.mempool_alloc(pool, GFP_NOIO);
  });
  const waiters = [1, 2, 3].map((i) =>
    scheduler.spawn(`waiter ${i}`, () => linux.mempool_alloc(pool, GFP_NOIO)),
  );
  scheduler.run({ untilNs: 1 });
  source.asked.length = 0;
  linux.mempool_free<Element>(held, pool);
  scheduler.run({ untilNs: 2 });
  assert.is(source.asked.length, 3); // each looked
  assert.equal(
    waiters.map(({ state }) => state),
    ['dead', 'sleeping', 'sleeping'],
  );
});

test('POOL-07 tasks that each free what they took all get on, with a reserve of one', async () => {
  const { linux, pool, source } = await make(1);
  const { scheduler } = linux.kernel;
  source.left = 0;
  const tasks = Array.from({ length: 10 }, (_, i) =>
    scheduler.spawn(`task ${i}`, function* () {
      for (let round = 0; round < 5; round++) {
        const element = yield* linux.mempool_alloc(pool, GFP_NOIO);
        yield* scheduler.delay(1000);
        linux.mempool_free(element, pool);
      }
    }),
  );
  assert.is(scheduler.run(), 'idle');
  assert.ok(tasks.every(({ state }) => state === 'dead'));
  assert.is(pool.curr_nr, 1);
});

test('POOL-08 a smaller minimum frees the surplus, a bigger one fills up', async () => {
  const { linux, pool, source } = await make(4);
  assert.is(
    inProcess(linux, () => linux.mempool_resize(pool, 2)),
    0,
  );
  assert.equal([pool.min_nr, pool.curr_nr, source.freed.length], [2, 2, 2]);
  assert.is(
    inProcess(linux, () => linux.mempool_resize(pool, 5)),
    0,
  );
  assert.equal([pool.min_nr, pool.curr_nr], [5, 5]);
});

test('POOL-08 only the table can make it fail; a reserve that is not filled is filled by later frees', async () => {
  const { linux, pool, source } = await make(1);
  linux.kernel.faults.slab.failAll();
  assert.is(
    inProcess(linux, () => linux.mempool_resize(pool, 3)),
    -ENOMEM,
  );
  assert.is(pool.min_nr, 1);
  linux.kernel.faults.slab.off();
  source.left = 1;
  const outside = inTask(linux, () => linux.mempool_alloc(pool, GFP_NOIO));
  assert.is(
    inProcess(linux, () => linux.mempool_resize(pool, 3)),
    0,
  );
  assert.equal([pool.min_nr, pool.curr_nr], [3, 1]);
  linux.mempool_free(outside, pool);
  assert.equal([pool.curr_nr, source.freed.length], [2, 0]);
});

test('POOL-08 a minimum of 0 is a bug of the caller', async () => {
  const { linux, pool } = await make(1);
  assertBug('POOL-08', () => inProcess(linux, () => linux.mempool_resize(pool, 0)));
});

test('POOL-09 destroy frees the reserve; NULL is no pool', async () => {
  const { linux, pool, source } = await make(3);
  const before = tables(linux);
  linux.mempool_destroy(pool);
  assert.equal([source.freed.length, before - tables(linux)], [3, 1]);
  linux.mempool_destroy(null);
});

test('POOL-09 destroy with an element out is a bug of the caller', async () => {
  const { linux, pool } = await make(1);
  inTask(linux, () => linux.mempool_alloc(pool, GFP_NOIO));
  assertBug('POOL-09', () => linux.mempool_destroy(pool));
});

test('POOL-10 __GFP_ZERO warns, WAIT in atomic context is a bug', async () => {
  const { linux, pool } = await make(2);
  const { scheduler, warnings } = linux.kernel;
  inTask(linux, () => linux.mempool_alloc(pool, GFP_NOIO | __GFP_ZERO));
  assert.is(warnings.all[0]?.rule, 'POOL-10');
  assertBug('ctx-sleep', () => inProcess(linux, () => scheduler.atomic(linux.mempool_alloc(pool, GFP_NOIO))));
  assert.ok(
    inProcess(linux, () => scheduler.atomic(linux.mempool_alloc(pool, GFP_ATOMIC))),
    'without WAIT it is allowed anywhere',
  );
});

test('fault injection makes the allocator of a pool fail, not its reserve', async () => {
  const { linux, pool, source } = await make(1);
  linux.kernel.faults.mempool.failAll();
  const element = inTask(linux, () => linux.mempool_alloc(pool, GFP_NOWAIT));
  assert.is(element?.id, 1);
  assert.equal(source.asked, []);
  assert.is(
    inTask(linux, () => linux.mempool_alloc(pool, GFP_NOWAIT)),
    null,
  );
});

test('a slab pool takes from its cache and gives back to it', async () => {
  const linux = await boot();
  const cache = linux.kmem_cache_create('thing', 64, 0, 0, () => ({ value: 0 }));
  if (cache === null) throw new Error('no cache');
  const pool = inProcess(linux, () => linux.mempool_create_slab_pool(2, cache));
  if (pool === null) throw new Error('no pool');
  assert.is(cache.active, 2);
  const thing = inTask(linux, () => linux.mempool_alloc(pool, GFP_KERNEL));
  assert.is(cache.active, 3);
  linux.mempool_free(thing, pool);
  assertBug('slab-destroy', () => linux.kmem_cache_destroy(cache));
  linux.mempool_destroy(pool);
  linux.kmem_cache_destroy(cache);
});
