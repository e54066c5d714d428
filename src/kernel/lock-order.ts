// Watches the order in which locks are taken. Two locks taken in both orders are a deadlock that waits for its day,
// and so is a spin lock that an interrupt takes and that is elsewhere held with interrupts on: both are reported when
// the second half is seen, whether or not anybody was in the way that time. Locks of one name are one kind.

import { type Cpu, type LockMode, type LockWatch, TOP_PRIORITY } from './cpu.ts';
import type { Task } from './task.ts';
import type { Warnings } from './warnings.ts';

interface Held {
  readonly lock: object;
  readonly name: string;
}

/** One kind of lock. */
interface Kind {
  /** Kinds that were taken while one of this was held, and by whom first. */
  readonly after: Map<string, string>;
  /** Highest priority of an interrupt that took one; 0: none. */
  takenAt: number;
  /** Lowest priority up to which interrupts were held off while one was taken outside of them, and by whom first. */
  heldAt: number;
  heldBy: string;
}

export class LockOrder implements LockWatch {
  private readonly cpu: Cpu;
  private readonly warnings: Warnings;
  private readonly kinds = new Map<string, Kind>();
  /** Locks held, in order, by task. */
  private readonly byTask = new Map<Task, Held[]>();
  /** Locks held by the interrupt handlers that are running, and outside of tasks. */
  private readonly withoutTask: Held[] = [];

  constructor(cpu: Cpu, warnings: Warnings) {
    this.cpu = cpu;
    this.warnings = warnings;
  }

  acquire(lock: object, name: string, task: Task | null, mode: LockMode): void {
    const kind = this.kind(name);
    const who = this.cpu.inInterrupt ? 'an interrupt' : (task?.name ?? 'the boot');
    if (mode === 'spin') this.checkInterrupts(kind, name, who);
    const held = this.heldBy(task);
    for (const before of held) {
      if (before.name === name) continue;
      const order = this.kind(before.name).after;
      if (order.has(name)) continue;
      order.set(name, who);
      const first = this.path(name, before.name);
      if (first === null) continue;
      const what = `${who} takes ${name} while holding ${before.name}, ${first} takes them the other way round`;
      this.warnings.warn('lock-order', what, `${before.name}, ${name}`);
    }
    held.push({ lock, name });
  }

  release(lock: object, _name: string, task: Task | null): void {
    const held = this.heldBy(task);
    const at = held.findIndex((one) => one.lock === lock);
    if (at >= 0) held.splice(at, 1);
    if (held.length === 0 && task !== null) this.byTask.delete(task);
  }

  private checkInterrupts(kind: Kind, name: string, who: string): void {
    const { cpu } = this;
    if (cpu.inInterrupt) {
      kind.takenAt = Math.max(kind.takenAt, cpu.interruptPriority);
    } else if (cpu.priority < kind.heldAt) {
      kind.heldAt = cpu.priority;
      kind.heldBy = who;
    }
    if (kind.takenAt <= kind.heldAt) return;
    const what = `taken in an interrupt, and held with interrupts on by ${kind.heldBy}`;
    this.warnings.warn('lock-order', what, name);
  }

  /** Who took kind `to` after `from`, through others too; null when nobody did. */
  private path(from: string, to: string, seen = new Set<string>()): string | null {
    seen.add(from);
    for (const [next, who] of this.kind(from).after) {
      if (next === to) return who;
      if (!seen.has(next) && this.path(next, to, seen) !== null) return who;
    }
    return null;
  }

  private kind(name: string): Kind {
    const known = this.kinds.get(name);
    if (known !== undefined) return known;
    const kind = { after: new Map<string, string>(), takenAt: 0, heldAt: TOP_PRIORITY, heldBy: '' };
    this.kinds.set(name, kind);
    return kind;
  }

  private heldBy(task: Task | null): Held[] {
    if (task === null || this.cpu.inInterrupt) return this.withoutTask;
    const known = this.byTask.get(task);
    if (known !== undefined) return known;
    const held: Held[] = [];
    this.byTask.set(task, held);
    return held;
  }
}
