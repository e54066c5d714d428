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

/** One as_pagelock() that has not been undone. */
interface PageLock {
  readonly addr: number;
  readonly size: number;
  readonly rw: number;
  readonly list: PageListPtr | null;
  readonly areas: readonly Hold[];
  readonly pages: readonly Page[];
}

interface Hold {
  readonly vma: Vma;
  readonly pages: number;
}

export function createAs(k: Solaris) {
  const { allocator, vm } = k;
  const locks = new WeakMap<AddressSpace | KernelMap, PageLock[]>();
  /** How often each page is locked. */
  const counts = new Map<Page, number>();

  /** The areas of a range, or EFAULT for a hole, or EACCES. */
  function areasOf(as: AddressSpace, start: number, end: number, rw: number): Hold[] | number {
    const holds: Hold[] = [];
    for (let at = start; at < end; ) {
      const vma = as.vmaAt(at);
      if (vma === null) return EFAULT;
      const next = Math.min(vma.end, end);
      holds.push({ vma, pages: (next - at) / PAGE_SIZE });
      at = next;
    }
    const needed = rw === S_WRITE ? VM_WRITE : VM_READ;
    return holds.every(({ vma }) => vma.has(needed)) ? holds : EACCES;
  }

  /** True when the pages of an area can be listed: anonymous memory that was touched somewhere. */
  function listable(vma: Vma): boolean {
    if (vma.ops !== null || vma.has(VM_PFNMAP)) return false;
    if (vma.file !== null) return vma.file.name === DEV_ZERO;
    return vma.mm.pageTable.next(vma.start, vma.end) >= 0;
  }

  /** Brings the page at an address in, private where it can be; 0 or errno. */
  function* faultIn(as: AddressSpace, vma: Vma, at: number, rw: number): Sleeps<number> {
    let flags = 0;
    if (!vma.has(VM_PFNMAP)) {
      if (rw === S_WRITE) flags |= FAULT_FLAG_WRITE;
      if ((vma.flags & (VM_SHARED | VM_MAYSHARE)) === 0) flags |= FAULT_FLAG_UNSHARE;
    }
    let result = vm.faults.fast(vma, at, flags);
    if (result < 0) result = yield* vm.faults.handleMmFault(as, vma, at, flags);
    if ((result & VM_FAULT_ERROR) === 0) return 0;
    if ((result & VM_FAULT_OOM) !== 0) return ENOMEM;
    return as.faultError === 0 ? EFAULT : -as.faultError;
  }

  /** Brings every page of a range in, each with a reference; on an error (not 0) none is left. */
  function* pagesIn(
    as: AddressSpace,
    start: number,
    holds: readonly Hold[],
    rw: number,
    pages: Page[],
  ): Sleeps<number> {
    let at = start;
    for (const { vma, pages: count } of holds) {
      for (let i = 0; i < count; i++, at += PAGE_SIZE) {
        const error = yield* faultIn(as, vma, at, rw);
        if (error !== 0) {
          for (const page of pages) allocator.put(page);
          return error;
        }
        const page = as.pageTable.page(at);
        if (page === null) continue; // of a device
        allocator.get(page);
        pages.push(page);
      }
    }
    return 0;
  }

  function* lock(
    as: AddressSpace,
    ppp: Pointer<PageListPtr>,
    addr: number,
    size: number,
    rw: number,
  ): Sleeps<number> {
    const start = addr - (addr % PAGE_SIZE);
    const end = Math.ceil((addr + size) / PAGE_SIZE) * PAGE_SIZE;
    if (end <= start) return EFAULT;
    const areas = areasOf(as, start, end, rw);
    if (typeof areas === 'number') return areas;
    const listed = areas.every(({ vma }) => listable(vma));
    const pages: Page[] = [];
    const error = yield* pagesIn(as, start, areas, rw, pages);
    if (error !== 0) return error;
    for (const { vma, pages: count } of areas) as.holdPages(vma, count);
    ppp.value = listed ? new PageListPtr(pages) : null;
    record(as, { addr, size, rw, list: ppp.value, areas, pages });
    return 0;
  }

  /** Memory of the kernel stays where it is: its pages only must not be freed. */
  function lockKernel(addr: number, size: number, rw: number): number {
    const pages: Page[] = [];
    for (let at = addr - (addr % PAGE_SIZE); at < addr + size; at += PAGE_SIZE) {
      const page = k.kas.pageAt(at);
      if (page === null) return EFAULT;
      pages.push(page);
    }
    if (pages.length === 0) return EFAULT;
    for (const page of pages) allocator.get(page);
    record(k.kas, { addr, size, rw, list: null, areas: [], pages });
    return 0;
  }

  function record(as: AddressSpace | KernelMap, lock: PageLock): void {
    for (const page of lock.pages) counts.set(page, (counts.get(page) ?? 0) + 1);
    const held = locks.get(as);
    if (held === undefined) locks.set(as, [lock]);
    else held.push(lock);
  }

  /** Undoes the count of a page; true when nobody holds it locked any more. */
  function uncount(page: Page): boolean {
    const count = (counts.get(page) ?? 1) - 1;
    if (count > 0) counts.set(page, count);
    else counts.delete(page);
    return count === 0;
  }

  return {
    /**
     * Locks the pages of a range, all or none: they stay where they are, and who would unmap or protect their mapping
     * waits. Copies on write are made at once.
     * @param as null: the address is the kernel's
     * @param ppp is set to the list of the pages; to null for files, devices and the kernel: their pages are found by
     *   address
     * @param rw S_WRITE: the memory will be written, which is what a read from a device does
     * @returns 0, EFAULT (no mapping, or nothing to lock), EACCES, or the error of what is mapped there
     */
    *as_pagelock(
      as: AddressSpace | null,
      ppp: Pointer<PageListPtr>,
      addr: number,
      size: number,
      rw: number,
    ): Sleeps<number> {
      ppp.value = null;
      k.cpu.mightSleep('as_pagelock');
      if (as === null) return lockKernel(addr, size, rw);
      yield* as.mmapSem.read();
      const error = yield* lock(as, ppp, addr, size, rw);
      as.mmapSem.unlockRead();
      return error;
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
      const held = locks.get(as ?? k.kas) ?? [];
      const i = held.findIndex(
        (one) => one.addr === addr && one.size === size && one.rw === rw && one.list === pplist,
      );
      const found = held[i];
      if (found === undefined)
        throw new KernelBug(
          'PLOCK-03',
          `${size} bytes at 0x${addr.toString(16)} are not locked so`,
          'as_pageunlock',
        );
      held.splice(i, 1);
      const last: Page[] = [];
      for (const page of found.pages) {
        if (as !== null) page.set(PG_referenced);
        if (as !== null && rw === S_WRITE) k.locks.setDirty(page);
        if (uncount(page)) last.push(page);
      }
      if (last.length > 0) k.onPagesUnlocked?.(last);
      for (const page of found.pages) allocator.put(page);
      for (const { vma, pages } of found.areas) as?.releasePages(vma, pages);
    },

    /** How often as_pagelock() holds a page. */
    page_lock_count(page: Page): number {
      return counts.get(page) ?? 0;
    },

    /**
     * Number of the page frame behind an address; PFN_INVALID when nothing is there. Any context.
     * @param as null: the address is the kernel's
     */
    hat_getpfnum(as: AddressSpace | null, addr: number): number {
      const at = addr - (addr % PAGE_SIZE);
      if (as === null) return k.kas.pageAt(at)?.pfn ?? PFN_INVALID;
      return as.pageTable.bits(at) === 0 ? PFN_INVALID : as.pageTable.pfn(at);
    },
  };
}
