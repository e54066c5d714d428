// The kernel as an object. A subject (one file, named as its manual pages are) exports a factory `createX(k: Solaris)`
// that takes the kernel and returns a literal of documented methods. Adding one takes its import and two lines here: one
// in `subjects`, one in `flatten`. Inside, subjects call each other nested, `k.umem.ddi_umem_lock(…)`; outside,
// bootSolaris() gives all of them flat: `const { getrbuf, biodone } = bootSolaris(machine)`.

import {
  type AddressSpace,
  createKernelBase,
  FailurePlan,
  type KernelBase,
  type KernelBaseOptions,
  KernelCore,
  KernelMap,
  makeSubjects,
  type NoSleep,
  type Page,
  type Sleeps,
  SleepTracker,
  type Task,
  WorkQueue,
} from '../kernel/index.ts';
import type { Machine } from '../machine/index.ts';
import { createAio } from './aio.ts';
import { createAs } from './as.ts';
import { createBlkdev } from './blkdev.ts';
import { createBuf } from './buf.ts';
import { guardHighLevel } from './context.ts';
import { createCopy } from './copy.ts';
import { createDdi } from './ddi.ts';
import { createDisksort } from './disksort.ts';
import { createDma } from './dma.ts';
import { createDmaFault } from './dma-fault.ts';
import { DmaGuard } from './dma-guard.ts';
import { createDmaMem } from './dma-mem.ts';
import { createDmaWindow } from './dma-window.ts';
import { createIntr } from './intr.ts';
import { createKmem } from './kmem.ts';
import { createKmemAlloc } from './kmem-alloc.ts';
import { createMutex } from './mutex.ts';
import { createPhysio } from './physio.ts';
import { Kthread, Proc, Project, Zone } from './proc.ts';
import { createRegs } from './regs.ts';
import { createSema } from './sema.ts';
import { createSoftState } from './soft-state.ts';
import { createSpecfs } from './specfs.ts';
import { createTaskq } from './taskq.ts';
import { createTime } from './time.ts';
import { createUio } from './uio.ts';
import { createUmem } from './umem.ts';

/** Highest priority of an interrupt whose handler may use the kernel. */
export const LOCK_LEVEL = 10;

/** The subjects, in the order in which they are made: a factory may use those above its own. */
const subjects = {
  kmem: createKmem,
  as: createAs,
  buf: createBuf,
  umem: createUmem,
  dma: createDma,
  dmaWindow: createDmaWindow,
  dmaMem: createDmaMem,
  copy: createCopy,
  uio: createUio,
  physio: createPhysio,
  aio: createAio,
  disksort: createDisksort,
  blkdev: createBlkdev,
  ddi: createDdi,
  softState: createSoftState,
  intr: createIntr,
  specfs: createSpecfs,
  time: createTime,
  mutex: createMutex,
  sema: createSema,
  taskq: createTaskq,
  regs: createRegs,
  dmaFault: createDmaFault,
  kmemAlloc: createKmemAlloc,
};

/** All subjects in one object, for callers. A literal, because Object.assign would make calls twice as slow. */
function flatten(k: Solaris) {
  return {
    kernel: k,
    ...k.kmem,
    ...k.as,
    ...k.buf,
    ...k.umem,
    ...k.dma,
    ...k.dmaWindow,
    ...k.dmaMem,
    ...k.copy,
    ...k.uio,
    ...k.physio,
    ...k.aio,
    ...k.disksort,
    ...k.blkdev,
    ...k.ddi,
    ...k.softState,
    ...k.intr,
    ...k.specfs,
    ...k.time,
    ...k.mutex,
    ...k.sema,
    ...k.taskq,
    ...k.regs,
    ...k.dmaFault,
    ...k.kmemAlloc,
  };
}

type Subjects = {
  readonly [Name in keyof typeof subjects]: ReturnType<(typeof subjects)[Name]>;
};

/** The kernel as its subjects see it. */
export interface Solaris extends SolarisCore, Subjects {}

/**
 * The kernel as its callers see it. What returns `Sleeps` may sleep and is called with `yield*` in a thread; the rest
 * never sleeps. "Any context" ends at LOCK_LEVEL: a high-level interrupt may take mutexes of its own priority, read and
 * write registers and trigger soft interrupts, and everything else throws KernelBug `INTR-02` there. Errnos are positive;
 * any mistake of a caller that the page does not document throws a KernelBug.
 */
export interface SolarisApi extends ReturnType<typeof flatten> {}

/** Everything about memory, chance and time is the kernel base's: seed, order of tasks, placement of pages … */
export interface SolarisOptions extends Omit<KernelBaseOptions, 'machine' | 'makeLocal' | 'tracker'> {
  /** Finds calls whose `yield*` was forgotten; slow. Default off. */
  readonly trackSleeps?: boolean;
  /** Most bytes of the copy buffer of a DMA binding, two pages at least. Default 1 MiB and a page. */
  readonly dmaCopyBufferBytes?: number;
  /** Most bytes of one transfer of physio(), from 1 on (system(5): set maxphys). Default 56 KiB. */
  readonly maxphys?: number;
}

/** Makes a kernel on a machine. Several on one machine share its memory and its interrupts: rarely a good idea. */
export function bootSolaris(machine: Machine, options: SolarisOptions = {}): SolarisApi {
  const k = new SolarisCore(machine, options);
  makeSubjects(k, subjects);
  return guardHighLevel(k, flatten(k as unknown as Solaris));
}

export interface ProcessOptions {
  /** Default: new and empty, or that of `proc`. */
  readonly as?: AddressSpace;
  /** Makes another thread of this process instead. */
  readonly proc?: Proc;
  /** Default: the system's. */
  readonly project?: Project;
  /** Default: the global zone. */
  readonly zone?: Zone;
}

/** What a kernel consists of before it has subjects: the kernel base, and what Solaris adds to it. */
export class SolarisCore extends KernelCore implements Omit<KernelBase, 'spawnProcess'> {
  readonly machine: Machine;
  readonly options: SolarisOptions;
  readonly memory: Machine['memory'];
  /** The project and the zone of processes that name none. */
  readonly proj0p: Project;
  readonly global_zone: Zone;
  /** The process of the kernel itself. */
  readonly p0: Proc;
  /** The kernel's own addresses. */
  readonly kas: KernelMap;
  /** Decides which allocations of small objects fail. */
  readonly kmemFailures: FailurePlan;
  /** Finds calls whose `yield*` was forgotten; null unless asked for. */
  readonly tracker: SleepTracker | null;
  /** The thread that unlocks what was unlocked in interrupts. */
  readonly umemUnlockQueue: WorkQueue;
  /** Told of pages that nobody holds locked any more; for who watches DMA. */
  onPagesUnlocked: ((pages: readonly Page[]) => NoSleep) | null = null;
  /** What the guard knows of DMA; null while it is off. */
  readonly dmaGuard: DmaGuard | null;
  private readonly base: KernelBase;

  /**
   * Makes a process: a thread with user memory, which is given up when the body returns (which waits while pages of it
   * are locked).
   */
  readonly spawnProcess = <T>(
    name: string,
    body: (proc: Proc, as: AddressSpace, task: Task<T>) => Sleeps<T>,
    options: ProcessOptions = {},
  ): Task<T> => {
    const as = options.proc?.p_as ?? options.as ?? this.vm.createSpace();
    if (options.proc !== undefined) as.grab();
    const task = this.base.spawnProcess<T>(name, (self) => body(local.t_procp, as, self), as);
    const local = task.local as Kthread;
    local.t_procp =
      options.proc ??
      new Proc({
        pid: task.pid,
        name,
        as,
        project: options.project ?? this.proj0p,
        zone: options.zone ?? this.global_zone,
      });
    return task;
  };

  constructor(machine: Machine, options: SolarisOptions) {
    const proj0p = new Project(0);
    const global_zone = new Zone('global');
    const p0 = new Proc({ pid: 0, name: 'sched', as: null, project: proj0p, zone: global_zone });
    const tracker = options.trackSleeps === true ? new SleepTracker() : null;
    const base = createKernelBase({
      ...options,
      machine,
      makeLocal: (task) => new Kthread(task, p0),
      ...(tracker === null ? {} : { tracker }),
    });
    super(base);
    this.tracker = tracker;
    this.proj0p = proj0p;
    this.global_zone = global_zone;
    this.base = base;
    this.p0 = p0;
    this.machine = machine;
    this.options = options;
    this.memory = machine.memory;
    this.kas = new KernelMap(machine.memory);
    this.kmemFailures = new FailurePlan(base.random.fork('kmem'));
    this.dmaGuard = machine.guard.enabled ? new DmaGuard(this) : null;
    this.umemUnlockQueue = new WorkQueue(base.scheduler, 'umem_unlock_thread');
  }

  /** The running thread; in an interrupt the interrupted one; null outside of threads. */
  get curthread(): Kthread | null {
    return (this.cpu.current?.local as Kthread | undefined) ?? null; // the scheduler made it with makeLocal
  }

  /** The process of the running thread; p0 outside of threads. */
  get curproc(): Proc {
    return this.curthread?.t_procp ?? this.p0;
  }

  /** True in an interrupt above the level up to which handlers may use the kernel (LOCK_LEVEL). */
  get inHighLevel(): boolean {
    return this.cpu.interruptPriority > LOCK_LEVEL;
  }
}
