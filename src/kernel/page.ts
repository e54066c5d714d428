// Page frames: one descriptor for every page of RAM, found by its number without search and without allocation.
//
// Names of fields and flags are Linux's, as in its mm_types.h and page-flags.h: they are the vocabulary of both
// kernels' documents. Solaris's p_lckcnt, p_selock and the like map to `_count` and PG_locked.

import { KernelBug } from './errors.ts';
import type { AddressSpaceMapping } from './mapping.ts';
import type { PhysMemory } from './platform.ts';
import type { Task, WaitQueue } from './task.ts';

export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 4096;

/** Somebody has exclusive use of the page: I/O into it, or a change of its identity. */
export const PG_locked = 1 << 0;
/** The last I/O on it failed. */
export const PG_error = 1 << 1;
export const PG_referenced = 1 << 2;
/** Its contents are valid. */
export const PG_uptodate = 1 << 3;
/** Changed since it was last written to its backing store. */
export const PG_dirty = 1 << 4;
export const PG_lru = 1 << 5;
export const PG_active = 1 << 6;
export const PG_slab = 1 << 7;
export const PG_checked = 1 << 8;
/** Not for the allocator: page 0, the zero page. */
export const PG_reserved = 1 << 9;
/** `private` is in use (buffers). */
export const PG_private = 1 << 10;
export const PG_private_2 = 1 << 11;
/** Being written to its backing store. */
export const PG_writeback = 1 << 12;
/** First page of a compound. */
export const PG_head = 1 << 13;
/** Later page of a compound. */
export const PG_tail = 1 << 14;
export const PG_swapcache = 1 << 15;
/** Has a disk block. */
export const PG_mappedtodisk = 1 << 16;
export const PG_reclaim = 1 << 17;
/** Anonymous memory, or a file that lives in memory only. */
export const PG_swapbacked = 1 << 18;
export const PG_unevictable = 1 << 19;
export const PG_mlocked = 1 << 20;
/** The hardware reported an uncorrectable error in it: never to be touched or handed out again. */
export const PG_hwpoison = 1 << 21;
/** Belongs to a huge page. */
export const PG_huge = 1 << 22;

/** What a page must not be when it is freed. */
export const PG_busy = PG_locked | PG_lru | PG_private | PG_private_2 | PG_writeback | PG_swapcache | PG_slab;

/** Where a page's address lies, by what a device with few address lines reaches. */
export type ZoneName = 'DMA' | 'DMA32' | 'NORMAL';

/** One page of RAM. */
export class Page {
  /** Page frame number: physical address / 4096. */
  readonly pfn: number;
  /** PG_… bits. */
  flags = 0;
  /** References; 0: free. Of a compound only the head's counts. */
  _count = 0;
  /** The compound's first page, for the others; null for a head or a single page. */
  head: Page | null = null;
  /** The page cache it is in. */
  mapping: AddressSpaceMapping | null = null;
  /** Who locked it, if a task did. */
  locker: Task | null = null;
  /** Sleepers for the lock or for the end of writeback; made when first needed. */
  waiters: WaitQueue | null = null;
  /** Page tables entries that map it (Linux counts from −1). Of a huge page only the head's counts. */
  _mapcount = 0;
  /** Its place in `mapping`, or in anonymous memory, in pages. */
  index = 0;
  /** Anonymous memory of a process (Linux: PageAnon). */
  anon = false;
  /** What the owner hangs on it (Linux: buffer heads); with PG_private. */
  private: unknown = null;
  /** How often Solaris's as_pagelock() holds it; each comes with a reference. */
  locks = 0;
  /** How many of these are for writing. */
  writeLocks = 0;
  /** Of a head: 2^order pages belong together. */
  order = 0;
  readonly zone: ZoneName;
  /** Place among all frames; for the allocator. */
  readonly frame: number;
  /** What it was allocated for. */
  tag = '';
  /** Number of its allocation; later ones are greater. */
  serial = 0;

  constructor(frame: number, pfn: number, zone: ZoneName) {
    this.frame = frame;
    this.pfn = pfn;
    this.zone = zone;
  }

  /** Physical address of its first byte. (A field would be a number of its own somewhere in memory.) */
  get phys(): number {
    return this.pfn * PAGE_SIZE;
  }

  /** True when every flag of the mask is set. */
  has(flags: number): boolean {
    return (this.flags & flags) === flags;
  }

  set(flags: number): void {
    this.flags |= flags;
  }

  clear(flags: number): void {
    this.flags &= ~flags;
  }

  /** Sets one flag and returns whether it was set before. */
  testSet(flag: number): boolean {
    const was = (this.flags & flag) !== 0;
    this.flags |= flag;
    return was;
  }

  /** Clears one flag and returns whether it was set before. */
  testClear(flag: number): boolean {
    const was = (this.flags & flag) !== 0;
    this.flags &= ~flag;
    return was;
  }

  /** The page whose count is the one that matters: a compound's first, else itself (Linux: compound_head). */
  get compoundHead(): Page {
    return this.head ?? this;
  }

  get compound(): boolean {
    return (this.flags & (PG_head | PG_tail)) !== 0;
  }

  /** References to it (Linux: page_count). */
  get count(): number {
    return this.compoundHead._count;
  }

  /** Page table entries that map it (Linux: page_mapcount). */
  get mapcount(): number {
    return (this.flags & PG_huge) !== 0 ? this.compoundHead._mapcount : this._mapcount;
  }

  get poisoned(): boolean {
    return (this.flags & PG_hwpoison) !== 0;
  }
}

/** First addresses beyond the zones. */
export const DMA_END = 16 * 2 ** 20;
export const DMA32_END = 2 ** 32;

interface Region {
  readonly firstPfn: number;
  readonly endPfn: number;
  /** Frame of its first page. */
  readonly firstFrame: number;
}

/** All pages of RAM. */
export class PageFrames {
  /** Ascending by address. */
  readonly pages: readonly Page[];
  private readonly regions: readonly Region[];
  private last: Region;

  /** @throws KernelBug `no-memory` when there is no RAM */
  constructor(memory: PhysMemory) {
    const regions: Region[] = [];
    const pages: Page[] = [];
    for (const { base, bytes } of memory.regions) {
      const firstPfn = Math.ceil(base / PAGE_SIZE);
      const endPfn = Math.floor((base + bytes) / PAGE_SIZE);
      regions.push({ firstPfn, endPfn, firstFrame: pages.length });
      for (let pfn = firstPfn; pfn < endPfn; pfn++)
        pages.push(new Page(pages.length, pfn, zoneOf(pfn * PAGE_SIZE)));
    }
    const [first] = regions;
    if (first === undefined || pages.length === 0) throw new KernelBug('no-memory', 'the machine has no RAM');
    this.pages = pages;
    this.regions = regions;
    this.last = first;
  }

  /** The page with this number; null when there is no RAM. */
  pfnToPage(pfn: number): Page | null {
    let region = this.last;
    if (pfn < region.firstPfn || pfn >= region.endPfn) {
      const found = this.regions.find(({ firstPfn, endPfn }) => pfn >= firstPfn && pfn < endPfn);
      if (found === undefined) return null;
      region = found;
      this.last = found;
    }
    return this.pages[region.firstFrame + pfn - region.firstPfn] ?? null;
  }

  /** The page that holds the byte at a physical address; null when there is no RAM. */
  physToPage(address: number): Page | null {
    return this.pfnToPage(Math.floor(address / PAGE_SIZE));
  }

  /** Page number i of a compound, counted from its head. */
  compoundPage(head: Page, i: number): Page {
    const page = this.pages[head.frame + i];
    if (page === undefined || i < 0 || i >= 1 << head.order) {
      throw new KernelBug('page-compound', `page ${i} of a compound of ${1 << head.order}`, pageName(head));
    }
    return page;
  }

  /** Number of the first frame at or above a physical address; `pages.length` when there is none. */
  frameFrom(address: number): number {
    const pfn = Math.ceil(address / PAGE_SIZE);
    for (const { firstPfn, endPfn, firstFrame } of this.regions) {
      if (pfn < endPfn) return firstFrame + Math.max(0, pfn - firstPfn);
    }
    return this.pages.length;
  }

  /** First frame behind the region that holds this frame: memory is contiguous up to there. */
  regionEnd(frame: number): number {
    for (const { firstPfn, endPfn, firstFrame } of this.regions) {
      const end = firstFrame + endPfn - firstPfn;
      if (frame < end) return end;
    }
    return frame;
  }
}

/** Calls `visit` with the number of each page that has some of the bytes. */
export function eachPfn(phys: number, bytes: number, visit: (pfn: number) => void): void {
  const last = Math.floor((phys + bytes - 1) / PAGE_SIZE);
  for (let pfn = Math.floor(phys / PAGE_SIZE); pfn <= last; pfn++) visit(pfn);
}

/** A page in messages. */
export function pageName(page: Page): string {
  return `page 0x${page.pfn.toString(16)}`;
}

function zoneOf(address: number): ZoneName {
  if (address < DMA_END) return 'DMA';
  return address < DMA32_END ? 'DMA32' : 'NORMAL';
}
