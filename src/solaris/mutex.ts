// Mutexes (mutex(9F)) and condition variables (condvar(9F)).
//
// There are two kinds of mutexes, and in C one type for both. Threads alone take a Kmutex, and may sleep while they hold
// it. A KmutexIntr is what a handler takes, too: it holds off interrupts up to the handler's priority for as long as
// somebody has it, so nobody ever waits for it and entering it is a plain function; nobody sleeps while holding it.

import {
  type Cpu,
  KernelBug,
  Mutex,
  type Scheduler,
  type SleepOptions,
  type Sleeps,
  SpinLock,
  WaitQueue,
  type WakeReason,
} from '../kernel/index.ts';
import { LOCK_LEVEL, type Solaris } from './kernel.ts';

/** Types of mutexes: which one is meant, the last argument of mutex_init() says. */
export const MUTEX_DRIVER = 4;
export const MUTEX_DEFAULT = 6;

/** How exact the time of cv_reltimedwait() is. */
export const TR_NANOSEC = 0;
export const TR_MICROSEC = 1;
export const TR_MILLISEC = 2;
export const TR_SEC = 3;
export const TR_CLOCK_TICK = 4;

const TICK_NS = 10_000_000;

/** A mutex of threads (kmutex_t, initialised without an interrupt's priority). */
export class Kmutex {
  inner: Mutex | null = null;
}

/** A mutex that a handler takes, too (kmutex_t, initialised with its priority). */
export class KmutexIntr {
  inner: SpinLock | null = null;
  /** Interrupts up to this priority are held off while somebody has it. */
  pri = 0;
}

/** What mutex_enter() of it returns. */
export type Entered<M> = M extends KmutexIntr ? undefined : Sleeps<void>;

/** A condition variable (kcondvar_t). */
export class Kcondvar {
  queue: WaitQueue | null = null;
}

/** Takes and gives back both kinds. */
class Locks {
  readonly #cpu: Cpu;
  readonly #scheduler: Scheduler;

  constructor(cpu: Cpu, scheduler: Scheduler) {
    this.#cpu = cpu;
    this.#scheduler = scheduler;
  }

  init(mp: Kmutex | KmutexIntr, name: string, pri: number | null): void {
    if (mp.inner !== null) throw new KernelBug('mutex-init', 'initialised twice', name);
    if (mp instanceof Kmutex) {
      mp.inner = new Mutex(this.#scheduler, name);
    } else {
      mp.inner = new SpinLock(this.#cpu, name);
      mp.pri = pri ?? 0;
    }
  }

  thread(mp: Kmutex, where: string): Mutex {
    if (mp.inner === null) throw new KernelBug('mutex-init', 'mutex_init() was not called', where);
    const { interruptPriority: level } = this.#cpu;
    if (level > LOCK_LEVEL)
      throw new KernelBug('INTR-02', 'no spin mutex, in a high-level interrupt', mp.inner.name);
    if (this.#cpu.inInterrupt)
      throw new KernelBug(
        'INTR-01',
        'a mutex of threads, in an interrupt: initialise it with a priority',
        mp.inner.name,
      );
    return mp.inner;
  }

  spin(mp: KmutexIntr, where: string): SpinLock {
    if (mp.inner === null) throw new KernelBug('mutex-init', 'mutex_init() was not called', where);
    return mp.inner;
  }

  enterSpin(mp: KmutexIntr): void {
    const lock = this.spin(mp, 'mutex_enter');
    const { interruptPriority: level } = this.#cpu;
    if (level > mp.pri) {
      const rule = level > LOCK_LEVEL && mp.pri <= LOCK_LEVEL ? 'INTR-02' : 'INTR-01';
      throw new KernelBug(rule, `initialised for priority ${mp.pri}, entered at ${level}`, lock.name);
    }
    if (!lock.held) this.#cpu.mask(mp.pri);
    lock.lock(); // throws when it is held
  }

  exitSpin(mp: KmutexIntr): void {
    this.spin(mp, 'mutex_exit').unlock();
    this.#cpu.unmask(mp.pri);
  }

  *enter(mp: Kmutex | KmutexIntr): Sleeps<void> {
    if (mp instanceof KmutexIntr) this.enterSpin(mp);
    else yield* this.thread(mp, 'mutex_enter').lock();
  }

  exit(mp: Kmutex | KmutexIntr): void {
    if (mp instanceof KmutexIntr) this.exitSpin(mp);
    else this.thread(mp, 'mutex_exit').unlock();
  }

  owned(mp: Kmutex | KmutexIntr): boolean {
    if (mp instanceof KmutexIntr) return this.spin(mp, 'mutex_owned').heldHere;
    return mp.inner !== null && mp.inner.owner !== null && mp.inner.owner === this.#cpu.current;
  }

  /** Sleeps on the queue without the mutex: who signals after it was given back finds the sleeper there. */
  *waitWithout(mp: Kmutex | KmutexIntr, queue: WaitQueue, options: SleepOptions): Sleeps<WakeReason> {
    if (!this.owned(mp)) throw new KernelBug('cv-mutex', 'the caller does not hold the mutex', queue.name);
    const task = this.#cpu.process(queue.name);
    if (task.interruptedBy(options)) return 'signal';
    if (mp instanceof KmutexIntr) {
      this.spin(mp, 'cv_wait').unlock();
      const wait = this.#scheduler.park(queue, options);
      this.#cpu.unmask(mp.pri); // from here on interrupts come in, and may signal
      yield wait;
    } else {
      this.thread(mp, 'cv_wait').unlock();
      yield this.#scheduler.park(queue, options);
    }
    const reason = task.woken;
    yield* this.enter(mp);
    return reason;
  }
}

export function createMutex(k: Solaris) {
  const locks = new Locks(k.cpu, k.scheduler);

  function queueOf(cvp: Kcondvar, where: string): WaitQueue {
    if (cvp.queue === null) throw new KernelBug('cv-init', 'cv_init() was not called', where);
    return cvp.queue;
  }

  function* wait(
    cvp: Kcondvar,
    mp: Kmutex | KmutexIntr,
    where: string,
    options: Omit<SleepOptions, 'what'> = {},
  ): Sleeps<WakeReason> {
    const queue = queueOf(cvp, where);
    return yield* locks.waitWithout(mp, queue, { what: queue.name, ...options });
  }

  /** cv_timedwait() and its like: 1 when signalled, 0 by a signal of the process, -1 when the time is over. */
  function* timed(
    cvp: Kcondvar,
    mp: Kmutex | KmutexIntr,
    where: string,
    ns: number,
    interruptible: boolean,
  ): Sleeps<number> {
    if (ns <= 0) return -1;
    const reason = yield* wait(cvp, mp, where, { timeoutNs: ns, interruptible });
    if (reason === 'timeout') return -1;
    return reason === 'signal' ? 0 : 1;
  }

  function untilTick(ticks: number): number {
    return ticks * TICK_NS - k.scheduler.now();
  }

  return {
    /**
     * Prepares a mutex. User or kernel context.
     * @param mp a Kmutex, for which `arg` is null; or a KmutexIntr, for which it is the priority of the handler that takes
     *   it, as ddi_intr_get_pri() says, or its iblock cookie
     * @param name for messages; C may have none
     * @throws KernelBug `mutex-init` when it is prepared already, or `arg` does not fit
     */
    mutex_init(mp: Kmutex | KmutexIntr, name: string, _type: number, arg: number | null): void {
      if (mp instanceof KmutexIntr !== (arg !== null))
        throw new KernelBug('mutex-init', 'a KmutexIntr has a priority, a Kmutex has none', name);
      locks.init(mp, name, arg);
    },

    /**
     * Takes the mutex. A Kmutex: `yield* mutex_enter(mp)`, waits for it, in threads alone. A KmutexIntr: `mutex_enter(mp)`,
     * in any context up to its priority.
     * @throws KernelBug `lock-self`, `spin-self` when the caller has it; `INTR-01`, `INTR-02` in a handler that is above
     *   the mutex's priority
     */
    mutex_enter<M extends Kmutex | KmutexIntr>(mp: M): Entered<M> {
      if (mp instanceof KmutexIntr) return locks.enterSpin(mp) as Entered<M>;
      return locks.thread(mp as Kmutex, 'mutex_enter').lock() as Entered<M>;
    },

    /** Takes the mutex if it is free: 1, or 0. The contexts are those of mutex_enter(). */
    mutex_tryenter(mp: Kmutex | KmutexIntr): number {
      if (mp instanceof Kmutex) return locks.thread(mp, 'mutex_tryenter').tryLock() ? 1 : 0;
      if (locks.spin(mp, 'mutex_tryenter').held) return 0;
      locks.enterSpin(mp);
      return 1;
    },

    /** Gives it back, in the context that took it. @throws KernelBug `lock-owner`, `spin-unlock` when the caller does not have it */
    mutex_exit(mp: Kmutex | KmutexIntr): void {
      locks.exit(mp);
    },

    /** 1 when the caller has it, else 0; for assertions. Any context. */
    mutex_owned(mp: Kmutex | KmutexIntr): number {
      return locks.owned(mp) ? 1 : 0;
    },

    /**
     * The end of a mutex, which nobody but the caller may have. User or kernel context.
     * @throws KernelBug `mutex-destroy`
     */
    mutex_destroy(mp: Kmutex | KmutexIntr): void {
      const held = mp instanceof KmutexIntr ? mp.inner?.held === true : (mp.inner?.owner ?? null) !== null;
      if (mp.inner === null || (held && !locks.owned(mp)))
        throw new KernelBug('mutex-destroy', held ? 'somebody holds it' : 'it is none', 'mutex_destroy');
      if (held) locks.exit(mp);
      mp.inner = null;
    },

    // ---- condition variables

    /** Prepares a condition variable. User or kernel context. */
    cv_init(cvp: Kcondvar, name: string, _type: number, _arg: null): void {
      if (cvp.queue !== null) throw new KernelBug('cv-init', 'initialised twice', name);
      cvp.queue = new WaitQueue(name);
    },

    /** Its end. User or kernel context. @throws KernelBug `cv-destroy` when somebody waits */
    cv_destroy(cvp: Kcondvar): void {
      if (!queueOf(cvp, 'cv_destroy').empty)
        throw new KernelBug('cv-destroy', 'somebody waits', 'cv_destroy');
      cvp.queue = null;
    },

    /**
     * Gives the mutex back, sleeps until signalled, and takes it again. Look at the condition once more then. User and
     * kernel context.
     * @throws KernelBug `cv-mutex` when the caller does not hold the mutex
     */
    *cv_wait(cvp: Kcondvar, mp: Kmutex | KmutexIntr): Sleeps<void> {
      yield* wait(cvp, mp, 'cv_wait');
    },

    /** cv_wait() that a signal of the process ends: 0 then, else more. User or kernel context. */
    *cv_wait_sig(cvp: Kcondvar, mp: Kmutex | KmutexIntr): Sleeps<number> {
      return (yield* wait(cvp, mp, 'cv_wait_sig', { interruptible: true })) === 'signal' ? 0 : 1;
    },

    /**
     * cv_wait() up to a moment: -1 when it has come, else more than 0. User or kernel context.
     * @param timeout as ddi_get_lbolt() counts
     */
    *cv_timedwait(cvp: Kcondvar, mp: Kmutex | KmutexIntr, timeout: number): Sleeps<number> {
      return yield* timed(cvp, mp, 'cv_timedwait', untilTick(timeout), false);
    },

    /** cv_timedwait() that a signal of the process ends, too: 0 then. User or kernel context. */
    *cv_timedwait_sig(cvp: Kcondvar, mp: Kmutex | KmutexIntr, timeout: number): Sleeps<number> {
      return yield* timed(cvp, mp, 'cv_timedwait_sig', untilTick(timeout), true);
    },

    /**
     * cv_wait() for a time: -1 when it is over, else more than 0. User or kernel context.
     * @param delta in ticks @param _res TR_…
     */
    *cv_reltimedwait(cvp: Kcondvar, mp: Kmutex | KmutexIntr, delta: number, _res: number): Sleeps<number> {
      return yield* timed(cvp, mp, 'cv_reltimedwait', delta * TICK_NS, false);
    },

    /** Wakes who waits longest. Any context but high-level interrupts; usually with the mutex held. */
    cv_signal(cvp: Kcondvar): void {
      k.scheduler.wakeOne(queueOf(cvp, 'cv_signal'));
    },

    /** Wakes all who wait. Any context but high-level interrupts. */
    cv_broadcast(cvp: Kcondvar): void {
      k.scheduler.wakeAll(queueOf(cvp, 'cv_broadcast'));
    },
  };
}
