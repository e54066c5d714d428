// Iterators over memory in pieces (include/linux/uio.h, lib/iov_iter.c of 4.8): where a read or write takes its bytes
// from, or puts them. Functions that take a `const struct iov_iter *` in C take ConstIovIter and never move it.
//
// User addresses are numbers below 2^47, kernel addresses are physical addresses.

import type { AddressSpace, Sleeps } from '../kernel/index.ts';
import { PAGE_SIZE, type Page } from '../kernel/index.ts';
import { INT_MAX, mustCount, mustPage, mustWhole, ULONG_MAX } from './argument.ts';
import { type BioVec, WRITE } from './bio-struct.ts';
import { EFAULT, EINVAL, ENOMEM } from './errno.ts';
import type { Linux } from './kernel.ts';

/** A piece of user memory, or of kernel memory (struct kvec). */
export interface Iovec {
  iov_base: number;
  iov_len: number;
}

/** What the pieces are: user memory, kernel memory, parts of pages. `type` has the direction, too: READ or WRITE. */
export const ITER_IOVEC = 0;
export const ITER_KVEC = 2;
export const ITER_BVEC = 4;

/** Bytes that one system call moves at most: 2^31 less a page. */
export const MAX_RW_COUNT = 0x7ffff000;
/** Pieces that one system call may name. */
const MAX_SEGMENTS = 1024;
/** struct iovec in user memory: two 64-bit words. */
const SIZEOF_IOVEC = 16;

const PIECES = 'the number of pieces';
const BYTES = 'the number of bytes';

/** struct iov_iter. WRITE: the pieces are the source. */
export class IovIter {
  type = ITER_IOVEC;
  /** Bytes of the current piece that are done. */
  iov_offset = 0;
  /** Bytes left in all; the pieces may have more. */
  count = 0;
  /** Pieces from the current one on. */
  nr_segs = 0;
  /** Index of the current piece (C moves the pointer instead). */
  seg = 0;
  iov: readonly Iovec[] = NO_IOVECS;
  bvec: readonly BioVec[] = NO_BVECS;

  assign(other: ConstIovIter): this {
    this.type = other.type;
    this.iov_offset = other.iov_offset;
    this.count = other.count;
    this.nr_segs = other.nr_segs;
    this.seg = other.seg;
    this.iov = other.iov;
    this.bvec = other.bvec;
    return this;
  }
}

/** `const struct iov_iter *`. */
export type ConstIovIter = Readonly<Omit<IovIter, 'assign'>>;

const NO_IOVECS: readonly Iovec[] = [];
const NO_BVECS: readonly BioVec[] = [];

// ---- making

/** Over user memory. `direction` is READ or WRITE; `count` bytes of what the pieces hold. */
export function iov_iter_init(
  i: IovIter,
  direction: number,
  iov: readonly Iovec[],
  nr_segs: number,
  count: number,
): void {
  start(i, ITER_IOVEC | (direction & WRITE), iov.length, nr_segs, count, 'iov_iter_init');
  i.iov = iov;
}

/** Over kernel memory. */
export function iov_iter_kvec(
  i: IovIter,
  direction: number,
  kvec: readonly Iovec[],
  nr_segs: number,
  count: number,
): void {
  start(i, ITER_KVEC | (direction & WRITE), kvec.length, nr_segs, count, 'iov_iter_kvec');
  i.iov = kvec;
}

/** Over parts of pages. */
export function iov_iter_bvec(
  i: IovIter,
  direction: number,
  bvec: readonly BioVec[],
  nr_segs: number,
  count: number,
): void {
  start(i, ITER_BVEC | (direction & WRITE), bvec.length, nr_segs, count, 'iov_iter_bvec');
  i.bvec = bvec;
}

function start(
  i: IovIter,
  type: number,
  length: number,
  nr_segs: number,
  count: number,
  where: string,
): void {
  mustCount(nr_segs, PIECES, where, length);
  mustCount(count, BYTES, where);
  i.type = type;
  i.iov_offset = 0;
  i.count = count;
  i.nr_segs = nr_segs;
  i.seg = 0;
  i.iov = NO_IOVECS;
  i.bvec = NO_BVECS;
}

// ---- looking

/** READ or WRITE. */
export function iov_iter_rw(i: ConstIovIter): number {
  return i.type & WRITE;
}

/** True when it is over user memory. */
export function iter_is_iovec(i: ConstIovIter): boolean {
  return (i.type & (ITER_KVEC | ITER_BVEC)) === 0;
}

/** Bytes left. */
export function iov_iter_count(i: ConstIovIter): number {
  return i.count;
}

/** Bytes of all pieces. */
export function iov_length(iov: readonly Iovec[], nr_segs: number): number {
  mustCount(nr_segs, PIECES, 'iov_length', iov.length);
  let bytes = 0;
  for (let s = 0; s < nr_segs; s++) bytes += iov[s]?.iov_len ?? 0;
  return bytes;
}

/** Bytes left in the current piece. */
export function iov_iter_single_seg_count(i: ConstIovIter): number {
  if (i.nr_segs === 0) return 0;
  return Math.min(i.count, lengthOf(i, i.seg) - i.iov_offset);
}

/** The addresses and lengths of all that is left, or-ed: low 32 bits. Pieces without bytes do not count. */
export function iov_iter_alignment(i: ConstIovIter): number {
  let bits = 0;
  let skip = i.iov_offset;
  for (let s = i.seg, left = i.count; left > 0 && s < i.seg + i.nr_segs; s++, skip = 0) {
    const length = Math.min(left, lengthOf(i, s) - skip);
    if (length <= 0) continue;
    bits |= addressOf(i, s) + skip;
    bits |= length;
    left -= length;
  }
  return bits >>> 0;
}

/**
 * Whether a device could not take the pieces as they are because of its virt boundary: a piece but the last ends, or one
 * but the first begins, off a multiple of `mask` + 1; none may begin inside a page. (4.8 computes something else, which
 * both misses gaps and sees some that are not there.)
 */
export function iov_iter_has_gap(i: ConstIovIter, mask: number): boolean {
  let end = -1;
  let skip = i.iov_offset;
  for (let s = i.seg, left = i.count; left > 0 && s < i.seg + i.nr_segs; s++, skip = 0) {
    const length = Math.min(left, lengthOf(i, s) - skip);
    if (length <= 0) continue;
    const begin = addressOf(i, s) + skip;
    if (end >= 0 && ((begin & (mask | (PAGE_SIZE - 1))) !== 0 || (end & mask) !== 0)) return true;
    end = begin + length;
    left -= length;
  }
  return false;
}

/** Pages that what is left touches, but no more than `maxpages`. */
export function iov_iter_npages(i: ConstIovIter, maxpages: number): number {
  mustCount(maxpages, 'the number of pages', 'iov_iter_npages', INT_MAX);
  let pages = 0;
  let skip = i.iov_offset;
  for (let s = i.seg, left = i.count; left > 0 && s < i.seg + i.nr_segs; s++, skip = 0) {
    const length = Math.min(left, lengthOf(i, s) - skip);
    if (length <= 0) continue;
    const begin = addressOf(i, s) + skip;
    pages += Math.ceil((begin + length) / PAGE_SIZE) - Math.floor(begin / PAGE_SIZE);
    if (pages >= maxpages) return maxpages;
    left -= length;
  }
  return pages;
}

function lengthOf(i: ConstIovIter, s: number): number {
  return (i.type & ITER_BVEC) !== 0 ? (i.bvec[s]?.bv_len ?? 0) : (i.iov[s]?.iov_len ?? 0);
}

/** Address of a piece; of a part of a page only the offset, as in C. */
function addressOf(i: ConstIovIter, s: number): number {
  return (i.type & ITER_BVEC) !== 0 ? (i.bvec[s]?.bv_offset ?? 0) : (i.iov[s]?.iov_base ?? 0);
}

// ---- moving

/** Moves forward, at most to the end. */
export function iov_iter_advance(i: IovIter, size: number): void {
  mustCount(size, BYTES, 'iov_iter_advance');
  let left = Math.min(size, i.count);
  i.count -= left;
  while (left > 0 && i.nr_segs > 0) {
    const length = lengthOf(i, i.seg);
    const step = Math.min(left, length - i.iov_offset);
    i.iov_offset += step;
    left -= step;
    if (i.iov_offset >= length) nextPiece(i);
  }
}

function nextPiece(i: IovIter): void {
  i.seg++;
  i.nr_segs--;
  i.iov_offset = 0;
}

/** Cuts what is left down to `count` bytes. */
export function iov_iter_truncate(i: IovIter, count: number): void {
  mustCount(count, BYTES, 'iov_iter_truncate');
  if (i.count > count) i.count = count;
}

/** Undoes iov_iter_truncate(). */
export function iov_iter_reexpand(i: IovIter, count: number): void {
  mustCount(count, BYTES, 'iov_iter_reexpand');
  i.count = count;
}

/** Makes `copy` go on where `old` stands, over pieces of its own: the caller's may change from now on. */
export function dup_iter(copy: IovIter, old: ConstIovIter): void {
  copy.assign(old);
  copy.seg = 0;
  const end = old.seg + old.nr_segs;
  if ((old.type & ITER_BVEC) !== 0) copy.bvec = old.bvec.slice(old.seg, end).map((vec) => ({ ...vec }));
  else copy.iov = old.iov.slice(old.seg, end).map(({ iov_base, iov_len }) => ({ iov_base, iov_len }));
}

/** @throws KernelBug `argument` for what is not all in a page, or in its compound */
function mustBeInPage(page: Page, offset: number, bytes: number, i: ConstIovIter, where: string): void {
  mustPage(page, where);
  const size = PAGE_SIZE << page.compoundHead.order;
  mustCount(offset, 'the offset', where, size);
  mustCount(bytes, BYTES, where);
  mustCount(Math.min(bytes, i.count), BYTES, where, size - offset);
}

export function createIovIter(k: Linux) {
  const { memory } = k;
  const { userCopy, copyFailures } = k.vm;

  function currentMm(): AddressSpace | null {
    return k.cpu.current?.mm ?? null;
  }

  /**
   * Copies between RAM and the pieces as far as it goes without a page fault, and moves the iterator by that much.
   * Fault injection is the slow half's: it decides once for each copy.
   */
  function copyNow(i: IovIter, phys: number, bytes: number, to: boolean): number {
    const user = iter_is_iovec(i);
    if (user && copyFailures.active) return 0;
    const all = Math.min(bytes, i.count);
    let done = 0;
    while (done < all && i.nr_segs > 0) {
      const length = Math.min(lengthOf(i, i.seg) - i.iov_offset, all - done);
      if (length <= 0) {
        nextPiece(i);
        continue;
      }
      const base = addressOf(i, i.seg) + i.iov_offset;
      if (user) {
        const moved = userCopy.physNow(currentMm(), base, phys + done, length, to);
        iov_iter_advance(i, moved);
        done += moved;
        if (moved < length) return done;
        continue;
      }
      const start = (i.bvec[i.seg]?.bv_page?.phys ?? 0) + base;
      if (to) memory.copy(start, phys + done, length);
      else memory.copy(phys + done, start, length);
      iov_iter_advance(i, length);
      done += length;
    }
    return done;
  }

  /** The rest of a copy with user memory, faulting in what is missing. Stops at the first byte that cannot be had. */
  function* copyUser(i: IovIter, phys: number, bytes: number, to: boolean): Sleeps<number> {
    const all = Math.min(bytes, i.count);
    let done = 0;
    while (done < all && i.nr_segs > 0) {
      const length = Math.min(lengthOf(i, i.seg) - i.iov_offset, all - done);
      if (length <= 0) {
        nextPiece(i);
        continue;
      }
      const base = addressOf(i, i.seg) + i.iov_offset;
      const moved = yield* to
        ? userCopy.physToUser(currentMm(), base, phys + done, length)
        : userCopy.userToPhys(currentMm(), base, phys + done, length);
      iov_iter_advance(i, moved);
      done += moved;
      if (moved < length) break;
    }
    return done;
  }

  function* copy(i: IovIter, phys: number, bytes: number, to: boolean): Sleeps<number> {
    mustCount(bytes, BYTES, 'copy_iter');
    const all = Math.min(bytes, i.count);
    const done = copyNow(i, phys, all, to);
    if (done === all || !iter_is_iovec(i)) return done;
    return done + (yield* copyUser(i, phys + done, all - done, to));
  }

  /** Reads the pieces of a system call from user memory; 0, or -errno. */
  function* readIovecs(uvector: number, into: Iovec[], nr_segs: number): Sleeps<number> {
    const bytes = new Uint8Array(nr_segs * SIZEOF_IOVEC);
    if ((yield* userCopy.fromUser(currentMm(), uvector, bytes)) < bytes.length) return -EFAULT;
    const words = new Uint32Array(bytes.buffer);
    for (let s = 0; s < nr_segs; s++) {
      const [baseLow = 0, baseHigh = 0, lenLow = 0, lenHigh = 0] = words.subarray(s * 4, s * 4 + 4);
      into[s] = { iov_base: baseHigh * 2 ** 32 + baseLow, iov_len: lenHigh * 2 ** 32 + lenLow };
    }
    return 0;
  }

  /** Checks the pieces and cuts them down to MAX_RW_COUNT bytes; their bytes, or -errno. */
  function checkIovecs(iov: readonly Iovec[], nr_segs: number): number {
    let total = 0;
    for (let s = 0; s < nr_segs; s++) {
      const vec = iov[s];
      if (vec === undefined || !(vec.iov_len >= 0 && vec.iov_len < 2 ** 63)) return -EINVAL;
      if (!userCopy.accessOk(vec.iov_base, vec.iov_len)) return -EFAULT;
      vec.iov_len = Math.min(vec.iov_len, MAX_RW_COUNT - total);
      total += vec.iov_len;
    }
    return total;
  }

  return {
    iov_iter_init,
    iov_iter_kvec,
    iov_iter_bvec,
    iov_iter_rw,
    iter_is_iovec,
    iov_iter_count,
    iov_length,
    iov_iter_single_seg_count,
    iov_iter_alignment,
    iov_iter_has_gap,
    iov_iter_npages,
    iov_iter_advance,
    iov_iter_truncate,
    iov_iter_reexpand,
    dup_iter,

    /**
     * Copies a part of a page to where the iterator stands, and moves it. Returns the bytes copied: fewer than asked
     * when the iterator ends or user memory cannot be written. May sleep.
     */
    *copy_page_to_iter(page: Page, offset: number, bytes: number, i: IovIter): Sleeps<number> {
      mustBeInPage(page, offset, bytes, i, 'copy_page_to_iter');
      return yield* copy(i, page.phys + offset, bytes, true);
    },

    /** Fills a part of a page from where the iterator stands; as copy_page_to_iter(). */
    *copy_page_from_iter(page: Page, offset: number, bytes: number, i: IovIter): Sleeps<number> {
      mustBeInPage(page, offset, bytes, i, 'copy_page_from_iter');
      return yield* copy(i, page.phys + offset, bytes, false);
    },

    /** The part of the two copies that never sleeps, for hot paths; fewer bytes mean that the rest may take a fault. */
    copy_page_iter_now(page: Page, offset: number, bytes: number, i: IovIter, to: boolean): number {
      mustBeInPage(page, offset, bytes, i, 'copy_page_iter_now');
      return copyNow(i, page.phys + offset, bytes, to);
    },

    /** As copy_page_to_iter(), from a kernel address. */
    *copy_to_iter(addr: number, bytes: number, i: IovIter): Sleeps<number> {
      return yield* copy(i, addr, bytes, true);
    },

    /** As copy_page_from_iter(), to a kernel address. */
    *copy_from_iter(addr: number, bytes: number, i: IovIter): Sleeps<number> {
      return yield* copy(i, addr, bytes, false);
    },

    /**
     * Makes an iterator over the pieces that a system call names: `nr_segs` structs iovec at the user address
     * `uvector`. `iov.array` is where they are put: the caller's own if it holds `fast_segs` of them, and as many
     * suffice; else a new one. Returns the bytes in all, cut down to MAX_RW_COUNT, or -errno: -EINVAL for too many
     * pieces or a negative length, -EFAULT, -ENOMEM. May sleep.
     */
    *import_iovec(
      type: number,
      uvector: number,
      nr_segs: number,
      fast_segs: number,
      iov: { array: Iovec[] | null },
      i: IovIter,
    ): Sleeps<number> {
      mustWhole(nr_segs, PIECES, 'import_iovec');
      mustWhole(fast_segs, PIECES, 'import_iovec');
      if (nr_segs < 0 || nr_segs > MAX_SEGMENTS) return -EINVAL; // unsigned in C
      if (nr_segs > fast_segs && k.faults.slab.shouldFail()) return -ENOMEM;
      const array = nr_segs > fast_segs || iov.array === null ? [] : iov.array;
      iov.array = null; // what C leaves on error: nothing to free
      const error = nr_segs === 0 ? 0 : yield* readIovecs(uvector, array, nr_segs);
      if (error !== 0) return error;
      const total = checkIovecs(array, nr_segs);
      if (total < 0) return total;
      iov.array = array;
      iov_iter_init(i, type, array, nr_segs, total);
      return total;
    },

    /**
     * Makes an iterator over one piece of user memory, cut down to MAX_RW_COUNT bytes; `iov` is filled and used by it.
     * 0, or -EFAULT for what users cannot have.
     */
    import_single_range(rw: number, buf: number, len: number, iov: Iovec, i: IovIter): number {
      mustCount(len, BYTES, 'import_single_range', ULONG_MAX);
      const count = Math.min(len, MAX_RW_COUNT);
      if (!userCopy.accessOk(buf, count)) return -EFAULT;
      iov.iov_base = buf;
      iov.iov_len = count;
      iov_iter_init(i, rw, [iov], 1, count);
      return 0;
    },
  };
}
