import {
  AsyncMediaError,
  describeDeadlock,
  LIVELOCK_YIELDS,
  Random,
  Scheduler,
  SIGINT,
  SIGKILL,
  SIGTERM,
  type Sleeps,
  SleepTracker,
  Timer,
  VAIN_POLLS,
  WaitQueue,
} from '../../src/kernel/index.ts';
import { assert, suite } from '../run/suite.ts';
import { FakePlatform } from './fake-platform.ts';
import { assertBug, assertDeadlock } from './help.ts';

const test = suite('scheduler');

function make(options: { seed?: number; tracker?: SleepTracker; stepNs?: number } = {}) {
  const platform = new FakePlatform();
  const chooser = options.seed === undefined ? {} : { chooser: new Random(options.seed) };
  const { seed: _, ...rest } = options;
  return { platform, scheduler: new Scheduler({ platform, ...chooser, ...rest }) };
}

test('a task runs when its turn comes and its value is kept', () => {
  const { scheduler } = make();
  const log: string[] = [];
  const task = scheduler.spawn('worker', function* (self) {
    log.push(`${self.name} ${self.pid}`);
    yield* scheduler.yieldNow();
    return 42;
  });
  assert.equal(log, []);
  assert.is(scheduler.run(), 'idle');
  assert.equal(log, ['worker 1']);
  assert.is(task.exitValue, 42);
  assert.is(task.state, 'dead');
  assert.is(scheduler.tasks.size, 0);
});

test('current is the running task, and null outside', () => {
  const { scheduler } = make();
  assert.is(scheduler.current, null);
  const seen = scheduler.complete('me', function* (self) {
    yield* scheduler.delay(5);
    return scheduler.current === self;
  });
  assert.is(seen, true);
  assert.is(scheduler.current, null);
});

test('sleepers wake first in, first out; wakeOne wakes one', () => {
  const { scheduler } = make();
  const queue = new WaitQueue('queue');
  const log: string[] = [];
  for (const name of ['a', 'b', 'c']) {
    scheduler.spawn(name, function* () {
      log.push(`${name} ${yield* scheduler.sleep(queue, { what: 'a turn' })}`);
    });
  }
  assert.is(scheduler.run({ blocked: 'return' }), 'blocked');
  assert.is(queue.length, 3);
  assert.is(scheduler.wakeOne(queue)?.name, 'a');
  scheduler.run({ blocked: 'return' });
  assert.equal(log, ['a woken']);
  assert.is(scheduler.wakeAll(queue), 2);
  assert.is(scheduler.run(), 'idle');
  assert.equal(log, ['a woken', 'b woken', 'c woken']);
  assert.is(scheduler.wakeOne(queue), null);
});

test('a time-out ends a sleep at its virtual time and takes the task off the queue', () => {
  const { scheduler } = make();
  const queue = new WaitQueue('queue');
  const reason = scheduler.complete('sleeper', () =>
    scheduler.sleep(queue, { what: 'nothing', timeoutNs: 700 }),
  );
  assert.is(reason, 'timeout');
  assert.is(scheduler.now(), 700);
  assert.ok(queue.empty);
});

test('being woken cancels the time-out', () => {
  const { scheduler } = make();
  const queue = new WaitQueue('queue');
  const sleeper = scheduler.spawn('sleeper', function* () {
    const first = yield* scheduler.sleep(queue, { what: 'a wake-up', timeoutNs: 700 });
    yield* scheduler.delay(10_000);
    return [first, scheduler.now()];
  });
  scheduler.spawn('waker', function* () {
    yield* scheduler.delay(100);
    scheduler.wakeAll(queue);
  });
  scheduler.run();
  assert.equal(sleeper.exitValue, ['woken', 10_100]);
});

test('signals end interruptible sleeps, fatal ones also killable sleeps, none the others', () => {
  const { scheduler } = make();
  const queue = new WaitQueue('queue');
  const sleeper = (name: string, interruptible: boolean | 'fatal') =>
    scheduler.spawn(name, () => scheduler.sleep(queue, { what: 'a signal', interruptible }));
  const [any, killable, none] = [sleeper('any', true), sleeper('killable', 'fatal'), sleeper('none', false)];
  scheduler.run({ blocked: 'return' });
  for (const task of [any, killable, none]) scheduler.signal(task, SIGINT);
  scheduler.run({ blocked: 'return' });
  assert.is(any.exitValue, 'signal');
  assert.is(killable.state, 'sleeping');
  scheduler.signal(killable, SIGTERM, true);
  scheduler.signal(none, SIGKILL);
  scheduler.run({ blocked: 'return' });
  assert.is(killable.exitValue, 'signal');
  assert.is(none.state, 'sleeping');
  assert.ok(none.fatalSignalPending);
});

test('a signal that is pending already ends an interruptible sleep before it begins', () => {
  const { scheduler } = make();
  const queue = new WaitQueue('queue');
  const result = scheduler.complete('task', function* (self) {
    self.addSignal(SIGINT);
    const reason = yield* scheduler.sleep(queue, { what: 'a signal', interruptible: true });
    return [reason, self.takeSignal(), self.takeSignal(), self.signalPending];
  });
  assert.equal(result, ['signal', SIGINT, 0, false]);
});

test('waitUntil sleeps through wake-ups until its condition holds', () => {
  const { scheduler } = make();
  const queue = new WaitQueue('queue');
  let count = 0;
  const waiter = scheduler.spawn('waiter', function* () {
    const reason = yield* scheduler.waitUntil(queue, () => count === 3, { what: 'three' });
    return [reason, count];
  });
  scheduler.spawn('counter', function* () {
    for (; count < 3; scheduler.wakeAll(queue)) {
      yield* scheduler.delay(10);
      count++;
    }
  });
  scheduler.run();
  assert.equal(waiter.exitValue, ['woken', 3]);
});

test('join returns the value of a task that ends later, or ended long ago', () => {
  const { scheduler } = make();
  const result = scheduler.complete('parent', function* () {
    const late = scheduler.spawn('late', function* () {
      yield* scheduler.delay(1000);
      return 'late';
    });
    const values = [yield* scheduler.join(late), yield* scheduler.join(late)];
    return [...values, scheduler.now()];
  });
  assert.equal(result, ['late', 'late', 1000]);
});

test('the same seed chooses the same order, another seed another', () => {
  const order = (seed: number): string => {
    const { scheduler } = make({ seed });
    const log: string[] = [];
    for (const name of 'abcdefgh') {
      scheduler.spawn(name, function* () {
        for (let i = 0; i < 3; i++) {
          log.push(name);
          yield* scheduler.yieldNow();
        }
      });
    }
    scheduler.run();
    return log.join('');
  };
  assert.is(order(1), order(1));
  assert.is.not(order(1), order(2));
  assert.is([...order(1)].sort().join(''), 'aaabbbcccdddeeefffggghhh');
});

test('any number of tasks is runnable at once, in order', () => {
  const { scheduler } = make();
  const log: number[] = [];
  for (let i = 0; i < 100; i++) {
    scheduler.spawn(`task ${i}`, function* () {
      yield* scheduler.yieldNow();
      log.push(i);
    });
  }
  scheduler.run();
  assert.equal(
    log,
    Array.from({ length: 100 }, (_, i) => i),
  );
});

test('ctx-process what needs a process says so outside of one', () => {
  const { scheduler } = make();
  assertBug('ctx-process', () => scheduler.cpu.process('get_user_pages'));
});

test('timers fire in the order of their deadlines, first armed first, and can be cancelled', () => {
  const { scheduler } = make();
  const log: string[] = [];
  const timer = (name: string): Timer => new Timer(name, () => void log.push(`${name} ${scheduler.now()}`));
  const [a, b, c, d] = [timer('a'), timer('b'), timer('c'), timer('d')];
  scheduler.armTimer(a, 300);
  scheduler.armTimer(b, 100);
  scheduler.armTimer(c, 100);
  scheduler.armTimer(d, 50);
  scheduler.armTimer(b, 100); // moved behind c
  assert.ok(scheduler.cancelTimer(d));
  assert.not.ok(scheduler.cancelTimer(d));
  scheduler.run();
  assert.equal(log, ['c 100', 'b 100', 'a 300']);
});

test('many timers come out sorted', () => {
  const { scheduler } = make();
  const random = new Random(7);
  const log: number[] = [];
  const timers = Array.from({ length: 200 }, () => new Timer('t', () => void log.push(scheduler.now())));
  for (const timer of timers) scheduler.armTimer(timer, random.below(1000));
  for (let i = 0; i < 100; i++) scheduler.cancelTimer(timers[i * 2] as Timer);
  scheduler.run();
  assert.is(log.length, 100);
  assert.equal(
    log,
    [...log].sort((x, y) => x - y),
  );
});

test('a timer runs in interrupt context', () => {
  const { scheduler } = make();
  const seen: boolean[] = [];
  scheduler.armTimer(new Timer('t', () => void seen.push(scheduler.inInterrupt)), 5);
  scheduler.run();
  assert.equal(seen, [true]);
  assert.not.ok(scheduler.inInterrupt);
});

test('waiting for hardware with yieldNow takes virtual time, so it ends', () => {
  const { scheduler, platform } = make();
  let ready = false;
  platform.at(50_000, () => {
    ready = true;
  });
  scheduler.complete('poller', function* () {
    while (!ready) yield* scheduler.yieldNow();
  });
  assert.is(scheduler.now(), 50_000);
});

test('steps take the time that is set', () => {
  const { scheduler } = make({ stepNs: 10 });
  scheduler.complete('worker', function* () {
    yield* scheduler.yieldNow();
    yield* scheduler.yieldNow();
  });
  assert.is(scheduler.now(), 2 * 1000 + 3 * 10);
});

test('busyWait lets time pass without sleeping, in any context', () => {
  const { scheduler, platform } = make();
  const log: string[] = [];
  platform.at(500, () => void log.push(`hardware ${platform.now()}`));
  scheduler.busyWait(2000);
  scheduler.armTimer(new Timer('t', () => scheduler.busyWait(10)), 3000);
  scheduler.run();
  assert.equal(log, ['hardware 500']);
  assert.is(scheduler.now(), 3010);
});

test('run stops at a time, before anything later happens', () => {
  const { scheduler } = make();
  const log: number[] = [];
  for (const time of [100, 200, 300]) scheduler.armTimer(new Timer('t', () => void log.push(time)), time);
  assert.is(scheduler.run({ untilNs: 200 }), 'time');
  assert.equal(log, [100, 200]);
  assert.is(scheduler.now(), 200);
  assert.is(scheduler.run({ untilNs: 250 }), 'time');
  assert.is(scheduler.now(), 250);
  assert.is(scheduler.run(), 'idle');
});

test('what a task throws comes out of run, and the others go on', () => {
  const { scheduler } = make();
  const bad = scheduler.spawn('bad', function* (): Sleeps<void> {
    throw new Error('broken');
  });
  const good = scheduler.spawn('good', function* () {
    yield* scheduler.delay(1);
    return 'done';
  });
  assert.throws(() => scheduler.run(), /broken/);
  assert.is(bad.state, 'dead');
  assert.is(scheduler.run(), 'idle');
  assert.is(good.exitValue, 'done');
});

test('DLK a deadlock is reported with who waits for what since when', () => {
  const { scheduler } = make();
  const queue = new WaitQueue('requests');
  queue.wakers = () => 'the disk';
  scheduler.spawn('reader', function* () {
    yield* scheduler.delay(400);
    yield* scheduler.sleep(queue, { what: 'a free request' });
  });
  const report = assertDeadlock(() => scheduler.run());
  assert.is(report.kind, 'deadlock');
  assert.equal(report.tasks, [
    {
      pid: 1,
      name: 'reader',
      queue: 'requests',
      what: 'a free request',
      since: 400,
      wakers: 'the disk',
      owner: null,
      polls: false,
    },
  ]);
  assert.match(
    describeDeadlock(report),
    'reader (1) waits for a free request on requests since 400 ns, to be woken by the disk',
  );
});

test('DLK tasks that join each other are reported as a circle', () => {
  const { scheduler } = make();
  const a = scheduler.spawn('a', function* (): Sleeps<unknown> {
    return yield* scheduler.join(b);
  });
  const b = scheduler.spawn('b', () => scheduler.join(a));
  assert.equal(assertDeadlock(() => scheduler.run()).cycle, ['a (1)', 'b (2)', 'a (1)']);
});

test('DLK-12 tasks that only wake to poll are a deadlock, reported as polling since the first look', () => {
  const { scheduler } = make();
  const queue = new WaitQueue('pool');
  scheduler.spawn('waiter', function* () {
    yield* scheduler.delay(100);
    for (;;) yield* scheduler.sleep(queue, { what: 'an element', timeoutNs: 5e9, poll: true });
  });
  const [task] = assertDeadlock(() => scheduler.run()).tasks;
  assert.ok(task?.polls);
  assert.is(task?.since, 100);
});

test('POOL-04 a poll that finds something in time is no deadlock', () => {
  const { scheduler } = make();
  const queue = new WaitQueue('pool');
  let looks = 0;
  scheduler.complete('waiter', function* () {
    while (looks < VAIN_POLLS) {
      yield* scheduler.sleep(queue, { what: 'an element', timeoutNs: 5e9, poll: true });
      looks++;
    }
  });
  assert.is(scheduler.now(), VAIN_POLLS * 5e9);
});

test('DLK-12 pollers wait on while anything else can still happen', () => {
  const { scheduler, platform } = make();
  const queue = new WaitQueue('pool');
  let free = false;
  platform.at(60 * 5e9, () => {
    free = true;
  });
  scheduler.complete('waiter', function* () {
    while (!free) yield* scheduler.sleep(queue, { what: 'an element', timeoutNs: 5e9, poll: true });
  });
  assert.is(scheduler.now(), 60 * 5e9);
});

test('an idle service thread is no deadlock, nor keeps run going with its time-outs', () => {
  const { scheduler } = make();
  const queue = new WaitQueue('work');
  scheduler.spawn(
    'flusher',
    function* () {
      for (;;) yield* scheduler.sleep(queue, { what: 'work', timeoutNs: 1e9, idle: true });
    },
    { kthread: true },
  );
  assert.is(scheduler.run(), 'idle');
  assert.is(scheduler.now(), 0);
});

test('tasks that only yield to each other are reported as a livelock', () => {
  const { scheduler } = make();
  scheduler.spawn('spinner', function* () {
    for (;;) yield* scheduler.yieldNow();
  });
  const report = assertDeadlock(() => scheduler.run());
  assert.is(report.kind, 'livelock');
  assert.equal(report.notes, ['spinner (1) only yields']);
});

test('sleepers that are woken as they fall asleep are no livelock, however often', () => {
  const { scheduler } = make();
  const queue = new WaitQueue('plug');
  const options = { what: 'what it keeps back itself' };
  scheduler.onSleep = () => void scheduler.wakeAll(queue);
  let sleeps = 0;
  scheduler.complete('reader', function* () {
    for (; sleeps < LIVELOCK_YIELDS + 10; sleeps++) yield scheduler.park(queue, options);
  });
  assert.is(sleeps, LIVELOCK_YIELDS + 10);
});

test('ctx-sleep sleeping in a timer, in atomic context, with interrupts off or outside of tasks is a bug', () => {
  const { scheduler } = make();
  const queue = new WaitQueue('queue');
  const sleep = (): Sleeps<string> => scheduler.sleep(queue, { what: 'nothing' });
  assertBug('ctx-sleep', () => sleep().next());
  assertBug('ctx-sleep', () => scheduler.atomic(sleep()));
  assertBug('ctx-sleep', () =>
    scheduler.complete('task', function* () {
      scheduler.cpu.irqSave();
      yield* sleep();
    }),
  );
  scheduler.cpu.irqRestore(true);
  scheduler.armTimer(new Timer('t', () => void sleep().next()), 10);
  assertBug('ctx-sleep', () => scheduler.run());
  assert.is(scheduler.run(), 'idle');
});

test('atomic runs what happens not to sleep, and returns its value', () => {
  const { scheduler } = make();
  const awake = function* (): Sleeps<number> {
    return 7;
  };
  assert.is(scheduler.atomic(awake()), 7);
  assert.is(scheduler.cpu.atomicDepth, 0);
});

test('mightSleep complains in atomic context even where nothing sleeps', () => {
  const { scheduler } = make();
  const polite = function* (): Sleeps<void> {
    scheduler.mightSleep('polite');
  };
  assert.match(assertBug('ctx-sleep', () => scheduler.atomic(polite())).message, 'polite');
});

test('sleep-lost going to sleep without yielding is a bug', () => {
  const { scheduler } = make();
  const queue = new WaitQueue('queue');
  const lost = function* (): Sleeps<void> {
    scheduler.park(queue, { what: 'nothing' });
  };
  assertBug('sleep-lost', () => scheduler.complete('task', lost));
  assert.ok(queue.empty);
});

test('sleep-forgotten the tracker finds a call without yield*', () => {
  const tracker = new SleepTracker();
  const { scheduler } = make({ tracker });
  class Disk {
    *read(): Sleeps<number> {
      yield* scheduler.delay(5);
      return 3;
    }
  }
  const disk = tracker.instrument(new Disk(), 'Disk');
  assert.is(
    scheduler.complete('right', function* () {
      return (yield* disk.read()) + (yield* disk.read());
    }),
    6,
  );
  const wrong = function* (): Sleeps<unknown> {
    const forgotten: unknown = disk.read();
    return forgotten;
  };
  const bug = assertBug('sleep-forgotten', () => scheduler.complete('wrong', wrong));
  assert.match(bug.where, 'Disk.read');
  assert.is(
    scheduler.complete('spawned', () => disk.read()),
    3,
  );
});

test('run with an asynchronous medium throws, runAsync goes on from there with the same virtual times', async () => {
  const { scheduler, platform } = make();
  const queue = new WaitQueue('disk');
  platform.hostIo = new Promise((resolve) => void setTimeout(resolve, 1));
  platform.at(1234, () => void scheduler.wakeAll(queue));
  const task = scheduler.spawn('reader', function* () {
    yield* scheduler.sleep(queue, { what: 'data' });
    return scheduler.now();
  });
  assert.throws(
    () => scheduler.run(),
    (error: unknown) => error instanceof AsyncMediaError,
  );
  assert.is(await scheduler.runAsync(), 'idle');
  assert.is(task.exitValue, 1234);
});

test('completeAsync returns the value of a task on asynchronous media', async () => {
  const { scheduler, platform } = make();
  platform.hostIo = Promise.resolve();
  platform.at(10, () => undefined);
  assert.is(
    await scheduler.completeAsync('task', function* () {
      yield* scheduler.delay(20);
      return scheduler.now();
    }),
    20,
  );
});

test('the generator of chance repeats itself by seed and keeps its streams apart', () => {
  const draw = (random: Random): number[] => [random.next(), random.next(), random.below(1000)];
  assert.equal(draw(new Random(5)), draw(new Random(5)));
  assert.not.equal(draw(new Random(5)), draw(new Random(6)));
  const parent = new Random(5);
  const before = draw(parent.fork('pages'));
  parent.next();
  assert.equal(draw(parent.fork('pages')), before);
  assert.not.equal(draw(parent.fork('irq')), before);
  const items = new Random(1).shuffle([1, 2, 3, 4, 5, 6, 7, 8]);
  assert.equal([...items].sort(), [1, 2, 3, 4, 5, 6, 7, 8]);
  const hits = Array.from({ length: 10_000 }, () => parent.chance(0.25)).filter(Boolean).length;
  assert.ok(hits > 2300 && hits < 2700, `${hits} of 10000`);
});
