// Mutexes of threads and of handlers, condition variables (mutex(9F), condvar(9F)).

import { SIGINT } from '../../src/kernel/index.ts';
import {
  Kcondvar,
  Kmutex,
  KmutexIntr,
  LOCK_LEVEL,
  MUTEX_DRIVER,
  type SolarisApi,
  type SolarisOptions,
  TR_CLOCK_TICK,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { aBuf, assertBug, assertDeadlock, boot as bootKernel, inInterrupt, inThread } from './help.ts';

const test = suite('solaris locks');

interface Rig {
  readonly solaris: SolarisApi;
  readonly thread: Kmutex;
  /** Of handlers at 5. */
  readonly low: KmutexIntr;
  /** Of handlers at 12. */
  readonly high: KmutexIntr;
  readonly cv: Kcondvar;
}

async function boot(options: SolarisOptions = {}): Promise<Rig> {
  const solaris = await bootKernel(options);
  const rig = {
    solaris,
    thread: new Kmutex(),
    low: new KmutexIntr(),
    high: new KmutexIntr(),
    cv: new Kcondvar(),
  };
  solaris.mutex_init(rig.thread, 'thread', MUTEX_DRIVER, null);
  solaris.mutex_init(rig.low, 'low', MUTEX_DRIVER, 5);
  solaris.mutex_init(rig.high, 'high', MUTEX_DRIVER, LOCK_LEVEL + 2);
  solaris.cv_init(rig.cv, 'cv', 0, null);
  return rig;
}

test('a mutex of threads has one holder, who may sleep', async () => {
  const { solaris, thread } = await boot();
  const { scheduler } = solaris.kernel;
  const order: string[] = [];
  inThread(solaris, function* () {
    yield* solaris.mutex_enter(thread);
    const other = scheduler.spawn('other', function* () {
      assert.is(solaris.mutex_tryenter(thread), 0);
      assert.is(solaris.mutex_owned(thread), 0);
      yield* solaris.mutex_enter(thread);
      order.push('other');
      solaris.mutex_exit(thread);
    });
    yield* solaris.delay(1);
    order.push('first');
    assert.is(solaris.mutex_owned(thread), 1);
    solaris.mutex_exit(thread);
    yield* scheduler.join(other);
    assert.is(solaris.mutex_tryenter(thread), 1);
    solaris.mutex_exit(thread);
  });
  assert.equal(order, ['first', 'other']);
});

test('a mutex is initialised once, for its kind, and before it is used', async () => {
  const { solaris, thread, low } = await boot();
  assertBug('mutex-init', () => solaris.mutex_init(thread, 'again', MUTEX_DRIVER, null));
  assertBug('mutex-init', () => solaris.mutex_init(new Kmutex(), 'm', MUTEX_DRIVER, 5));
  assertBug('mutex-init', () => solaris.mutex_init(new KmutexIntr(), 'm', MUTEX_DRIVER, null));
  assertBug('mutex-init', () => solaris.mutex_enter(new KmutexIntr()));
  assertBug('mutex-init', () => solaris.mutex_exit(new Kmutex()));
  inThread(solaris, function* () {
    yield* solaris.mutex_enter(thread);
    solaris.mutex_destroy(thread); // its holder may
    solaris.mutex_enter(low);
    solaris.mutex_destroy(low);
  });
  assertBug('mutex-destroy', () => solaris.mutex_destroy(thread));
  assertBug('mutex-init', () => solaris.mutex_enter(low));
  assert.is(solaris.kernel.cpu.priority, 0);
  solaris.mutex_init(thread, 'new', MUTEX_DRIVER, null);
  assertBug('mutex-destroy', () =>
    inThread(solaris, function* () {
      yield* solaris.mutex_enter(thread);
      yield* solaris.kernel.scheduler.join(
        solaris.kernel.scheduler.spawn('other', function* () {
          solaris.mutex_destroy(thread);
        }),
      );
    }),
  );
});

test('INTR-01 a mutex with a priority holds off handlers up to it, and no others', async () => {
  const { solaris, low, high } = await boot();
  const { cpu } = solaris.kernel;
  const levels: number[] = [];
  inThread(solaris, function* () {
    solaris.mutex_enter(low);
    levels.push(cpu.priority);
    solaris.mutex_enter(high);
    levels.push(cpu.priority);
    solaris.mutex_exit(high);
    levels.push(cpu.priority);
    assert.equal([solaris.mutex_owned(low), solaris.mutex_owned(high)], [1, 0]);
    solaris.mutex_exit(low);
    levels.push(cpu.priority);
  });
  assert.equal(levels, [5, 12, 5, 0]);
});

test('INTR-01 a handler takes mutexes of its priority and above, and no mutex of threads', async () => {
  const { solaris, thread, low, high } = await boot();
  inInterrupt(
    solaris,
    () => {
      solaris.mutex_enter(low);
      assert.equal([solaris.mutex_owned(low), solaris.mutex_tryenter(low)], [1, 0]);
      solaris.mutex_enter(high);
      solaris.mutex_exit(high);
      solaris.mutex_exit(low);
      assert.is(solaris.mutex_tryenter(low), 1);
      solaris.mutex_exit(low);
      assert.is(assertBug('INTR-01', () => solaris.mutex_enter(thread)).where, 'thread');
      assert.is(assertBug('INTR-01', () => solaris.mutex_tryenter(thread)).where, 'thread');
    },
    5,
  );
  assert.match(
    inInterrupt(solaris, () => assertBug('INTR-01', () => solaris.mutex_enter(low)), 6).message,
    'at 6',
  );
});

test('INTR-02 a high-level handler takes spin mutexes alone', async () => {
  const { solaris, thread, low, high } = await boot();
  const above = (body: () => unknown): unknown => inInterrupt(solaris, body, LOCK_LEVEL + 2);
  above(() => {
    solaris.mutex_enter(high);
    assert.is(solaris.mutex_owned(high), 1);
    solaris.mutex_exit(high);
  });
  assert.is((above(() => assertBug('INTR-02', () => solaris.mutex_enter(low))) as Error).name, 'KernelBug');
  above(() => assertBug('INTR-02', () => solaris.mutex_enter(thread)));
  inInterrupt(solaris, () => assertBug('INTR-01', () => solaris.mutex_enter(high)), LOCK_LEVEL + 3);
  inInterrupt(solaris, () => assertBug('INTR-01', () => solaris.mutex_enter(thread)), LOCK_LEVEL);
  inInterrupt(solaris, () => assertBug('INTR-02', () => solaris.mutex_enter(thread)), LOCK_LEVEL + 1);
});

test('INTR-01 nobody sleeps while holding a mutex that handlers take', async () => {
  const { solaris, low } = await boot();
  const bug = assertBug('ctx-sleep', () =>
    inThread(solaris, function* () {
      solaris.mutex_enter(low);
      yield* solaris.delay(1);
    }),
  );
  assert.match(bug.message, 'low');
});

test('who takes a mutex twice, or gives back what he does not have, is told', async () => {
  for (const kind of ['thread', 'low'] as const) {
    const rig = await boot();
    const { solaris } = rig;
    assertBug(kind === 'low' ? 'spin-self' : 'lock-self', () =>
      inThread(solaris, function* () {
        for (let i = 0; i < 2; i++) {
          if (kind === 'low') solaris.mutex_enter(rig.low);
          else yield* solaris.mutex_enter(rig.thread);
        }
      }),
    );
  }
  const { solaris, thread, low } = await boot();
  inThread(solaris, function* () {
    assertBug('lock-owner', () => solaris.mutex_exit(thread));
    assertBug('spin-unlock', () => solaris.mutex_exit(low));
  });
});

test('a handler that finds its mutex held could not have come in: it has another priority', async () => {
  const { solaris, low } = await boot();
  inThread(solaris, function* () {
    solaris.mutex_enter(low);
    // No real interrupt of priority 5 gets here; one that does would wait for ever.
    assertBug('spin-self', () => inInterrupt(solaris, () => solaris.mutex_enter(low), 5));
    solaris.mutex_exit(low);
  });
});

test('the order of mutexes is watched; a mutex that masks its handler is no finding', async () => {
  const { solaris, low, high, thread } = await boot({ lockOrder: true });
  inInterrupt(solaris, () => {
    solaris.mutex_enter(low);
    solaris.mutex_exit(low);
  });
  inThread(solaris, function* () {
    yield* solaris.mutex_enter(thread);
    solaris.mutex_enter(low);
    solaris.mutex_enter(high);
    solaris.mutex_exit(high);
    solaris.mutex_exit(low);
    solaris.mutex_exit(thread);
  });
  assert.equal(solaris.kernel.warnings.all, []);
  inThread(solaris, function* () {
    solaris.mutex_enter(high);
    solaris.mutex_enter(low);
    solaris.mutex_exit(low);
    solaris.mutex_exit(high);
  });
  assert.equal(
    solaris.kernel.warnings.all.map(({ rule, where }) => [rule, where]),
    [['lock-order', 'high, low']],
  );
});

test('INTR-04 biodone under a mutex is reported when b_iodone may want it, and re-entering it is a bug', async () => {
  const { solaris, low } = await boot();
  const bp = aBuf(solaris);
  inInterrupt(solaris, () => {
    solaris.mutex_enter(low);
    solaris.biodone(bp); // nobody is called
    solaris.mutex_exit(low);
  });
  assert.equal(solaris.kernel.warnings.all, []);
  const other = aBuf(solaris);
  other.b_iodone = () => {
    solaris.mutex_enter(low); // as a strategy would that is entered again
    return 0;
  };
  inInterrupt(solaris, () => {
    solaris.mutex_enter(low);
    assert.is(assertBug('spin-self', () => solaris.biodone(other)).where, 'low');
    solaris.mutex_exit(low);
  });
  assert.equal(
    solaris.kernel.warnings.all.map(({ rule, where }) => [rule, where]),
    [['INTR-04', 'low']],
  );
});

test('INTR-04 without a mutex b_iodone may enter the strategy again', async () => {
  const { solaris, low } = await boot();
  const order: string[] = [];
  const next = aBuf(solaris);
  const strategy = (name: string): void => {
    solaris.mutex_enter(low);
    order.push(name);
    solaris.mutex_exit(low);
  };
  next.b_iodone = () => {
    strategy('again');
    return 0;
  };
  inInterrupt(solaris, () => {
    strategy('first');
    solaris.biodone(next);
  });
  assert.equal(order, ['first', 'again']);
  assert.equal(solaris.kernel.warnings.all, []);
});

test('cv_wait gives the mutex back while it sleeps and has it again afterwards, whichever kind it is', async () => {
  for (const kind of ['thread', 'low'] as const) {
    const rig = await boot();
    const { solaris, cv } = rig;
    const mp = rig[kind];
    let ready = false;
    const waiter = solaris.kernel.scheduler.spawn('waiter', function* () {
      if (mp instanceof KmutexIntr) solaris.mutex_enter(mp);
      else yield* solaris.mutex_enter(mp);
      while (!ready) yield* solaris.cv_wait(cv, mp);
      assert.is(solaris.mutex_owned(mp), 1);
      solaris.mutex_exit(mp);
    });
    inThread(solaris, function* () {
      yield* solaris.delay(1);
      if (mp instanceof Kmutex) {
        assert.is(solaris.mutex_tryenter(mp), 1, 'it was given back');
        ready = true;
        solaris.cv_signal(cv);
        solaris.mutex_exit(mp);
      } else {
        assert.is(solaris.kernel.cpu.priority, 0);
        inInterrupt(solaris, () => {
          solaris.mutex_enter(mp);
          ready = true;
          solaris.cv_signal(cv);
          solaris.mutex_exit(mp);
        });
      }
      yield* solaris.kernel.scheduler.join(waiter);
    });
    assert.is(solaris.kernel.cpu.priority, 0);
  }
});

test('cv_signal wakes the first who waits, cv_broadcast all', async () => {
  const { solaris, thread, cv } = await boot();
  const woken: number[] = [];
  inThread(solaris, function* () {
    for (let i = 0; i < 4; i++) {
      solaris.kernel.scheduler.spawn(`waiter ${i}`, function* () {
        yield* solaris.mutex_enter(thread);
        yield* solaris.cv_wait(cv, thread);
        woken.push(i);
        solaris.mutex_exit(thread);
      });
    }
    yield* solaris.delay(1);
    solaris.cv_signal(cv);
    yield* solaris.delay(1);
    assert.equal(woken, [0]);
    assertBug('cv-destroy', () => solaris.cv_destroy(cv));
    solaris.cv_broadcast(cv);
    yield* solaris.delay(1);
    assert.equal(woken, [0, 1, 2, 3]);
    solaris.cv_destroy(cv);
    assertBug('cv-init', () => solaris.cv_signal(cv));
  });
});

test('timed waits end at their time, with the mutex', async () => {
  const { solaris, thread, cv } = await boot();
  inThread(solaris, function* () {
    yield* solaris.mutex_enter(thread);
    const start = solaris.ddi_get_lbolt();
    assert.is(yield* solaris.cv_timedwait(cv, thread, start + 3), -1);
    assert.is(solaris.ddi_get_lbolt() - start, 3);
    assert.is(yield* solaris.cv_timedwait(cv, thread, start), -1, 'it is over');
    assert.is(yield* solaris.cv_reltimedwait(cv, thread, 2, TR_CLOCK_TICK), -1);
    assert.equal([solaris.ddi_get_lbolt() - start, solaris.mutex_owned(thread)], [5, 1]);
    solaris.timeout(() => solaris.cv_signal(cv), null, 1);
    assert.is(yield* solaris.cv_timedwait(cv, thread, start + 100), 1);
    assert.is(solaris.ddi_get_lbolt() - start, 6);
    solaris.mutex_exit(thread);
  });
});

test('a signal of the process ends the waits that want that', async () => {
  const { solaris, thread, cv } = await boot();
  const { scheduler } = solaris.kernel;
  inThread(solaris, function* () {
    const waiter = scheduler.spawn('waiter', function* () {
      yield* solaris.mutex_enter(thread);
      const results = [yield* solaris.cv_wait_sig(cv, thread), yield* solaris.cv_wait_sig(cv, thread)];
      results.push(yield* solaris.cv_timedwait_sig(cv, thread, solaris.ddi_get_lbolt() + 50));
      results.push(solaris.mutex_owned(thread));
      solaris.mutex_exit(thread);
      return results;
    });
    yield* solaris.delay(1);
    solaris.cv_signal(cv);
    yield* solaris.delay(1);
    scheduler.signal(waiter, SIGINT);
    assert.equal(yield* scheduler.join(waiter), [1, 0, 0, 1]);
  });
});

test('cv_wait without the mutex is a bug, and a wait that nobody ends a deadlock', async () => {
  const { solaris, thread, low, cv } = await boot();
  inThread(solaris, function* () {
    for (const mp of [thread, low]) {
      try {
        yield* solaris.cv_wait(cv, mp);
        assert.unreachable();
      } catch (error) {
        assert.is((error as { rule?: string }).rule, 'cv-mutex');
      }
    }
  });
  const report = assertDeadlock(() =>
    inThread(solaris, function* () {
      solaris.mutex_enter(low);
      yield* solaris.cv_wait(cv, low);
    }),
  );
  assert.is(report.tasks[0]?.what, 'cv');
});

test('with interrupts at every access no signal is lost between giving back and sleeping', async () => {
  for (let seed = 0; seed < 20; seed++) {
    const { solaris, low, cv } = await boot({ seed, accessChance: 0.5 });
    const { interrupts } = solaris.kernel;
    let count = 0;
    const soft = interrupts.softInterrupt('producer', () => {
      solaris.mutex_enter(low);
      count++;
      solaris.cv_signal(cv);
      solaris.mutex_exit(low);
      return true;
    });
    inThread(solaris, function* () {
      for (let want = 1; want <= 20; want++) {
        solaris.mutex_enter(low);
        interrupts.trigger(soft);
        while (count < want) yield* solaris.cv_wait(cv, low);
        solaris.mutex_exit(low);
      }
    });
    assert.is(count, 20);
  }
});
