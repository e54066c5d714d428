// One address space: which areas it has, and their coming and going. User addresses are numbers below 2^47.
//
// What changes areas takes mmap_sem for writing by itself and may sleep; what only looks must be called with it held,
// or where nothing can change meanwhile.

import { EACCES, EINVAL, ENOMEM } from './errno.ts';
import { KernelBug } from './errors.ts';
import { RwSem } from './lock.ts';
import { DEV_ZERO, Inode } from './mapping.ts';
import { PAGE_SIZE, type Page, PG_dirty, PG_referenced, PG_swapbacked, PG_uptodate } from './page.ts';
import {
  PageTable,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_HUGE,
  PTE_PRESENT,
  PTE_READ,
  PTE_SPECIAL,
  PTE_WRITE,
} from './page-table.ts';
import { type Sleeps, WaitQueue } from './task.ts';
import type { UnmapReason, VirtualMemory } from './vm.ts';
import {
  VM_ACCESS,
  VM_DONTCOPY,
  VM_GROWSDOWN,
  VM_HUGETLB,
  VM_IO,
  VM_MAYEXEC,
  VM_MAYREAD,
  VM_MAYSHARE,
  VM_MAYWRITE,
  VM_PFNMAP,
  VM_READ,
  VM_SHARED,
  VM_WRITE,
  Vma,
  type VmaInit,
  type VmaOps,
} from './vma.ts';
import type { AllocOptions } from './zones.ts';

/** First address that is not for users: 2^47 less a page, as on x86-64. */
export const TASK_SIZE = 2 ** 47 - PAGE_SIZE;
/** Lowest address that may be mapped without asking for it. */
const LOWEST = 0x10000;
/** Areas are placed downwards from here; above are stacks. */
const MMAP_TOP = TASK_SIZE - 2 ** 30;
const HEAP_START = 0x555500000000;
/** Flags that a copy of an anonymous page shares with it. */
const COPIED_FLAGS = PG_uptodate | PG_swapbacked | PG_dirty;

export interface MmapOptions {
  /** Exactly here, replacing what is there; a multiple of 4096. Default: where there is room, from the top. */
  readonly address?: number;
  /** Bytes, rounded up to pages. */
  readonly length: number;
  /** VM_READ, VM_WRITE, VM_EXEC; 0: no access. */
  readonly prot: number;
  /** Changes are seen by all who map the file; default: private, copied on write. */
  readonly shared?: boolean;
  /** Default: anonymous memory. */
  readonly file?: Inode | undefined;
  /** Byte in the file of the first page, a multiple of 4096. */
  readonly offset?: number;
  /** The file is open for writing; default true. */
  readonly writable?: boolean;
  /** A stack. */
  readonly growsDown?: boolean;
  /** Of huge pages; address and length must be multiples of one. */
  readonly huge?: boolean;
  /** More VM_… flags. */
  readonly flags?: number;
  /** Operations of its own; the area is a device's then. */
  readonly ops?: VmaOps | undefined;
  /** Shared anonymous memory without anything behind it, as no system call makes it: every fault is SIGBUS. */
  readonly bare?: boolean;
}

/** What happens before somebody waits for held pages of a range to be released. */
export interface HoldCallback {
  readonly start: number;
  readonly end: number;
  readonly run: () => Sleeps<void>;
}

export class AddressSpace {
  readonly vm: VirtualMemory;
  readonly pageTable = new PageTable();
  readonly mmapSem: RwSem;
  /** Ascending, not overlapping. */
  readonly areas: Vma[] = [];
  /** Where its pages come from; the second kind filled with zeros. */
  readonly pages: AllocOptions;
  readonly zeroedPages: AllocOptions;
  /**
   * Negative errno of the file behind the last fault that came to VM_FAULT_SIGBUS, for kernels that pass it on (Solaris:
   * FC_OBJERR); 0 when there was nothing to read: beyond the end, or nothing behind the area.
   */
  faultError = 0;
  /** Pages entered that count (Linux: rss). */
  resident = 0;
  /** Tasks and others that use it; the last `drop` ends it. */
  users = 1;
  /** Who waits for held areas to be released. */
  readonly released: WaitQueue;
  /** Each is called once, by who would unmap or protect its range (Solaris: as_add_callback); it is taken out then. */
  readonly holdCallbacks: HoldCallback[] = [];
  private heapEnd = HEAP_START;
  private lastHit: Vma | null = null;

  constructor(vm: VirtualMemory, pages: AllocOptions) {
    this.vm = vm;
    this.pages = pages;
    this.zeroedPages = { ...pages, zero: true };
    this.mmapSem = new RwSem(vm.scheduler, 'mmap_sem');
    this.released = new WaitQueue('held pages');
    this.released.wakers = () => 'who holds pages of the area';
  }

  // ---- looking

  /** The first area that ends above the address; it may begin above it, too (Linux: find_vma). */
  findVma(address: number): Vma | null {
    const hit = this.lastHit;
    if (hit !== null && address >= hit.start && address < hit.end) return hit;
    const vma = this.areas[this.indexAbove(address)] ?? null;
    if (vma !== null && vma.start <= address) this.lastHit = vma;
    return vma;
  }

  /** The area that holds the address; null when there is none. */
  vmaAt(address: number): Vma | null {
    const vma = this.findVma(address);
    return vma !== null && vma.start <= address ? vma : null;
  }

  /** The area that holds the address, or a stack that grows down to it (Linux: find_extend_vma). */
  vmaFor(address: number): Vma | null {
    const vma = this.findVma(address);
    if (vma === null || vma.start <= address) return vma;
    return this.growStack(vma, address) ? vma : null;
  }

  // ---- areas

  /** Maps memory. @returns its address, or -EINVAL, -ENOMEM, -EACCES (a shared file that is not open for writing) */
  *mmap(options: MmapOptions): Sleeps<number> {
    yield* this.mmapSem.write();
    const result = yield* this.mmapLocked(options);
    this.mmapSem.unlockWrite();
    return result;
  }

  /**
   * Maps page frames by their number, RAM or not: registers of a device (Linux: remap_pfn_range).
   * @param phys physical address, a multiple of 4096
   */
  *mmapPhys(phys: number, options: MmapOptions): Sleeps<number> {
    yield* this.mmapSem.write();
    const start = yield* this.mmapLocked({ ...options, flags: (options.flags ?? 0) | VM_IO | VM_PFNMAP });
    if (start >= 0) {
      const writable = (options.prot & VM_WRITE) !== 0 && options.shared === true ? PTE_WRITE : 0;
      const bits = PTE_PRESENT | PTE_SPECIAL | (options.prot !== 0 ? PTE_READ : 0) | writable;
      for (let offset = 0; offset < options.length; offset += PAGE_SIZE) {
        this.pageTable.setPfn(start + offset, (phys + offset) / PAGE_SIZE, bits);
      }
    }
    this.mmapSem.unlockWrite();
    return start;
  }

  /** Unmaps a range; holes in it don't matter. Waits while pages of an area in it are held. @returns 0 or -EINVAL */
  *munmap(address: number, length: number): Sleeps<number> {
    yield* this.mmapSem.write();
    const result = yield* this.munmapLocked(address, length);
    this.mmapSem.unlockWrite();
    return result;
  }

  /**
   * Changes what may be done with a range. Waits while pages of an area in it are held.
   * @returns 0, -EINVAL, -ENOMEM (a hole; what lies before it is changed), -EACCES (more than the file allows)
   */
  *mprotect(address: number, length: number, prot: number): Sleeps<number> {
    yield* this.mmapSem.write();
    const result = yield* this.mprotectLocked(address, length, prot);
    this.mmapSem.unlockWrite();
    return result;
  }

  /** Drops the pages of a range; the areas stay (Linux: MADV_DONTNEED). Waits while they are held. */
  *discard(address: number, length: number): Sleeps<number> {
    if (!aligned(address) || length < 0) return -EINVAL;
    const end = address + pagesUp(length);
    yield* this.mmapSem.write();
    yield* this.waitReleased(address, end);
    this.unmapRange(address, end, 'unmap');
    this.mmapSem.unlockWrite();
    return 0;
  }

  /** Moves the end of the heap to an address; returns where it is then: unmoved when there is no room (Linux: brk). */
  *brk(address: number): Sleeps<number> {
    if (address < HEAP_START) return this.heapEnd;
    yield* this.mmapSem.write();
    const [from, to] = [pagesUp(this.heapEnd), pagesUp(address)];
    let result = 0;
    if (to < from) result = yield* this.munmapLocked(to, from - to);
    else if (to > from) result = this.growHeap(from, to);
    if (result === 0) this.heapEnd = address;
    this.mmapSem.unlockWrite();
    return this.heapEnd;
  }

  /**
   * Grows a stack down to the page of an address, if it is one, its limit allows it, and a page remains free below.
   * Under mmap_sem, either way.
   */
  growStack(vma: Vma, address: number): boolean {
    if (!vma.has(VM_GROWSDOWN) || address < LOWEST) return false;
    const start = address - (address & (PAGE_SIZE - 1));
    if (start >= vma.start) return true;
    if (vma.end - start > this.vm.stackLimit) return false;
    const below = this.areas[this.areas.indexOf(vma) - 1];
    if (below !== undefined && below.end > start - (below.has(VM_GROWSDOWN) ? 0 : PAGE_SIZE)) return false;
    vma.pgoff -= (vma.start - start) / PAGE_SIZE;
    vma.start = start;
    return true;
  }

  /** True for the lowest page of a stack, which is there to be noticed when touched (Linux: stack_guard_page). */
  isStackGuard(vma: Vma, address: number): boolean {
    if (!vma.has(VM_GROWSDOWN) || address - (address & (PAGE_SIZE - 1)) !== vma.start) return false;
    const below = this.areas[this.areas.indexOf(vma) - 1];
    return !(below?.end === vma.start && below.has(VM_GROWSDOWN));
  }

  /** The lowest page of a stack is touched: moves the guard page down; false when something is there. */
  keepStackGuard(vma: Vma): boolean {
    const below = this.areas[this.areas.indexOf(vma) - 1];
    if (below?.end === vma.start) return below.has(VM_GROWSDOWN);
    this.growStack(vma, vma.start - PAGE_SIZE); // at its limit a stack goes without a guard page
    return true;
  }

  // ---- holding in place (Solaris: as_pagelock)

  /** Holds pages of an area: until `releasePages` whoever would unmap or protect the area waits. */
  holdPages(vma: Vma, pages: number): void {
    vma.held += pages;
  }

  /** @throws KernelBug `pagelock` when fewer are held. Allowed in any context. */
  releasePages(vma: Vma, pages: number): void {
    if (pages > vma.held) throw new KernelBug('pagelock', `${pages} pages released, ${vma.held} are held`);
    vma.held -= pages;
    if (vma.held === 0) this.vm.scheduler.wakeAll(this.released);
  }

  // ---- whole address spaces

  /**
   * A copy of the address space: private pages are shared until one side writes; pages of held areas are copied at
   * once, so that a device that works on them works on the parent's.
   * @returns null when there is no memory; nothing is left behind then
   */
  *fork(): Sleeps<AddressSpace | null> {
    yield* this.mmapSem.write();
    const child = this.vm.createSpace(this.pages);
    child.heapEnd = this.heapEnd;
    const done = this.areas.every((vma) => vma.has(VM_DONTCOPY) || this.copyArea(child, vma));
    this.mmapSem.unlockWrite();
    if (done) return child;
    yield* child.drop();
    return null;
  }

  /** One more user (Linux: mmget). */
  grab(): void {
    this.users++;
  }

  /** One user less; the last one unmaps everything, waiting for what is held (Linux: mmput, exit_mmap). */
  *drop(): Sleeps<void> {
    if (this.users <= 0) throw new KernelBug('mm-count', 'dropped once too often', 'mmput');
    if (--this.users > 0) return;
    yield* this.mmapSem.write();
    yield* this.waitReleased(0, TASK_SIZE);
    this.unmapRange(0, TASK_SIZE, 'unmap');
    const gone = this.areas.splice(0);
    this.lastHit = null;
    yield* this.leaveFiles(gone);
    this.mmapSem.unlockWrite();
    this.vm.spaces.delete(this);
  }

  // ---- pages, without sleeping

  /** Takes the pages of a range out of the page table. */
  unmapRange(start: number, end: number, why: UnmapReason): void {
    for (let at = this.pageTable.next(start, end); at >= 0; at = this.pageTable.next(at + PAGE_SIZE, end)) {
      this.unmapPage(at, why);
    }
  }

  /** Takes one page out of the page table, if there is one, a huge page whole; its reference goes with it. */
  unmapPage(at: number, why: UnmapReason): void {
    const bits = this.pageTable.bits(at);
    if (bits === 0) return;
    const page = this.pageTable.page(at);
    if (page !== null && (bits & PTE_HUGE) !== 0) {
      this.unmapHuge(at - (page.frame - page.compoundHead.frame) * PAGE_SIZE, page.compoundHead, bits, why);
      return;
    }
    this.pageTable.clear(at);
    if (page === null || (bits & (PTE_PRESENT | PTE_SPECIAL)) !== PTE_PRESENT) return;
    this.resident--;
    this.release(page, bits, why);
  }

  /** Where a page, or any page of its compound, is entered. Walks the whole page table. */
  addressesOf(head: Page): number[] {
    const { pageTable } = this;
    const found: number[] = [];
    for (let at = pageTable.next(0, TASK_SIZE); at >= 0; at = pageTable.next(at + PAGE_SIZE, TASK_SIZE)) {
      if (pageTable.page(at)?.compoundHead === head && (pageTable.bits(at) & PTE_SPECIAL) === 0)
        found.push(at);
    }
    return found;
  }

  // ---- inside

  private unmapHuge(base: number, head: Page, bits: number, why: UnmapReason): void {
    for (let i = 0; i < 1 << head.order; i++) this.pageTable.clear(base + i * PAGE_SIZE);
    this.resident -= 1 << head.order;
    this.release(head, bits, why);
  }

  /** The page table let go of a page: what the CPU noted there goes to the page. */
  private release(page: Page, bits: number, why: UnmapReason): void {
    this.vm.onUnmap?.(page, why, this);
    if ((bits & PTE_DIRTY) !== 0 && !page.anon) this.vm.locks.setDirty(page);
    if ((bits & PTE_ACCESSED) !== 0) page.set(PG_referenced);
    page._mapcount--;
    this.vm.allocator.put(page);
  }

  /** Index of the first area that ends above the address. */
  private indexAbove(address: number): number {
    let low = 0;
    let high = this.areas.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.areas[middle] as Vma).end > address) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  private *mmapLocked(options: MmapOptions): Sleeps<number> {
    const huge = options.huge === true ? PAGE_SIZE << this.vm.hugeOrder : PAGE_SIZE;
    const length = Math.ceil(options.length / huge) * huge;
    const offset = options.offset ?? 0;
    if (!(options.length > 0) || !aligned(offset)) return -EINVAL;
    const flags = flagsOf(options);
    if (flags < 0) return flags;
    let start = options.address;
    if (start === undefined) {
      start = this.findRoom(length, huge);
      if (start < 0) return -ENOMEM;
    } else {
      if (start % huge !== 0) return -EINVAL;
      if (!(start >= 0) || start + length > TASK_SIZE) return -ENOMEM;
      const error = yield* this.munmapLocked(start, length);
      if (error !== 0) return error;
    }
    const shared = (flags & (VM_SHARED | VM_MAYSHARE)) !== 0;
    const memoryOnly =
      shared && options.bare !== true && (flags & VM_PFNMAP) === 0 && options.ops === undefined;
    const file = options.file ?? (memoryOnly ? new Inode(DEV_ZERO, length) : null);
    this.insert({
      start,
      end: start + length,
      flags,
      file,
      ...(file === null ? {} : { pgoff: offset / PAGE_SIZE }),
      ops: options.ops ?? null,
      hugeOrder: options.huge === true ? this.vm.hugeOrder : 0,
    });
    return start;
  }

  private *munmapLocked(address: number, length: number): Sleeps<number> {
    if (!aligned(address) || !(length > 0) || address + length > TASK_SIZE) return -EINVAL;
    const end = address + pagesUp(length);
    yield* this.waitReleased(address, end);
    if (!this.cut(address) || !this.cut(end)) return -EINVAL;
    this.unmapRange(address, end, 'unmap');
    const first = this.indexAbove(address);
    let last = first;
    while ((this.areas[last]?.start ?? end) < end) last++;
    const gone = this.areas.splice(first, last - first);
    this.lastHit = null;
    yield* this.leaveFiles(gone);
    return 0;
  }

  private *mprotectLocked(address: number, length: number, prot: number): Sleeps<number> {
    if (!aligned(address) || length < 0) return -EINVAL;
    const end = address + pagesUp(length);
    yield* this.waitReleased(address, end);
    if (!this.cut(address) || !this.cut(end)) return -EINVAL;
    for (let at = address; at < end; ) {
      const vma = this.vmaAt(at);
      if (vma === null) return -ENOMEM;
      const may = (vma.flags & (VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC)) >> 4;
      if ((prot & VM_ACCESS & ~may) !== 0) return -EACCES;
      vma.flags = (vma.flags & ~VM_ACCESS) | (prot & VM_ACCESS);
      this.protectPages(vma, prot);
      at = vma.end;
    }
    return 0;
  }

  /** Entries lose what is no longer allowed; what is newly allowed comes with the next fault. */
  private protectPages(vma: Vma, prot: number): void {
    const { pageTable } = this;
    for (let at = pageTable.next(vma.start, vma.end); at >= 0; at = pageTable.next(at + PAGE_SIZE, vma.end)) {
      let bits = pageTable.bits(at) & ~PTE_READ;
      if ((bits & PTE_PRESENT) === 0) continue;
      if ((prot & VM_ACCESS) !== 0) bits |= PTE_READ;
      if ((prot & VM_WRITE) === 0) bits &= ~PTE_WRITE;
      pageTable.setBits(at, bits);
    }
  }

  /** Waits until no area that touches the range is held; mmap_sem is released meanwhile. */
  private *waitReleased(start: number, end: number): Sleeps<void> {
    const isHeld = (): boolean =>
      this.areas.some((vma) => vma.held > 0 && vma.start < end && vma.end > start);
    while (isHeld()) {
      const i = this.holdCallbacks.findIndex((callback) => callback.start < end && callback.end > start);
      const [callback] = i < 0 ? [] : this.holdCallbacks.splice(i, 1);
      this.mmapSem.unlockWrite();
      if (callback !== undefined) yield* callback.run();
      else yield* this.vm.scheduler.sleep(this.released, { what: 'held pages to be released' });
      yield* this.mmapSem.write();
    }
  }

  /** The areas map their files no more. Shared anonymous memory goes with the last one that maps it. */
  private *leaveFiles(areas: readonly Vma[]): Sleeps<void> {
    for (const vma of areas) {
      const { file } = vma;
      if (file === null) continue;
      file.mapping.areas.delete(vma);
      if (file.name === DEV_ZERO && file.mapping.areas.size === 0) yield* this.vm.dropCache(file);
    }
  }

  /** Makes the address a border between areas; false when it lies inside a huge page. */
  private cut(address: number): boolean {
    const vma = this.vmaAt(address);
    if (vma === null || vma.start === address) return true;
    if (vma.has(VM_HUGETLB) && (address - vma.start) % (PAGE_SIZE << vma.hugeOrder) !== 0) return false;
    const upper = {
      start: address,
      end: vma.end,
      flags: vma.flags,
      file: vma.file,
      pgoff: vma.pageOffset(address),
      ops: vma.ops,
      hugeOrder: vma.hugeOrder,
    };
    vma.end = address;
    this.lastHit = null;
    this.insert(upper);
    return true;
  }

  private insert(init: VmaInit): Vma {
    const vma = new Vma(this, init);
    this.areas.splice(this.indexAbove(init.start), 0, vma);
    vma.file?.mapping.areas.add(vma);
    return vma;
  }

  /** The highest gap that is large enough; -1 when there is none. */
  private findRoom(length: number, alignment: number): number {
    let top = MMAP_TOP;
    for (let i = this.areas.length; i >= 0; i--) {
      const below = this.areas[i - 1];
      const bottom = below === undefined ? LOWEST : below.end;
      const start = Math.floor((top - length) / alignment) * alignment;
      if (start >= bottom) return start;
      if (below !== undefined) top = Math.min(top, below.start);
    }
    return -1;
  }

  private growHeap(from: number, to: number): number {
    const next = this.findVma(from);
    if (next !== null && next.start < to + PAGE_SIZE) return -ENOMEM;
    const heap = from > HEAP_START ? this.vmaAt(from - PAGE_SIZE) : null;
    if (heap !== null) heap.end = to;
    else this.insert({ start: from, end: to, flags: privateFlags(VM_READ | VM_WRITE) });
    return 0;
  }

  private copyArea(child: AddressSpace, vma: Vma): boolean {
    const { start, end, flags, file, pgoff, ops, hugeOrder } = vma;
    child.insert({ start, end, flags, file, pgoff, ops, hugeOrder });
    if (vma.has(VM_SHARED) && (file !== null || ops !== null)) return true; // faults bring the same pages
    for (let at = this.pageTable.next(start, end); at >= 0; at = this.pageTable.next(at + PAGE_SIZE, end)) {
      if (!this.copyEntry(child, vma, at)) return false;
    }
    return true;
  }

  private copyEntry(child: AddressSpace, vma: Vma, at: number): boolean {
    const page = this.pageTable.page(at);
    let bits = this.pageTable.bits(at);
    if (page === null) {
      child.pageTable.setPfn(at, this.pageTable.pfn(at), bits);
      return true;
    }
    if ((bits & (PTE_PRESENT | PTE_SPECIAL)) !== PTE_PRESENT) {
      child.pageTable.set(at, page, bits);
      return true;
    }
    if (vma.held > 0 && page.anon && (bits & PTE_HUGE) === 0) return this.copyHeld(child, at, page, bits);
    if (!vma.has(VM_SHARED)) {
      bits &= ~PTE_WRITE;
      this.pageTable.setBits(at, bits);
    }
    child.pageTable.set(at, page, bits);
    child.resident++;
    if (page.head !== null && (bits & PTE_HUGE) !== 0) return true; // counted with its head
    this.vm.onUnmap?.(page, 'fork', this);
    page._mapcount++;
    this.vm.allocator.get(page);
    return true;
  }

  private copyHeld(child: AddressSpace, at: number, page: Page, bits: number): boolean {
    const copy = this.vm.allocator.alloc(this.pages);
    if (copy === null) return false;
    this.vm.onUnmap?.(page, 'fork', this);
    this.vm.memory.copy(copy.phys, page.phys, PAGE_SIZE);
    copy.flags |= page.flags & COPIED_FLAGS;
    copy.anon = true;
    copy.index = page.index;
    copy._mapcount = 1;
    child.pageTable.set(at, copy, bits);
    child.resident++;
    return true;
  }
}

function aligned(address: number): boolean {
  return address >= 0 && address % PAGE_SIZE === 0;
}

/** Rounded up to whole pages. */
function pagesUp(bytes: number): number {
  return Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE;
}

function privateFlags(prot: number): number {
  return (prot & VM_ACCESS) | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;
}

/** VM_… flags of a new area, or -EACCES. */
function flagsOf(options: MmapOptions): number {
  let flags = privateFlags(options.prot) | (options.flags ?? 0);
  if (options.growsDown === true) flags |= VM_GROWSDOWN;
  if (options.huge === true) flags |= VM_HUGETLB;
  if (options.shared !== true) return flags;
  if (options.writable !== false) return flags | VM_SHARED | VM_MAYSHARE;
  // As in Linux: without the right to write nothing can be shared but what is read.
  return (options.prot & VM_WRITE) !== 0 ? -EACCES : (flags | VM_MAYSHARE) & ~VM_MAYWRITE;
}
