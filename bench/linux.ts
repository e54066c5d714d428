// Linux's whole passthrough path on AHCI: reads into a process's own memory with blk_rq_map_user_iov,
// blk_execute_rq and blk_rq_unmap_user, as ioctl(SG_IO) makes them.

import { buildTransfer } from '../src/drivers/scsi.ts';
import {
  type AddressSpace,
  Completion,
  PAGE_SIZE,
  type Page,
  type Sleeps,
  VM_READ,
  VM_WRITE,
} from '../src/kernel/index.ts';
import {
  type Bio,
  bootLinux,
  type Gendisk,
  GFP_KERNEL,
  type Iovec,
  IovIter,
  IS_ERR,
  iov_iter_init,
  type LinuxApi,
  READ,
  type Request,
} from '../src/linux/index.ts';
import { createMachine, type Disk, type Machine } from '../src/machine/index.ts';
import { contents, SPAN } from './driver.ts';
import type { Pair } from './measure.ts';
import type { RawCopy } from './raw.ts';

const MIB = 2 ** 20;
const SECTOR = 512;
const DEPTH = 32;
const USER_ADDRESS = 0x1000_0000;
/** One slot of the software I/O TLB's segments holds less than a mebibyte: longer segments could not be mapped. */
const SWIOTLB_SEGMENT = 64 * 1024;
/** Below 4 GiB, so that the bounce pages come from the pool for ISA devices, whatever the driver reaches. */
const ISA_LIMIT = 2 ** 32 - 2 * PAGE_SIZE;

export interface PathOptions {
  /** Bytes of one read. */
  readonly bytes: number;
  /** Reads that are under way at once. */
  readonly depth: number;
  /** Reads of one round. */
  readonly times: number;
  /** The process's pages: neighbours in RAM, too (default), or anywhere. */
  readonly scattered?: boolean;
  /**
   * The process's memory is above 4 GiB. `swiotlb`: the board drives 32 address lines, and DMA mapping copies; `isa`:
   * the queue's bounce limit is below 4 GiB, and the block layer copies through pages of its pool.
   */
  readonly bounce?: 'swiotlb' | 'isa';
  readonly guard?: boolean;
}

/** One kind of read, driven as often as it is asked for. */
class Reads {
  readonly #linux: LinuxApi;
  readonly #gendisk: Gendisk;
  readonly #mm: AddressSpace;
  readonly #options: PathOptions;
  readonly #slots: Slot[];
  #next = 0;

  constructor(linux: LinuxApi, gendisk: Gendisk, mm: AddressSpace, options: PathOptions) {
    this.#linux = linux;
    this.#gendisk = gendisk;
    this.#mm = mm;
    this.#options = options;
    this.#slots = Array.from({ length: options.depth }, () => new Slot());
  }

  /** Does `count` reads, each into the memory that has its disk's place in the process. */
  run(count: number): void {
    const { kernel } = this.#linux;
    this.#mm.grab();
    const task = kernel.spawnProcess('reader', () => this.#reader(count), this.#mm);
    kernel.scheduler.run({ until: task });
  }

  *#reader(count: number): Sleeps<void> {
    const linux = this.#linux;
    const { queue } = this.#gendisk;
    const slots = this.#slots;
    for (let done = 0; done < count; done += slots.length) {
      // By index, twice: an iterator's results would cost as much as a part of the kernel.
      for (let i = 0; i < slots.length; i++) {
        const slot = slots[i] as Slot;
        const rq = yield* linux.blk_get_request(queue, READ, GFP_KERNEL);
        if (IS_ERR(rq)) throw new Error(`no request: ${rq}`);
        this.#fill(slot, rq);
        const error = yield* linux.blk_rq_map_user_iov(queue, rq, null, slot.iter, GFP_KERNEL);
        if (error !== 0) throw new Error(`not mapped: ${error}, ${rq.map_error}`);
        slot.bio = rq.bio; // what unmapping wants: a bounced one is not the same at the end
        if (slots.length > 1) linux.blk_execute_rq_nowait(queue, this.#gendisk, rq, false, wakeReader);
        else yield* linux.blk_execute_rq(queue, this.#gendisk, rq, false);
      }
      for (let i = 0; i < slots.length; i++) {
        const slot = slots[i] as Slot;
        const rq = slot.rq as Request; // fill() left it
        if (slots.length > 1 && !rq.wait.tryWait()) yield* rq.wait.wait();
        if (rq.errors !== 0 || rq.resid_len !== 0) throw new Error(`a read ended with ${rq.errors}`);
        rq.bio = null;
        const error = yield* linux.blk_rq_unmap_user(slot.bio);
        if (error !== 0) throw new Error(`not unmapped: ${error}`);
        linux.blk_put_request(rq);
      }
    }
  }

  /** The next read: the command, and where its bytes go. */
  #fill(slot: Slot, rq: Request): void {
    const { bytes } = this.#options;
    const at = this.#next;
    this.#next = at + 2 * bytes > SPAN ? 0 : at + bytes;
    this.#linux.blk_rq_set_block_pc(rq);
    rq.cmd_len = buildTransfer(rq.cmd, false, at / SECTOR, bytes / SECTOR, false);
    rq.wait.reset();
    slot.rq = rq;
    slot.vec.iov_base = USER_ADDRESS + at;
    slot.vec.iov_len = bytes;
    iov_iter_init(slot.iter, READ, slot.iov, 1, bytes);
  }
}

/** What one read under way needs, used again by later ones. */
class Slot {
  readonly vec: Iovec = { iov_base: 0, iov_len: 0 };
  readonly iov = [this.vec];
  readonly iter = new IovIter();
  rq: Request | null = null;
  bio: Bio | null = null;
}

function wakeReader(rq: Request): void {
  rq.wait.complete();
}

/** The pair of a kind of read. */
export async function linuxRow(name: string, raw: RawCopy, options: PathOptions): Promise<Pair> {
  const { bytes, times } = options;
  const { machine, disk, linux, gendisk } = await boot(options);
  const mm = linux.kernel.vm.createSpace({
    from: 2 ** 32,
    ...(options.scattered === true ? { placement: 'scatter' as const } : {}),
  });
  populate(linux, mm);
  const reads = new Reads(linux, gendisk, mm, options);
  reads.run(SPAN / bytes);
  check(machine, disk, mm);
  return {
    name,
    bytes,
    times,
    raw: (count) => (options.scattered === true ? raw.scatter(bytes, count) : raw.copy(bytes, bytes, count)),
    path: (count) => reads.run(count),
    check: () => check(machine, disk, mm),
  };
}

/** Bios of the kernel's own through submit_bio(), a page each, 32 under way at once. */
export async function submitRow(name: string, raw: RawCopy): Promise<Pair> {
  const { machine, disk, linux, gendisk } = await boot({ bytes: PAGE_SIZE, depth: DEPTH, times: 0 });
  const { scheduler } = linux.kernel;
  const count = SPAN / PAGE_SIZE;
  const pages = Array.from({ length: count }, () => linux.alloc_pages_now(GFP_KERNEL, 0, 'bench'));
  const done = new Completion(scheduler, 'bios');
  let open = 0;
  const ended = (bio: Bio, error: number): void => {
    if (error !== 0) throw new Error(`a bio ended with ${error}`);
    linux.bio_put(bio);
    if (--open === 0) done.complete();
  };
  function* submit(i: number): Sleeps<void> {
    const bio = (yield* linux.bio_alloc(GFP_KERNEL, 1)) as Bio; // with WAIT there always is one
    bio.bi_bdev = gendisk.part0;
    bio.bi_iter.bi_sector = (i * PAGE_SIZE) / SECTOR;
    bio.bi_end_io = ended;
    linux.bio_add_page(bio, pages[i] as Page, PAGE_SIZE, 0);
    yield* linux.submit_bio(bio);
  }
  function* reader(times: number): Sleeps<void> {
    for (let i = 0; i < times; i += DEPTH) {
      open = DEPTH;
      for (let j = i; j < i + DEPTH; j++) yield* submit(j);
      if (!done.tryWait()) yield* done.wait();
    }
  }
  return {
    name,
    bytes: PAGE_SIZE,
    times: count,
    raw: (times) => raw.copy(PAGE_SIZE, PAGE_SIZE, times),
    path: (times) => scheduler.complete('reader', () => reader(times)),
    check: () => {
      const bytes = disk.read(0, SPAN);
      for (let i = 0; i < count; i++) {
        const { phys } = pages[i] as Page;
        if (!machine.memory.equals(phys, bytes, i * PAGE_SIZE, PAGE_SIZE))
          throw new Error(`page ${i} has other bytes than the disk`);
      }
    },
  };
}

async function boot(options: PathOptions) {
  const machine = await createMachine({
    ram: [
      { base: 0, bytes: 2 * SPAN },
      { base: 2 ** 32, bytes: 2 * SPAN },
    ],
    diskBytes: SPAN + MIB,
    guard: options.guard ?? false,
  });
  const profile = options.bounce === 'swiotlb' ? { profile: 'ahci-32bit' } : {};
  const controller = machine.addController({ kind: 'ahci', ...profile });
  // Not 0: a kernel takes a clock that never moves to be stuck.
  const disk = machine.addDisk({ bytes: SPAN, latencyNs: 1, picosecondsPerByte: 0 });
  disk.write(0, contents(SPAN));
  controller.attach(disk, 0);
  const linux = bootLinux(machine, { swiotlb: { bytes: 4 * MIB } });
  const [gendisk] = linux.scsi_add_host(controller).disks;
  if (gendisk === undefined) throw new Error('the driver found no disk');
  const { queue } = gendisk;
  if (options.bounce === 'swiotlb') linux.blk_queue_max_segment_size(queue, SWIOTLB_SEGMENT);
  if (options.bounce === 'isa') {
    linux.kernel.scheduler.complete('limit', function* () {
      linux.blk_queue_bounce_limit(queue, ISA_LIMIT);
    });
  }
  return { machine, disk, linux, gendisk };
}

/** Gives the process SPAN bytes of memory, every page of it there. */
function populate(linux: LinuxApi, mm: AddressSpace): void {
  const { kernel } = linux;
  const { userCopy } = kernel.vm;
  const page = new Uint8Array(PAGE_SIZE);
  mm.grab();
  const task = kernel.spawnProcess(
    'mmap',
    function* () {
      yield* mm.mmap({ address: USER_ADDRESS, length: SPAN, prot: VM_READ | VM_WRITE });
      for (let at = 0; at < SPAN; at += PAGE_SIZE) yield* userCopy.toUser(mm, USER_ADDRESS + at, page);
    },
    mm,
  );
  kernel.scheduler.run({ until: task });
}

/** Throws unless the process has all the disk's bytes in its memory; leaves zeros there. */
function check(machine: Machine, disk: Disk, mm: AddressSpace): void {
  const bytes = disk.read(0, SPAN);
  for (let at = 0; at < SPAN; at += PAGE_SIZE) {
    const phys = mm.pageTable.page(USER_ADDRESS + at)?.phys ?? 0;
    if (!machine.memory.equals(phys, bytes, at, PAGE_SIZE)) {
      throw new Error(`byte ${at} and on did not arrive in the process`);
    }
    machine.memory.fill(phys, 0, PAGE_SIZE);
  }
}
