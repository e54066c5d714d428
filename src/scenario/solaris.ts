// Solaris under a scenario: one process whose memory a driver locks (ddi_umem_lock) and makes bufs of
// (ddi_umem_iosetup), one for each range; or that reads and writes the raw disk itself (physio).

import { PAGE_SIZE, type Sleeps } from '../kernel/index.ts';
import { MachineError } from '../machine/index.ts';
import {
  B_READ,
  B_WRITE,
  type BdDisk,
  type BdHost,
  type Buf,
  bootSolaris,
  DDI_SUCCESS,
  DDI_UMEM_SLEEP,
  DDI_UMEMLOCK_READ,
  DDI_UMEMLOCK_WRITE,
  DEV_BSIZE,
  DKIOCFLUSHWRITECACHE,
  EIO,
  ENOMEM,
  Pointer,
  type SolarisApi,
  UIO_READ,
  UIO_WRITE,
  Uio,
  type UmemCookie,
} from '../solaris/index.ts';
import type { Harness, HarnessOptions, Transfer, UserRange } from './kernel.ts';
import { ProcessHarness } from './process.ts';

/** Requests never carry more: the same as on Linux, so that both do the same work. */
const MOST_BYTES = 2 ** 20;

/** Boots Solaris on the machine and attaches its driver to the controller. */
export function bootSolarisHarness(options: HarnessOptions): Harness {
  return new SolarisHarness(options);
}

/** One range of a request, under way. */
interface Piece {
  readonly bp: Buf;
  /** The memory that it is of; null: the one buffer of a request that is copied. */
  readonly cookie: UmemCookie | null;
}

class SolarisHarness extends ProcessHarness implements Harness {
  readonly maxRequestBytes = MOST_BYTES;
  readonly #solaris: SolarisApi;
  readonly #options: HarnessOptions;
  #attached: { readonly host: BdHost; readonly disk: BdDisk } | null = null;

  constructor(options: HarnessOptions) {
    const { machine, seed } = options;
    const solaris = bootSolaris(machine, { seed, placement: 'scatter' });
    const { kernel } = solaris;
    super(kernel, (as, body) => kernel.spawnProcess('process', (_proc, space) => body(space), { as }));
    this.#options = options;
    this.#solaris = solaris;
  }

  async attach(): Promise<void> {
    const { controller, bounce, attach } = this.#options;
    const solaris = this.#solaris;
    const host = await solaris.kernel.scheduler.completeAsync('attach', function* () {
      return solaris.bd_attach(controller, { bounce, ...(attach === undefined ? {} : { attach }) });
    });
    const disk = host.disks[0];
    if (disk === undefined) throw new MachineError(`the driver of ${controller.name} found no disk`);
    this.#attached = { host, disk };
  }

  get #disk(): BdDisk {
    if (this.#attached === null) throw new MachineError('no driver is attached');
    return this.#attached.disk;
  }

  async transfer(transfer: Transfer): Promise<number> {
    const first = transfer.ranges[0];
    if (first === undefined) return 0;
    const task = this.run(first.address, () => this.#execute(transfer));
    await this.#solaris.kernel.scheduler.runAsync({ until: task });
    return -(task.exitValue as number); // it ended, without an exception
  }

  async flush(): Promise<number> {
    const solaris = this.#solaris;
    const { dev } = this.#disk;
    const error = await solaris.kernel.scheduler.completeAsync('flush', function* () {
      return yield* solaris.bd_ioctl(dev, DKIOCFLUSHWRITECACHE, 0);
    });
    return -error;
  }

  async shutdown(): Promise<string[]> {
    const solaris = this.#solaris;
    const host = this.#attached?.host ?? null;
    const end = (): Sleeps<void> => this.drop();
    const detached = await solaris.kernel.scheduler.completeAsync('shutdown', function* () {
      const code = host === null ? DDI_SUCCESS : solaris.bd_detach(host);
      yield* end();
      return code;
    });
    const problems: string[] = [];
    if (detached !== DDI_SUCCESS) problems.push('the driver could not be detached: bufs are under way');
    const locked = solaris.kernel.allocator.usage().get('user') ?? 0;
    if (locked > 0) problems.push(`${locked} pages of the process are still locked`);
    for (const [what, count] of solaris.kmem_in_use()) problems.push(`${count} of ${what} were never freed`);
    return problems;
  }

  /** The request; 0 or a positive errno. */
  *#execute(transfer: Transfer): Sleeps<number> {
    const unit = this.#disk.about.sectorBytes;
    // A buf moves whole sectors: ranges of anything else are one transfer of the driver's own memory.
    const whole = transfer.ranges.every(({ bytes }) => bytes % unit === 0);
    if (!whole) return yield* this.#copy(transfer);
    if (transfer.through === 'physio') return yield* this.#physio(transfer);
    return yield* this.#bufs(transfer);
  }

  /** read(2) or write(2) of the raw disk. */
  *#physio(transfer: Transfer): Sleeps<number> {
    const solaris = this.#solaris;
    const { dev } = this.#disk;
    const uio = this.#uio(transfer);
    const error =
      transfer.direction === 'read' ? yield* solaris.bd_read(dev, uio) : yield* solaris.bd_write(dev, uio);
    return error === 0 && uio.uio_resid > 0 ? EIO : error;
  }

  /** A buf for each range. They are under way together, unless ranges that are read into share bytes. */
  *#bufs(transfer: Transfer): Sleeps<number> {
    const together = transfer.direction === 'write' || !overlap(transfer.ranges);
    const pieces: Piece[] = [];
    let failed = 0;
    let sector = transfer.sector;
    for (const range of transfer.ranges) {
      const piece = yield* this.#setUp(transfer, range, sector);
      if (typeof piece === 'number') {
        failed = piece;
        break;
      }
      sector += range.bytes / this.#disk.about.sectorBytes;
      this.#solaris.bd_strategy(piece.bp);
      pieces.push(piece);
      if (!together) failed = yield* this.#finish(pieces, failed);
      if (failed !== 0) break;
    }
    return yield* this.#finish(pieces, failed);
  }

  /** Locks a range and makes a buf of it; or the errno. */
  *#setUp({ direction }: Transfer, { address, bytes }: UserRange, sector: number): Sleeps<Piece | number> {
    const solaris = this.#solaris;
    const reads = direction === 'read';
    const start = address - (address % PAGE_SIZE);
    const length = Math.ceil((address + bytes - start) / PAGE_SIZE) * PAGE_SIZE;
    const cookiep = new Pointer<UmemCookie>();
    const access = reads ? DDI_UMEMLOCK_WRITE : DDI_UMEMLOCK_READ;
    const refused = yield* solaris.ddi_umem_lock(start, length, access, cookiep);
    const cookie = cookiep.value;
    if (refused !== 0 || cookie === null) return refused;
    const bp = yield* this.#bufOf(cookie, address - start, bytes, reads, sector);
    return { bp, cookie };
  }

  *#bufOf(cookie: UmemCookie, off: number, bytes: number, reads: boolean, sector: number): Sleeps<Buf> {
    const { dev, about } = this.#disk;
    const block = (sector * about.sectorBytes) / DEV_BSIZE;
    const way = reads ? B_READ : B_WRITE;
    const bp = yield* this.#solaris.ddi_umem_iosetup(
      cookie,
      off,
      bytes,
      way,
      dev,
      block,
      null,
      DDI_UMEM_SLEEP,
    );
    if (bp === null) throw new MachineError('ddi_umem_iosetup refuses a range of its cookie');
    return bp;
  }

  /** Waits for all of them; the first error. */
  *#finish(pieces: Piece[], failed: number): Sleeps<number> {
    const solaris = this.#solaris;
    let error = failed;
    for (const { bp, cookie } of pieces.splice(0)) {
      const ended = yield* solaris.biowait(bp);
      const short = bp.b_resid > 0 ? EIO : 0;
      if (error === 0) error = ended !== 0 ? ended : short;
      solaris.freerbuf(bp);
      if (cookie !== null) solaris.ddi_umem_unlock(cookie);
    }
    return error;
  }

  /** Moves the request through memory of the kernel. */
  *#copy(transfer: Transfer): Sleeps<number> {
    const solaris = this.#solaris;
    const bytes = transfer.sectors * this.#disk.about.sectorBytes;
    const reads = transfer.direction === 'read';
    const cookiep = new Pointer<UmemCookie>();
    const memory = yield* solaris.ddi_umem_alloc(bytes, DDI_UMEM_SLEEP, cookiep);
    const cookie = cookiep.value;
    if (memory === null || cookie === null) return ENOMEM;
    const uio = this.#uio(transfer);
    let error = reads ? 0 : yield* solaris.uiomove(memory, bytes, UIO_WRITE, uio);
    if (error === 0) {
      const bp = yield* this.#bufOf(cookie, 0, bytes, reads, transfer.sector);
      solaris.bd_strategy(bp);
      error = yield* this.#finish([{ bp, cookie: null }], 0);
    }
    if (error === 0 && reads) error = yield* solaris.uiomove(memory, bytes, UIO_READ, uio);
    solaris.ddi_umem_free(cookie);
    return error;
  }

  #uio({ ranges, sector }: Transfer): Uio {
    return new Uio({
      iov: ranges.map(({ address, bytes }) => ({ iov_base: address, iov_len: bytes })),
      loffset: sector * this.#disk.about.sectorBytes,
    });
  }
}

/** Whether any byte is in two of the ranges. */
function overlap(ranges: readonly UserRange[]): boolean {
  const sorted = [...ranges].sort((a, b) => a.address - b.address);
  return sorted.some(({ address }, i) => {
    const before = sorted[i - 1];
    return before !== undefined && before.address + before.bytes > address;
  });
}
