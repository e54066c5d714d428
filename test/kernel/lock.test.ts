import {
  Completion,
  FailurePlan,
  LockOrder,
  type LockWatch,
  Mutex,
  Random,
  RwSem,
  Scheduler,
  Semaphore,
  SIGINT,
  type Sleeps,
  SpinLock,
  Timer,
  Warnings,
  Work,
  WorkQueue,
} from '../../src/kernel/index.ts';
import { assert, suite } from '../run/suite.ts';
import { FakePlatform } from './fake-platform.ts';
import { assertBug, assertDeadlock } from './help.ts';

const test = suite('locks');

const make = (): Scheduler => new Scheduler({ platform: new FakePlatform() });

test('ctx-sleep sleeping under a spin lock is a bug that names the lock', () => {
  const scheduler = make();
  const lock = new SpinLock(scheduler.cpu, 'request queue');
  const bug = assertBug('ctx-sleep', () =>
    scheduler.complete('task', function* () {
      lock.lock();
      yield* scheduler.delay(1);
    }),
  );
  assert.match(bug.message, 'request queue');
});

test('spin-self and spin-unlock: taking a held lock and releasing a free one are bugs', () => {
  const { cpu } = make();
  const lock = new SpinLock(cpu, 'lock');
  assert.ok(lock.tryLock());
  assert.not.ok(lock.tryLock());
  assertBug('spin-self', () => lock.lock());
  lock.unlock();
  assert.not.ok(lock.held);
  assertBug('spin-unlock', () => lock.unlock());
  const flags = lock.lockIrqSave();
  assert.not.ok(cpu.irqsEnabled);
  lock.unlockIrqRestore(flags);
  assert.ok(cpu.irqsEnabled);
  assert.is(cpu.preemptCount, 0);
});

test('a mutex admits one at a time, in the order of asking', () => {
  const scheduler = make();
  const mutex = new Mutex(scheduler, 'mutex');
  const log: string[] = [];
  for (const name of ['a', 'b', 'c']) {
    scheduler.spawn(name, function* () {
      if (!mutex.tryLock()) yield* mutex.lock();
      log.push(`${name} in`);
      yield* scheduler.delay(10);
      assert.is(mutex.owner?.name, name);
      log.push(`${name} out`);
      mutex.unlock();
    });
  }
  scheduler.run();
  assert.equal(log, ['a in', 'a out', 'b in', 'b out', 'c in', 'c out']);
  assert.is(mutex.owner, null);
});

test('a signal ends lockInterruptible without the lock', () => {
  const scheduler = make();
  const mutex = new Mutex(scheduler, 'mutex');
  scheduler.spawn('holder', function* () {
    yield* mutex.lock();
    yield* scheduler.delay(100);
    mutex.unlock();
  });
  const other = scheduler.spawn('other', () => mutex.lockInterruptible());
  scheduler.run({ untilNs: 50 });
  scheduler.signal(other, SIGINT);
  scheduler.run();
  assert.is(other.exitValue, false);
  assert.is(mutex.owner, null);
});

test('lock-self, lock-owner, lock-exit: misuse of a mutex is found', () => {
  const scheduler = make();
  const mutex = new Mutex(scheduler, 'mutex');
  assertBug('lock-self', () =>
    scheduler.complete('twice', function* () {
      yield* mutex.lock();
      yield* mutex.lock();
    }),
  );
  assertBug('lock-owner', () =>
    scheduler.complete('stranger', function* () {
      yield* scheduler.delay(1);
      mutex.unlock();
    }),
  );
  const fresh = new Mutex(scheduler, 'fresh');
  assertBug('lock-exit', () => scheduler.complete('keeper', () => fresh.lock()));
});

test('DLK two mutexes taken in both orders: the report names the circle and the owners', () => {
  const scheduler = make();
  const [a, b] = [new Mutex(scheduler, 'A'), new Mutex(scheduler, 'B')];
  const take = (first: Mutex, second: Mutex) =>
    function* (): Sleeps<void> {
      yield* first.lock();
      yield* scheduler.delay(10);
      yield* second.lock();
    };
  scheduler.spawn('one', take(a, b));
  scheduler.spawn('two', take(b, a));
  const report = assertDeadlock(() => scheduler.run());
  assert.equal(report.cycle, ['one (1)', 'two (2)', 'one (1)']);
  assert.equal(
    report.tasks.map(({ name, what, wakers, owner }) => ({ name, what, wakers, owner })),
    [
      { name: 'one', what: 'mutex B', wakers: 'two (2)', owner: 2 },
      { name: 'two', what: 'mutex A', wakers: 'one (1)', owner: 1 },
    ],
  );
});

test('who watches locks sees them taken and released in order', () => {
  const scheduler = make();
  const log: string[] = [];
  const watch: LockWatch = {
    acquire: (_lock, name, task, mode) => void log.push(`+${name} ${task?.name ?? '-'} ${mode}`),
    release: (_lock, name, task) => void log.push(`-${name} ${task?.name ?? '-'}`),
  };
  scheduler.cpu.lockWatch = watch;
  const [spin, mutex, sem] = [
    new SpinLock(scheduler.cpu, 'spin'),
    new Mutex(scheduler, 'mutex'),
    new RwSem(scheduler, 'sem'),
  ];
  scheduler.complete('t', function* () {
    yield* mutex.lock();
    yield* sem.read();
    spin.lock();
    spin.unlock();
    sem.unlockRead();
    mutex.unlock();
  });
  assert.equal(log, ['+mutex t exclusive', '+sem t shared', '+spin t spin', '-spin t', '-sem t', '-mutex t']);
});

function watched(): { scheduler: Scheduler; warnings: Warnings } {
  const scheduler = make();
  const warnings = new Warnings(() => scheduler.now());
  scheduler.cpu.lockWatch = new LockOrder(scheduler.cpu, warnings);
  return { scheduler, warnings };
}

test('lock-order two locks taken in both orders are reported though nobody was in the way', () => {
  const { scheduler, warnings } = watched();
  const [a, b, c] = ['A', 'B', 'C'].map((name) => new Mutex(scheduler, name)) as [Mutex, Mutex, Mutex];
  const take = (name: string, first: Mutex, second: Mutex): void =>
    scheduler.complete(name, function* () {
      yield* first.lock();
      yield* second.lock();
      second.unlock();
      first.unlock();
    });
  take('one', a, b);
  take('two', b, c);
  take('one again', a, b);
  assert.equal(warnings.all, []);
  take('three', c, a);
  const [warning, ...others] = warnings.all;
  assert.is(warning?.rule, 'lock-order');
  assert.is(warning?.what, 'three takes A while holding C, one takes them the other way round');
  assert.equal(others, []);
});

test('lock-order a spin lock that an interrupt takes must not be held with interrupts on', () => {
  for (const save of [false, true]) {
    const { scheduler, warnings } = watched();
    const lock = new SpinLock(scheduler.cpu, 'queue');
    const flags = save ? lock.lockIrqSave() : false;
    if (!save) lock.lock();
    if (save) lock.unlockIrqRestore(flags);
    else lock.unlock();
    const timer = new Timer('timer', () => {
      lock.lock();
      lock.unlock();
    });
    scheduler.armTimer(timer, 10);
    scheduler.run();
    assert.equal(
      warnings.all.map(({ rule, what, where }) => [rule, what, where]),
      save ? [] : [['lock-order', 'taken in an interrupt, and held with interrupts on by the boot', 'queue']],
    );
  }
});

test('readers share, a writer is alone, and nobody overtakes a waiting writer', () => {
  const scheduler = make();
  const sem = new RwSem(scheduler, 'sem');
  const log: string[] = [];
  const reader = (name: string) =>
    scheduler.spawn(name, function* () {
      if (!sem.tryRead()) yield* sem.read();
      log.push(`${name} in`);
      assert.ok(sem.heldBy(scheduler.current));
      yield* scheduler.delay(10);
      log.push(`${name} out`);
      sem.unlockRead();
    });
  reader('r1');
  reader('r2');
  scheduler.spawn('w', function* () {
    yield* sem.write();
    assert.ok(sem.writtenBy(scheduler.current));
    log.push('w in');
    yield* scheduler.delay(10);
    log.push('w out');
    sem.unlockWrite();
  });
  reader('r3');
  reader('r4');
  scheduler.run();
  assert.equal(log, [
    ...['r1 in', 'r2 in', 'r1 out', 'r2 out'],
    ...['w in', 'w out'],
    ...['r3 in', 'r4 in', 'r3 out', 'r4 out'],
  ]);
});

test('downgrade lets waiting readers in and keeps writers out', () => {
  const scheduler = make();
  const sem = new RwSem(scheduler, 'sem');
  const log: string[] = [];
  scheduler.spawn('w', function* () {
    yield* sem.write();
    yield* scheduler.delay(10);
    sem.downgrade();
    log.push('downgraded');
    yield* scheduler.delay(10);
    sem.unlockRead();
  });
  scheduler.spawn('r', function* () {
    yield* sem.read();
    log.push(`reads at ${scheduler.now()}`);
    sem.unlockRead();
  });
  scheduler.spawn('w2', function* () {
    yield* sem.write();
    log.push(`writes at ${scheduler.now()}`);
    sem.unlockWrite();
  });
  scheduler.run();
  assert.equal(log, ['downgraded', 'reads at 10', 'writes at 20']);
});

test('DLK a reader that reads again behind a waiting writer deadlocks, and the report says who reads', () => {
  const scheduler = make();
  const sem = new RwSem(scheduler, 'mmap_sem');
  scheduler.spawn('reader', function* () {
    yield* sem.read();
    yield* scheduler.delay(10);
    yield* sem.read();
  });
  scheduler.spawn('writer', () => sem.write());
  const report = assertDeadlock(() => scheduler.run());
  assert.equal(
    report.tasks.map(({ wakers }) => wakers),
    ['reader (1), who read', 'reader (1), who read'],
  );
  assert.equal(report.cycle, ['reader (1)', 'reader (1)']);
});

test('lock-self and lock-owner: misuse of a reader-writer lock is found', () => {
  const scheduler = make();
  const sem = new RwSem(scheduler, 'sem');
  assertBug('lock-owner', () =>
    scheduler.complete('t', function* () {
      yield* sem.read();
      sem.unlockWrite();
    }),
  );
  const other = new RwSem(scheduler, 'other');
  assertBug('lock-self', () =>
    scheduler.complete('t', function* () {
      yield* other.read();
      yield* other.write();
    }),
  );
});

test('a semaphore admits as many as it counts, and may be raised from an interrupt', () => {
  const scheduler = make();
  const sem = new Semaphore(scheduler, 'slots', 2);
  const log: string[] = [];
  for (const name of ['a', 'b', 'c']) {
    scheduler.spawn(name, function* () {
      yield* sem.down();
      log.push(`${name} ${scheduler.now()}`);
      yield* scheduler.delay(10);
      sem.up();
    });
  }
  scheduler.run();
  assert.equal(log, ['a 0', 'b 0', 'c 10']);
  assert.is(sem.count, 2);
});

test('a completion lets one waiter go each, before or after it came; completeAll all', () => {
  const scheduler = make();
  const done = new Completion(scheduler, 'I/O');
  done.complete();
  const log: string[] = [];
  for (const name of ['a', 'b', 'c']) {
    scheduler.spawn(name, function* () {
      yield* done.wait();
      log.push(name);
    });
  }
  scheduler.run({ blocked: 'return' });
  assert.equal(log, ['a']);
  done.completeAll();
  scheduler.run();
  assert.equal(log, ['a', 'b', 'c']);
  assert.ok(done.isDone);
  done.reset();
  const inTime = scheduler.complete('late', () => done.waitFor(1000));
  assert.is(inTime, false);
  assert.is(scheduler.now(), 1000);
});

test('work runs in order in a thread of its own, once per queueing', () => {
  const scheduler = make();
  const queue = new WorkQueue(scheduler, 'kblockd');
  const log: string[] = [];
  const work = (name: string) =>
    new Work(name, function* () {
      yield* scheduler.delay(10);
      log.push(`${name} ${scheduler.current?.kthread} ${scheduler.now()}`);
    });
  const [a, b] = [work('a'), work('b')];
  assert.ok(queue.queue(a));
  assert.not.ok(queue.queue(a));
  assert.ok(queue.queue(b));
  assert.is(scheduler.run(), 'idle');
  assert.equal(log, ['a true 10', 'b true 20']);
  assert.ok(queue.queue(a));
  scheduler.run();
  assert.is(log.length, 3);
});

test('work may queue itself again, and flush waits only for what was queued before', () => {
  const scheduler = make();
  const queue = new WorkQueue(scheduler, 'events');
  let runs = 0;
  const again: Work = new Work('again', function* () {
    yield* scheduler.delay(10);
    if (++runs < 5) queue.queue(again);
  });
  queue.queue(again);
  const seen = scheduler.complete('flusher', function* () {
    yield* scheduler.delay(1);
    yield* queue.flush();
    return runs;
  });
  assert.is(seen, 1);
  scheduler.run();
  assert.is(runs, 5);
});

test('delayed work waits, and cancelled work is not done', () => {
  const scheduler = make();
  const queue = new WorkQueue(scheduler, 'events');
  const log: string[] = [];
  const work = (name: string) =>
    new Work(name, function* () {
      yield* scheduler.yieldNow();
      log.push(name);
    });
  const [later, never, blocked] = [work('later'), work('never'), work('blocked')];
  queue.queueDelayed(later, 500);
  queue.queueDelayed(never, 100);
  queue.queue(blocked);
  assert.ok(queue.cancel(never));
  assert.ok(queue.cancel(blocked));
  assert.not.ok(queue.cancel(blocked));
  scheduler.run();
  assert.equal(log, ['later']);
});

test('work-destroyed: destroy does what is left, ends the thread, and refuses more', () => {
  const scheduler = make();
  const queue = new WorkQueue(scheduler, 'events');
  let runs = 0;
  const work = new Work('work', function* () {
    yield* scheduler.delay(10);
    runs++;
  });
  queue.queue(work);
  scheduler.complete('closer', () => queue.destroy());
  assert.is(runs, 1);
  assert.is(scheduler.tasks.size, 0);
  assertBug('work-destroyed', () => queue.queue(work));
});

test('a failure plan fails after n, every n-th, by chance, or always until it is off', () => {
  const plan = new FailurePlan(new Random(3));
  const ask = (count: number): string =>
    Array.from({ length: count }, () => (plan.shouldFail() ? 'x' : '.')).join('');
  assert.is(ask(3), '...');
  plan.set({ after: 2 });
  assert.is(ask(4), '..xx');
  plan.set({ every: 3 });
  assert.is(ask(7), '..x..x.');
  assert.is(plan.failures, 2);
  plan.failAll();
  assert.is(ask(2), 'xx');
  plan.off();
  assert.is(ask(2), '..');
  plan.set({ probability: 0.5 });
  const chance = ask(40);
  assert.match(chance, /x/);
  assert.match(chance, /\./);
});
