// Interrupts: which handler runs when a device asks for attention.
//
// A line is level triggered and may be shared: its handlers are called, all of them, again and again until the device
// drops it. A message-signalled vector is an edge: it stays pending until its handlers ran once. A soft interrupt is
// pending from its trigger until it ran. What has the highest priority runs first; only a higher priority interrupts a
// running handler. Handlers run between two steps of tasks and, with a seed, at any access to a register or to memory.

import { type Cpu, DEVICE_PRIORITY, SOFT_PRIORITY, TOP_PRIORITY } from './cpu.ts';
import { KernelBug } from './errors.ts';
import type { Platform } from './platform.ts';
import type { Random } from './random.ts';
import type { Warnings } from './warnings.ts';

/** Interrupts in a row that no handler claims, after which their line is switched off ("nobody cared"). */
export const NOBODY_CARED = 100;
/** Calls in a row after which handlers that claim an interrupt and never make its line drop are a bug. */
export const STORM_CALLS = 100_000;

/** Returns true when its device wanted something. Runs in interrupt context and must not sleep. */
export type IrqHandler = () => boolean;

/** One registered handler; `Interrupts.free` takes it out. */
export interface IrqAction {
  readonly name: string;
  readonly handler: IrqHandler;
  /** 1..15. */
  readonly priority: number;
  readonly source: Source;
}

/** Who can interrupt: a line or a vector, with its handlers. */
interface Source {
  readonly name: string;
  /** Line number, or -1 for a message-signalled vector. */
  readonly line: number;
  actions: IrqAction[];
  /** Highest of its handlers. */
  priority: number;
  /** Depth of `disable`. */
  disabled: number;
  /** Interrupts in a row that nobody claimed. */
  unclaimed: number;
  /** Calls in a row that were claimed and did not make the line drop. */
  claimed: number;
  /** Switched off for good: nobody cared. */
  off: boolean;
  /** A message waits to be handled. */
  pending: boolean;
}

/** A soft interrupt (Linux: softirq, tasklet; Solaris: ddi_add_softintr). Triggers before it runs collapse into one. */
export class SoftInterrupt {
  readonly name: string;
  readonly handler: IrqHandler;
  readonly priority: number;
  pending = false;

  constructor(name: string, handler: IrqHandler, priority: number) {
    this.name = name;
    this.handler = handler;
    this.priority = priority;
  }
}

export interface InterruptsOptions {
  readonly cpu: Cpu;
  readonly platform: Platform;
  readonly warnings: Warnings;
  /** Decides at every access whether an interrupt comes in right there. */
  readonly random?: Random;
  /** Probability, 0..1, that a pending interrupt comes in at an access. Default 0: only between steps of tasks. */
  readonly accessChance?: number;
}

export class Interrupts {
  private readonly cpu: Cpu;
  private readonly platform: Platform;
  private readonly warnings: Warnings;
  private readonly random: Random | null;
  private readonly accessChance: number;
  private readonly lines: (Source | null)[] = new Array<Source | null>(32).fill(null);
  private readonly vectors = new Map<number, Source>();
  /** Lines with a handler that are switched on. */
  private openLines = 0;
  /** Vectors and soft interrupts that wait, in the order in which they came. */
  private readonly messages: Source[] = [];
  private readonly softs: SoftInterrupt[] = [];

  constructor(options: InterruptsOptions) {
    this.cpu = options.cpu;
    this.platform = options.platform;
    this.warnings = options.warnings;
    this.random = options.random ?? null;
    this.accessChance = options.random === undefined ? 0 : (options.accessChance ?? 0);
    if (this.accessChance > 0) this.cpu.onUnmask = () => this.maybeInterrupt();
  }

  // ---- registration

  /** Adds a handler to a line 0..31; those that share a line are called in the order of registration. */
  register(line: number, name: string, handler: IrqHandler, priority = DEVICE_PRIORITY): IrqAction {
    if (!Number.isInteger(line) || line < 0 || line > 31)
      throw new KernelBug('irq-line', `no line ${line}`, name);
    const source = this.lines[line] ?? makeSource(`line ${line}`, line);
    this.lines[line] = source;
    if (source.actions.length === 0) source.off = false;
    return this.add(source, name, handler, priority);
  }

  /** Adds a handler to a message-signalled vector. */
  registerMsi(vector: number, name: string, handler: IrqHandler, priority = DEVICE_PRIORITY): IrqAction {
    const source = this.vectors.get(vector) ?? makeSource(`vector ${vector}`, -1);
    this.vectors.set(vector, source);
    return this.add(source, name, handler, priority);
  }

  /** Takes a handler out. @throws KernelBug `irq-free` when it is not in */
  free(action: IrqAction): void {
    const { source } = action;
    if (!source.actions.includes(action))
      throw new KernelBug('irq-free', `no such handler on ${source.name}`, action.name);
    source.actions = source.actions.filter((other) => other !== action);
    this.refresh(source);
  }

  /** Switches a handler's line or vector off, for all who share it; calls nest (Linux: disable_irq). */
  disable(action: IrqAction): void {
    action.source.disabled++;
    this.refresh(action.source);
  }

  /** @throws KernelBug `irq-enable` when it is not disabled */
  enable(action: IrqAction): void {
    const { source } = action;
    if (source.disabled === 0)
      throw new KernelBug('irq-enable', `${source.name} is not disabled`, action.name);
    source.disabled--;
    this.refresh(source);
  }

  softInterrupt(name: string, handler: IrqHandler, priority = SOFT_PRIORITY): SoftInterrupt {
    checkPriority(priority, name);
    return new SoftInterrupt(name, handler, priority);
  }

  /** Makes a soft interrupt pending; allowed in any context. False when it was pending already. */
  trigger(soft: SoftInterrupt): boolean {
    if (soft.pending) return false;
    soft.pending = true;
    this.softs.push(soft);
    return true;
  }

  /** Takes back a trigger. False when it was not pending. */
  cancel(soft: SoftInterrupt): boolean {
    if (!soft.pending) return false;
    soft.pending = false;
    this.softs.splice(this.softs.indexOf(soft), 1);
    return true;
  }

  // ---- delivery

  /**
   * Runs what is pending and not held off, highest priority first, until nothing is left. Called by the scheduler
   * between steps.
   * @returns true when something ran
   * @throws KernelBug `irq-storm` when a line stays asserted for ever although handlers claim its interrupts
   */
  deliver(): boolean {
    let any = false;
    for (;;) {
      const floor = this.cpu.priority;
      if (floor >= TOP_PRIORITY) return any;
      this.collectMessages();
      const lines = this.platform.irqLines & this.openLines;
      if (lines === 0 && this.messages.length === 0 && this.softs.length === 0) return any;
      const source = this.best(lines, floor);
      const soft = this.bestSoft(source === null ? floor : Math.max(floor, source.priority));
      if (soft !== null) this.runSoft(soft);
      else if (source !== null) this.runSource(source);
      else return any;
      any = true;
    }
  }

  /** For the machine, at every access to a register or to memory: an interrupt may come in here, by seed. */
  maybeInterrupt(): void {
    if (this.accessChance === 0 || !this.anyPending()) return;
    if (this.random?.chance(this.accessChance) === true) this.deliver();
  }

  /** Why an interrupt may be missing, for a deadlock report. */
  notes(): string[] {
    const notes: string[] = [];
    const asserted = this.platform.irqLines;
    for (let line = 0; line < 32; line++) {
      const source = this.lines[line] ?? null;
      if (source?.off === true) notes.push(`interrupt line ${line} was switched off: nobody cared`);
      else if ((asserted & (1 << line)) === 0) continue;
      else if (source === null || source.actions.length === 0)
        notes.push(`interrupt line ${line} is asserted and has no handler`);
      else if (source.disabled > 0) notes.push(`interrupt line ${line} is asserted and disabled`);
      else notes.push(`interrupt line ${line} is asserted and held off`);
    }
    for (const message of this.messages)
      notes.push(`message-signalled ${message.name} is pending and held off`);
    for (const soft of this.softs) notes.push(`soft interrupt ${soft.name} is pending and held off`);
    return notes;
  }

  private anyPending(): boolean {
    this.collectMessages();
    return (
      (this.platform.irqLines & this.openLines) !== 0 || this.messages.length > 0 || this.softs.length > 0
    );
  }

  /** Takes the messages that devices sent; the same vector twice before it is handled is one interrupt. */
  private collectMessages(): void {
    for (let vector = this.platform.takeMsi(); vector >= 0; vector = this.platform.takeMsi()) {
      const source = this.vectors.get(vector);
      if (source === undefined || source.actions.length === 0) {
        this.warnings.warn(
          'irq-spurious',
          'a message-signalled interrupt has no handler',
          `vector ${vector}`,
        );
      } else if (!source.pending) {
        source.pending = true;
        this.messages.push(source);
      }
    }
  }

  /** The asserted line or pending message with the highest priority above `floor`; lines first, the lowest first. */
  private best(lines: number, floor: number): Source | null {
    let best: Source | null = null;
    let priority = floor;
    for (let rest = lines; rest !== 0; rest &= rest - 1) {
      const source = this.lines[31 - Math.clz32(rest & -rest)] ?? null;
      if (source !== null && source.priority > priority) {
        best = source;
        priority = source.priority;
      }
    }
    if (this.messages.length === 0) return best;
    for (const source of this.messages) {
      if (source.disabled === 0 && source.priority > priority) {
        best = source;
        priority = source.priority;
      }
    }
    return best;
  }

  private bestSoft(floor: number): SoftInterrupt | null {
    if (this.softs.length === 0) return null;
    let best: SoftInterrupt | null = null;
    let priority = floor;
    for (const soft of this.softs) {
      if (soft.priority > priority) {
        best = soft;
        priority = soft.priority;
      }
    }
    return best;
  }

  private runSoft(soft: SoftInterrupt): void {
    this.cancel(soft);
    this.cpu.interrupt(soft.name, soft.priority, soft.handler);
  }

  private runSource(source: Source): void {
    if (source.pending) {
      source.pending = false;
      this.messages.splice(this.messages.indexOf(source), 1);
    }
    let claimed = false;
    const { actions } = source; // a handler may free one: that makes a new list
    for (let i = 0; i < actions.length; i++) {
      const action = actions[i] as IrqAction;
      if (this.cpu.interrupt(action.name, source.priority, action.handler)) claimed = true;
    }
    if (claimed) this.claim(source);
    else this.nobody(source);
  }

  private claim(source: Source): void {
    source.unclaimed = 0;
    if (source.line < 0 || (this.platform.irqLines & (1 << source.line)) === 0) {
      source.claimed = 0;
    } else if (++source.claimed >= STORM_CALLS) {
      source.claimed = 0;
      throw new KernelBug(
        'irq-storm',
        `claimed ${STORM_CALLS} times and the line never dropped`,
        source.name,
      );
    }
  }

  private nobody(source: Source): void {
    source.claimed = 0;
    if (++source.unclaimed < NOBODY_CARED) return;
    source.unclaimed = 0;
    source.off = source.line >= 0;
    this.warnings.warn('irq-unclaimed', `${NOBODY_CARED} interrupts in a row, nobody cared`, source.name);
    this.refresh(source);
  }

  private add(source: Source, name: string, handler: IrqHandler, priority: number): IrqAction {
    checkPriority(priority, name);
    const action = { name, handler, priority, source };
    source.actions = [...source.actions, action];
    this.refresh(source);
    return action;
  }

  private refresh(source: Source): void {
    source.priority = source.actions.reduce((highest, action) => Math.max(highest, action.priority), 0);
    if (source.line < 0) return;
    const open = source.actions.length > 0 && source.disabled === 0 && !source.off;
    if (open) this.openLines |= 1 << source.line;
    else this.openLines &= ~(1 << source.line);
  }
}

function makeSource(name: string, line: number): Source {
  const counters = { disabled: 0, unclaimed: 0, claimed: 0 };
  return {
    name,
    line,
    actions: [],
    priority: 0,
    ...counters,
    off: false,
    pending: false,
  };
}

function checkPriority(priority: number, name: string): void {
  if (!Number.isInteger(priority) || priority < 1 || priority > TOP_PRIORITY) {
    throw new KernelBug('irq-priority', `no interrupt priority ${priority}`, name);
  }
}
