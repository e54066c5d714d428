// Locking the pages of an address space in place (as_pagelock of the kernel, which ddi_umem_lock(9F) and physio(9F)
// stand on), and where an address lies in RAM.

import {
  type AddressSpace,
  DEV_ZERO,
  FAULT_FLAG_UNSHARE,
  FAULT_FLAG_WRITE,
  KernelBug,
  type KernelMap,
  PAGE_SIZE,
  type Page,
  PG_referenced,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_HUGE,
  PTE_HWPOISON,
  PTE_PRESENT,
  PTE_READ,
  PTE_SPECIAL,
  PTE_WRITE,
  Ready,
  type Sleeps,
  VM_FAULT_ERROR,
  VM_FAULT_OOM,
  VM_MAYSHARE,
  VM_PFNMAP,
  VM_READ,
  VM_SHARED,
  VM_WRITE,
  type Vma,
} from '../kernel/index.ts';
import { PageListPtr } from './buf-struct.ts';
import { EACCES, EFAULT, ENOMEM } from './errno.ts';
import type { Solaris } from './kernel.ts';
import type { Pointer } from './pointer.ts';

// What the memory is locked for: it will be read, or written (enum seg_rw).
export const S_READ = 1;
export const S_WRITE = 2;

/** No page frame. */
export const PFN_INVALID = -1;

/** What an entry of the page table has when its page can be locked without a fault, beside PTE_DIRTY for S_WRITE. */
const PTE_THERE = PTE_PRESENT | PTE_READ | PTE_WRITE | PTE_ACCESSED;
/** What it has not. */
const PTE_ODD = PTE_SPECIAL | PTE_HUGE | PTE_HWPOISON;

/** One as_pagelock() that has not been undone. */
interface PageLock {
  readonly addr: number;
  readonly size: number;
  readonly rw: number;
  readonly list: PageListPtr | null;
  readonly areas: readonly Hold[];
  readonly pages: readonly Page[];
}

/** The part of a range that is in one area. */
interface Hold {
  readonly vma: Vma;
  readonly end: number;
  readonly pages: number;
}

/** Offset in a page; exact, since bit operations take numbers modulo 2^32. */
const PAGE_MASK = PAGE_SIZE - 1;

const NO_HOLDS: readonly Hold[] = [];

/** A range on its way to be locked. */
class Walk {
  readonly as: AddressSpace;
  readonly rw: number;
  readonly holds: readonly Hold[];
  /** Those that are in, each with a reference. */
  readonly pages: Page[];
  count = 0;
  /** The page in hand, and the part that it is in. */
  at: number;
  hold = 0;
  /** The pages can be listed. */
  listed = true;

  constructor(as: AddressSpace, rw: number, holds: readonly Hold[], start: number, end: number) {
    this.as = as;
    this.rw = rw;
    this.holds = holds;
    this.at = start;
    this.pages = new Array<Page>((end - start) / PAGE_SIZE);
  }
}

export function createAs(k: Solaris) {
  const { allocator, vm } = k;
  const ready = new Ready();
  const locks = new WeakMap<AddressSpace | KernelMap, PageLock[]>();

  /** The areas of a range, or EFAULT for a hole, or EACCES. */
  function areasOf(as: AddressSpace, start: number, end: number, rw: number): Hold[] | number {
    const holds: Hold[] = [];
    const needed = rw === S_WRITE ? VM_WRITE : VM_READ;
    let allowed = true;
    for (let at = start; at < end; ) {
      const vma = as.vmaAt(at);
      if (vma === null) return EFAULT;
      const next = Math.min(vma.end, end);
      holds.push({ vma, end: next, pages: (next - at) / PAGE_SIZE });
      allowed &&= vma.has(needed);
      at = next;
    }
    return allowed ? holds : EACCES;
  }

  /** True when the pages of an area can be listed: anonymous memory that was touched somewhere. */
  function listable(vma: Vma): boolean {
    if (vma.ops !== null || vma.has(VM_PFNMAP)) return false;
    if (vma.file !== null) return vma.file.name === DEV_ZERO;
    return vma.mm.pageTable.next(vma.start, vma.end) >= 0;
  }

  /** What a fault has to do so that the page can be locked: private where it can be. */
  function faultFlags(vma: Vma, rw: number): number {
    if (vma.has(VM_PFNMAP)) return 0;
    const write = rw === S_WRITE ? FAULT_FLAG_WRITE : 0;
    return (vma.flags & (VM_SHARED | VM_MAYSHARE)) === 0 ? write | FAULT_FLAG_UNSHARE : write;
  }

  function take(walk: Walk, page: Page): void {
    allocator.get(page);
    walk.pages[walk.count++] = page;
  }

  /** Brings pages in as far as nothing has to sleep: 0 at the end, VM_FAULT_… bits of an error, or -1. */
  function goOn(walk: Walk): number {
    const { as, rw, holds } = walk;
    const wanted = rw === S_WRITE ? PTE_THERE | PTE_DIRTY : PTE_THERE;
    for (; walk.hold < holds.length; walk.hold++) {
      const { vma, end } = holds[walk.hold] as Hold; // below their length
      const flags = faultFlags(vma, rw);
      for (; walk.at < end; walk.at += PAGE_SIZE) {
        const page = as.pageTable.pageWith(walk.at, wanted | PTE_ODD, wanted);
        if (page !== null) {
          take(walk, page);
          continue;
        }
        const result = vm.faults.fast(vma, walk.at, flags);
        if (result < 0 || (result & VM_FAULT_ERROR) !== 0) return result;
        faulted(walk);
      }
    }
    return 0;
  }

  /** The page in hand is in, unless it is a device's. */
  function faulted(walk: Walk): void {
    const page = walk.as.pageTable.page(walk.at);
    if (page !== null) take(walk, page);
  }

  function errnoOf(as: AddressSpace, result: number): number {
    if ((result & VM_FAULT_OOM) !== 0) return ENOMEM;
    return as.faultError === 0 ? EFAULT : -as.faultError;
  }

  /** Undoes what was done for a range that cannot be locked. */
  function giveUp(walk: Walk, result: number): number {
    for (let i = 0; i < walk.count; i++) allocator.put(walk.pages[i] as Page); // so many are in
    return errnoOf(walk.as, result);
  }

  /** Brings all pages in, from where a fault has to sleep; 0 or errno. */
  function* goOnSlowly(walk: Walk): Sleeps<number> {
    let result = -1;
    while (result < 0) {
      const { vma } = walk.holds[walk.hold] as Hold; // the page in hand is in it
      result = yield* vm.faults.handleMmFault(walk.as, vma, walk.at, faultFlags(vma, walk.rw));
      if ((result & VM_FAULT_ERROR) !== 0) break;
      faulted(walk);
      walk.at += PAGE_SIZE;
      result = goOn(walk);
    }
    return result === 0 ? 0 : giveUp(walk, result);
  }

  /** The walk over a range, with mmap_sem held; errno for a range that cannot be locked. */
  function walkOf(as: AddressSpace, addr: number, size: number, rw: number): Walk | number {
    const start = addr - (addr & PAGE_MASK);
    const end = Math.ceil((addr + size) / PAGE_SIZE) * PAGE_SIZE;
    if (end <= start) return EFAULT;
    const holds = areasOf(as, start, end, rw);
    if (typeof holds === 'number') return holds;
    const walk = new Walk(as, rw, holds, start, end);
    for (const { vma } of holds) walk.listed &&= listable(vma);
    return walk;
  }

  /** All pages are in. */
  function finish(walk: Walk, ppp: Pointer<PageListPtr>, addr: number, size: number): number {
    const { as, rw, holds, pages, listed } = walk;
    pages.length = walk.count;
    for (const { vma, pages: count } of holds) as.holdPages(vma, count);
    ppp.value = listed ? new PageListPtr(pages) : null;
    record(as, { addr, size, rw, list: ppp.value, areas: holds, pages });
    const { tracer } = k.machine;
    if (tracer.enabled) tracer.emit('pin', null, { user: addr, pages: walk.count, write: rw === S_WRITE });
    return 0;
  }

  /** Locks the range of a walk whose page in hand has a fault that sleeps, and releases mmap_sem. */
  function* lockOn(walk: Walk, ppp: Pointer<PageListPtr>, addr: number, size: number): Sleeps<number> {
    let error = yield* goOnSlowly(walk);
    if (error === 0) error = finish(walk, ppp, addr, size);
    walk.as.mmapSem.unlockRead();
    return error;
  }

  /** With mmap_sem held: releases it and returns 0 or errno, or returns a walk with which lockOn() has to go on. */
  function lockNow(
    as: AddressSpace,
    ppp: Pointer<PageListPtr>,
    addr: number,
    size: number,
    rw: number,
  ): Walk | number {
    const walk = walkOf(as, addr, size, rw);
    let error = typeof walk === 'number' ? walk : 0;
    if (typeof walk !== 'number') {
      const result = goOn(walk);
      if (result < 0) return walk;
      error = result > 0 ? giveUp(walk, result) : finish(walk, ppp, addr, size);
    }
    as.mmapSem.unlockRead();
    return error;
  }

  function* lockSlowly(
    as: AddressSpace,
    ppp: Pointer<PageListPtr>,
    addr: number,
    size: number,
    rw: number,
  ): Sleeps<number> {
    yield* as.mmapSem.read();
    const result = lockNow(as, ppp, addr, size, rw);
    return typeof result === 'number' ? result : yield* lockOn(result, ppp, addr, size);
  }

  /** Memory of the kernel stays where it is: its pages only must not be freed. */
  function lockKernel(addr: number, size: number, rw: number): number {
    const pages: Page[] = [];
    for (let at = addr - (addr & PAGE_MASK); at < addr + size; at += PAGE_SIZE) {
      const page = k.kas.pageAt(at);
      if (page === null) return EFAULT;
      pages.push(page);
    }
    if (pages.length === 0) return EFAULT;
    for (const page of pages) allocator.get(page);
    record(k.kas, { addr, size, rw, list: null, areas: NO_HOLDS, pages });
    return 0;
  }

  function record(as: AddressSpace | KernelMap, lock: PageLock): void {
    for (const page of lock.pages) {
      page.locks++;
      if (lock.rw === S_WRITE) page.writeLocks++;
    }
    const held = locks.get(as);
    if (held === undefined) locks.set(as, [lock]);
    else held.push(lock);
  }

  /** Takes the record of a lock out; null when there is none. */
  function recall(
    as: AddressSpace | KernelMap,
    list: PageListPtr | null,
    addr: number,
    size: number,
    rw: number,
  ): PageLock | null {
    const held = locks.get(as) ?? [];
    for (let i = held.length - 1; i >= 0; i--) {
      const one = held[i] as PageLock; // below its length
      if (one.addr !== addr || one.size !== size || one.rw !== rw || one.list !== list) continue;
      held[i] = held[held.length - 1] as PageLock; // their order means nothing
      held.pop();
      return one;
    }
    return null;
  }

  return {
    /**
     * Locks the pages of a range, all or none: they stay where they are, and who would unmap or protect their mapping
     * waits. Copies on write are made at once. User or kernel context.
     * @param as null: the address is the kernel's
     * @param ppp is set to the list of the pages; to null for files, devices and the kernel: their pages are found by
     *   address
     * @param rw S_WRITE: the memory will be written, which is what a read from a device does
     * @returns 0, EFAULT (no mapping, or nothing to lock), EACCES, or the error of what is mapped there
     */
    as_pagelock(
      as: AddressSpace | null,
      ppp: Pointer<PageListPtr>,
      addr: number,
      size: number,
      rw: number,
    ): Sleeps<number> {
      ppp.value = null;
      k.cpu.mightSleep('as_pagelock');
      if (as === null) return ready.with(lockKernel(addr, size, rw), 'as_pagelock');
      if (!as.mmapSem.tryRead()) return lockSlowly(as, ppp, addr, size, rw);
      const result = lockNow(as, ppp, addr, size, rw);
      return typeof result === 'number' ? ready.with(result, 'as_pagelock') : lockOn(result, ppp, addr, size);
    },

    /**
     * Undoes as_pagelock(), with the same arguments. Not in interrupt context.
     * @throws KernelBug `PLOCK-03` when there was no such lock
     */
    as_pageunlock(
      as: AddressSpace | null,
      pplist: PageListPtr | null,
      addr: number,
      size: number,
      rw: number,
    ): void {
      const found = recall(as ?? k.kas, pplist, addr, size, rw);
      if (found === null)
        throw new KernelBug(
          'PLOCK-03',
          `${size} bytes at 0x${addr.toString(16)} are not locked so`,
          'as_pageunlock',
        );
      const { pages } = found;
      const last: Page[] = [];
      for (const page of pages) {
        if (as !== null) page.flags |= PG_referenced;
        if (as !== null && rw === S_WRITE) k.locks.setDirty(page);
        if (rw === S_WRITE) page.writeLocks--;
        if (--page.locks === 0) last.push(page);
      }
      if (last.length > 0) k.onPagesUnlocked?.(last);
      for (const page of pages) allocator.put(page);
      for (const { vma, pages: count } of found.areas) as?.releasePages(vma, count);
    },

    /** How often as_pagelock() holds a page. Any context. */
    page_lock_count(page: Page): number {
      return page.locks;
    },

    /**
     * Number of the page frame behind an address; PFN_INVALID when nothing is there. Any context.
     * @param as null: the address is the kernel's
     */
    hat_getpfnum(as: AddressSpace | null, addr: number): number {
      const at = addr - (addr & PAGE_MASK);
      if (as === null) return k.kas.pageAt(at)?.pfn ?? PFN_INVALID;
      return as.pageTable.bits(at) === 0 ? PFN_INVALID : as.pageTable.pfn(at);
    },
  };
}
