// Transfers between a device and the memory of who reads or writes, without a copy: physio(9F), minphys(9F).

import { KernelBug, type NoSleep, type Sleeps } from '../kernel/index.ts';
import { S_READ, S_WRITE } from './as.ts';
import {
  B_BUSY,
  B_PHYS,
  B_READ,
  B_SHADOW,
  B_STARTED,
  B_WANTED,
  B_WRITE,
  type Buf,
  type PageListPtr,
} from './buf-struct.ts';
import { EFAULT, EINVAL } from './errno.ts';
import type { Solaris } from './kernel.ts';
import { KM_SLEEP } from './kmem.ts';
import { Pointer } from './pointer.ts';
import type { Proc } from './proc.ts';
import { type Iovec, UIO_SYSSPACE, type Uio } from './uio.ts';

/** Bytes of one transfer of physio(), unless the system is set up otherwise: 56 KiB. */
export const MAXPHYS = 57344;
/** Bytes of a block of b_lblkno. */
export const DEV_BSIZE = 512;

/** A driver's strategy(9E): starts the transfer of a buf, or queues it. What it returns is ignored. */
export type Strategy = (bp: Buf) => number | undefined;
/** Reduces b_bcount to what the driver transfers at once. */
export type Mincnt = (bp: Buf) => NoSleep;

/** physio() and default_physio(). */
type Physio = (
  strat: Strategy,
  bp: Buf | null,
  dev: number,
  rw: number,
  mincnt: Mincnt,
  uio: Uio,
) => Sleeps<number>;

/** One call of physio(). */
interface Call {
  readonly strat: Strategy;
  readonly dev: number;
  readonly rw: number;
  /** S_WRITE or S_READ. */
  readonly access: number;
  readonly mincnt: Mincnt;
  readonly uio: Uio;
  /** Null: the memory is the kernel's. */
  readonly proc: Proc | null;
  /** For the pages of a transfer. */
  readonly list: Pointer<PageListPtr>;
}

/** What a header of physio() is for: a transfer of B_READ or B_WRITE. @throws KernelBug `rule` for anything else */
export function lockAccess(rw: number, rule: string, where: string): number {
  if (rw !== B_READ && rw !== B_WRITE)
    throw new KernelBug(rule, `0x${rw.toString(16)} is neither B_READ nor B_WRITE`, where);
  return rw === B_READ ? S_WRITE : S_READ;
}

/** Whose memory a uio is: null for the kernel's. @throws KernelBug `ctx-user` when a thread has no user memory */
export function ownerOf(k: Solaris, uio: Uio, where: string): Proc | null {
  if (uio.uio_segflg === UIO_SYSSPACE) return null;
  if (k.curproc.p_as === null)
    throw new KernelBug('ctx-user', 'needs a process: the kernel has no user memory', where);
  return k.curproc;
}

/**
 * PHYS-03: describes a transfer of a piece of memory, as far as the driver does it at once.
 * @throws KernelBug `PHYS-03` when the driver's mincnt asks for more
 */
export function prepare(bp: Buf, flags: number, dev: number, uio: Uio, piece: Iovec, mincnt: Mincnt): void {
  const bytes = Math.min(piece.iov_len, uio.uio_resid);
  bp.b_flags = B_BUSY | B_PHYS | flags;
  bp.b_edev = dev;
  bp.b_lblkno = Math.floor(uio.uio_loffset / DEV_BSIZE);
  bp.b_un.b_addr = piece.iov_base;
  bp.b_bcount = bytes;
  mincnt(bp);
  if (!(bp.b_bcount <= bytes))
    throw new KernelBug('PHYS-03', `mincnt made ${bp.b_bcount} of ${bytes} bytes`, 'physio');
}

export function createPhysio(k: Solaris) {
  const maxphys = k.options.maxphys ?? MAXPHYS;
  if (!(Number.isInteger(maxphys) && maxphys > 0))
    throw new RangeError(`maxphys is ${maxphys}; it must be a whole number of bytes from 1 on`);

  /** PHYS-04, PHYS-05: one transfer with its memory locked; its error. */
  function* transfer(bp: Buf, call: Call, piece: Iovec): Sleeps<number> {
    const { strat, dev, rw, proc, mincnt, uio, list } = call;
    prepare(bp, rw, dev, uio, piece, mincnt);
    bp.b_proc = proc;
    const { b_bcount: bytes } = bp;
    if (bytes <= 0) return EFAULT; // PHYS-13
    const { b_addr: address } = bp.b_un;
    const as = proc === null ? null : proc.p_as;
    const refused = yield* k.as.as_pagelock(as, list, address, bytes, call.access);
    if (refused !== 0) return refused;
    const { value: pages } = list;
    bp.b_shadow = pages;
    bp.b_flags |= pages === null ? B_STARTED : B_STARTED | B_SHADOW;
    strat(bp);
    const error = yield* k.buf.biowait(bp);
    k.as.as_pageunlock(as, pages, address, bytes, call.access);
    if (!(bp.b_resid >= 0 && bp.b_resid <= bytes))
      throw new KernelBug('PHYS-06', `b_resid is ${bp.b_resid} after ${bytes} bytes`, 'physio');
    uio.advance(piece, bytes - bp.b_resid);
    return error;
  }

  /** PHYS-07: transfer after transfer, up to the first that fails or falls short. */
  function* transfers(given: Buf | null, call: Call): Sleeps<number> {
    const bp = given ?? ((yield* k.buf.getrbuf(KM_SLEEP)) as Buf); // KM_SLEEP always gets one
    const { uio } = call;
    let error = 0;
    let ends = false;
    for (let piece = uio.piece; piece !== null && !ends; piece = uio.piece) {
      bp.b_error = 0; // PHYS-11: once for a piece of the uio
      while (piece.iov_len > 0 && !ends) {
        ends = uio.uio_resid === 0 || uio.uio_loffset < 0;
        if (ends) {
          error = uio.uio_resid === 0 ? 0 : EINVAL;
        } else {
          error = yield* transfer(bp, call, piece);
          ends = error !== 0 || bp.b_resid !== 0;
        }
      }
      if (!ends) uio.step();
    }
    bp.b_flags &= ~(B_BUSY | B_WANTED | B_PHYS | B_SHADOW);
    bp.b_shadow = null;
    if (given === null) k.buf.freerbuf(bp);
    return error;
  }

  const physio: Physio = (strat, bp, dev, rw, mincnt, uio) => {
    k.cpu.process('physio');
    k.cpu.mightSleep('physio');
    const access = lockAccess(rw, 'PHYS-03', 'physio');
    const proc = ownerOf(k, uio, 'physio');
    if (bp !== null && bp.b_sem?.count !== 0)
      throw new KernelBug('PHYS-02', 'the caller does not hold the b_sem of the buf', 'physio');
    return transfers(bp, { strat, dev, rw, access, mincnt, uio, proc, list: new Pointer<PageListPtr>() });
  };

  return {
    /** Most bytes of one transfer: SolarisOptions.maxphys. */
    maxphys,

    /** Reduces b_bcount to maxphys (bytes). Any context. Drivers call it from a mincnt of their own. */
    minphys(bp: Buf): void {
      if (bp.b_bcount > maxphys) bp.b_bcount = maxphys;
    },

    /**
     * Transfers between a device and the memory of a uio, in as many calls of the driver's strategy, one after the
     * other, as mincnt makes of it. The memory of each is locked meanwhile. User context.
     * @param bp a buf whose b_sem the caller holds; null: one of physio's own
     * @param rw B_READ or B_WRITE
     * @returns 0, EINVAL (negative offset), EFAULT or EACCES (no such memory, not allowed), or the error of the transfer.
     *   0 with uio_resid left is a transfer that fell short
     * @throws KernelBug `PHYS-06` when the driver leaves a b_resid which is more than was asked for
     */
    physio,

    /** What physio() calls. User context. */
    default_physio: physio,
  };
}
