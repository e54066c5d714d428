// Tasks, and the type that makes sleeping visible.
//
// A task is a generator function run by the Scheduler. Whatever may sleep is a `function*` that returns `Sleeps<T>` and
// is called with `yield*`; whatever may not is a plain function, so most sleeping in interrupt context does not even
// type-check. A `yield*` that does not sleep costs about 17 ns; where that matters a function is split in two, a plain
// fast path that returns null when it would have to wait and a slow path that waits:
//
//     const page = findPage(index) ?? (yield* readPage(index));

import { KernelBug } from './errors.ts';
import type { AddressSpace } from './mm.ts';
import { Timer } from './timer.ts';

declare const waitBrand: unique symbol;

/** What a task hands to the scheduler when it goes to sleep. Only the Scheduler makes one. */
export interface Wait {
  readonly [waitBrand]: true;
}

/**
 * Result type of a function that may sleep: `function* read(): Sleeps<number>`, called as `yield* read()`.
 *
 * The member `then` is never there. It makes the type a thenable for the linter, which then reports a call without
 * `yield*` as it reports a promise without `await`.
 */
export interface Sleeps<T> extends Generator<Wait, T, void> {
  then?(onfulfilled: (value: T) => void, onrejected: (reason: unknown) => void): never;
}

/** Return type of a call-back that must not sleep: unlike plain `void` it refuses a generator function. */
// biome-ignore lint/suspicious/noConfusingVoidType: the union is what makes the difference
export type NoSleep = void | undefined;

/** Why a sleeper runs again. */
export type WakeReason = 'woken' | 'timeout' | 'signal';

export interface SleepOptions {
  /** What the task waits for, for the deadlock report: "a request", "page 12". A constant object costs nothing. */
  readonly what: string;
  /** Wake up after so many virtual nanoseconds with 'timeout'. Default: never. */
  readonly timeoutNs?: number;
  /** Wake up with 'signal' on any signal, or on a fatal one only. Default: signals do not wake. */
  readonly interruptible?: boolean | 'fatal';
  /**
   * The time-out is only there to look again (DLK-12). A system in which all that is left are such sleepers, each
   * having looked again in vain, is a deadlock.
   */
  readonly poll?: boolean;
  /** A service thread that has nothing to do: it is no part of a deadlock and does not keep `run()` going. */
  readonly idle?: boolean;
}

export type TaskState = 'runnable' | 'running' | 'sleeping' | 'dead';

/** Signal numbers the kernels look at (the same in Linux and Solaris). */
export const SIGINT = 2;
export const SIGKILL = 9;
export const SIGTERM = 15;

/**
 * Tasks that wait for one thing, first come first served. The list runs through the tasks themselves: queueing
 * allocates nothing.
 */
export class WaitQueue {
  readonly name: string;
  /** The task that has what the others wait for, when that is known (a lock's holder). For the deadlock report. */
  owner: Task | null = null;
  /** Says in words who will wake the sleepers. For the deadlock report; unset: `owner`, else unknown. */
  wakers: (() => string | null) | null = null;
  /** First sleeper. */
  head: Task | null = null;
  private tail: Task | null = null;

  constructor(name: string) {
    this.name = name;
  }

  get empty(): boolean {
    return this.head === null;
  }

  /** Number of sleepers; walks the list. */
  get length(): number {
    let count = 0;
    for (let task = this.head; task !== null; task = task.nextWaiter) count++;
    return count;
  }

  /** Adds a task at the end. For the scheduler. */
  append(task: Task): void {
    task.queue = this;
    task.previousWaiter = this.tail;
    task.nextWaiter = null;
    if (this.tail === null) this.head = task;
    else this.tail.nextWaiter = task;
    this.tail = task;
  }

  /** Takes a task out, wherever it stands. For the scheduler. */
  remove(task: Task): void {
    if (task.queue !== this) throw new KernelBug('wait-queue', `${task.name} does not wait here`, this.name);
    const { previousWaiter: previous, nextWaiter: next } = task;
    if (previous === null) this.head = next;
    else previous.nextWaiter = next;
    if (next === null) this.tail = previous;
    else next.previousWaiter = previous;
    task.queue = null;
    task.previousWaiter = null;
    task.nextWaiter = null;
  }
}

/** What of a task only its scheduler sets. */
export interface TaskInit {
  readonly pid: number;
  readonly name: string;
  readonly kthread: boolean;
  /** Called when the time-out of the task's sleep is over. */
  readonly onTimeout: (task: Task) => void;
}

/** One thread of control: `current` of both kernels. Made by `Scheduler.spawn`. */
export class Task<T = unknown> {
  readonly pid: number;
  readonly name: string;
  /** A thread of the kernel itself: it has no user memory. */
  readonly kthread: boolean;
  state: TaskState = 'runnable';
  /** Makes the body, in the task's own context; the scheduler calls it when the task runs first. */
  start: () => Generator<Wait, T, void> = noBody;
  /** The body; the scheduler alone resumes it. */
  body: Generator<Wait, T, void> | null = null;
  /** What the body returned; undefined until the task is dead, and when it died of an exception. */
  exitValue: T | undefined = undefined;
  /** Sleepers in `join`. */
  readonly exited: WaitQueue;
  /**
   * What one kernel keeps per task (Linux: current->bio_list, plug; Solaris: project). Filled by the scheduler's
   * `makeLocal` when the task is made, read back with one cast in one place of that kernel.
   */
  local: unknown = undefined;
  /** Its user memory; null for a thread of the kernel. */
  mm: AddressSpace | null = null;
  /** Faults that had to wait for I/O, and all others; maintained by who resolves faults for the task. */
  maj_flt = 0;
  min_flt = 0;
  /** Sleeping locks held; must be 0 when the task ends. */
  locksHeld = 0;

  /** The queue slept on; null while not sleeping. */
  queue: WaitQueue | null = null;
  /** The queue of the sleep in progress or of the last one. */
  lastQueue: WaitQueue | null = null;
  nextWaiter: Task | null = null;
  previousWaiter: Task | null = null;
  /** The sleep in progress or the last one. */
  sleep: SleepOptions = notAsleep;
  /** Virtual time in nanoseconds at which the sleep began. */
  sleepingSince = 0;
  /** How the last sleep ended. */
  woken: WakeReason = 'woken';
  /** Time-out of the sleep. */
  readonly timeout: Timer;
  /** Vain looks in a row, and the scheduler's progress count at the first of them. */
  vainPolls = 0;
  pollMark = -1;

  /** Pending signals, bit n-1 for signal n, n 1..31. */
  private pendingSignals = 0;
  private fatal = false;

  constructor(init: TaskInit) {
    this.pid = init.pid;
    this.name = init.name;
    this.kthread = init.kthread;
    this.exited = new WaitQueue(`exit of ${init.name}`);
    this.exited.owner = this;
    this.timeout = new Timer(`sleep of ${init.name}`, () => init.onTimeout(this));
  }

  get signalPending(): boolean {
    return this.pendingSignals !== 0;
  }

  /** Linux: fatal_signal_pending. */
  get fatalSignalPending(): boolean {
    return this.fatal;
  }

  /**
   * Marks a signal as pending; `Scheduler.signal` also wakes the task.
   * @param signal 1..31
   * @param fatal true when its action is to end the process; SIGKILL always is
   */
  addSignal(signal: number, fatal = false): void {
    if (!Number.isInteger(signal) || signal < 1 || signal > 31) {
      throw new KernelBug('signal-number', `no signal ${signal}`, this.name);
    }
    this.pendingSignals |= 1 << (signal - 1);
    if (fatal || signal === SIGKILL) this.fatal = true;
  }

  /** Takes the pending signal of the lowest number; 0 when there is none. A fatal one stays fatal. */
  takeSignal(): number {
    if (this.pendingSignals === 0) return 0;
    const bit = this.pendingSignals & -this.pendingSignals;
    this.pendingSignals &= ~bit;
    return 32 - Math.clz32(bit);
  }

  /** True when this sleep is ended by what is pending now. */
  interruptedBy(sleep: SleepOptions): boolean {
    if (sleep.interruptible === undefined || sleep.interruptible === false) return false;
    return sleep.interruptible === 'fatal' ? this.fatal : this.pendingSignals !== 0;
  }
}

const notAsleep: SleepOptions = { what: 'nothing' };

function noBody(): never {
  throw new KernelBug('task-state', 'a task without a body', 'Task');
}
