// What tests of physio and aphysio share: a driver that notes its calls and moves bytes between a disk and memory.

import { PAGE_SIZE, type Sleeps } from '../../src/kernel/index.ts';
import {
  B_READ,
  type Buf,
  DDI_UMEM_SLEEP,
  DEV_BSIZE,
  type Mincnt,
  Pointer,
  type SolarisApi,
  Uio,
  type UmemCookie,
} from '../../src/solaris/index.ts';
import { assert } from '../run/suite.ts';
import { must, pattern } from './help.ts';

export const DEV = 0x700003;
/** Bytes of the disk. */
export const DISK = 64 * PAGE_SIZE;

/** How a transfer ends. */
export interface Ending {
  readonly resid?: number;
  readonly error?: number;
  /** Never. */
  readonly lost?: boolean;
}

/** A driver without hardware: its transfers end at once, or in an interrupt a little later. */
export class RamDisk {
  readonly bytes = pattern(DISK, 5);
  /** `read 12 +0x200 at 0x100010` for every call of the strategy. */
  readonly calls: string[] = [];
  /** What the next transfers come to; good ones after that. */
  readonly endings: Ending[] = [];
  /** Called with every buf, before anything is done. */
  onStrategy: ((bp: Buf) => void) | null = null;
  /** End in an interrupt after so many ns; 0: before strategy returns. */
  latencyNs = 0;
  /** Transfers that have not ended, and the most there were. */
  open = 0;
  deepest = 0;
  private readonly solaris: SolarisApi;

  constructor(solaris: SolarisApi) {
    this.solaris = solaris;
  }

  readonly strategy = (bp: Buf): number => {
    const way = (bp.b_flags & B_READ) !== 0 ? 'read' : 'write';
    const at = bp.b_un.b_addr;
    const place = at >= 2 ** 52 ? 'kernel' : `0x${at.toString(16)}`;
    this.calls.push(`${way} ${bp.b_blkno} +0x${bp.b_bcount.toString(16)} at ${place}`);
    this.onStrategy?.(bp);
    this.open++;
    this.deepest = Math.max(this.deepest, this.open);
    const ending = this.endings.shift() ?? {};
    if (ending.lost === true) return 0;
    if (this.latencyNs === 0) this.end(bp, ending);
    else this.solaris.kernel.scheduler.spawn('disk', () => this.endLater(bp, ending));
    return 0;
  };

  private *endLater(bp: Buf, ending: Ending): Sleeps<void> {
    const { scheduler, cpu } = this.solaris.kernel;
    yield* scheduler.delay(this.latencyNs);
    cpu.interrupt('disk', 5, () => {
      this.end(bp, ending);
    });
  }

  /** Moves what does not remain, and ends the transfer. */
  private end(bp: Buf, { resid: rest = 0, error = 0 }: Ending): void {
    const resid = Math.min(rest, bp.b_bcount);
    const start = bp.b_blkno * DEV_BSIZE;
    const part = this.bytes.subarray(start, start + bp.b_bcount - resid);
    if ((bp.b_flags & B_READ) !== 0) this.solaris.bp_copyout(part, bp, 0, part.length);
    else this.solaris.bp_copyin(bp, part, 0, part.length);
    bp.b_resid = resid;
    if (error !== 0) this.solaris.bioerror(bp, error);
    this.open--;
    this.solaris.biodone(bp);
  }
}

/** A mincnt of at most so many bytes. */
export function atMost(bytes: number): Mincnt {
  return (bp) => {
    bp.b_bcount = Math.min(bp.b_bcount, bytes);
  };
}

/** A uio over pieces, given as addresses and lengths, of the disk from `loffset` on. */
export function uioOf(loffset: number, ...pieces: readonly (readonly [base: number, len: number])[]): Uio {
  return new Uio({ loffset, iov: pieces.map(([iov_base, iov_len]) => ({ iov_base, iov_len })) });
}

/** What a transfer leaves: lengths of the pieces, index, count, rest and offset. */
export function left({ uio_iov, seg, uio_iovcnt, uio_resid, uio_loffset }: Uio): unknown[] {
  return [uio_iov.map(({ iov_len }) => iov_len), seg, uio_iovcnt, uio_resid, uio_loffset];
}

/** Pages of the kernel's own. */
export function* kernelPages(
  solaris: SolarisApi,
  pages: number,
): Sleeps<{ address: number; cookie: UmemCookie }> {
  const cookiep = new Pointer<UmemCookie>();
  const address = must(yield* solaris.ddi_umem_alloc(pages * PAGE_SIZE, DDI_UMEM_SLEEP, cookiep));
  return { address, cookie: must(cookiep.value) };
}

/** Memory of the kernel as the CPU sees it. */
export function seen(solaris: SolarisApi, address: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  assert.is(solaris.kernel.kas.read(address, bytes), length);
  return bytes;
}
