import {
  Cpu,
  Interrupts,
  NOBODY_CARED,
  Random,
  Scheduler,
  SpinLock,
  STORM_CALLS,
  WaitQueue,
  Warnings,
} from '../../src/kernel/index.ts';
import { assert, suite } from '../run/suite.ts';
import { FakePlatform } from './fake-platform.ts';
import { assertBug, assertDeadlock } from './help.ts';

const test = suite('interrupts');

function make(accessChance = 0) {
  const platform = new FakePlatform();
  const cpu = new Cpu();
  const warnings = new Warnings(() => platform.now());
  const interrupts = new Interrupts({ cpu, platform, warnings, random: new Random(1), accessChance });
  const scheduler = new Scheduler({ platform, cpu, interrupts });
  return { platform, cpu, warnings, interrupts, scheduler };
}

test('a handler runs in interrupt context between steps of tasks, and wakes who waits', () => {
  const { platform, interrupts, scheduler, cpu } = make();
  const queue = new WaitQueue('disk');
  interrupts.register(11, 'disk', () => {
    assert.ok(cpu.inInterrupt);
    platform.drop(11);
    scheduler.wakeAll(queue);
    return true;
  });
  platform.at(500, () => platform.raise(11));
  const time = scheduler.complete('reader', function* () {
    yield* scheduler.sleep(queue, { what: 'data' });
    return scheduler.now();
  });
  assert.is(time, 500);
  assert.not.ok(cpu.inInterrupt);
});

test('handlers that share a line are all called, until the line drops', () => {
  const { platform, interrupts } = make();
  const log: string[] = [];
  let left = 3;
  interrupts.register(5, 'other', () => {
    log.push('other');
    return false;
  });
  interrupts.register(5, 'disk', () => {
    log.push('disk');
    if (--left === 0) platform.drop(5);
    return true;
  });
  platform.raise(5);
  assert.ok(interrupts.deliver());
  assert.equal(log, ['other', 'disk', 'other', 'disk', 'other', 'disk']);
  assert.not.ok(interrupts.deliver());
});

test('a line that nobody claims is switched off and reported', () => {
  const { platform, interrupts, warnings, scheduler } = make();
  let calls = 0;
  interrupts.register(9, 'disk', () => {
    calls++;
    return false;
  });
  platform.raise(9);
  interrupts.deliver();
  assert.is(calls, NOBODY_CARED);
  assert.equal(
    warnings.all.map(({ rule, where, count }) => ({ rule, where, count })),
    [{ rule: 'irq-unclaimed', where: 'line 9', count: 1 }],
  );
  const queue = new WaitQueue('disk');
  scheduler.spawn('reader', () => scheduler.sleep(queue, { what: 'data' }));
  assert.equal(assertDeadlock(() => scheduler.run()).notes, [
    'interrupt line 9 was switched off: nobody cared',
  ]);
});

test('a claim between two unclaimed interrupts starts the count again', () => {
  const { platform, interrupts, warnings } = make();
  let calls = 0;
  interrupts.register(9, 'disk', () => {
    if (++calls === 2 * NOBODY_CARED) platform.drop(9);
    return calls % NOBODY_CARED === 0;
  });
  platform.raise(9);
  interrupts.deliver();
  assert.is(calls, 2 * NOBODY_CARED);
  assert.equal(warnings.all, []);
});

test('irq-storm a handler that claims for ever and never makes the line drop is a bug', () => {
  const { platform, interrupts } = make();
  let calls = 0;
  interrupts.register(9, 'disk', () => ++calls > 0);
  platform.raise(9);
  assertBug('irq-storm', () => interrupts.deliver());
  assert.is(calls, STORM_CALLS);
});

test('the highest priority runs first, and equal ones by line', () => {
  const { platform, interrupts } = make();
  const log: string[] = [];
  const add = (line: number, priority: number): void => {
    interrupts.register(
      line,
      `line ${line}`,
      () => {
        log.push(`line ${line}`);
        platform.drop(line);
        return true;
      },
      priority,
    );
  };
  add(3, 5);
  add(2, 5);
  add(4, 11);
  for (const line of [2, 3, 4]) platform.raise(line);
  interrupts.deliver();
  assert.equal(log, ['line 4', 'line 2', 'line 3']);
});

test('message-signalled interrupts run once a message, collapsed while pending', () => {
  const { platform, interrupts, warnings } = make();
  let calls = 0;
  interrupts.registerMsi(33, 'nvme queue 1', () => ++calls > 0);
  platform.sendMsi(33);
  platform.sendMsi(33);
  platform.sendMsi(40);
  interrupts.deliver();
  platform.sendMsi(33);
  interrupts.deliver();
  assert.is(calls, 2);
  assert.equal(
    warnings.all.map(({ rule, where }) => [rule, where]),
    [['irq-spurious', 'vector 40']],
  );
});

test('with interrupts off a message stays pending and is not lost', () => {
  const { platform, interrupts, cpu } = make();
  let calls = 0;
  interrupts.registerMsi(33, 'nvme', () => ++calls > 0);
  const flags = cpu.irqSave();
  platform.sendMsi(33);
  assert.not.ok(interrupts.deliver());
  cpu.irqRestore(flags);
  assert.ok(interrupts.deliver());
  assert.is(calls, 1);
});

test('irqSave nests: only the outermost restore switches interrupts on', () => {
  const { cpu } = make();
  const outer = cpu.irqSave();
  const inner = cpu.irqSave();
  cpu.irqRestore(inner);
  assert.not.ok(cpu.irqsEnabled);
  cpu.irqRestore(outer);
  assert.ok(cpu.irqsEnabled);
});

test('a priority mask holds off interrupts up to it, higher ones come in', () => {
  const { platform, interrupts, cpu } = make();
  const log: number[] = [];
  for (const [line, priority] of [
    [1, 5],
    [2, 11],
  ] as const) {
    interrupts.register(
      line,
      `line ${line}`,
      () => {
        log.push(line);
        platform.drop(line);
        return true;
      },
      priority,
    );
  }
  cpu.mask(5);
  cpu.mask(5);
  platform.raise(1);
  platform.raise(2);
  interrupts.deliver();
  assert.equal(log, [2]);
  cpu.unmask(5);
  assert.not.ok(interrupts.deliver());
  cpu.unmask(5);
  assert.ok(interrupts.deliver());
  assert.equal(log, [2, 1]);
  assertBug('irq-unmask', () => cpu.unmask(5));
});

test('disable holds a line off until the matching enable', () => {
  const { platform, interrupts } = make();
  let calls = 0;
  const action = interrupts.register(7, 'disk', () => {
    platform.drop(7);
    return ++calls > 0;
  });
  interrupts.disable(action);
  interrupts.disable(action);
  platform.raise(7);
  assert.equal(interrupts.notes(), ['interrupt line 7 is asserted and disabled']);
  interrupts.enable(action);
  assert.not.ok(interrupts.deliver());
  interrupts.enable(action);
  assert.ok(interrupts.deliver());
  assertBug('irq-enable', () => interrupts.enable(action));
});

test('a freed handler is not called again; freeing it twice is a bug', () => {
  const { platform, interrupts } = make();
  const action = interrupts.register(7, 'disk', () => true);
  interrupts.free(action);
  platform.raise(7);
  assert.not.ok(interrupts.deliver());
  assert.equal(interrupts.notes(), ['interrupt line 7 is asserted and has no handler']);
  assertBug('irq-free', () => interrupts.free(action));
});

test('INTR-03 a soft interrupt triggered while pending collapses, and runs below the hardware', () => {
  const { platform, interrupts } = make();
  const log: string[] = [];
  const soft = interrupts.softInterrupt('soft', () => {
    log.push('soft');
    return true;
  });
  interrupts.register(7, 'disk', () => {
    log.push('disk');
    platform.drop(7);
    interrupts.trigger(soft);
    return true;
  });
  assert.ok(interrupts.trigger(soft));
  assert.not.ok(interrupts.trigger(soft));
  platform.raise(7);
  interrupts.deliver();
  assert.equal(log, ['disk', 'soft']);
  interrupts.trigger(soft);
  assert.ok(interrupts.cancel(soft));
  assert.not.ok(interrupts.deliver());
});

test('by seed interrupts come in at an access, and only then if that is switched on', () => {
  const arrivals = (chance: number): number[] => {
    const { platform, interrupts } = make(chance);
    const log: number[] = [];
    let access = 0;
    interrupts.register(7, 'disk', () => {
      platform.drop(7);
      log.push(access);
      return true;
    });
    for (access = 0; access < 40; access++) {
      if (access % 10 === 0) platform.raise(7);
      interrupts.maybeInterrupt();
    }
    return log;
  };
  assert.equal(arrivals(0), []);
  assert.equal(arrivals(1), [0, 10, 20, 30]);
  assert.equal(arrivals(0.3), arrivals(0.3));
  assert.ok(arrivals(0.3).length > 0);
});

test('a running handler is interrupted only by a higher priority', () => {
  const { platform, interrupts } = make(1);
  const log: string[] = [];
  const add = (line: number, priority: number, body: () => void): void => {
    interrupts.register(
      line,
      `line ${line}`,
      () => {
        platform.drop(line);
        log.push(`enter ${line}`);
        body();
        log.push(`leave ${line}`);
        return true;
      },
      priority,
    );
  };
  add(1, 5, () => {
    platform.raise(2);
    platform.raise(3);
    interrupts.maybeInterrupt();
  });
  add(2, 5, () => undefined);
  add(3, 9, () => undefined);
  platform.raise(1);
  interrupts.deliver();
  assert.equal(log, ['enter 1', 'enter 3', 'leave 3', 'leave 1', 'enter 2', 'leave 2']);
});

test('spin-self an interrupt that takes a lock held with interrupts on is found, with irqsave it waits', () => {
  for (const save of [false, true]) {
    const { platform, interrupts, cpu } = make(1);
    const lock = new SpinLock(cpu, 'queue lock');
    let handled = false;
    interrupts.register(7, 'disk', () => {
      lock.lock();
      platform.drop(7);
      lock.unlock();
      handled = true;
      return true;
    });
    const use = (): void => {
      const flags = save ? lock.lockIrqSave() : false;
      if (!save) lock.lock();
      platform.raise(7);
      interrupts.maybeInterrupt();
      if (save) lock.unlockIrqRestore(flags);
      else lock.unlock();
    };
    if (save) use();
    else assert.match(assertBug('spin-self', use).message, 'interrupts off');
    assert.is(handled, save); // with irqsave it came in at the restore
  }
});

test('ctx-exit a handler that keeps a spin lock or switches interrupts off is a bug', () => {
  const { platform, interrupts, cpu } = make();
  const lock = new SpinLock(cpu, 'queue lock');
  interrupts.register(7, 'disk', () => {
    platform.drop(7);
    lock.lock();
    return true;
  });
  platform.raise(7);
  assert.match(assertBug('ctx-exit', () => interrupts.deliver()).message, 'queue lock');
});

test('a deadlock report says that an interrupt has no handler', () => {
  const { platform, scheduler } = make();
  platform.at(10, () => platform.raise(14));
  const queue = new WaitQueue('disk');
  scheduler.spawn('reader', () => scheduler.sleep(queue, { what: 'data' }));
  assert.equal(assertDeadlock(() => scheduler.run()).notes, [
    'interrupt line 14 is asserted and has no handler',
  ]);
});

test('a line or priority that does not exist is a bug', () => {
  const { interrupts } = make();
  assertBug('irq-line', () => interrupts.register(32, 'disk', () => true));
  assertBug('irq-priority', () => interrupts.register(1, 'disk', () => true, 16));
  assertBug('irq-priority', () => interrupts.softInterrupt('soft', () => true, 0));
});
