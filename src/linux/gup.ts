// Pinning pages of user memory (mm/memory.c of 3.10; mm/gup.c of 4.8): __get_user_pages(9) and its short forms. Each
// page that is returned has one reference more, which put_page() drops; the process may lose the page meanwhile, but
// nobody else gets it.

import {
  type AddressSpace,
  FAULT_FLAG_ALLOW_RETRY,
  FAULT_FLAG_RETRY_NOWAIT,
  FAULT_FLAG_WRITE,
  KernelBug,
  PAGE_SIZE,
  type Page,
  PG_active,
  PG_dirty,
  PG_lru,
  PG_referenced,
  PTE_DIRTY,
  PTE_PRESENT,
  PTE_READ,
  PTE_SPECIAL,
  PTE_WRITE,
  type Sleeps,
  VM_EXEC,
  VM_FAULT_ERROR,
  VM_FAULT_HWPOISON,
  VM_FAULT_HWPOISON_LARGE,
  VM_FAULT_MAJOR,
  VM_FAULT_OOM,
  VM_FAULT_RETRY,
  VM_HUGETLB,
  VM_IO,
  VM_MAYEXEC,
  VM_MAYREAD,
  VM_MAYWRITE,
  VM_PFNMAP,
  VM_READ,
  VM_WRITE,
  Vma,
} from '../kernel/index.ts';
import { mustWhole } from './argument.ts';
import { EFAULT, EHWPOISON, ENOMEM, ERESTARTSYS } from './errno.ts';
import { __GFP_DMA32, __GFP_ZERO, GFP_KERNEL } from './gfp.ts';
import type { Linux } from './kernel.ts';
import { panic } from './panic.ts';
import type { LinuxTask } from './task.ts';

/** The page is to be written. */
export const FOLL_WRITE = 0x01;
/** Mark the page as accessed, with FOLL_WRITE as dirty. */
export const FOLL_TOUCH = 0x02;
/** Take a reference. */
export const FOLL_GET = 0x04;
/** Give up where there is nothing but zeros: for core dumps. */
export const FOLL_DUMP = 0x08;
/** What the area may at most be allowed counts, not what it is. */
export const FOLL_FORCE = 0x10;
/** Start I/O that is needed, but return instead of waiting for it; mmap_sem stays held. */
export const FOLL_NOWAIT = 0x20;
export const FOLL_MLOCK = 0x40;
/** Split huge pages that are not an area's own; there are none here. */
export const FOLL_SPLIT = 0x80;
/** Return -EHWPOISON, not -EFAULT, for a broken page. */
export const FOLL_HWPOISON = 0x100;
/** These two concern machines with several nodes, and pages on the move. Accepted. */
export const FOLL_NUMA = 0x200;
export const FOLL_MIGRATION = 0x400;

/** The page of the kernel that every process sees (x86: vsyscall). */
export const GATE_ADDRESS = 2 ** 64 - 10 * 2 ** 20;

/** Faults in a row on one page after which its area's fault operation is taken to be broken. */
const FAULT_LIMIT = 10_000;

/** `int *`: a number that the callee changes. */
export interface IntRef {
  value: number;
}

const PAGES = 'the number of pages';

/** No fault is needed, and there is nothing to pin. */
const NO_PAGE = 'no page';
/** A fault may bring the page. */
const MISSING = 'missing';

/** One call of __get_user_pages() on its way. Reused by later calls. */
class Walk {
  tsk: LinuxTask | null = null;
  mm: AddressSpace;
  flags = 0;
  pages: (Page | null)[] | null = null;
  /** Where in `pages` the first one goes. */
  slot = 0;
  vmas: (Vma | null)[] | null = null;
  nonblocking: IntRef | null = null;
  /** Address of the first page, and how many are wanted. */
  start = 0;
  wanted = 0;
  /** Pages done. */
  i = 0;
  /** The area of the page in hand; null: not looked for yet. */
  vma: Vma | null = null;
  /** Pages before this one have passed the test for a fatal signal. */
  tested = 0;
  /** Faults on the page in hand. */
  faults = 0;
  /** The call ends here, and this is what it returns if no page is done. */
  over = false;
  error = 0;

  constructor(mm: AddressSpace) {
    this.mm = mm;
  }

  /** Address of the page in hand. */
  get at(): number {
    return this.start + this.i * PAGE_SIZE;
  }

  stop(error: number): void {
    this.over = true;
    this.error = error;
  }
}

export function createGup(k: Linux) {
  const { allocator, cpu, locks, vm } = k;
  const { faults } = vm;
  const walks: Walk[] = [];
  let gatePage: Page | null = null;

  k.initcall(() => {
    // Low, beside the zero page: not first among the pages that devices do not reach.
    const gfp = GFP_KERNEL | __GFP_ZERO | __GFP_DMA32;
    gatePage = k.pageAlloc.alloc_pages_now(gfp, 0, 'gate page') ?? panic('gate page');
    allocator.reserve(gatePage);
  });

  // ---- one page

  /** What is at an address of an area: a page, or why there is none (Linux: follow_page). */
  function follow(vma: Vma, at: number, flags: number): Page | string {
    const { pageTable } = vma.mm;
    const bits = pageTable.bits(at);
    if ((bits & PTE_PRESENT) === 0)
      return bits === 0 && (flags & FOLL_DUMP) !== 0 && isHole(vma, at) ? NO_PAGE : MISSING;
    const page = pageTable.page(at);
    if ((flags & FOLL_WRITE) !== 0 && (bits & PTE_WRITE) === 0 && !mayForce(vma, bits, page, flags))
      return MISSING;
    if (page === null || (page === vm.zeroPage && (flags & FOLL_DUMP) !== 0)) return NO_PAGE;
    if ((flags & FOLL_TOUCH) !== 0 && !vma.has(VM_HUGETLB)) {
      const clean = (bits & PTE_DIRTY) === 0 && (page.flags & PG_dirty) === 0;
      if (clean && (flags & FOLL_WRITE) !== 0) locks.setDirty(page);
      markAccessed(page);
    }
    return page;
  }

  /**
   * GUP-18: without write permission a page may be written by force once it is this process's own and nobody else's.
   * That is looked at each time, never remembered: what was copied can be gone again (the race called Dirty COW).
   */
  function mayForce(vma: Vma, bits: number, page: Page | null, flags: number): boolean {
    if ((flags & FOLL_FORCE) === 0 || vma.has(VM_WRITE) || page === null) return false;
    return (bits & PTE_SPECIAL) === 0 && page.compoundHead.anon && page.mapcount === 1;
  }

  function enter(walk: Walk, page: Page | null, vma: Vma): void {
    if (page !== null && walk.pages !== null) {
      allocator.get(page);
      k.pins?.pinned(page, walk.mm, walk.at, (walk.flags & FOLL_WRITE) !== 0);
      walk.pages[walk.slot + walk.i] = page;
    }
    if (walk.vmas !== null) walk.vmas[walk.i] = vma;
    walk.i++;
    walk.faults = 0;
  }

  // ---- the walk

  /** Goes on as far as it can without sleeping: to the end, or to a fault that has to be resolved. */
  function goOn(walk: Walk): void {
    while (!walk.over && walk.i < walk.wanted) {
      const { at } = walk;
      const vma = areaAt(walk, at);
      if (vma === null) continue;
      if (walk.tested <= walk.i && !vma.has(VM_HUGETLB)) {
        walk.tested = walk.i + 1;
        if (cpu.current?.fatalSignalPending === true) {
          walk.stop(-ERESTARTSYS);
          return;
        }
      }
      const page = follow(vma, at, walk.flags);
      if (page === NO_PAGE) walk.stop(-EFAULT);
      else if (typeof page !== 'string') enter(walk, page, vma);
      else if ((walk.flags & FOLL_MLOCK) !== 0 && vma.mm.isStackGuard(vma, at)) enter(walk, null, vma);
      else {
        const result = faults.fast(vma, at, faultFlags(walk));
        if (result < 0) return;
        faultDone(walk, vma, result);
      }
    }
  }

  /** The area of the page in hand, if it may be pinned as asked; else null, with the gate page done or the walk over. */
  function areaAt(walk: Walk, at: number): Vma | null {
    const known = walk.vma;
    if (known !== null && at >= known.start && at < known.end) return known;
    const vma = walk.mm.vmaFor(at);
    if (vma === null && at === GATE_ADDRESS && (walk.flags & FOLL_WRITE) === 0) {
      enter(walk, gatePage, gateArea(walk.mm));
      return null;
    }
    if (vma === null || !mayPin(vma, walk.flags)) {
      walk.stop(-EFAULT);
      return null;
    }
    walk.vma = vma;
    return vma;
  }

  function faultFlags(walk: Walk): number {
    const write = (walk.flags & FOLL_WRITE) !== 0 ? FAULT_FLAG_WRITE : 0;
    if (walk.nonblocking === null && (walk.flags & FOLL_NOWAIT) === 0) return write;
    // The fault never waits; whether mmap_sem is released is decided in retry().
    return write | FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_RETRY_NOWAIT;
  }

  /** Takes note of what a fault came to. */
  function faultDone(walk: Walk, vma: Vma, result: number): void {
    if (vma.has(VM_HUGETLB)) {
      // GUP-24; and a shared huge page that may not be written never becomes so.
      const never = !vma.has(VM_WRITE) && follow(vma, walk.at, walk.flags) === MISSING;
      if (never || (result & VM_FAULT_ERROR) !== 0) walk.stop(-EFAULT);
      return;
    }
    if ((result & VM_FAULT_ERROR) !== 0) {
      walk.stop(errnoOf(result, walk.flags));
      return;
    }
    if (++walk.faults > FAULT_LIMIT)
      throw new KernelBug('GUP-09', 'a fault never brings its page', '__get_user_pages');
    if (walk.tsk !== null) {
      if ((result & VM_FAULT_MAJOR) !== 0) walk.tsk.task.maj_flt++;
      else walk.tsk.task.min_flt++;
    }
    if ((result & VM_FAULT_RETRY) !== 0) retry(walk);
  }

  /** The page needs I/O that the caller does not want to wait for: not an error, even with no page done. */
  function retry(walk: Walk): void {
    walk.stop(0);
    if (walk.nonblocking === null) return;
    walk.nonblocking.value = 0;
    if ((walk.flags & FOLL_NOWAIT) !== 0) return;
    const { mmapSem } = walk.mm;
    if (mmapSem.writtenBy(cpu.current)) mmapSem.unlockWrite();
    else mmapSem.unlockRead();
  }

  function* pin(walk: Walk): Sleeps<number> {
    for (;;) {
      goOn(walk);
      if (walk.over || walk.i === walk.wanted) return finish(walk);
      const { vma } = walk;
      if (vma === null) throw new KernelBug('GUP-09', 'a fault without an area', '__get_user_pages'); // goOn() found it
      const result = yield* faults.handleMmFault(walk.mm, vma, walk.at, faultFlags(walk));
      faultDone(walk, vma, result);
    }
  }

  /** What the call returns; the walk can be used again. */
  function finish(walk: Walk): number {
    const { i, error, start, flags } = walk;
    if (i > 0 && walk.pages !== null) k.trace.pages_pinned(start, i, (flags & FOLL_WRITE) !== 0);
    walk.pages = null;
    walk.vmas = null;
    walk.vma = null;
    walks.push(walk);
    return i > 0 ? i : error;
  }

  function begin(
    tsk: LinuxTask | null,
    mm: AddressSpace,
    start: number,
    wanted: number,
    flags: number,
  ): Walk {
    const walk = walks.pop() ?? new Walk(mm);
    walk.tsk = tsk;
    walk.mm = mm;
    walk.start = start - (start & (PAGE_SIZE - 1)); // exact: bit operations take numbers modulo 2^32
    walk.wanted = wanted;
    walk.flags = flags;
    walk.slot = walk.i = walk.tested = walk.faults = walk.error = 0;
    walk.nonblocking = null;
    walk.over = false;
    return walk;
  }

  /** The user memory of the running task. */
  function ownMm(): AddressSpace {
    const mm = cpu.process('get_user_pages_fast').mm;
    if (mm === null) throw new KernelBug('GUP-27', 'a task without user memory', 'get_user_pages_fast');
    if (mm.mmapSem.writtenBy(cpu.current))
      throw new KernelBug('GUP-27', 'mmap_sem is held for writing', 'get_user_pages_fast');
    return mm;
  }

  /** Pins what the page table has, up to the first page that it does not allow; how many. */
  function pinPresent(
    mm: AddressSpace,
    start: number,
    nr: number,
    write: boolean,
    pages: (Page | null)[],
    slot: number,
  ): number {
    const needs = PTE_PRESENT | PTE_READ | (write ? PTE_WRITE : 0);
    const { pageTable } = mm;
    let at = start - (start & (PAGE_SIZE - 1));
    for (let i = 0; i < nr; i++, at += PAGE_SIZE) {
      const page = pageTable.pageWith(at, needs | PTE_SPECIAL, needs);
      if (page === null) return i;
      allocator.get(page);
      k.pins?.pinned(page, mm, at, write);
      page.flags |= PG_referenced;
      pages[slot + i] = page;
    }
    return Math.max(nr, 0);
  }

  function* pinRest(
    mm: AddressSpace,
    start: number,
    nr: number,
    write: boolean,
    pages: (Page | null)[],
    slot: number,
  ): Sleeps<number> {
    const walk = begin(k.current, mm, start, nr, FOLL_TOUCH | FOLL_GET | (write ? FOLL_WRITE : 0));
    walk.pages = pages;
    walk.slot = slot;
    if (!mm.mmapSem.tryRead()) yield* mm.mmapSem.read();
    const result = yield* pin(walk);
    mm.mmapSem.unlockRead();
    return result;
  }

  const api = {
    /**
     * Pins the `nr_pages` pages from that of the user address `start` on. Returns how many: fewer when one cannot be
     * had; -errno when that is the first. Slots behind are not written. The caller holds mm.mmapSem.
     *
     * @param tsk whose faults are counted; null: nobody's
     * @param pages where they go, with FOLL_GET; null, without it: they are only brought in
     * @param vmas gets the area of each page; valid while mmap_sem is held
     * @param nonblocking return instead of waiting for I/O, with its value set to 0; without FOLL_NOWAIT mmap_sem is
     *   released then
     */
    *__get_user_pages(
      tsk: LinuxTask | null,
      mm: AddressSpace,
      start: number,
      nr_pages: number,
      gup_flags: number,
      pages: (Page | null)[] | null,
      vmas: (Vma | null)[] | null,
      nonblocking: IntRef | null,
    ): Sleeps<number> {
      mustWhole(nr_pages, PAGES, '__get_user_pages');
      if (nr_pages <= 0) return 0;
      if ((pages !== null) !== ((gup_flags & FOLL_GET) !== 0))
        throw new KernelBug('GUP-03', 'FOLL_GET and an array for pages go together', '__get_user_pages');
      if (!mm.mmapSem.heldBy(cpu.current))
        throw new KernelBug('GUP-02', 'mmap_sem is not held', '__get_user_pages');
      const walk = begin(tsk, mm, start, nr_pages, gup_flags);
      walk.pages = pages;
      walk.vmas = vmas;
      walk.nonblocking = nonblocking;
      return yield* pin(walk);
    },

    /** __get_user_pages() with FOLL_TOUCH, and what `write`, `force` and `pages` ask for (3.10). */
    *get_user_pages(
      tsk: LinuxTask | null,
      mm: AddressSpace,
      start: number,
      nr_pages: number,
      write: boolean,
      force: boolean,
      pages: (Page | null)[] | null,
      vmas: (Vma | null)[] | null,
    ): Sleeps<number> {
      let flags = FOLL_TOUCH;
      if (pages !== null) flags |= FOLL_GET;
      if (write) flags |= FOLL_WRITE;
      if (force) flags |= FOLL_FORCE;
      return yield* api.__get_user_pages(tsk, mm, start, nr_pages, flags, pages, vmas, null);
    },

    /**
     * Pins pages of the running task's own memory, without mmap_sem as far as they are there already. The caller must
     * not hold it for writing. Returns as __get_user_pages(). `slot`: where in `pages` the first one goes (C: pages + n).
     */
    *get_user_pages_fast(
      start: number,
      nr_pages: number,
      write: boolean,
      pages: (Page | null)[],
      slot = 0,
    ): Sleeps<number> {
      mustWhole(nr_pages, PAGES, 'get_user_pages_fast');
      const mm = ownMm();
      const done = pinPresent(mm, start, nr_pages, write, pages, slot);
      if (done > 0) k.trace.pages_pinned(start - (start & (PAGE_SIZE - 1)), done, write);
      if (done >= nr_pages) return done;
      const rest = yield* pinRest(mm, start + done * PAGE_SIZE, nr_pages - done, write, pages, slot + done);
      return done > 0 ? done + Math.max(rest, 0) : rest;
    },

    /** The part of get_user_pages_fast() that never sleeps: 0 pages or more, never an errno. Any context of the task. */
    __get_user_pages_fast(
      start: number,
      nr_pages: number,
      write: boolean,
      pages: (Page | null)[],
      slot = 0,
    ): number {
      mustWhole(nr_pages, PAGES, '__get_user_pages_fast');
      const done = pinPresent(ownMm(), start, nr_pages, write, pages, slot);
      if (done > 0) k.trace.pages_pinned(start - (start & (PAGE_SIZE - 1)), done, write);
      return done;
    },
  };
  return api;
}

/** GUP-06: whether the area allows it, or with FOLL_FORCE could be made to. */
function mayPin(vma: Vma, flags: number): boolean {
  if ((vma.flags & (VM_IO | VM_PFNMAP)) !== 0) return false;
  const force = (flags & FOLL_FORCE) !== 0;
  if ((flags & FOLL_WRITE) !== 0) return vma.has(force ? VM_MAYWRITE : VM_WRITE);
  return vma.has(force ? VM_MAYREAD : VM_READ);
}

/** GUP-20: whether nothing but zeros would be brought in. */
function isHole(vma: Vma, at: number): boolean {
  if (vma.ops !== null) return false;
  if (vma.file === null) return true;
  return vma.has(VM_HUGETLB) && vma.file.mapping.find(hugeIndex(vma, at)) === null;
}

/** Page number in the file of the huge page that holds an address. */
function hugeIndex(vma: Vma, at: number): number {
  const bytes = PAGE_SIZE << vma.hugeOrder;
  return vma.pageOffset(vma.start + Math.floor((at - vma.start) / bytes) * bytes);
}

/** GUP-10. */
function errnoOf(result: number, flags: number): number {
  if ((result & VM_FAULT_OOM) !== 0) return -ENOMEM;
  if ((result & (VM_FAULT_HWPOISON | VM_FAULT_HWPOISON_LARGE)) !== 0)
    return (flags & FOLL_HWPOISON) !== 0 ? -EHWPOISON : -EFAULT;
  return -EFAULT; // SIGBUS, SIGSEGV
}

/** Linux: mark_page_accessed. */
function markAccessed(page: Page): void {
  if ((page.flags & PG_referenced) === 0) page.flags |= PG_referenced;
  else if ((page.flags & (PG_lru | PG_active)) === PG_lru)
    page.flags = (page.flags & ~PG_referenced) | PG_active;
}

/** The area of the gate page. It belongs to no address space's list. */
function gateArea(mm: AddressSpace): Vma {
  const flags = VM_READ | VM_EXEC | VM_MAYREAD | VM_MAYEXEC;
  return new Vma(mm, { start: GATE_ADDRESS, end: GATE_ADDRESS + PAGE_SIZE, flags });
}
