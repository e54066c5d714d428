// The memory manager: what all address spaces of a kernel share, and what concerns a page wherever it is mapped.

import { EIO, ENOMEM } from './errno.ts';
import { KernelBug } from './errors.ts';
import { FailurePlan } from './failure-plan.ts';
import { Faults } from './fault.ts';
import type { AddressSpaceMapping, Inode } from './mapping.ts';
import { AddressSpace } from './mm.ts';
import {
  PAGE_SIZE,
  type Page,
  type PageFrames,
  PG_dirty,
  PG_hwpoison,
  PG_locked,
  PG_uptodate,
  PG_writeback,
  pageName,
} from './page.ts';
import type { PageLocks } from './page-lock.ts';
import { PTE_DIRTY, PTE_HWPOISON, PTE_WRITE } from './page-table.ts';
import type { PhysMemory } from './platform.ts';
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';
import type { Sleeps } from './task.ts';
import { UserCopy } from './user-copy.ts';
import type { AllocOptions, PageAllocator } from './zones.ts';

/** Why a page goes out of an address space. */
export type UnmapReason =
  /** munmap, exit, truncation. */
  | 'unmap'
  /** Copy-on-write gave the process another page. */
  | 'copy'
  /** fork made a private page common to two processes, or copies it now because it is held. */
  | 'fork'
  | 'poison';

export interface VirtualMemoryOptions {
  readonly scheduler: Scheduler;
  readonly memory: PhysMemory;
  readonly frames: PageFrames;
  readonly allocator: PageAllocator;
  readonly locks: PageLocks;
  readonly random: Random;
  /** Where pages of processes come from. Default: anywhere, from the highest zone on. */
  readonly userPages?: AllocOptions;
  /** Where pages of the page cache come from. Default as for processes. */
  readonly cachePages?: AllocOptions;
  /** A huge page has 2^hugeOrder pages, 1..10; default 9 (2 MiB). */
  readonly hugeOrder?: number;
  /** Bytes to which a stack may grow; default 8 MiB. */
  readonly stackLimit?: number;
}

export class VirtualMemory {
  readonly scheduler: Scheduler;
  readonly memory: PhysMemory;
  readonly frames: PageFrames;
  readonly allocator: PageAllocator;
  readonly locks: PageLocks;
  readonly userPages: AllocOptions;
  readonly hugeOrder: number;
  readonly stackLimit: number;
  /** The page of zeros that is mapped wherever untouched memory is read. Never written. */
  readonly zeroPage: Page;
  /** Every address space that is alive. */
  readonly spaces = new Set<AddressSpace>();
  readonly faults: Faults;
  readonly userCopy: UserCopy;
  /** Decides which copies from and to user memory fail at once. */
  readonly copyFailures: FailurePlan;
  /** Told of pages of user memory that a process loses; for the guard. */
  onUnmap: ((page: Page, why: UnmapReason, mm: AddressSpace) => void) | null = null;

  private readonly cachePages: AllocOptions;
  /** Caches that may hold pages; for the shrinker. */
  private readonly mappings = new Set<AddressSpaceMapping>();

  constructor(options: VirtualMemoryOptions) {
    this.scheduler = options.scheduler;
    this.memory = options.memory;
    this.frames = options.frames;
    this.allocator = options.allocator;
    this.locks = options.locks;
    this.userPages = { tag: 'user', ...options.userPages };
    this.cachePages = { ...(options.cachePages ?? options.userPages), tag: 'cache' };
    this.hugeOrder = options.hugeOrder ?? 9;
    this.stackLimit = options.stackLimit ?? 8 * 2 ** 20;
    this.copyFailures = new FailurePlan(options.random.fork('user copy failures'));
    this.zeroPage = this.makeZeroPage();
    this.faults = new Faults(this);
    this.userCopy = new UserCopy(this);
    this.allocator.shrinkers.push(() => this.shrink());
  }

  /** A new, empty address space. @param pages where its pages come from, if not where all do */
  createSpace(pages?: AllocOptions): AddressSpace {
    const mm = new AddressSpace(this, { ...this.userPages, ...pages });
    this.spaces.add(mm);
    return mm;
  }

  // ---- the page cache

  /**
   * Allocates a page for the cache, enters it and starts reading it; the page is locked until the read has ended.
   * @returns 0 (also when another was faster), -ENOMEM, or what `readpage` returned
   */
  *readPage(mapping: AddressSpaceMapping, index: number): Sleeps<number> {
    const { readpage } = mapping.ops;
    const page = this.allocator.alloc(
      readpage === undefined ? { ...this.cachePages, zero: true } : this.cachePages,
    );
    if (page === null) return -ENOMEM;
    if (this.enterCache(mapping, page, index) !== 0) {
      this.allocator.put(page);
      return 0;
    }
    if (readpage === undefined) {
      page.set(PG_uptodate);
      this.locks.unlock(page);
      return 0;
    }
    return yield* readpage(mapping.host, page);
  }

  /**
   * Locks a page that nobody else knows and puts it into a cache, which takes over the caller's reference.
   * @returns 0, or -EEXIST, the page unlocked, when there is one at that index
   */
  enterCache(mapping: AddressSpaceMapping, page: Page, index: number): number {
    this.locks.tryLock(page);
    const error = mapping.add(page, index);
    if (error === 0) this.mappings.add(mapping);
    else this.locks.unlock(page);
    return error;
  }

  /**
   * The page of a file at an index, read if need be, with a reference for the caller (Linux: read_mapping_page).
   * @returns -ENOMEM, or another negative errno when it cannot be read
   */
  *getPage(inode: Inode, index: number): Sleeps<Page | number> {
    const { mapping } = inode;
    for (;;) {
      const page = mapping.find(index);
      if (page === null) {
        const error = yield* this.readPage(mapping, index);
        if (error !== 0) return error;
        continue;
      }
      this.allocator.get(page);
      if (page.has(PG_locked)) yield* this.locks.waitUnlocked(page);
      if (page.mapping === mapping && page.has(PG_uptodate)) return page;
      const gone = page.mapping !== mapping;
      this.allocator.put(page);
      if (!gone) return -EIO;
    }
  }

  /**
   * Sets the length of a file. Pages beyond are unmapped from every process, private copies too, and leave the cache;
   * the rest of the last page is filled with zeros.
   */
  *truncate(inode: Inode, size: number): Sleeps<void> {
    inode.size = size;
    const first = Math.ceil(size / PAGE_SIZE);
    const { mapping } = inode;
    for (const vma of mapping.areas) {
      vma.mm.unmapRange(Math.max(vma.start, vma.addressOf(first)), vma.end, 'unmap');
    }
    yield* this.dropFrom(mapping, first);
    const last = mapping.find(first - 1);
    const rest = first * PAGE_SIZE - size;
    if (last === null || rest === 0) return;
    yield* this.locks.lock(last);
    if (last.mapping === mapping) this.memory.fill(last.phys + PAGE_SIZE - rest, 0, rest);
    this.locks.unlock(last);
  }

  /** Takes every page of a file out of the cache, changed ones too; maps of processes go. */
  *dropCache(inode: Inode): Sleeps<void> {
    yield* this.dropFrom(inode.mapping, 0);
  }

  /**
   * Makes a shared page read-only in every process, so that the next write to it is noticed (Linux: page_mkclean).
   * Call it under the page lock before the page is written to its backing store.
   * @returns true when the page had been written through a mapping
   */
  writeProtect(page: Page): boolean {
    let dirty = false;
    for (const vma of page.mapping?.areas ?? []) {
      const at = vma.addressOf(page.index);
      if (at < vma.start || at >= vma.end || vma.mm.pageTable.page(at) !== page) continue;
      const bits = vma.mm.pageTable.bits(at);
      if ((bits & PTE_DIRTY) !== 0) dirty = true;
      vma.mm.pageTable.setBits(at, bits & ~(PTE_WRITE | PTE_DIRTY));
    }
    return dirty;
  }

  /** Clears the dirty flag before writing the page out; true when it was set (Linux: clear_page_dirty_for_io). */
  clearDirtyForIo(page: Page): boolean {
    if (!page.has(PG_locked))
      throw new KernelBug('page-unlock', 'cleaned without the page lock', pageName(page));
    if (this.writeProtect(page)) this.locks.setDirty(page);
    return page.testClear(PG_dirty);
  }

  // ---- broken memory

  /**
   * The hardware reports an uncorrectable error in a page (Linux: memory_failure). Every process that has it loses it
   * and meets VM_FAULT_HWPOISON from now on; in a cache it stays, as a trap. It is never handed out again.
   * @returns in how many places it was mapped
   */
  poison(page: Page): number {
    const head = page.compoundHead;
    head.set(PG_hwpoison);
    page.set(PG_hwpoison);
    this.allocator.withdraw(page);
    let places = 0;
    for (const mm of this.spaces) {
      for (const at of mm.addressesOf(head)) {
        mm.unmapPage(at, 'poison');
        mm.pageTable.set(at, page, PTE_HWPOISON);
        places++;
      }
    }
    return places;
  }

  // ---- inside

  private makeZeroPage(): Page {
    const page =
      this.allocator.alloc({ zone: 'DMA32', zero: true, tag: 'zero page' }) ??
      this.allocator.alloc({ zero: true });
    if (page === null) throw new KernelBug('no-memory', 'no page for the zero page');
    page.set(PG_uptodate);
    this.allocator.reserve(page);
    return page;
  }

  /** Takes the pages from an index on out of a cache. */
  private *dropFrom(mapping: AddressSpaceMapping, first: number): Sleeps<void> {
    // By index, and looked up again each time: others take pages out while this one sleeps.
    const indexes = [...mapping.pages.keys()].filter((index) => index >= first);
    for (const index of indexes) {
      const page = mapping.find(index);
      if (page !== null) yield* this.dropPage(mapping, page);
    }
  }

  private *dropPage(mapping: AddressSpaceMapping, page: Page): Sleeps<void> {
    this.allocator.get(page);
    if (!this.locks.tryLock(page)) yield* this.locks.lock(page);
    if (page.has(PG_writeback)) yield* this.locks.waitWriteback(page);
    if (page.mapping === mapping) {
      if (page._mapcount > 0) this.unmapEverywhere(mapping, page);
      if (mapping.ops.invalidatePage !== undefined) yield* mapping.ops.invalidatePage(page);
      mapping.remove(page);
      this.locks.unlock(page);
      this.allocator.put(page);
    } else {
      this.locks.unlock(page);
    }
    this.allocator.put(page);
  }

  /** Takes a page of a file out of every process, under the page lock. */
  private unmapEverywhere(mapping: AddressSpaceMapping, page: Page): void {
    for (const vma of mapping.areas) {
      const at = vma.addressOf(page.index);
      if (vma.mm.pageTable.page(at) === page) vma.mm.unmapPage(at, 'unmap');
    }
  }

  /** Gives back cached pages that nobody uses; returns how many. */
  private shrink(): number {
    let freed = 0;
    for (const mapping of this.mappings) {
      for (const page of mapping.pages.values()) if (this.tryDrop(mapping, page)) freed++;
      if (mapping.pages.size === 0) this.mappings.delete(mapping);
    }
    return freed;
  }

  private tryDrop(mapping: AddressSpaceMapping, page: Page): boolean {
    if (mapping.ops.readpage === undefined) return false; // its only copy
    if ((page.flags & (PG_dirty | PG_locked | PG_writeback | PG_hwpoison)) !== 0 || page._mapcount > 0)
      return false;
    const { releasePage } = mapping.ops;
    if (releasePage !== undefined && !releasePage(page)) return false;
    if (page._count !== 1) return false;
    mapping.remove(page);
    this.allocator.put(page);
    return true;
  }
}
