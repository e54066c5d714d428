// The kernel as an object. A subject (one file, named as in the kernel) exports a factory `createX(k: Linux)` that takes
// the kernel and returns a literal of documented methods. Adding one takes its import and two lines here: one in
// `subjects`, one in `flatten`. Inside, subjects call each other nested, `k.bio.bio_put(bio)`; outside, bootLinux()
// gives all of them flat: `const { bio_alloc, submit_bio } = bootLinux(machine)`.

import {
  type Cpu,
  createKernelBase,
  type Interrupts,
  type KernelBase,
  type KernelBaseOptions,
  type PageAllocator,
  type PageFrames,
  type PageLocks,
  type Random,
  type Scheduler,
  type Sleeps,
  SleepTracker,
  type VirtualMemory,
  type Warnings,
} from '../kernel/index.ts';
import type { Machine } from '../machine/index.ts';
import { LinuxFaults } from './faults.ts';
import { createMempool } from './mempool.ts';
import { createSlab } from './slab.ts';
import { LinuxTask } from './task.ts';
import { LinuxTrace } from './trace.ts';

/** The subjects, in the order in which they are made: a factory may use those above its own. */
const subjects = {
  slab: createSlab,
  mempool: createMempool,
};

/** All subjects in one object, for callers. A literal, because Object.assign would make calls twice as slow. */
function flatten(k: Linux) {
  return {
    kernel: k,
    ...k.slab,
    ...k.mempool,
  };
}

type Subjects = {
  readonly [Name in keyof typeof subjects]: ReturnType<(typeof subjects)[Name]>;
};

/** The kernel as its subjects see it. */
export interface Linux extends LinuxCore, Subjects {}

/** The kernel as its callers see it. */
export interface LinuxApi extends ReturnType<typeof flatten> {}

type BaseOptions =
  | 'accessChance'
  | 'placement'
  | 'lowReserve'
  | 'dmaReserve'
  | 'poison'
  | 'userPages'
  | 'cachePages'
  | 'hugeOrder'
  | 'stackLimit';

export interface LinuxOptions extends Pick<KernelBaseOptions, BaseOptions> {
  /** All chance in this kernel comes from it. Default 1. */
  readonly seed?: number;
  /** Which runnable task runs next: the one that waits longest (default), or any, by seed. */
  readonly schedule?: 'fifo' | 'seed';
  /** Finds calls whose `yield*` was forgotten; slow. Default off. */
  readonly trackSleeps?: boolean;
  /**
   * Order of bios that a make_request function submits: `fifo` as up to Linux 4.10 (default), or `sorted` as from 4.11
   * on, other queues first.
   */
  readonly submission?: 'fifo' | 'sorted';
}

/** Makes a kernel on a machine. Several on one machine share its memory and its interrupts: rarely a good idea. */
export function bootLinux(machine: Machine, options: LinuxOptions = {}): LinuxApi {
  const k = new LinuxCore(machine, options) as LinuxCore & Record<string, unknown>;
  for (const [name, create] of Object.entries<(k: Linux) => unknown>(subjects)) {
    k[name] = create(k as unknown as Linux); // complete up to the subjects below this one
  }
  k.init();
  return flatten(k as unknown as Linux);
}

/** What a kernel consists of before it has subjects. */
export class LinuxCore {
  readonly machine: Machine;
  readonly memory: Machine['memory'];
  readonly options: LinuxOptions;
  readonly random: Random;
  readonly warnings: Warnings;
  readonly cpu: Cpu;
  readonly interrupts: Interrupts;
  readonly scheduler: Scheduler;
  readonly frames: PageFrames;
  readonly allocator: PageAllocator;
  readonly locks: PageLocks;
  readonly vm: VirtualMemory;
  /** Makes a process: a task with user memory. */
  readonly spawnProcess: KernelBase['spawnProcess'];
  readonly trace = new LinuxTrace();
  readonly faults: LinuxFaults;
  private readonly initcalls: (() => Sleeps<void>)[] = [];

  constructor(machine: Machine, options: LinuxOptions) {
    const base = createKernelBase({
      ...options,
      machine,
      seed: options.seed ?? 1,
      order: options.schedule === 'seed' ? 'seeded' : 'fifo',
      makeLocal: (task) => new LinuxTask(task),
      ...(options.trackSleeps === true ? { tracker: new SleepTracker() } : {}),
    });
    this.machine = machine;
    this.memory = machine.memory;
    this.options = options;
    this.random = base.random;
    this.warnings = base.warnings;
    this.cpu = base.cpu;
    this.interrupts = base.interrupts;
    this.scheduler = base.scheduler;
    this.frames = base.frames;
    this.allocator = base.allocator;
    this.locks = base.locks;
    this.vm = base.vm;
    this.spawnProcess = base.spawnProcess;
    this.faults = new LinuxFaults(this.random);
  }

  /** The running task; in an interrupt the interrupted one; null outside of tasks. */
  get current(): LinuxTask | null {
    return (this.cpu.current?.local as LinuxTask | undefined) ?? null; // the scheduler made it with makeLocal
  }

  /** Registers what is to be done in process context once all subjects exist; for factories. */
  initcall(body: () => Sleeps<void>): void {
    this.initcalls.push(body);
  }

  /** Runs the initcalls in a task of their own, in the order of registration. */
  init(): void {
    const { initcalls } = this;
    if (initcalls.length === 0) return;
    this.scheduler.complete('init', function* () {
      for (const initcall of initcalls) yield* initcall();
    });
  }
}
