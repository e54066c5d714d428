// The kernel as an object. A subject (one file, named as in the kernel) exports a factory `createX(k: Linux)` that takes
// the kernel and returns a literal of documented methods. Adding one takes its import and two lines here: one in
// `subjects`, one in `flatten`. Inside, subjects call each other nested, `k.bio.bio_put(bio)`; outside, bootLinux()
// gives all of them flat: `const { bio_alloc, submit_bio } = bootLinux(machine)`.

import {
  createKernelBase,
  type KernelBase,
  type KernelBaseOptions,
  KernelCore,
  makeSubjects,
  Ready,
  SleepTracker,
  WorkQueue,
} from '../kernel/index.ts';
import type { Machine } from '../machine/index.ts';
import { createBio } from './bio.ts';
import { createBio3x } from './bio-3x.ts';
import { createBioData } from './bio-data.ts';
import { createBioKern } from './bio-kern.ts';
import { createBioMap } from './bio-map.ts';
import { createBioSet } from './bio-set.ts';
import { createBlkCore } from './blk-core.ts';
import { createBlkMap } from './blk-map.ts';
import { createBlkMap3x } from './blk-map-3x.ts';
import { createBlockDev } from './block-dev.ts';
import { createBounce } from './bounce.ts';
import { createBuffer } from './buffer.ts';
import { createBufferPage } from './buffer-page.ts';
import { createDmIo } from './dm-io.ts';
import { createDmIo2x } from './dm-io-2x.ts';
import { createDmaDebug } from './dma-debug.ts';
import { createDmaMapping } from './dma-mapping.ts';
import { createExt2 } from './ext2.ts';
import { createExt2Inode } from './ext2-inode.ts';
import { LinuxFaults } from './faults.ts';
import { createGenhd } from './genhd.ts';
import { createGup } from './gup.ts';
import { createIovIter } from './iov-iter.ts';
import { createIrq } from './irq.ts';
import { createKmalloc } from './kmalloc.ts';
import { createMempool } from './mempool.ts';
import { createMerge } from './merge.ts';
import { createMpage } from './mpage.ts';
import { createPageAlloc } from './page-alloc.ts';
import { createPageWriteback } from './page-writeback.ts';
import { createPagemap } from './pagemap.ts';
import { createPartition } from './partition.ts';
import { PinDebug } from './pin-debug.ts';
import { createPlug } from './plug.ts';
import { PoolDebug } from './pool-debug.ts';
import { createRequest } from './request.ts';
import { createRequest3x } from './request-3x.ts';
import { createRqMerge } from './rq-merge.ts';
import { createScatterlist } from './scatterlist.ts';
import { createSd } from './sd.ts';
import { createSettings } from './settings.ts';
import { createSlab } from './slab.ts';
import { createSplit } from './split.ts';
import { createSubmit } from './submit.ts';
import { createSwiotlb, type SwiotlbOptions } from './swiotlb.ts';
import { LinuxTask, remarkOnTask } from './task.ts';
import { LinuxTrace } from './trace.ts';
import { createVmalloc } from './vmalloc.ts';

/** The subjects, in the order in which they are made: a factory may use those above its own. */
const subjects = {
  pageAlloc: createPageAlloc,
  slab: createSlab,
  kmalloc: createKmalloc,
  vmalloc: createVmalloc,
  mempool: createMempool,
  bioSet: createBioSet,
  bio: createBio,
  bioData: createBioData,
  submit: createSubmit,
  iovIter: createIovIter,
  gup: createGup,
  bio3x: createBio3x,
  settings: createSettings,
  scatterlist: createScatterlist,
  merge: createMerge,
  split: createSplit,
  bounce: createBounce,
  bioMap: createBioMap,
  bioKern: createBioKern,
  blkMap: createBlkMap,
  blkMap3x: createBlkMap3x,
  rqMerge: createRqMerge,
  plug: createPlug,
  core: createBlkCore,
  request: createRequest,
  request3x: createRequest3x,
  genhd: createGenhd,
  irq: createIrq,
  swiotlb: createSwiotlb,
  dmaDebug: createDmaDebug,
  dma: createDmaMapping,
  sd: createSd,
  dmIo: createDmIo,
  dmIo2x: createDmIo2x,
  pagemap: createPagemap,
  buffer: createBuffer,
  bufferPage: createBufferPage,
  blockDev: createBlockDev,
  partition: createPartition,
  pageWriteback: createPageWriteback,
  mpage: createMpage,
  ext2Inode: createExt2Inode,
  ext2: createExt2,
};

/** All subjects in one object, for callers. A literal, because Object.assign would make calls twice as slow. */
function flatten(k: Linux) {
  return {
    kernel: k,
    ...k.pageAlloc,
    ...k.slab,
    ...k.kmalloc,
    ...k.vmalloc,
    ...k.mempool,
    ...k.bioSet,
    ...k.bio,
    ...k.bioData,
    ...k.submit,
    ...k.iovIter,
    ...k.gup,
    /** The names and contracts of 3.x where they differ. */
    v3: { ...k.bio3x, ...k.request3x, ...k.blkMap3x },
    ...k.settings,
    ...k.scatterlist,
    ...k.merge,
    ...k.split,
    ...k.bounce,
    ...k.bioMap,
    ...k.bioKern,
    ...k.blkMap,
    ...k.rqMerge,
    ...k.plug,
    ...k.core,
    ...k.request,
    ...k.genhd,
    ...k.irq,
    ...k.swiotlb,
    ...k.dma,
    ...k.sd,
    ...k.dmIo,
    ...k.dmIo2x,
    ...k.pagemap,
    ...k.buffer,
    ...k.bufferPage,
    ...k.blockDev,
    ...k.partition,
    ...k.pageWriteback,
    ...k.mpage,
    ...k.ext2Inode,
    ...k.ext2,
  };
}

type Subjects = {
  readonly [Name in keyof typeof subjects]: ReturnType<(typeof subjects)[Name]>;
};

/** The kernel as its subjects see it. */
export interface Linux extends LinuxCore, Subjects {}

/**
 * The kernel as its callers see it. What returns `Sleeps` may sleep and is called with `yield*` in a task; the rest never
 * sleeps and may be called in any context, unless it says otherwise. Lengths, sizes and offsets are bytes; sectors have
 * 512 of them; times are virtual nanoseconds; kernel addresses are physical ones. What the page documents as an error is
 * returned, as a negative errno or null; any other mistake of a caller throws a KernelBug.
 */
export interface LinuxApi extends ReturnType<typeof flatten> {}

/** Everything about memory, chance and time is the kernel base's: seed, order of tasks, placement of pages … */
export interface LinuxOptions extends Omit<KernelBaseOptions, 'machine' | 'makeLocal' | 'tracker'> {
  /** Finds calls whose `yield*` was forgotten; slow. Default off. */
  readonly trackSleeps?: boolean;
  /**
   * Order of bios that a make_request function submits: `fifo` as up to Linux 4.10 (default), or `sorted` as from 4.11
   * on, other queues first.
   */
  readonly submission?: 'fifo' | 'sorted';
  /** The software I/O TLB; false: what a device does not reach cannot be mapped for it. */
  readonly swiotlb?: SwiotlbOptions | false;
}

/** Makes a kernel on a machine. Several on one machine share its memory and its interrupts: rarely a good idea. */
export function bootLinux(machine: Machine, options: LinuxOptions = {}): LinuxApi {
  const k = new LinuxCore(machine, options);
  makeSubjects(k, subjects);
  k.init();
  return flatten(k as unknown as Linux);
}

/** What a kernel consists of before it has subjects: the kernel base, and what Linux adds to it. */
export class LinuxCore extends KernelCore implements KernelBase {
  readonly machine: Machine;
  readonly options: LinuxOptions;
  readonly memory: Machine['memory'];
  readonly spawnProcess: KernelBase['spawnProcess'];
  readonly trace = new LinuxTrace();
  /** Hands out results of calls that did not have to sleep. */
  readonly ready = new Ready();
  readonly faults: LinuxFaults;
  /** Finds calls whose `yield*` was forgotten; null unless asked for. */
  readonly tracker: SleepTracker | null;
  /** What is known of pinned pages; null while the guard is off. */
  readonly pins: PinDebug | null;
  /** What is known of memory pools; null while the guard is off. */
  readonly pools: PoolDebug | null;
  /** For work of nobody in particular (system_wq). */
  readonly system_wq: WorkQueue;
  private readonly initcalls: (() => void)[] = [];

  constructor(machine: Machine, options: LinuxOptions) {
    const tracker = options.trackSleeps === true ? new SleepTracker() : null;
    const base = createKernelBase({
      ...options,
      machine,
      makeLocal: (task) => new LinuxTask(task),
      ...(tracker === null ? {} : { tracker }),
    });
    super(base);
    this.tracker = tracker;
    this.machine = machine;
    this.options = options;
    this.memory = machine.memory;
    this.scheduler.remarkOn = remarkOnTask;
    this.spawnProcess = base.spawnProcess;
    this.faults = new LinuxFaults(base.random, base.allocator.failures);
    this.pins = machine.guard.watchesOwners ? this.watchPins() : null;
    this.pools = machine.guard.watchesOwners ? this.watchPools() : null;
    if (machine.guard.enabled) this.tellGuard();
    this.system_wq = new WorkQueue(base.scheduler, 'events');
  }

  /** Has mistakes with contexts and locks among the guard's findings. */
  private tellGuard(): void {
    const { guard } = this.machine;
    this.cpu.onBadSleep = (why, where) => {
      guard.report({ rule: 'ctx-sleep', message: `${where} may sleep, ${why}` });
    };
    this.warnings.onWarning = ({ rule, what, where }) => {
      if (rule === 'lock-order') guard.report({ rule, message: `${where}: ${what}` });
    };
  }

  /** A subject: not made yet when this is. */
  private get mappings(): Linux['dmaDebug'] {
    return (this as unknown as Linux).dmaDebug;
  }

  private watchPools(): PoolDebug {
    const { cpu, machine } = this;
    return new PoolDebug({
      cpu,
      machine,
      freed: (address, bytes, what) => this.mappings.freed(address, bytes, what),
    });
  }

  private watchPins(): PinDebug {
    const { cpu, vm, locks } = this;
    const pins = new PinDebug({
      guard: this.machine.guard,
      cpu,
      busy: () => this.mappings.busy(),
      writer: (page) => this.mappings.writer(page),
      freed: (address, bytes, what) => this.mappings.freed(address, bytes, what),
    });
    locks.onDirty = (page) => pins.dirtied(page);
    vm.onUnmap = (page, why, mm) => pins.lost(page, why, mm);
    return pins;
  }

  /** The running task; in an interrupt the interrupted one; null outside of tasks. */
  get current(): LinuxTask | null {
    return (this.cpu.current?.local as LinuxTask | undefined) ?? null; // the scheduler made it with makeLocal
  }

  /** Registers what is to be done at set-up once all subjects exist; for factories. */
  initcall(body: () => void): void {
    this.initcalls.push(body);
  }

  /** Runs the initcalls, in the order of registration. */
  init(): void {
    for (const initcall of this.initcalls) initcall();
  }
}
