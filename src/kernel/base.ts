// The kernel base as one object: everything that a kernel on one machine stands on. No state is outside of it.

import { Cpu } from './cpu.ts';
import { Interrupts, type InterruptsOptions } from './irq.ts';
import { LockOrder } from './lock-order.ts';
import type { AddressSpace } from './mm.ts';
import { PageFrames } from './page.ts';
import { PageLocks } from './page-lock.ts';
import type { PhysMemory, Platform } from './platform.ts';
import { Random } from './random.ts';
import { Scheduler, type SchedulerOptions } from './scheduler.ts';
import type { SleepTracker } from './sleep-tracker.ts';
import type { Sleeps, Task } from './task.ts';
import { VirtualMemory, type VirtualMemoryOptions } from './vm.ts';
import { Warnings } from './warnings.ts';
import { type AllocatorOptions, PageAllocator } from './zones.ts';

/** What a kernel needs of a computer; `Machine` of src/machine is one. */
export interface KernelMachine extends Platform {
  readonly memory: PhysMemory;
  /** Calls `hook` at every access of the CPU to RAM and to registers; for interrupts that come in there. */
  onAccess?(hook: (() => void) | null): void;
}

export interface KernelBaseOptions
  extends Pick<SchedulerOptions, 'yieldNs' | 'stepNs' | 'makeLocal'>,
    Pick<InterruptsOptions, 'accessChance'>,
    Pick<AllocatorOptions, 'placement' | 'lowReserve' | 'dmaReserve' | 'poison'>,
    Pick<VirtualMemoryOptions, 'userPages' | 'cachePages' | 'hugeOrder' | 'stackLimit'> {
  readonly machine: KernelMachine;
  /** All chance comes from it; the low 32 bits count. Default 0. */
  readonly seed?: number;
  /** Which runnable task runs next: first in, first out (default), or any, by seed. */
  readonly order?: 'fifo' | 'seeded';
  /** Watches the order in which locks are taken, and warns; slow. Default off. */
  readonly lockOrder?: boolean;
  /** Finds calls without `yield*`; for debugging. */
  readonly tracker?: SleepTracker;
}

export interface KernelBase {
  readonly machine: KernelMachine;
  readonly memory: PhysMemory;
  /** Forked by name for each use of chance. */
  readonly random: Random;
  readonly warnings: Warnings;
  readonly cpu: Cpu;
  readonly interrupts: Interrupts;
  readonly scheduler: Scheduler;
  readonly frames: PageFrames;
  readonly allocator: PageAllocator;
  readonly locks: PageLocks;
  readonly vm: VirtualMemory;
  /**
   * Makes a process: a task with user memory (default: new and empty), which is given up when the body returns. The
   * body finds it in `task.mm`.
   */
  spawnProcess<T>(
    name: string,
    body: (task: Task<T>, mm: AddressSpace) => Sleeps<T>,
    mm?: AddressSpace,
  ): Task<T>;
}

export function createKernelBase(options: KernelBaseOptions): KernelBase {
  const { machine } = options;
  const { memory } = machine;
  const random = new Random(options.seed ?? 0);
  const warnings = new Warnings(() => machine.now());
  const cpu = new Cpu();
  if (options.lockOrder === true) cpu.lockWatch = new LockOrder(cpu, warnings);
  const interrupts = new Interrupts({
    ...options,
    cpu,
    platform: machine,
    warnings,
    random: random.fork('interrupts'),
  });
  if ((options.accessChance ?? 0) > 0) {
    // Who looks at memory while nothing of the kernel runs is no code of the kernel, and is not interrupted.
    machine.onAccess?.(() => {
      if (cpu.current !== null || cpu.inInterrupt) interrupts.maybeInterrupt();
    });
  }
  const chooser = options.order === 'seeded' ? { chooser: random.fork('tasks') } : {};
  const scheduler = new Scheduler({ ...options, platform: machine, cpu, interrupts, ...chooser });
  const frames = new PageFrames(memory);
  const parts = { scheduler, memory, frames };
  const allocator = new PageAllocator({ ...options, ...parts, warnings, random: random.fork('pages') });
  const locks = new PageLocks(scheduler);
  const vm = new VirtualMemory({ ...options, ...parts, allocator, locks, random: random.fork('vm') });
  const managers = { cpu, interrupts, scheduler, frames, allocator, locks, vm };
  return {
    machine,
    memory,
    random,
    warnings,
    ...managers,
    spawnProcess<T>(
      name: string,
      body: (task: Task<T>, mm: AddressSpace) => Sleeps<T>,
      mm = vm.createSpace(),
    ): Task<T> {
      const task = scheduler.spawn<T>(name, function* (self) {
        const result = yield* body(self, mm);
        yield* mm.drop();
        self.mm = null;
        return result;
      });
      task.mm = mm;
      return task;
    },
  };
}

/** What the kernels' own classes begin with: the parts of a base as fields, and what both ask of them. */
export class KernelCore {
  readonly random: Random;
  readonly warnings: Warnings;
  readonly cpu: Cpu;
  readonly interrupts: Interrupts;
  readonly scheduler: Scheduler;
  readonly frames: PageFrames;
  readonly allocator: PageAllocator;
  readonly locks: PageLocks;
  readonly vm: VirtualMemory;

  constructor(base: KernelBase) {
    this.random = base.random;
    this.warnings = base.warnings;
    this.cpu = base.cpu;
    this.interrupts = base.interrupts;
    this.scheduler = base.scheduler;
    this.frames = base.frames;
    this.allocator = base.allocator;
    this.locks = base.locks;
    this.vm = base.vm;
  }

  /**
   * Declares that the caller may sleep, in functions that often don't: allowed in process context, and at set-up, when
   * nothing of the kernel is running.
   * @throws KernelBug `ctx-sleep` in atomic context
   */
  mightSleep(where: string): void {
    const { cpu } = this;
    const running = cpu.current !== null || cpu.inInterrupt || cpu.atomicDepth > 0;
    if (running || cpu.preemptCount > 0 || !cpu.irqsEnabled) cpu.mightSleep(where);
  }
}

/** Makes the subjects of a kernel, `k[name]` of each, in their order: a factory may use those above its own. */
export function makeSubjects<K extends KernelCore>(
  k: KernelCore & { readonly tracker: SleepTracker | null },
  subjects: Readonly<Record<string, (k: K) => object>>,
): void {
  for (const [name, create] of Object.entries(subjects)) {
    const subject = create(k as unknown as K); // complete up to the subjects below this one
    (k as unknown as Record<string, object>)[name] = k.tracker?.instrument(subject, name) ?? subject;
  }
}
