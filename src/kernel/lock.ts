// Locks. One CPU, so a spin lock never spins: taking one that is held can only be a mistake. Sleeping locks are handed
// over to the first sleeper, in the order of asking, and know their holder, for the deadlock report.

import type { Cpu } from './cpu.ts';
import { KernelBug } from './errors.ts';
import type { Scheduler } from './scheduler.ts';
import { type SleepOptions, type Sleeps, type Task, WaitQueue } from './task.ts';

/** A spin lock: no sleeping while it is held. Usable in any context. */
export class SpinLock {
  readonly name: string;
  private readonly cpu: Cpu;
  private holder: Task | null = null;
  private inInterrupt = false;
  private locked = false;

  constructor(cpu: Cpu, name: string) {
    this.cpu = cpu;
    this.name = name;
  }

  get held(): boolean {
    return this.locked;
  }

  /** True when what runs now has it. */
  get heldHere(): boolean {
    return this.locked && this.holder === this.cpu.current && this.inInterrupt === this.cpu.inInterrupt;
  }

  /**
   * Takes the lock; interrupts stay on, so no interrupt handler may take it (Linux: spin_lock).
   * @throws KernelBug `spin-self` when it is held: on one CPU this would spin for ever
   */
  lock(): void {
    const { cpu } = this;
    cpu.lockWatch?.acquire(this, this.name, cpu.current, 'spin');
    if (this.locked) this.selfDeadlock();
    this.locked = true;
    this.holder = cpu.current;
    this.inInterrupt = cpu.inInterrupt;
    cpu.preemptCount++;
    cpu.spinning = this.name;
  }

  /** False when it is held. */
  tryLock(): boolean {
    if (this.locked) return false;
    this.lock();
    return true;
  }

  unlock(): void {
    const { cpu } = this;
    if (!this.locked) throw new KernelBug('spin-unlock', 'released and not held', this.name);
    if (!this.heldHere) {
      throw new KernelBug('spin-unlock', 'released by another than its holder', this.name);
    }
    this.locked = false;
    this.holder = null;
    cpu.lockWatch?.release(this, this.name, cpu.current);
    if (--cpu.preemptCount === 0) cpu.spinning = '';
  }

  /** Switches interrupts off and takes the lock; returns what `unlockIrqRestore` needs (Linux: spin_lock_irqsave). */
  lockIrqSave(): boolean {
    const flags = this.cpu.irqSave();
    this.lock();
    return flags;
  }

  unlockIrqRestore(flags: boolean): void {
    this.unlock();
    this.cpu.irqRestore(flags);
  }

  private selfDeadlock(): never {
    const what =
      this.cpu.inInterrupt && !this.inInterrupt
        ? 'an interrupt takes a lock that the interrupted code holds: it must be held with interrupts off'
        : 'taken again by its holder';
    throw new KernelBug('spin-self', what, this.name);
  }
}

/** A sleeping lock with one holder. */
export class Mutex {
  readonly name: string;
  private readonly scheduler: Scheduler;
  private readonly queue: WaitQueue;
  private readonly wait: SleepOptions;
  private readonly waitInterruptible: SleepOptions;

  constructor(scheduler: Scheduler, name: string) {
    this.scheduler = scheduler;
    this.name = name;
    this.queue = new WaitQueue(name);
    this.wait = { what: `mutex ${name}` };
    this.waitInterruptible = { what: `mutex ${name}`, interruptible: true };
  }

  /** The holder; null when it is free. */
  get owner(): Task | null {
    return this.queue.owner;
  }

  /** Takes the lock if it is free: `if (!mutex.tryLock()) yield* mutex.lock();` is the fast way to take it. */
  tryLock(): boolean {
    const task = this.scheduler.cpu.process(this.name);
    if (this.queue.owner !== null) return false;
    this.scheduler.cpu.lockWatch?.acquire(this, this.name, task, 'exclusive');
    this.queue.owner = task;
    task.locksHeld++;
    return true;
  }

  /** @throws KernelBug `lock-self` when the caller has it already */
  *lock(): Sleeps<void> {
    this.scheduler.mightSleep(this.name);
    if (!this.tryLock()) yield this.enqueue(this.wait);
  }

  /** False, without the lock, when a signal came first. */
  *lockInterruptible(): Sleeps<boolean> {
    this.scheduler.mightSleep(this.name);
    if (this.tryLock()) return true;
    const task = this.scheduler.cpu.process(this.name);
    if (task.interruptedBy(this.waitInterruptible)) return false;
    yield this.enqueue(this.waitInterruptible);
    if (task.woken === 'woken') return true;
    this.scheduler.cpu.lockWatch?.release(this, this.name, task);
    return false;
  }

  /** Hands the lock to the first who waits. @throws KernelBug `lock-owner` when the caller doesn't hold it */
  unlock(): void {
    const task = this.scheduler.cpu.process(this.name);
    if (this.queue.owner !== task)
      throw new KernelBug('lock-owner', 'released by another than its holder', this.name);
    this.scheduler.cpu.lockWatch?.release(this, this.name, task);
    task.locksHeld--;
    const next = this.scheduler.wakeOne(this.queue);
    this.queue.owner = next;
    if (next !== null) next.locksHeld++;
  }

  private enqueue(wait: SleepOptions): ReturnType<Scheduler['park']> {
    const task = this.scheduler.cpu.process(this.name);
    if (this.queue.owner === task) throw new KernelBug('lock-self', 'taken again by its holder', this.name);
    this.scheduler.cpu.lockWatch?.acquire(this, this.name, task, 'exclusive');
    return this.scheduler.park(this.queue, wait);
  }
}

/**
 * A sleeping lock with one writer or any number of readers. Nobody overtakes: a reader that comes after a waiting
 * writer waits behind it, as in Linux, so a task that reads twice can deadlock with a writer in between.
 */
export class RwSem {
  readonly name: string;
  private readonly scheduler: Scheduler;
  private readonly queue: WaitQueue;
  private readonly waitRead: SleepOptions;
  private readonly waitWrite: SleepOptions;
  private writer: Task | null = null;
  private readonly readers: Task[] = [];

  constructor(scheduler: Scheduler, name: string) {
    this.scheduler = scheduler;
    this.name = name;
    this.queue = new WaitQueue(name);
    this.queue.wakers = () => this.holders();
    this.waitRead = { what: `${name} to read` };
    this.waitWrite = { what: `${name} to write` };
  }

  /** True when the task holds it, either way. */
  heldBy(task: Task | null): boolean {
    return task !== null && (this.writer === task || this.readers.includes(task));
  }

  /** True when the task holds it as the writer. */
  writtenBy(task: Task | null): boolean {
    return task !== null && this.writer === task;
  }

  /** True when anybody waits for it. */
  get contended(): boolean {
    return !this.queue.empty;
  }

  /** `if (!sem.tryRead()) yield* sem.read();` is the fast way to take it. */
  tryRead(): boolean {
    const task = this.scheduler.cpu.process(this.name);
    if (this.writer !== null || !this.queue.empty) return false;
    this.scheduler.cpu.lockWatch?.acquire(this, this.name, task, 'shared');
    this.enterReader(task);
    return true;
  }

  tryWrite(): boolean {
    const task = this.scheduler.cpu.process(this.name);
    if (this.writer !== null || this.readers.length > 0 || !this.queue.empty) return false;
    this.scheduler.cpu.lockWatch?.acquire(this, this.name, task, 'exclusive');
    this.enterWriter(task);
    return true;
  }

  /** @throws KernelBug `lock-self` when the caller is the writer */
  *read(): Sleeps<void> {
    this.scheduler.mightSleep(this.name);
    if (!this.tryRead()) yield this.enqueue(this.waitRead, true);
  }

  /** @throws KernelBug `lock-self` when the caller holds it in any way */
  *write(): Sleeps<void> {
    this.scheduler.mightSleep(this.name);
    if (this.tryWrite()) return;
    const task = this.scheduler.cpu.process(this.name);
    if (this.readers.includes(task)) throw new KernelBug('lock-self', 'its reader wants to write', this.name);
    yield this.enqueue(this.waitWrite, false);
  }

  /** @throws KernelBug `lock-owner` when the caller is no reader */
  unlockRead(): void {
    const task = this.scheduler.cpu.process(this.name);
    const at = this.readers.indexOf(task);
    if (at < 0) throw new KernelBug('lock-owner', 'released by a task that does not read', this.name);
    this.readers.splice(at, 1);
    this.leave(task);
  }

  /** @throws KernelBug `lock-owner` when the caller is not the writer */
  unlockWrite(): void {
    const task = this.scheduler.cpu.process(this.name);
    if (this.writer !== task)
      throw new KernelBug('lock-owner', 'released by a task that does not write', this.name);
    this.writer = null;
    this.leave(task);
  }

  /** The writer goes on as a reader, without a gap. */
  downgrade(): void {
    const task = this.scheduler.cpu.process(this.name);
    if (this.writer !== task)
      throw new KernelBug('lock-owner', 'downgraded by a task that does not write', this.name);
    this.writer = null;
    this.readers.push(task);
    this.grant();
  }

  private enqueue(wait: SleepOptions, shared: boolean): ReturnType<Scheduler['park']> {
    const task = this.scheduler.cpu.process(this.name);
    if (this.writer === task) throw new KernelBug('lock-self', 'taken again by its writer', this.name);
    this.scheduler.cpu.lockWatch?.acquire(this, this.name, task, shared ? 'shared' : 'exclusive');
    return this.scheduler.park(this.queue, wait);
  }

  private enterReader(task: Task): void {
    this.readers.push(task);
    task.locksHeld++;
    this.queue.owner = this.readers[0] ?? null;
  }

  private enterWriter(task: Task): void {
    this.writer = task;
    task.locksHeld++;
    this.queue.owner = task;
  }

  private leave(task: Task): void {
    this.scheduler.cpu.lockWatch?.release(this, this.name, task);
    task.locksHeld--;
    this.grant();
  }

  /** Lets in who is first in line: a writer when all are out, or every reader up to the next writer. */
  private grant(): void {
    this.queue.owner = this.writer ?? this.readers[0] ?? null;
    for (let task = this.queue.head; task !== null && this.writer === null; task = this.queue.head) {
      if (task.sleep === this.waitWrite) {
        if (this.readers.length > 0) return;
        this.scheduler.wakeTask(task);
        this.enterWriter(task);
      } else {
        this.scheduler.wakeTask(task);
        this.enterReader(task);
      }
    }
  }

  private holders(): string | null {
    if (this.writer !== null) return `${this.writer.name} (${this.writer.pid}), who writes`;
    if (this.readers.length === 0) return null;
    return `${this.readers.map(({ name, pid }) => `${name} (${pid})`).join(', ')}, who read`;
  }
}

/** A counting semaphore; `up` is allowed in any context. */
export class Semaphore {
  readonly name: string;
  private readonly scheduler: Scheduler;
  private readonly queue: WaitQueue;
  private readonly wait: SleepOptions;
  private free: number;

  constructor(scheduler: Scheduler, name: string, count: number) {
    this.scheduler = scheduler;
    this.name = name;
    this.free = count;
    this.queue = new WaitQueue(name);
    this.wait = { what: `semaphore ${name}` };
  }

  get count(): number {
    return this.free;
  }

  tryDown(): boolean {
    if (this.free === 0) return false;
    this.free--;
    return true;
  }

  *down(): Sleeps<void> {
    this.scheduler.mightSleep(this.name);
    if (!this.tryDown()) yield this.park();
  }

  /** down() without a generator of its own, for hot paths: `if (!semaphore.tryDown()) yield semaphore.park();`. */
  park(): ReturnType<Scheduler['park']> {
    return this.scheduler.park(this.queue, this.wait);
  }

  /** Gives one unit to the first who waits, or back. */
  up(): void {
    if (this.scheduler.wakeOne(this.queue) === null) this.free++;
  }
}

/** Something that happens once (Linux: completion): tasks wait until it is done. */
export class Completion {
  readonly name: string;
  /** The waiters; its `wakers` may say who will complete it, for the deadlock report. */
  readonly queue: WaitQueue;
  private readonly scheduler: Scheduler;
  private readonly waitOptions: SleepOptions;
  private done = 0;

  constructor(scheduler: Scheduler, name: string) {
    this.scheduler = scheduler;
    this.name = name;
    this.queue = new WaitQueue(name);
    this.waitOptions = { what: name };
  }

  get isDone(): boolean {
    return this.done > 0;
  }

  /** Lets one waiter go, now or when it comes. Any context. */
  complete(): void {
    if (this.scheduler.wakeOne(this.queue) === null) this.done++;
  }

  /** Lets all waiters go, now and later, until `reset`. Any context. */
  completeAll(): void {
    this.done = Number.POSITIVE_INFINITY;
    this.scheduler.wakeAll(this.queue);
  }

  /** Makes it not done again, for the next use. */
  reset(): void {
    this.done = 0;
  }

  /** Takes one completion if there is one. */
  tryWait(): boolean {
    if (this.done === 0) return false;
    this.done--;
    return true;
  }

  /** Waits for as long as it takes; not ended by signals. */
  *wait(): Sleeps<void> {
    this.scheduler.mightSleep(this.name);
    if (!this.tryWait()) yield this.scheduler.park(this.queue, this.waitOptions);
  }

  /** False when `ns` virtual nanoseconds passed first. */
  *waitFor(ns: number): Sleeps<boolean> {
    this.scheduler.mightSleep(this.name);
    if (this.tryWait()) return true;
    return (
      (yield* this.scheduler.sleep(this.queue, {
        what: this.name,
        timeoutNs: ns,
      })) === 'woken'
    );
  }
}
