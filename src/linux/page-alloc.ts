// Pages (include/linux/gfp.h, mm.h, pagemap.h) under their kernel names: allocation by gfp flags, references, lock and
// dirty flag. The frames and their zones are the kernel base's. Kernel addresses are physical addresses.

import {
  type AllocOptions,
  PAGE_SIZE,
  type Page,
  PG_dirty,
  PG_error,
  PG_locked,
  PG_uptodate,
  type Sleeps,
  type ZoneName,
} from '../kernel/index.ts';
import { mustCount, mustPage, mustWhole } from './argument.ts';
import { __GFP_DMA, __GFP_DMA32, __GFP_NOFAIL, __GFP_ZERO, gfpflags_allow_blocking } from './gfp.ts';
import type { Linux } from './kernel.ts';

/** Highest zone that an allocation may come from: without high memory __GFP_HIGHMEM allows nothing more than NORMAL. */
export function gfp_zone(gfp: number): ZoneName {
  if ((gfp & __GFP_DMA) !== 0) return 'DMA';
  return (gfp & __GFP_DMA32) !== 0 ? 'DMA32' : 'NORMAL';
}

export function createPageAlloc(k: Linux) {
  const { allocator, frames, locks } = k;
  const asked: { -readonly [Key in keyof AllocOptions]: AllocOptions[Key] } = {}; // alloc() keeps nothing of it

  function allocNow(gfp: number, order: number, tag: string): Page | null {
    if (gfpflags_allow_blocking(gfp)) k.mightSleep('alloc_pages');
    mustWhole(order, 'the order', 'alloc_pages');
    asked.order = order;
    asked.zone = gfp_zone(gfp);
    asked.zero = (gfp & __GFP_ZERO) !== 0;
    asked.tag = tag;
    return allocator.alloc(asked);
  }

  /** Direct reclaim: whoever can give memory back gets a turn. What the failure plan refused stays refused. */
  function* reclaim(gfp: number, order: number, tag: string, refused: boolean): Sleeps<Page | null> {
    const zone = gfp_zone(gfp);
    const zero = (gfp & __GFP_ZERO) !== 0;
    if ((gfp & __GFP_NOFAIL) !== 0)
      return yield* allocator.allocWait({ order, zone, zero, tag }, 'free pages');
    if (refused) return null;
    yield* k.scheduler.yieldNow();
    return allocNow(gfp, order, tag);
  }

  function* allocPages(gfp: number, order: number, tag: string): Sleeps<Page | null> {
    const { failures } = allocator.failures;
    const page = allocNow(gfp, order, tag);
    if (page !== null || !gfpflags_allow_blocking(gfp)) return page;
    return yield* reclaim(gfp, order, tag, allocator.failures.failures !== failures);
  }

  return {
    /**
     * Takes 2^order contiguous pages, aligned to their size, with one reference; null when there are none. Several pages
     * are always a compound. With WAIT it lets others run before it gives up, with __GFP_NOFAIL it waits.
     */
    *alloc_pages(gfp: number, order: number, tag = 'kernel'): Sleeps<Page | null> {
      return yield* allocPages(gfp, order, tag);
    },

    /** Takes one page. `tag` says what for in leak reports. */
    *alloc_page(gfp: number, tag = 'kernel'): Sleeps<Page | null> {
      return yield* allocPages(gfp, 0, tag);
    },

    /** The part of alloc_pages() that never sleeps, for hot paths and where sleeping is not allowed. */
    alloc_pages_now(gfp: number, order: number, tag = 'kernel'): Page | null {
      return allocNow(gfp, order, tag);
    },

    /** Drops the reference that alloc_page() gave. */
    __free_page(page: Page): void {
      mustPage(page, '__free_page');
      allocator.put(page);
    },

    /** Drops the reference that alloc_pages() gave; `order` is what was asked for. */
    __free_pages(page: Page, _order: number): void {
      mustPage(page, '__free_pages');
      allocator.put(page);
    },

    /** Address of 2^order pages; 0 when there are none. */
    *__get_free_pages(gfp: number, order: number): Sleeps<number> {
      return (yield* allocPages(gfp, order, 'kernel'))?.phys ?? 0;
    },

    /** Gives back what __get_free_pages() gave; 0 is nothing. */
    free_pages(addr: number, _order: number): void {
      if (addr === 0) return;
      const page = frames.physToPage(addr);
      if (page !== null) allocator.put(page);
    },

    /** One reference more, of a compound on its head. @throws KernelBug `PG-01` for a free page */
    get_page(page: Page): void {
      mustPage(page, 'get_page');
      allocator.get(page);
    },

    /** One reference less; the last one frees. @throws KernelBug `PG-01` for a free page */
    put_page(page: Page): void {
      mustPage(page, 'put_page');
      k.pins?.unpinned(page);
      allocator.put(page);
    },

    /** put_page() on the first `nr` pages. */
    release_pages(pages: readonly (Page | null)[], nr: number): void {
      mustCount(nr, 'the number of pages', 'release_pages', pages.length);
      for (let i = 0; i < nr; i++) {
        const page = pages[i] ?? null;
        if (page === null) continue;
        k.pins?.unpinned(page);
        allocator.put(page);
      }
    },

    /** References to a page; 0 when it is free. */
    page_count(page: Page): number {
      return page.count;
    },

    /** The first page of the compound that a page is part of; else the page itself. */
    compound_head(page: Page): Page {
      return page.compoundHead;
    },

    /** 2^compound_order() pages belong together. */
    compound_order(page: Page): number {
      return page.compoundHead.order;
    },

    /** The page `n` places behind: part of the same compound, or of a contiguous range. */
    nth_page(page: Page, n: number): Page | null {
      mustWhole(n, 'the place', 'nth_page');
      return n === 0 ? page : frames.pfnToPage(page.pfn + n);
    },

    /** Number of the page frame: the physical address over 4096. */
    page_to_pfn(page: Page): number {
      mustPage(page, 'page_to_pfn');
      return page.pfn;
    },

    /** The page of a frame; null where no memory is. */
    pfn_to_page(pfn: number): Page | null {
      return frames.pfnToPage(pfn);
    },

    /** Physical address of the first byte. */
    page_to_phys(page: Page): number {
      return page.phys;
    },

    /** Kernel address of a page. */
    page_address(page: Page): number {
      mustPage(page, 'page_address');
      return page.phys;
    },

    /** The page at a kernel address; null when there is no memory. */
    virt_to_page(addr: number): Page | null {
      return frames.physToPage(addr);
    },

    /** Kernel address of a page; every page has one, so this never waits. */
    kmap(page: Page): number {
      mustPage(page, 'kmap');
      return page.phys;
    },

    /** Ends what kmap() began: nothing to do. */
    kunmap(_page: Page): void {},

    /** Fills a page with zeros. */
    clear_highpage(page: Page): void {
      mustPage(page, 'clear_highpage');
      k.memory.fill(page.phys, 0, PAGE_SIZE);
    },

    /** Whether a page is part of several that were allocated together. */
    PageCompound(page: Page): boolean {
      return page.compound;
    },

    /** Whether a page was changed since it was written. */
    PageDirty(page: Page): boolean {
      mustPage(page, 'PageDirty');
      return (page.flags & PG_dirty) !== 0;
    },

    /** Whether somebody holds the lock of a page. */
    PageLocked(page: Page): boolean {
      return (page.flags & PG_locked) !== 0;
    },

    /** Whether a page has the data of its file. */
    PageUptodate(page: Page): boolean {
      mustPage(page, 'PageUptodate');
      return (page.flags & PG_uptodate) !== 0;
    },

    /** Whether reading or writing a page failed. */
    PageError(page: Page): boolean {
      return (page.flags & PG_error) !== 0;
    },

    /** Says that a page has the data of its file. Any context. */
    SetPageUptodate(page: Page): void {
      mustPage(page, 'SetPageUptodate');
      page.set(PG_uptodate);
    },

    /** Says that a page lacks the data of its file. Any context. */
    ClearPageUptodate(page: Page): void {
      page.clear(PG_uptodate);
    },

    /** Says that reading or writing a page failed. Any context. */
    SetPageError(page: Page): void {
      mustPage(page, 'SetPageError');
      page.set(PG_error);
    },

    /** Forgets that reading or writing a page failed. Any context. */
    ClearPageError(page: Page): void {
      page.clear(PG_error);
    },

    /** Marks a page as changed: 1 only if it was clean. @throws KernelBug `PG-02` in interrupt context */
    set_page_dirty(page: Page): number {
      mustPage(page, 'set_page_dirty');
      return locks.setDirty(page) ? 1 : 0;
    },

    /** set_page_dirty() under the page's lock; may sleep. */
    *set_page_dirty_lock(page: Page): Sleeps<number> {
      mustPage(page, 'set_page_dirty_lock');
      return (yield* locks.setDirtyLock(page)) ? 1 : 0;
    },

    /** Takes the page's lock. */
    *lock_page(page: Page): Sleeps<void> {
      mustPage(page, 'lock_page');
      if (!locks.tryLock(page)) yield* locks.lock(page);
    },

    /** Takes the lock of a page if nobody has it: whether it did. Any context. */
    trylock_page(page: Page): boolean {
      mustPage(page, 'trylock_page');
      return locks.tryLock(page);
    },

    /** Any context: the end of I/O unlocks pages. */
    unlock_page(page: Page): void {
      mustPage(page, 'unlock_page');
      locks.unlock(page);
    },

    /** Waits until nobody holds the lock of a page; does not take it. May sleep. */
    *wait_on_page_locked(page: Page): Sleeps<void> {
      mustPage(page, 'wait_on_page_locked');
      yield* locks.waitUnlocked(page);
    },

    /** Waits until a page is no longer being written. May sleep. */
    *wait_on_page_writeback(page: Page): Sleeps<void> {
      yield* locks.waitWriteback(page);
    },

    /** Marks a page as being written: true if it was already. */
    set_page_writeback(page: Page): boolean {
      return !locks.startWriteback(page);
    },

    /** A page has been written: wakes who waits for that. Any context. */
    end_page_writeback(page: Page): void {
      locks.endWriteback(page);
    },
  };
}
