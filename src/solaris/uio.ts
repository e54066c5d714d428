// Where a read or a write takes its bytes from, or puts them (uio(9S)), and how a driver moves them: uiomove(9F),
// ureadc(9F), uwritec(9F), uio_prefaultpages(9F).

import { KernelBug, PAGE_SIZE, type Sleeps } from '../kernel/index.ts';
import { type Caddr, moveIn, moveInKernel, moveOut, mustHold } from './copy.ts';
import { EFAULT } from './errno.ts';
import type { Solaris } from './kernel.ts';

// ---- uio_segflg: whose addresses the pieces have

export const UIO_USERSPACE = 0;
/** The kernel's. */
export const UIO_SYSSPACE = 1;
/** A user's instructions; here the same as UIO_USERSPACE. */
export const UIO_USERISPACE = 2;

// ---- directions (enum uio_rw)

/** From the kernel to the pieces. */
export const UIO_READ = 0;
/** From the pieces to the kernel. */
export const UIO_WRITE = 1;

/** A piece of memory (iovec(9S)). */
export interface Iovec {
  iov_base: number;
  iov_len: number;
}

export interface UioInit {
  readonly iov: readonly Iovec[];
  /** Default 0. */
  readonly loffset?: number;
  /** UIO_USERSPACE (default), UIO_SYSSPACE or UIO_USERISPACE. */
  readonly segflg?: number;
  /** Default: what the pieces hold. */
  readonly resid?: number;
}

export class Uio {
  readonly uio_iov: readonly Iovec[];
  /** Index of the current piece: C moves uio_iov instead. */
  seg = 0;
  /** Pieces from the current one on. */
  uio_iovcnt: number;
  /** Where in the file or on the device; may be negative, which no transfer accepts. */
  uio_loffset: number;
  uio_segflg: number;
  /** Bytes left in all; the pieces may hold more. */
  uio_resid: number;

  constructor({ iov, loffset = 0, segflg = UIO_USERSPACE, resid }: UioInit) {
    this.uio_iov = iov;
    this.uio_iovcnt = iov.length;
    this.uio_loffset = loffset;
    this.uio_segflg = segflg;
    this.uio_resid = resid ?? iov.reduce((sum, { iov_len }) => sum + iov_len, 0);
  }

  /** The current piece; null behind the last. */
  get piece(): Iovec | null {
    return this.uio_iovcnt > 0 ? (this.uio_iov[this.seg] ?? null) : null;
  }

  /** The next piece is the current one. */
  step(): void {
    this.seg++;
    this.uio_iovcnt--;
  }

  /** Counts bytes of the current piece as moved. */
  advance(piece: Iovec, bytes: number): void {
    piece.iov_base += bytes;
    piece.iov_len -= bytes;
    this.uio_resid -= bytes;
    this.uio_loffset += bytes;
  }
}

export function createUio(k: Solaris) {
  /** The piece that holds the next byte, stepping over those that hold none; null when there is no such byte. */
  function nextPiece(uio: Uio): Iovec | null {
    if (uio.uio_resid <= 0) return null;
    let piece = uio.piece;
    while (piece !== null && piece.iov_len <= 0) {
      uio.step();
      piece = uio.piece;
    }
    return piece;
  }

  /** Moves bytes between `p` and a piece of the uio; the number that were moved. */
  function* move(
    p: Caddr,
    start: number,
    bytes: number,
    rw: number,
    address: number,
    segflg: number,
  ): Sleeps<number> {
    if (segflg === UIO_SYSSPACE) return moveInKernel(k, p, start, address, bytes, rw === UIO_WRITE);
    if (rw === UIO_READ) return yield* moveOut(k, p, start, address, bytes);
    return yield* moveIn(k, address, p, start, bytes);
  }

  return {
    /**
     * Moves `n` bytes, or as many as are left in the uio, between memory of the kernel and the uio, which goes on behind
     * them. User and kernel context.
     * @param p bytes of the caller's own, or an address of the kernel
     * @param rw UIO_READ: from `p` to the uio; UIO_WRITE: from the uio to `p`
     * @returns 0, or EFAULT: the piece in which that happened counts as not moved, even if some of it was
     */
    *uiomove(p: Caddr, n: number, rw: number, uio: Uio): Sleeps<number> {
      k.mightSleep('uiomove');
      mustHold(k, p, Math.min(n, uio.uio_resid), 'uiomove');
      for (let done = 0; done < n; ) {
        const piece = nextPiece(uio);
        if (piece === null) break;
        const bytes = Math.min(piece.iov_len, n - done, uio.uio_resid);
        const moved = yield* move(p, done, bytes, rw, piece.iov_base, uio.uio_segflg);
        if (moved !== bytes) return EFAULT;
        if (k.machine.tracer.enabled) k.machine.tracer.emit('copy', null, { why: 'uiomove', bytes });
        uio.advance(piece, bytes);
        done += bytes;
      }
      return 0;
    },

    /**
     * Puts one byte into the uio: 0 or EFAULT. User and kernel context.
     * @throws KernelBug `uio-full` when no room is left: the kernel would panic
     */
    *ureadc(c: number, uio: Uio): Sleeps<number> {
      k.mightSleep('ureadc');
      const piece = nextPiece(uio);
      if (piece === null) throw new KernelBug('uio-full', 'panic: no room is left in the uio', 'ureadc');
      const byte = Uint8Array.of(c);
      if ((yield* move(byte, 0, 1, UIO_READ, piece.iov_base, uio.uio_segflg)) !== 1) return EFAULT;
      uio.advance(piece, 1);
      return 0;
    },

    /** Takes one byte from the uio; -1 when none is left or it cannot be read. User and kernel context. */
    *uwritec(uio: Uio): Sleeps<number> {
      k.mightSleep('uwritec');
      const piece = nextPiece(uio);
      if (piece === null) return -1;
      const byte = new Uint8Array(1);
      if ((yield* move(byte, 0, 1, UIO_WRITE, piece.iov_base, uio.uio_segflg)) !== 1) return -1;
      uio.advance(piece, 1);
      return byte[0] as number; // it has one
    },

    /**
     * Reads a byte of every page of the first `n` bytes, so that uiomove() finds them there. Ends at the first that
     * cannot be read, without saying so; the uio stays as it is. User and kernel context.
     */
    *uio_prefaultpages(n: number, uio: Uio): Sleeps<void> {
      k.mightSleep('uio_prefaultpages');
      if (uio.uio_segflg === UIO_SYSSPACE) return;
      const byte = new Uint8Array(1);
      let left = Math.min(n, uio.uio_resid);
      for (let i = uio.seg; left > 0 && i < uio.seg + uio.uio_iovcnt; i++) {
        const { iov_base, iov_len } = uio.uio_iov[i] as Iovec; // one of the count
        const end = iov_base + Math.min(iov_len, left);
        for (let at = iov_base; at < end; at += PAGE_SIZE - (at % PAGE_SIZE)) {
          if ((yield* moveIn(k, at, byte, 0, 1)) !== 1) return;
        }
        left -= end - iov_base;
      }
    },
  };
}
