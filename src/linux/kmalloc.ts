// kmalloc: memory of the kernel that has an address (include/linux/slab.h), for buffers that devices read and write.
// Small sizes are cut from pages, one size a page; others are whole pages. Kernel addresses are physical addresses.

import { KernelBug, PAGE_SIZE, type Page, PG_slab, type Sleeps } from '../kernel/index.ts';
import { __GFP_ZERO, gfpflags_allow_blocking } from './gfp.ts';
import type { Linux } from './kernel.ts';
import { gfp_zone } from './page-alloc.ts';

/** Smallest piece, and the largest that shares its page with others. */
const MIN_BYTES = 8;
const MAX_SHARED_BYTES = PAGE_SIZE / 2;
/** 2^10 pages. */
const MAX_ORDER = 10;

/** No address, whatever is tried. */
const FAILED = -1;

/** Pages that are cut into pieces of one size, or one compound that is one piece. */
interface Slab {
  readonly page: Page;
  readonly bytes: number;
  /** A byte a piece: 1 in use. */
  readonly used: Uint8Array;
  inUse: number;
  readonly list: Slab[];
}

export function createKmalloc(k: Linux) {
  const byPfn = new Map<number, Slab>();
  /** Slabs with a free piece, by size and zone. */
  const partial = new Map<string, Slab[]>();

  function sizeFor(size: number): number {
    return size <= MIN_BYTES ? MIN_BYTES : 2 ** (32 - Math.clz32(size - 1));
  }

  function listFor(bytes: number, gfp: number): Slab[] {
    const key = `${bytes} ${gfp_zone(gfp)}`;
    let list = partial.get(key);
    if (list === undefined) {
      list = [];
      partial.set(key, list);
    }
    return list;
  }

  function adopt(page: Page, bytes: number, list: Slab[]): Slab {
    const slab = {
      page,
      bytes,
      used: new Uint8Array(Math.max(1, PAGE_SIZE / bytes)),
      inUse: 0,
      list,
    };
    page.set(PG_slab);
    byPfn.set(page.pfn, slab);
    if (slab.used.length > 1) list.push(slab);
    return slab;
  }

  function takePiece(slab: Slab, gfp: number): number {
    const i = slab.used.indexOf(0);
    slab.used[i] = 1;
    slab.inUse++;
    if (slab.inUse === slab.used.length && slab.used.length > 1) slab.list.splice(slab.list.indexOf(slab), 1);
    const addr = slab.page.phys + i * slab.bytes;
    if ((gfp & __GFP_ZERO) !== 0) k.memory.fill(addr, 0, slab.bytes);
    return addr;
  }

  /** A piece of a page that is there: null when a page is wanted, FAILED when there can be none. */
  function tryPiece(size: number, gfp: number): number | null | typeof FAILED {
    if (gfpflags_allow_blocking(gfp)) k.mightSleep('kmalloc');
    if (!(Number.isSafeInteger(size) && size > 0))
      throw new KernelBug('kmalloc-size', `${size} bytes`, 'kmalloc');
    if (size > PAGE_SIZE * 2 ** MAX_ORDER || k.faults.slab.shouldFail()) return FAILED;
    const slab = listFor(sizeFor(size), gfp).at(-1);
    return slab === undefined ? null : takePiece(slab, gfp);
  }

  function orderFor(size: number): number {
    const bytes = sizeFor(size);
    return bytes <= PAGE_SIZE ? 0 : Math.log2(bytes / PAGE_SIZE);
  }

  /** The first piece of new pages. */
  function firstPiece(page: Page | null, size: number, gfp: number): number | null {
    if (page === null) return null;
    const bytes = sizeFor(size);
    const whole = bytes > MAX_SHARED_BYTES ? PAGE_SIZE * 2 ** orderFor(size) : bytes;
    return takePiece(adopt(page, whole, listFor(bytes, gfp)), gfp);
  }

  function* alloc(size: number, gfp: number): Sleeps<number | null> {
    const piece = tryPiece(size, gfp);
    if (piece !== null) return piece === FAILED ? null : piece;
    const page = yield* k.pageAlloc.alloc_pages(gfp & ~__GFP_ZERO, orderFor(size), 'kmalloc');
    return firstPiece(page, size, gfp);
  }

  function find(addr: number): { slab: Slab; piece: number } {
    const slab = byPfn.get(Math.floor(addr / PAGE_SIZE));
    const piece = slab === undefined ? 0 : (addr - slab.page.phys) / slab.bytes;
    if (slab === undefined || slab.used[piece] !== 1)
      throw new KernelBug('kfree', `0x${addr.toString(16)} is not the address of an allocation`, 'kfree');
    return { slab, piece };
  }

  return {
    /** Address of `size` bytes, aligned to the next power of two; null when there are none. */
    *kmalloc(size: number, gfp: number): Sleeps<number | null> {
      return yield* alloc(size, gfp);
    },

    /** The part of kmalloc() that never sleeps, for where sleeping is not allowed. */
    kmalloc_now(size: number, gfp: number): number | null {
      const piece = tryPiece(size, gfp);
      if (piece !== null) return piece === FAILED ? null : piece;
      return firstPiece(k.pageAlloc.alloc_pages_now(gfp & ~__GFP_ZERO, orderFor(size), 'kmalloc'), size, gfp);
    },

    /** kmalloc() of zeros. */
    *kzalloc(size: number, gfp: number): Sleeps<number | null> {
      return yield* alloc(size, gfp | __GFP_ZERO);
    },

    /** Gives back what kmalloc() gave; null is nothing. @throws KernelBug `kfree` for any other address */
    kfree(addr: number | null): void {
      if (addr === null) return;
      const { slab, piece } = find(addr);
      const { used, list, page } = slab;
      if (slab.inUse === used.length && used.length > 1) list.push(slab);
      used[piece] = 0;
      k.memory.forget(addr, slab.bytes);
      if (k.machine.guard.enabled) k.dmaDebug.freed(addr, slab.bytes, 'memory of kmalloc() is freed');
      if (--slab.inUse > 0) return;
      const at = list.indexOf(slab);
      if (at >= 0) list.splice(at, 1);
      byPfn.delete(page.pfn);
      page.clear(PG_slab);
      k.allocator.put(page);
    },

    /** Bytes that really stand at the address of an allocation. */
    ksize(addr: number): number {
      return find(addr).slab.bytes;
    },
  };
}
