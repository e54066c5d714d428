// Semaphores, readers' and writers' locks, task queues, time (semaphore(9F), rwlock(9F), taskq(9F), timeout(9F)).

import {
  DDI_FAILURE,
  DDI_NOSLEEP,
  DDI_SLEEP,
  DDI_SUCCESS,
  Krwlock,
  Ksema,
  RW_DRIVER,
  RW_READER,
  RW_WRITER,
  SEMA_DRIVER,
  TASKQ_DEFAULTPRI,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, boot, inInterrupt, inThread } from './help.ts';

const test = suite('solaris semaphores, task queues, time');

test('a semaphore counts units, gives them in order, and can be raised in an interrupt', async () => {
  const solaris = await boot();
  const sema = new Ksema();
  assertBug('sema-init', () => solaris.sema_v(sema));
  solaris.sema_init(sema, 1, 'sema', SEMA_DRIVER, null);
  assertBug('sema-init', () => solaris.sema_init(sema, 1, 'sema', SEMA_DRIVER, null));
  const order: number[] = [];
  inThread(solaris, function* () {
    yield* solaris.sema_p(sema);
    assert.is(solaris.sema_tryp(sema), 0);
    for (let i = 0; i < 2; i++) {
      solaris.kernel.scheduler.spawn(`taker ${i}`, function* () {
        yield* solaris.sema_p(sema);
        order.push(i);
      });
    }
    yield* solaris.delay(1);
    inInterrupt(solaris, () => solaris.sema_v(sema));
    solaris.sema_v(sema);
    solaris.sema_v(sema);
    yield* solaris.delay(1);
    assert.is(solaris.sema_tryp(sema), 1);
    assert.is(solaris.sema_tryp(sema), 0);
  });
  assert.equal(order, [0, 1]);
  solaris.sema_destroy(sema);
  assertBug('sema-init', () => solaris.sema_destroy(sema));
});

test('a lock of readers and writers: many read, one writes, and a writer may become a reader', async () => {
  const solaris = await boot();
  const lock = new Krwlock();
  assertBug('rw-init', () => solaris.rw_exit(lock));
  solaris.rw_init(lock, 'rw', RW_DRIVER, null);
  assertBug('rw-init', () => solaris.rw_init(lock, 'rw', RW_DRIVER, null));
  inThread(solaris, function* () {
    yield* solaris.rw_enter(lock, RW_READER);
    assert.is(solaris.rw_read_locked(lock), 1);
    const other = solaris.kernel.scheduler.spawn('other', function* () {
      assert.is(solaris.rw_tryenter(lock, RW_WRITER), 0);
      assert.is(solaris.rw_tryenter(lock, RW_READER), 1);
      solaris.rw_exit(lock);
      yield* solaris.rw_enter(lock, RW_WRITER);
      assert.is(solaris.rw_read_locked(lock), 0);
      solaris.rw_downgrade(lock);
      assert.is(solaris.rw_read_locked(lock), 1);
      solaris.rw_exit(lock);
    });
    yield* solaris.delay(1);
    solaris.rw_exit(lock);
    yield* solaris.kernel.scheduler.join(other);
    assertBug('lock-owner', () => solaris.rw_exit(lock));
    assertBug('lock-owner', () => solaris.rw_downgrade(lock));
    assert.is(solaris.rw_tryenter(lock, RW_WRITER), 1);
    solaris.rw_exit(lock);
  });
  solaris.rw_destroy(lock);
  assertBug('rw-init', () => solaris.rw_destroy(lock));
});

test('a task queue with one thread works in order, with more side by side', async () => {
  for (const [threads, expected] of [
    [1, ['+0', '-0', '+1', '-1', '+2', '-2']],
    [2, ['+0', '+1', '-0', '+2', '-1', '-2']],
  ] as const) {
    const solaris = await boot();
    const order: string[] = [];
    const work = function* (i: number) {
      order.push(`+${i}`);
      yield* solaris.delay(i + 1);
      order.push(`-${i}`);
    };
    inThread(solaris, function* () {
      const tq = solaris.ddi_taskq_create(null, 'tq', threads, TASKQ_DEFAULTPRI, 0);
      for (let i = 0; i < 3; i++)
        assert.is(yield* solaris.ddi_taskq_dispatch(tq, work, i, DDI_SLEEP), DDI_SUCCESS);
      yield* solaris.ddi_taskq_wait(tq);
      assert.equal(order, expected);
      yield* solaris.ddi_taskq_destroy(tq);
      assert.equal([...solaris.kmem_in_use()], []);
    });
    solaris.kernel.scheduler.run();
    assert.is(solaris.kernel.scheduler.tasks.size, 0, 'its threads have ended');
  }
});

test('an interrupt dispatches with DDI_NOSLEEP, which fails without memory', async () => {
  const solaris = await boot();
  const { kernel } = solaris;
  let done = 0;
  const tq = solaris.ddi_taskq_create(null, 'tq', 1, TASKQ_DEFAULTPRI, 0);
  const work = function* () {
    yield* solaris.delay(1);
    done++;
  };
  const dispatch = (dflags: number): number =>
    inInterrupt(solaris, () => kernel.scheduler.atomic(solaris.ddi_taskq_dispatch(tq, work, null, dflags)));
  assert.is(dispatch(DDI_NOSLEEP), DDI_SUCCESS);
  kernel.kmemFailures.set({ every: 1 });
  assert.is(dispatch(DDI_NOSLEEP), DDI_FAILURE);
  kernel.kmemFailures.off();
  assertBug('ctx-sleep', () => dispatch(DDI_SLEEP));
  kernel.scheduler.run();
  assert.is(done, 1);
});

test('a suspended task queue begins nothing, and one that is gone takes nothing', async () => {
  const solaris = await boot();
  let done = 0;
  const work = function* () {
    done++;
  };
  inThread(solaris, function* () {
    const tq = solaris.ddi_taskq_create(null, 'tq', 1, TASKQ_DEFAULTPRI, 0);
    solaris.ddi_taskq_suspend(tq);
    assert.is(solaris.ddi_taskq_suspended(tq), true);
    yield* solaris.ddi_taskq_dispatch(tq, work, null, DDI_SLEEP);
    yield* solaris.delay(1);
    assert.is(done, 0);
    solaris.ddi_taskq_resume(tq);
    assert.is(solaris.ddi_taskq_suspended(tq), false);
    yield* solaris.ddi_taskq_destroy(tq);
    assert.is(done, 1);
    try {
      yield* solaris.ddi_taskq_dispatch(tq, work, null, DDI_SLEEP);
      assert.unreachable();
    } catch (error) {
      assert.is((error as { rule?: string }).rule, 'taskq');
    }
  });
});

test('timeout calls in interrupt context when its ticks are over, untimeout takes it back', async () => {
  const solaris = await boot();
  const { kernel } = solaris;
  const seen: (readonly [string, number])[] = [];
  const note = (name: string): undefined => {
    assert.ok(kernel.cpu.inInterrupt);
    seen.push([name, solaris.ddi_get_lbolt()]);
  };
  inThread(solaris, function* () {
    const start = solaris.ddi_get_lbolt();
    solaris.timeout(note, 'two', 2);
    solaris.timeout(note, 'at once', 0);
    const late = solaris.timeout(note, 'five', 5);
    yield* solaris.delay(3);
    assert.equal(seen, [
      ['at once', start + 1],
      ['two', start + 2],
    ]);
    assert.is(solaris.untimeout(late), 2);
    assert.is(solaris.untimeout(late), -1);
    yield* solaris.delay(5);
    assert.is(seen.length, 2);
    const again = kernel.scheduler.now();
    solaris.drv_usecwait(7);
    assert.is(kernel.scheduler.now() - again, 7000);
  });
  assert.equal(
    [solaris.drv_usectohz(10_001), solaris.drv_usectohz(10_000), solaris.drv_hztousec(3)],
    [2, 1, 30_000],
  );
});
