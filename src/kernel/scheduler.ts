// The scheduler: one CPU, virtual time, no parallelism but that of interrupts. Which task runs next is decided by the
// order of waking or, on wish, by a seed; so a run is repeated exactly by its seed.

import { Cpu, SOFT_PRIORITY } from './cpu.ts';
import { findDeadlock } from './deadlock.ts';
import { AsyncMediaError, DeadlockError, type DeadlockReport, KernelBug } from './errors.ts';
import type { AdvanceResult, Platform } from './platform.ts';
import type { Random } from './random.ts';
import { RunQueue } from './run-queue.ts';
import type { SleepTracker } from './sleep-tracker.ts';
import {
  type SleepOptions,
  type Sleeps,
  Task,
  type TaskState,
  type Wait,
  WaitQueue,
  type WakeReason,
} from './task.ts';
import { type Timer, TimerQueue } from './timer.ts';

/** Yields in a row, with nothing else happening, after which tasks are taken to wait for each other for ever. */
export const LIVELOCK_YIELDS = 1_000_000;
/** Vain looks of a polling sleeper, with nothing else happening, after which it is taken to wait for ever. */
export const VAIN_POLLS = 8;
/** Steps of the hardware at one moment of virtual time after which its clock is taken to be stuck. */
const STUCK_ADVANCES = 100_000;

/** Where the scheduler gets interrupts from: `Interrupts` of irq.ts. */
export interface InterruptSource {
  /** Runs the handlers of all that is pending and not held off; true when one ran. */
  deliver(): boolean;
  /** Remarks for a deadlock report: lines switched off or stuck. */
  notes(): string[];
}

export interface SchedulerOptions {
  readonly platform: Platform;
  readonly cpu?: Cpu;
  readonly interrupts?: InterruptSource;
  /** Which runnable task runs next: the one that waits longest (default), or one chosen by this stream. */
  readonly chooser?: Random;
  /** Virtual nanoseconds that a `yieldNow` takes. Default 1000. */
  readonly yieldNs?: number;
  /** Virtual nanoseconds that every step of a task takes. Default 0: only sleeping takes time. */
  readonly stepNs?: number;
  /** Finds calls without `yield*` after every step; for debugging. */
  readonly tracker?: SleepTracker;
  /** Makes `Task.local`. */
  readonly makeLocal?: (task: Task) => unknown;
}

export interface SpawnOptions {
  /** A thread of the kernel itself. */
  readonly kthread?: boolean;
}

export interface RunOptions {
  /** Stop when this task has ended. */
  readonly until?: Task;
  /** Stop at this virtual time in nanoseconds, before anything later happens. */
  readonly untilNs?: number;
  /** What to do when tasks sleep that nothing will wake: throw a DeadlockError (default) or come back. */
  readonly blocked?: 'throw' | 'return';
}

/** Why `run` came back: the task ended, the time was reached, nothing is left to do, tasks are blocked for ever. */
export type RunResult = 'ended' | 'time' | 'idle' | 'blocked';

/** What one turn of the loop came to. */
type Turn = 'ran' | 'media' | RunResult;

export class Scheduler {
  readonly cpu: Cpu;
  readonly platform: Platform;
  /** Every task that is not dead, by pid. */
  readonly tasks = new Map<number, Task>();

  /** Told of a task that has just gone to sleep, before anybody else runs: it may let go what others wait for. */
  onSleep: ((task: Task) => void) | null = null;
  /** Told of a task whose body has returned; throws when it must not end so. */
  onEnd: ((task: Task) => void) | null = null;
  /** Asked for a deadlock report: what a blocked task keeps that others, or itself, may wait for; null: nothing. */
  remarkOn: ((task: Task) => string | null) | null = null;

  private readonly interrupts: InterruptSource | null;
  private readonly yieldNs: number;
  private readonly stepNs: number;
  private readonly tracker: SleepTracker | null;
  private readonly makeLocal: ((task: Task) => unknown) | null;
  private readonly runnable: RunQueue;
  private readonly timers = new TimerQueue();
  private readonly delays = new WaitQueue('delay');
  private nextPid = 1;
  private loopActive = false;
  /** Virtual time up to which the hardware still has to run before the next task. */
  private owedUntil = -1;
  /** Counts whatever may have changed something for a sleeper that polls. */
  private progress = 0;
  private yieldsInRow = 0;
  private stuckAdvances = 0;

  constructor(options: SchedulerOptions) {
    this.platform = options.platform;
    this.cpu = options.cpu ?? new Cpu();
    this.interrupts = options.interrupts ?? null;
    this.yieldNs = options.yieldNs ?? 1000;
    this.stepNs = options.stepNs ?? 0;
    this.tracker = options.tracker ?? null;
    this.makeLocal = options.makeLocal ?? null;
    this.runnable = new RunQueue(options.chooser ?? null);
  }

  /** The running task, null outside of tasks. */
  get current(): Task | null {
    return this.cpu.current;
  }

  /** Virtual time in nanoseconds. */
  now(): number {
    return this.platform.now();
  }

  // ---- tasks

  /** Makes a task; its body is called when its turn comes, with the task. */
  spawn<T>(name: string, body: (task: Task<T>) => Sleeps<T>, options: SpawnOptions = {}): Task<T> {
    const kthread = options.kthread ?? false;
    const task = new Task<T>({
      pid: this.nextPid++,
      name,
      kthread,
      onTimeout: this.sleepOver,
    });
    if (this.makeLocal !== null) task.local = this.makeLocal(task);
    task.start = () => body(task);
    this.tasks.set(task.pid, task);
    this.runnable.push(task);
    return task;
  }

  /** Waits until the task has ended and returns its value. */
  *join<T>(task: Task<T>): Sleeps<T> {
    while (task.state !== 'dead') yield this.park(task.exited, { what: `the end of ${task.name}` });
    return task.exitValue as T; // a dead task has its value: one that threw ended the run
  }

  /** Makes a signal pending (fatal: its action is to end the process) and wakes the task if that ends its sleep. */
  signal(task: Task, signal: number, fatal = false): void {
    task.addSignal(signal, fatal);
    if (task.state === 'sleeping' && task.interruptedBy(task.sleep)) this.wake(task, 'signal');
  }

  // ---- sleeping

  /**
   * Sleeps on the queue until woken, until the time-out or until a signal. A signal that is pending already ends an
   * interruptible sleep before it begins. Wake-ups may be spurious for the caller's condition: use it in a loop, or
   * `waitUntil`.
   * @throws KernelBug `ctx-sleep` where sleeping is not allowed
   */
  *sleep(queue: WaitQueue, options: SleepOptions): Sleeps<WakeReason> {
    this.cpu.mightSleep(queue.name);
    const task = this.cpu.process(queue.name);
    if (task.interruptedBy(options)) return 'signal';
    yield this.park(queue, options);
    return task.woken;
  }

  /** Sleeps on the queue until the condition holds ('woken'), the time-out of one sleep is over, or a signal comes. */
  *waitUntil(queue: WaitQueue, condition: () => boolean, options: SleepOptions): Sleeps<WakeReason> {
    while (!condition()) {
      const reason = yield* this.sleep(queue, options);
      if (reason !== 'woken') return condition() ? 'woken' : reason;
    }
    return 'woken';
  }

  /**
   * Puts the running task on the queue; the result must be yielded at once: `yield scheduler.park(queue, options)`.
   * This is `sleep` without a generator of its own, for hot paths; how the sleep ended is in `task.woken`. Signals
   * that are pending already do not count.
   */
  park(queue: WaitQueue, options: SleepOptions): Wait {
    this.cpu.mightSleep(queue.name);
    const task = this.cpu.process(queue.name);
    if (task.state !== 'running')
      throw new KernelBug('sleep-lost', 'went to sleep twice without a yield', queue.name);
    const now = this.platform.now();
    // Who looks again and again waits since the first look.
    if (task.woken !== 'timeout' || task.lastQueue !== queue || options.poll !== true)
      task.sleepingSince = now;
    task.state = 'sleeping';
    task.sleep = options;
    task.lastQueue = queue;
    queue.append(task);
    if (options.timeoutNs !== undefined) {
      task.timeout.poll = onlyLooks(task);
      this.timers.arm(task.timeout, now + options.timeoutNs);
    }
    if (this.onSleep !== null) this.onSleep(task);
    return suspended;
  }

  /** Lets the others run first. Takes `yieldNs` of virtual time, so waiting for hardware in a loop ends. */
  *yieldNow(): Sleeps<void> {
    this.cpu.mightSleep('yieldNow');
    const task = this.cpu.process('yieldNow');
    if (task.state !== 'running')
      throw new KernelBug('sleep-lost', 'went to sleep twice without a yield', 'yieldNow');
    task.state = 'runnable';
    yield suspended;
  }

  /** Sleeps for `ns` virtual nanoseconds (Linux: msleep, Solaris: delay). */
  *delay(ns: number): Sleeps<void> {
    yield this.park(this.delays, { what: 'time to pass', timeoutNs: ns });
  }

  /**
   * Lets `ns` virtual nanoseconds pass without sleeping (Linux: udelay, Solaris: drv_usecwait), in any context.
   * Interrupts that are not held off are taken meanwhile.
   * @throws AsyncMediaError when a completion of an asynchronous medium falls into that time; use `delay` there
   */
  busyWait(ns: number): void {
    const until = this.platform.now() + ns;
    while (this.platform.now() < until) {
      const result = this.advance(until);
      if (result === 'media') throw new AsyncMediaError('busyWait', 'use delay()');
      if (result === 'irq') this.interrupts?.deliver();
    }
  }

  // ---- waking, in any context

  /** Wakes the first sleeper; returns it, or null when there is none. */
  wakeOne(queue: WaitQueue): Task | null {
    const task = queue.head;
    if (task !== null) this.wake(task, 'woken');
    return task;
  }

  /** Wakes all sleepers, in order; returns how many. */
  wakeAll(queue: WaitQueue): number {
    let count = 0;
    // Nobody can queue up again before the next step, so this ends.
    for (let task = queue.head; task !== null; task = queue.head) {
      this.wake(task, 'woken');
      count++;
    }
    return count;
  }

  /** Wakes this task if it sleeps. */
  wakeTask(task: Task): boolean {
    if (task.state !== 'sleeping') return false;
    this.wake(task, 'woken');
    return true;
  }

  // ---- timers

  /** Arms a kernel timer for a virtual time in nanoseconds; its function runs in interrupt context. */
  armTimer(timer: Timer, deadline: number): void {
    this.timers.arm(timer, deadline);
  }

  /** False when the timer was not pending. */
  cancelTimer(timer: Timer): boolean {
    return this.timers.cancel(timer);
  }

  /**
   * Says that something happened which a polling sleeper may be waiting for. The scheduler sees most of it itself; not
   * that a poll succeeded and the same task polls again.
   */
  noteProgress(): void {
    this.progress++;
    this.yieldsInRow = 0;
  }

  // ---- context

  get inInterrupt(): boolean {
    return this.cpu.inInterrupt;
  }

  /** Declares that the caller may sleep here. @throws KernelBug `ctx-sleep` */
  mightSleep(where: string): void {
    this.cpu.mightSleep(where);
  }

  /**
   * Runs what sleeps only under some flag, with that flag off, where sleeping is not allowed: in an interrupt, under a
   * spin lock, outside of any task.
   * @throws KernelBug `ctx-sleep` at the first attempt to sleep
   */
  atomic<T>(sleeps: Sleeps<T>): T {
    this.cpu.atomicDepth++;
    try {
      const result = sleeps.next();
      if (result.done === true) return result.value;
    } finally {
      this.cpu.atomicDepth--;
    }
    throw new KernelBug('ctx-sleep', 'sleeps in atomic context', 'atomic');
  }

  // ---- the loop

  /**
   * Runs tasks, interrupts, timers and hardware until nothing is left to do or the options say stop. What a task
   * throws ends the run and comes out here; the task is dead then, the rest can be run on.
   * @throws DeadlockError, AsyncMediaError
   */
  run(options: RunOptions = {}): RunResult {
    this.enterLoop();
    try {
      for (;;) {
        const turn = this.turn(options);
        if (turn === 'media') throw new AsyncMediaError('run', 'use runAsync()');
        if (turn !== 'ran') return turn;
      }
    } finally {
      this.loopActive = false;
    }
  }

  /** `run` for machines whose media need the host's event loop. Virtual time does not depend on how long they take. */
  async runAsync(options: RunOptions = {}): Promise<RunResult> {
    this.enterLoop();
    try {
      for (;;) {
        const turn = this.turn(options);
        if (turn === 'media') await this.platform.waitMedia();
        else if (turn !== 'ran') return turn;
      }
    } finally {
      this.loopActive = false;
    }
  }

  /** Spawns a task, runs until it ends and returns its value. */
  complete<T>(name: string, body: (task: Task<T>) => Sleeps<T>): T {
    const task = this.spawn(name, body);
    this.run({ until: task });
    return task.exitValue as T; // it ended, without an exception
  }

  /** `complete` for asynchronous media. */
  async completeAsync<T>(name: string, body: (task: Task<T>) => Sleeps<T>): Promise<T> {
    const task = this.spawn(name, body);
    await this.runAsync({ until: task });
    return task.exitValue as T;
  }

  private enterLoop(): void {
    if (this.loopActive) throw new KernelBug('run-nested', 'run() inside run()');
    this.loopActive = true;
  }

  /** One turn: interrupts, due timers, then one step of one task; without a runnable task the hardware runs on. */
  private turn(options: RunOptions): Turn {
    if (this.owedUntil >= 0 && this.pass(this.owedUntil) === 'media') return 'media';
    if (options.until?.state === 'dead') return 'ended';
    if (options.untilNs !== undefined && this.platform.now() > options.untilNs) return 'time';
    if (this.interrupts?.deliver() === true) this.noteProgress();
    if (this.fireTimers()) return 'ran';
    const task = this.runnable.take();
    if (task === null) return this.idle(options);
    this.step(task);
    const cost = task.state === 'runnable' ? this.yieldNs + this.stepNs : this.stepNs;
    if (task.state === 'runnable') this.requeue(task);
    return cost > 0 ? this.pass(this.platform.now() + cost) : 'ran';
  }

  /** Resumes a task until its next yield. */
  private step(task: Task): void {
    const looked = task.woken === 'timeout' && onlyLooks(task) ? task.lastQueue : null;
    const after = this.resume(task);
    // A look that found nothing is the one kind of step that brings nobody further.
    if (looked !== null && after === 'sleeping' && task.lastQueue === looked && onlyLooks(task)) return;
    this.progress++;
    if (after !== 'runnable') this.yieldsInRow = 0;
  }

  private resume(task: Task): TaskState {
    if (task.state === 'dead') throw new KernelBug('task-state', 'a dead task is runnable', task.name);
    this.cpu.current = task;
    task.state = 'running';
    try {
      task.body ??= task.start();
      const result = task.body.next();
      if (result.done === true) this.end(task, result.value);
      else if (task.state === 'running')
        throw new KernelBug('sleep-lost', 'yielded without going to sleep', task.name);
      this.tracker?.check();
    } catch (error) {
      this.bury(task);
      throw error;
    } finally {
      this.cpu.current = null;
    }
    return task.state;
  }

  private end(task: Task, value: unknown): void {
    if (task.state !== 'running')
      throw new KernelBug('sleep-lost', 'ended after going to sleep without a yield', task.name);
    if (task.locksHeld !== 0)
      throw new KernelBug('lock-exit', `ended with ${task.locksHeld} locks held`, task.name);
    const why = this.cpu.whyAtomic();
    if (why !== null) throw new KernelBug('ctx-exit', `ended ${why}`, task.name);
    this.onEnd?.(task);
    task.exitValue = value;
    this.bury(task);
  }

  private bury(task: Task): void {
    task.queue?.remove(task);
    this.timers.cancel(task.timeout);
    task.state = 'dead';
    task.body = null;
    this.tasks.delete(task.pid);
    this.wakeAll(task.exited);
  }

  /** A task that yielded goes to the end of the line. */
  private requeue(task: Task): void {
    this.runnable.push(task);
    if (++this.yieldsInRow < LIVELOCK_YIELDS) return;
    this.yieldsInRow = 0;
    throw new DeadlockError(this.report('livelock'));
  }

  private fireTimers(): boolean {
    if (this.timers.next === Number.POSITIVE_INFINITY) return false;
    const timer = this.timers.takeDue(this.platform.now());
    if (timer === undefined) return false;
    if (!timer.poll) this.noteProgress();
    this.cpu.interrupt(timer.name, SOFT_PRIORITY, timer.expire);
    return true;
  }

  /** Nothing is runnable: on to the next thing that time brings. */
  private idle(options: RunOptions): Turn {
    const hardware = this.platform.nextDeadline();
    const limit = options.untilNs ?? Number.POSITIVE_INFINITY;
    const next = Math.min(this.timers.next, hardware);
    if (limit !== Number.POSITIVE_INFINITY && next > limit) {
      return this.platform.now() >= limit ? 'time' : this.pass(limit);
    }
    if (hardware === Number.POSITIVE_INFINITY && !this.timers.useful) {
      if (!this.anyBlocked(options)) return 'idle';
      if (this.allLooksVain()) {
        if (options.blocked === 'return') return 'blocked';
        throw new DeadlockError(this.deadlock());
      }
    }
    return this.pass(next);
  }

  /** Lets the hardware run up to `until`; what is left after 'media' is owed. */
  private pass(until: number): Turn {
    const result = this.advance(until);
    this.owedUntil = result === 'media' ? until : -1;
    return result === 'media' ? 'media' : 'ran';
  }

  private advance(until: number): AdvanceResult {
    const before = this.platform.now();
    const result = this.platform.advance(until);
    if (this.platform.now() > before || result === 'media') this.stuckAdvances = 0;
    else if (++this.stuckAdvances > STUCK_ADVANCES)
      throw new KernelBug('clock-stuck', `the clock stands at ${before} ns`);
    return result;
  }

  /** Nothing is runnable: does anybody but idle service threads still want something? */
  private anyBlocked(options: RunOptions): boolean {
    if (options.until !== undefined) return true;
    for (const task of this.tasks.values()) if (task.sleep.idle !== true) return true;
    return false;
  }

  /** True when every sleeper that wakes by itself has looked often enough since anything else happened. */
  private allLooksVain(): boolean {
    for (const task of this.tasks.values()) {
      if (!task.timeout.pending) continue;
      if (task.pollMark !== this.progress || task.vainPolls < VAIN_POLLS) return false;
    }
    return true;
  }

  /** Who waits for what, now; `run` throws it when nothing can change it. */
  deadlock(): DeadlockReport {
    return this.report('deadlock');
  }

  private report(kind: DeadlockReport['kind']): DeadlockReport {
    return findDeadlock(kind, this.platform.now(), this.tasks.values(), this.notes(), this.remarkOn);
  }

  private notes(): string[] {
    return this.interrupts?.notes() ?? [];
  }

  private wake(task: Task, reason: WakeReason): void {
    task.queue?.remove(task);
    if (reason !== 'timeout') this.timers.cancel(task.timeout);
    task.woken = reason;
    task.state = 'runnable';
    // Woken before it has come back to the loop, by what onSleep() let go: the loop queues it as one that yielded, but
    // it was for something.
    if (task === this.cpu.current) this.noteProgress();
    else this.runnable.push(task);
  }

  private readonly sleepOver = (task: Task): void => {
    if (onlyLooks(task)) {
      if (task.pollMark !== this.progress) {
        task.pollMark = this.progress;
        task.vainPolls = 0;
      }
      task.vainPolls++;
    }
    this.wake(task, 'timeout');
  };
}

/** True for a sleep whose time-out is there only to look again. */
function onlyLooks(task: Task): boolean {
  return task.sleep.poll === true || task.sleep.idle === true;
}

/** The one value that tasks yield. */
const suspended = {} as unknown as Wait; // the brand exists only as a type
