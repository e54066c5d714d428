// What the one CPU is doing: whose task runs, in which context, which interrupts it takes.

import { KernelBug } from './errors.ts';
import type { NoSleep, Task } from './task.ts';

/** Interrupt priorities: 0 none, 1..15; Solaris calls those above 10 high-level. */
export const TOP_PRIORITY = 15;
/** Priority of an interrupt that names none (Solaris: the usual one of disk controllers). */
export const DEVICE_PRIORITY = 5;
/** Priority of timers, and of a soft interrupt that names none; below every device. */
export const SOFT_PRIORITY = 1;

/** How a lock is taken. A reader-writer lock is `shared` by readers. */
export type LockMode = 'spin' | 'exclusive' | 'shared';

/** What locks report to who watches them. */
export interface LockWatch {
  /** `task` (null: the boot) is about to take, or wait for, the lock. */
  acquire(lock: object, name: string, task: Task | null, mode: LockMode): void;
  /** The lock was released, or no longer waited for. */
  release(lock: object, name: string, task: Task | null): void;
}

export class Cpu {
  /** The running task; null between tasks and outside `run()`. In an interrupt: the task that was interrupted. */
  current: Task | null = null;
  /** Depth of nested interrupt handlers, soft interrupts and timer functions. */
  interruptDepth = 0;
  /** Spin locks held and preempt-disabled sections. */
  preemptCount = 0;
  /** The spin lock taken last, for messages. */
  spinning = '';
  /** Depth of `Scheduler.atomic`. */
  atomicDepth = 0;
  /** Told of every lock taken and released; null: nobody. */
  lockWatch: LockWatch | null = null;
  /** Called when interrupts may come in again; null: they wait for the next scheduler point. */
  onUnmask: (() => NoSleep) | null = null;

  /** Told of every sleep where none is allowed, before that throws; for the guard. */
  onBadSleep: ((why: string, where: string) => void) | null = null;

  private irqsOff = false;
  /** Sections that hold off interrupts up to a priority, by priority. */
  private readonly masks = new Uint32Array(TOP_PRIORITY + 1);
  private masked = 0;
  /** Priority of the interrupt handler that is running; 0 outside. */
  private running = 0;

  /** True inside an interrupt handler, a soft interrupt or a timer function. */
  get inInterrupt(): boolean {
    return this.interruptDepth > 0;
  }

  /** Priority of the interrupt handler that is running; 0 outside. */
  get interruptPriority(): number {
    return this.running;
  }

  get irqsEnabled(): boolean {
    return !this.irqsOff;
  }

  /** Interrupts up to this priority are held off now. */
  get priority(): number {
    if (this.irqsOff) return TOP_PRIORITY;
    return Math.max(this.masked, this.running);
  }

  /** Switches interrupts off and returns whether they were on, for `irqRestore` (Linux: local_irq_save). */
  irqSave(): boolean {
    const were = !this.irqsOff;
    this.irqsOff = true;
    return were;
  }

  irqRestore(enabled: boolean): void {
    this.irqsOff = !enabled;
    if (enabled && this.onUnmask !== null) this.onUnmask();
  }

  /**
   * Holds off interrupts up to `priority` until the matching `unmask`; sections nest and may overlap (Solaris: mutexes
   * initialised with an interrupt priority).
   */
  mask(priority: number): void {
    this.masks[priority] = this.maskCount(priority) + 1;
    if (priority > this.masked) this.masked = priority;
  }

  /** @throws KernelBug `irq-unmask` when there was no matching `mask` */
  unmask(priority: number): void {
    const count = this.maskCount(priority);
    if (count === 0) throw new KernelBug('irq-unmask', `priority ${priority} is not masked`);
    this.masks[priority] = count - 1;
    while (this.masked > 0 && this.masks[this.masked] === 0) this.masked--;
    if (this.onUnmask !== null) this.onUnmask();
  }

  /**
   * Runs a handler in interrupt context, at its priority, and returns its result.
   * @throws KernelBug `ctx-exit` when it leaves a spin lock held, or interrupts switched otherwise than it found them
   */
  interrupt<T>(name: string, priority: number, handler: () => T): T {
    const { running, preemptCount, irqsOff } = this;
    this.running = priority;
    this.interruptDepth++;
    try {
      const result = handler();
      if (this.preemptCount !== preemptCount || this.irqsOff !== irqsOff) {
        throw new KernelBug('ctx-exit', `handler returned ${this.whyWrong(preemptCount)}`, name);
      }
      return result;
    } finally {
      this.running = running;
      this.interruptDepth--;
    }
  }

  /** Why the running code must not sleep, in words; null when it may. */
  whyAtomic(): string | null {
    if (this.interruptDepth > 0) return 'in interrupt context';
    if (this.atomicDepth > 0) return 'in atomic context';
    if (this.preemptCount > 0)
      return this.spinning === '' ? 'with preemption off' : `under spin lock ${this.spinning}`;
    if (this.irqsOff) return 'with interrupts off';
    if (this.current === null) return 'outside of any task';
    return null;
  }

  /**
   * Declares that the caller may sleep here, whether it does or not (Linux: might_sleep).
   * @throws KernelBug `ctx-sleep`
   */
  mightSleep(where: string): void {
    const why = this.whyAtomic();
    if (why === null) return;
    this.onBadSleep?.(why, where);
    throw new KernelBug('ctx-sleep', `may sleep ${why}`, where);
  }

  /** The running task, in process context only. @throws KernelBug `ctx-process` */
  process(where: string): Task {
    if (this.current === null || this.interruptDepth > 0) {
      throw new KernelBug('ctx-process', 'needs process context', where);
    }
    return this.current;
  }

  /** What a handler that came back left behind, in words. */
  private whyWrong(preemptCount: number): string {
    if (this.preemptCount > preemptCount) return `with spin lock ${this.spinning} held`;
    if (this.preemptCount < preemptCount) return 'with a spin lock of the interrupted code released';
    return this.irqsOff ? 'with interrupts off' : 'with interrupts on that were off';
  }

  private maskCount(priority: number): number {
    const count = this.masks[priority];
    if (count === undefined || priority === 0)
      throw new KernelBug('irq-priority', `no interrupt priority ${priority}`);
    return count;
  }
}
