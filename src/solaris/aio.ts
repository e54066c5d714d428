// Asynchronous reads and writes of a driver: aphysio(9F), anocancel(9F), aio_req(9S), and what the system does with a
// request after that.

import { type AddressSpace, Completion, type HoldCallback, KernelBug, type Sleeps } from '../kernel/index.ts';
import {
  B_ASYNC,
  B_BUSY,
  B_PHYS,
  B_SHADOW,
  B_STARTED,
  B_WANTED,
  Buf,
  type PageListPtr,
} from './buf-struct.ts';
import { EFAULT, EINVAL, ENOTSUP, ENXIO } from './errno.ts';
import type { Solaris } from './kernel.ts';
import { lockAccess, type Mincnt, ownerOf, prepare, type Strategy } from './physio.ts';
import { Pointer } from './pointer.ts';
import type { Uio } from './uio.ts';

/** The memory of a request, locked. */
interface LockedMemory {
  readonly as: AddressSpace | null;
  readonly list: PageListPtr | null;
  readonly address: number;
  readonly bytes: number;
  readonly access: number;
}

/** One asynchronous request; can be used again when it was reaped. */
export class AioReq {
  readonly aio_uio: Uio;
  /** Whoever made the request keeps here what he wants. */
  aio_private: unknown = null;
  /** The header of its transfer. */
  readonly buf = new Buf();
  /** 'idle' before aphysio() and after aio_reap(). */
  state: 'idle' | 'pending' | 'done' = 'idle';
  /** Null: nothing is locked. */
  locked: LockedMemory | null = null;
  /** What waits for somebody to unmap the memory. */
  callback: HoldCallback | null = null;
  /** The end of the transfer. */
  ended: Completion | null = null;
  /** Bytes that were asked for. */
  bytes = 0;

  constructor(uio: Uio) {
    this.aio_uio = uio;
  }
}

/** What a request came to (aio_result_t). */
export interface AioResult {
  /** Bytes that were transferred; -1 for an error. */
  readonly aio_return: number;
  readonly aio_errno: number;
}

export function createAio(k: Solaris) {
  /** The iodone of a request. The pages stay locked: this may be an interrupt. */
  function aioDone(req: AioReq): void {
    if (req.state !== 'pending') throw new KernelBug('BIO-03', 'the transfer had ended', 'biodone');
    req.state = 'done';
    req.ended?.completeAll();
  }

  function* waitDone(req: AioReq): Sleeps<void> {
    if (req.state === 'pending' && req.ended !== null) yield* req.ended.wait();
  }

  function unlockMemory(req: AioReq): void {
    const { locked, callback } = req;
    if (locked === null) return;
    req.locked = null;
    req.callback = null;
    const { as, list, address, bytes, access } = locked;
    const i = callback === null ? -1 : (as?.holdCallbacks.indexOf(callback) ?? -1);
    if (i >= 0) as?.holdCallbacks.splice(i, 1);
    k.as.as_pageunlock(as, list, address, bytes, access);
  }

  /** Whoever would unmap the memory, or the process's end, waits for the transfer and then unlocks. */
  function cleanUpBefore(req: AioReq, { as, address, bytes }: LockedMemory): void {
    if (as === null) return;
    const run = function* (): Sleeps<void> {
      yield* waitDone(req);
      unlockMemory(req);
    };
    req.callback = { start: address, end: address + bytes, run };
    as.holdCallbacks.push(req.callback);
  }

  /** The header for the first piece of the uio; an errno when there can be no such transfer. */
  function header(req: AioReq, dev: number, rw: number, mincnt: Mincnt): number {
    const { aio_uio: uio, buf: bp } = req;
    if (bp.state === 'ready') k.buf.bioreset(bp);
    else k.buf.bioinit(bp);
    const { piece } = uio;
    if (piece === null) return EFAULT;
    prepare(bp, B_ASYNC | rw, dev, uio, piece, mincnt);
    if (bp.b_bcount !== Math.min(piece.iov_len, uio.uio_resid)) return ENOTSUP;
    req.bytes = bp.b_bcount;
    bp.b_iodone = () => {
      aioDone(req);
      return 0;
    };
    return bp.b_bcount <= 0 ? EFAULT : 0;
  }

  /** Locks the memory; an errno. */
  function* lockMemory(req: AioReq, rw: number): Sleeps<number> {
    const { buf: bp } = req;
    const access = lockAccess(rw, 'APHYS-01', 'aphysio');
    bp.b_proc = ownerOf(k, req.aio_uio, 'aphysio');
    const as = bp.b_proc?.p_as ?? null;
    const list = new Pointer<PageListPtr>();
    const { b_addr: address } = bp.b_un;
    const error = yield* k.as.as_pagelock(as, list, address, bp.b_bcount, access);
    if (error !== 0) return error;
    req.locked = { as, list: list.value, address, bytes: bp.b_bcount, access };
    cleanUpBefore(req, req.locked);
    bp.b_shadow = list.value;
    if (list.value !== null) bp.b_flags |= B_SHADOW;
    return 0;
  }

  return {
    /**
     * Starts the transfer of the first piece of a request's uio and returns. Its memory stays locked until the request
     * is reaped, or whoever wants to unmap it has waited for its end. User context.
     * @param cancel anocancel
     * @param rw B_READ or B_WRITE
     * @returns what the strategy returned; or without calling it EINVAL (negative offset), ENOTSUP (mincnt would split
     *   it), EFAULT or EACCES (no such memory, not allowed)
     * @throws KernelBug `APHYS-01` for another cancel routine, and for a request that was not reaped
     */
    *aphysio(
      strategy: Strategy,
      cancel: (bp: Buf) => number,
      dev: number,
      rw: number,
      mincnt: Mincnt,
      aio_reqp: AioReq,
    ): Sleeps<number> {
      k.cpu.process('aphysio');
      k.cpu.mightSleep('aphysio');
      if (aio_reqp.state !== 'idle')
        throw new KernelBug('APHYS-01', 'the request was not reaped since its last transfer', 'aphysio');
      if (aio_reqp.aio_uio.uio_loffset < 0) return EINVAL;
      if (cancel !== k.aio.anocancel)
        throw new KernelBug('APHYS-01', 'panic: a cancel routine other than anocancel', 'aphysio');
      let refused = header(aio_reqp, dev, rw, mincnt);
      if (refused === 0) refused = yield* lockMemory(aio_reqp, rw);
      const { buf: bp } = aio_reqp;
      if (refused !== 0) {
        bp.b_flags &= ~(B_BUSY | B_WANTED | B_PHYS | B_SHADOW);
        return refused;
      }
      aio_reqp.state = 'pending';
      aio_reqp.ended = new Completion(k.scheduler, 'the end of an asynchronous transfer');
      bp.b_flags |= B_STARTED;
      return strategy(bp) ?? 0;
    },

    /** The cancel routine of requests that cannot be cancelled: ENXIO. Any context. */
    anocancel(_bp: Buf): number {
      return ENXIO;
    },

    /**
     * Waits for the end of a request, unlocks its memory and returns its result, as aiowait() of the process makes the
     * system do. The uio stays as it was. User and kernel context.
     * @throws KernelBug `APHYS-01` when no transfer was started
     */
    *aio_reap(aio_reqp: AioReq): Sleeps<AioResult> {
      k.mightSleep('aio_reap');
      if (aio_reqp.state === 'idle') throw new KernelBug('APHYS-01', 'no transfer was started', 'aio_reap');
      yield* waitDone(aio_reqp);
      unlockMemory(aio_reqp);
      aio_reqp.state = 'idle';
      const { buf: bp } = aio_reqp;
      bp.b_flags &= ~(B_BUSY | B_WANTED | B_PHYS | B_SHADOW);
      bp.b_shadow = null;
      const aio_errno = k.buf.geterror(bp);
      return { aio_return: aio_errno === 0 ? aio_reqp.bytes - bp.b_resid : -1, aio_errno };
    },
  };
}
