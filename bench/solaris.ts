// Solaris's raw reads on AHCI: physio() of its disk driver into a process's own memory; and DMA bindings alone.

import { type AddressSpace, PAGE_SIZE, type Sleeps, VM_READ, VM_WRITE } from '../src/kernel/index.ts';
import { createMachine, type Disk, type Machine } from '../src/machine/index.ts';
import {
  B_READ,
  type BdDisk,
  type BdHost,
  type Buf,
  bootSolaris,
  DDI_DMA_DONTWAIT,
  DDI_DMA_MAPPED,
  DDI_DMA_READ,
  DDI_UMEM_SLEEP,
  DDI_UMEMLOCK_WRITE,
  type DdiDmaAttr,
  DdiDmaCookie,
  type DdiDmaHandle,
  Pointer,
  type SolarisApi,
  Uio,
  type UmemCookie,
} from '../src/solaris/index.ts';
import { contents, SPAN } from './driver.ts';
import type { Pair } from './measure.ts';
import type { RawCopy } from './raw.ts';

const MIB = 2 ** 20;
const USER_ADDRESS = 0x1000_0000;
const HIGH = 2 ** 32;
/** The process's memory: above 4 GiB, and above what the driver has there. */
const USER_MEMORY = HIGH + MIB;

export interface PhysioOptions {
  /** Bytes of one read. */
  readonly bytes: number;
  /** Reads of one round. */
  readonly times: number;
  /** Bytes of one transfer; default: Solaris's 56 KiB. */
  readonly maxphys?: number;
  /** The board drives 32 address lines: the driver's bindings go through the copy buffer. */
  readonly bounce?: boolean;
}

/** One kind of read, driven as often as it is asked for. */
class Reads {
  readonly #solaris: SolarisApi;
  readonly #disk: BdDisk;
  readonly #as: AddressSpace;
  readonly #bytes: number;
  readonly #piece = { iov_base: 0, iov_len: 0 };
  readonly #iov = [this.#piece];
  #next = 0;

  constructor(solaris: SolarisApi, disk: BdDisk, as: AddressSpace, bytes: number) {
    this.#solaris = solaris;
    this.#disk = disk;
    this.#as = as;
    this.#bytes = bytes;
  }

  /** Does `count` reads, each into the memory that has its disk's place in the process. */
  run(count: number): void {
    inProcess(this.#solaris, this.#as, () => this.#reader(count));
  }

  *#reader(count: number): Sleeps<void> {
    const { physio, bd_strategy, minphys } = this.#solaris;
    const [bytes, piece, iov, dev] = [this.#bytes, this.#piece, this.#iov, this.#disk.dev];
    for (let i = 0; i < count; i++) {
      const at = this.#next;
      this.#next = at + 2 * bytes > SPAN ? 0 : at + bytes;
      piece.iov_base = USER_ADDRESS + at;
      piece.iov_len = bytes;
      const uio = new Uio({ iov, loffset: at, resid: bytes });
      const error = yield* physio(bd_strategy, null, dev, B_READ, minphys, uio);
      if (error !== 0 || uio.uio_resid !== 0) throw new Error(`a read ended with ${error}`);
    }
  }
}

/** The pair of a kind of read. */
export async function physioRow(name: string, raw: RawCopy, options: PhysioOptions): Promise<Pair> {
  const { bytes, times } = options;
  const { machine, disk, solaris, host } = await boot(options);
  const as = solaris.kernel.vm.createSpace({ from: USER_MEMORY });
  populate(solaris, as);
  const reads = new Reads(solaris, host.disks[0] as BdDisk, as, bytes); // boot() looked
  reads.run(SPAN / bytes);
  check(machine, disk, as);
  return {
    name,
    bytes,
    times,
    raw: (count) => raw.copy(bytes, bytes, count),
    path: (count) => reads.run(count),
    check: () => check(machine, disk, as),
  };
}

/** Binding a buf over locked memory to a DMA handle, and unbinding it: no byte moves. */
export async function bindRow(name: string, raw: RawCopy, pages: number): Promise<Pair> {
  const bytes = pages * PAGE_SIZE;
  const { solaris, host } = await boot({ bytes, times: 0 });
  const as = solaris.kernel.vm.createSpace({ from: USER_MEMORY });
  populate(solaris, as);
  const cookiep = new Pointer<UmemCookie>();
  const bp = inProcess(solaris, as, function* () {
    yield* solaris.ddi_umem_lock(USER_ADDRESS, bytes, DDI_UMEMLOCK_WRITE, cookiep);
    const cookie = cookiep.value as UmemCookie; // the memory is there
    return (yield* solaris.ddi_umem_iosetup(cookie, 0, bytes, B_READ, 0, 0, null, DDI_UMEM_SLEEP)) as Buf;
  });
  const handle = handleOf(solaris, host);
  const cookie = new DdiDmaCookie();
  const countp = new Pointer<number>();
  const bind = solaris.ddi_dma_buf_bind_handle;
  function* binder(count: number): Sleeps<void> {
    for (let i = 0; i < count; i++) {
      const code = yield* bind(handle, bp, DDI_DMA_READ, DDI_DMA_DONTWAIT, null, cookie, countp);
      if (code !== DDI_DMA_MAPPED) throw new Error(`not bound: ${code}`);
      solaris.ddi_dma_unbind_handle(handle);
    }
  }
  return {
    name,
    bytes,
    times: Math.max(SPAN / bytes, 512),
    raw: (count) => raw.copy(bytes, bytes, count),
    path: (count) => solaris.kernel.scheduler.complete('binder', () => binder(count)),
    check: () => {
      if (countp.value !== 1 || cookie.dmac_size !== bytes) throw new Error(`${countp.value} cookies`);
    },
  };
}

async function boot(options: PhysioOptions) {
  const machine = await createMachine({
    ram: [
      { base: 0, bytes: 2 * SPAN },
      { base: HIGH, bytes: 2 * SPAN },
    ],
    diskBytes: SPAN + MIB,
    guard: false,
  });
  const profile = options.bounce === true ? { profile: 'ahci-32bit' } : {};
  const controller = machine.addController({ kind: 'ahci', ...profile });
  // Not 0: a kernel takes a clock that never moves to be stuck.
  const disk = machine.addDisk({ bytes: SPAN, latencyNs: 1, picosecondsPerByte: 0 });
  disk.write(0, contents(SPAN));
  controller.attach(disk, 0);
  const { maxphys } = options;
  const solaris = bootSolaris(machine, maxphys === undefined ? {} : { maxphys });
  const host = solaris.bd_attach(controller);
  if (host.disks.length !== 1) throw new Error('the driver found no disk');
  return { machine, disk, solaris, host };
}

/** A handle with the attributes of the disk. */
function handleOf(solaris: SolarisApi, host: BdHost): DdiDmaHandle {
  const handlep = new Pointer<DdiDmaHandle>();
  const attr: DdiDmaAttr = (host.disks[0] as BdDisk).rules.attr; // boot() looked
  solaris.kernel.scheduler.atomic(
    solaris.ddi_dma_alloc_handle(host.dip, attr, DDI_DMA_DONTWAIT, null, handlep),
  );
  if (handlep.value === null) throw new Error('no handle');
  return handlep.value;
}

/** Runs a body as a process with this memory, to its end, and returns its value. */
function inProcess<T>(solaris: SolarisApi, as: AddressSpace, body: () => Sleeps<T>): T {
  const { kernel } = solaris;
  as.grab();
  const task = kernel.spawnProcess<T>('bench', body, { as });
  kernel.scheduler.run({ until: task });
  return task.exitValue as T; // it ended
}

/** Gives the process SPAN bytes of memory, every page of it there. */
function populate(solaris: SolarisApi, as: AddressSpace): void {
  const { userCopy } = solaris.kernel.vm;
  const page = new Uint8Array(PAGE_SIZE);
  inProcess(solaris, as, function* () {
    yield* as.mmap({ address: USER_ADDRESS, length: SPAN, prot: VM_READ | VM_WRITE });
    for (let at = 0; at < SPAN; at += PAGE_SIZE) yield* userCopy.toUser(as, USER_ADDRESS + at, page);
  });
}

/** Throws unless the process has all the disk's bytes in its memory; leaves zeros there. */
function check(machine: Machine, disk: Disk, as: AddressSpace): void {
  const bytes = disk.read(0, SPAN);
  for (let at = 0; at < SPAN; at += PAGE_SIZE) {
    const phys = as.pageTable.page(USER_ADDRESS + at)?.phys ?? 0;
    if (!machine.memory.equals(phys, bytes, at, PAGE_SIZE)) {
      throw new Error(`byte ${at} and on did not arrive in the process`);
    }
    machine.memory.fill(phys, 0, PAGE_SIZE);
  }
}
