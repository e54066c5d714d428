// Page faults: how a page comes to be where a process touches it, or a kernel pins it.
//
// The order of steps is that of Linux 3.10 (mm/memory.c, mm/filemap.c), whose documents the pinning interfaces cite;
// what those leave open is in their specification (GUP-05 to GUP-24).

import { EIO, ENOMEM } from './errno.ts';
import { KernelBug } from './errors.ts';
import {
  FAULT_FLAG_ALLOW_RETRY,
  FAULT_FLAG_KILLABLE,
  FAULT_FLAG_MKWRITE,
  FAULT_FLAG_RETRY_NOWAIT,
  FAULT_FLAG_TRIED,
  FAULT_FLAG_UNSHARE,
  FAULT_FLAG_WRITE,
  VM_FAULT_ERROR,
  VM_FAULT_HWPOISON,
  VM_FAULT_LOCKED,
  VM_FAULT_MAJOR,
  VM_FAULT_NOPAGE,
  VM_FAULT_OOM,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
  VM_FAULT_SIGSEGV,
  VM_FAULT_WRITE,
} from './fault-flags.ts';
import { hugeFault } from './huge-fault.ts';
import type { AddressSpace } from './mm.ts';
import { PAGE_SIZE, type Page, PG_error, PG_locked, PG_swapbacked, PG_uptodate } from './page.ts';
import {
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_HWPOISON,
  PTE_PRESENT,
  PTE_READ,
  PTE_SPECIAL,
  PTE_WRITE,
} from './page-table.ts';
import type { Sleeps } from './task.ts';
import type { VirtualMemory } from './vm.ts';
import {
  VM_ACCESS,
  VM_GROWSDOWN,
  VM_HUGETLB,
  VM_IO,
  VM_PFNMAP,
  VM_SHARED,
  VM_WRITE,
  type Vma,
  type VmFault,
} from './vma.ts';

export class Faults {
  private readonly vm: VirtualMemory;

  constructor(vm: VirtualMemory) {
    this.vm = vm;
  }

  /**
   * Makes the page at an address of an area present, and writable for FAULT_FLAG_WRITE, whether or not the area's
   * permissions allow the access: that is the caller's to check. The caller holds mmap_sem, and accounts the fault.
   * A page of an area without VM_WRITE becomes private on a write fault, but not writable.
   *
   * `faults.fast(vma, address, flags)` first saves the cost of the generator where nothing has to sleep; -1 means
   * that this function is needed.
   * @returns VM_FAULT_… bits; 0: done, without I/O
   */
  *handleMmFault(mm: AddressSpace, vma: Vma, address: number, flags: number): Sleeps<number> {
    if (vma.mm !== mm)
      throw new KernelBug('vma-mm', 'the area belongs to another address space', 'handleMmFault');
    if (!mm.mmapSem.heldBy(this.vm.scheduler.current)) {
      throw new KernelBug('GUP-02', 'mmap_sem is not held', 'handleMmFault');
    }
    const result = this.fast(vma, address, flags);
    if (result >= 0) return result;
    const at = address - (address & (PAGE_SIZE - 1));
    if (mm.pageTable.bits(at) === 0) return yield* this.missing(vma, at, flags);
    return yield* this.writeShared(vma, at, flags);
  }

  /** What of `handleMmFault` never sleeps; -1 when that is not enough. */
  fast(vma: Vma, address: number, flags: number): number {
    const at = address - (address & (PAGE_SIZE - 1));
    if ((vma.flags & VM_HUGETLB) !== 0) return hugeFault(this.vm, vma, at, flags);
    const { pageTable } = vma.mm;
    vma.mm.faultError = 0;
    const bits = pageTable.bits(at);
    if (bits === 0) {
      if (vma.ops !== null) return -1;
      return vma.file === null ? this.anonymous(vma, at, flags) : this.cached(vma, at, flags);
    }
    if ((bits & PTE_HWPOISON) !== 0) return VM_FAULT_HWPOISON;
    if (wantsOwn(flags) && (bits & PTE_WRITE) === 0) return this.writeProtected(vma, at, bits, flags);
    const touched = (flags & FAULT_FLAG_WRITE) !== 0 ? PTE_ACCESSED | PTE_DIRTY : PTE_ACCESSED;
    pageTable.setBits(at, bits | touched | readable(vma));
    return 0;
  }

  /**
   * What the CPU does on an access that the page table does not allow: takes mmap_sem, finds the area, checks its
   * permissions, grows a stack, resolves the fault, accounts it to the current task.
   * @returns 0 when the access can be repeated, else VM_FAULT_SIGSEGV (no such area, not allowed) or another error
   */
  *pageFault(mm: AddressSpace, address: number, write: boolean): Sleeps<number> {
    this.vm.scheduler.mightSleep('page fault');
    let flags = FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_KILLABLE | (write ? FAULT_FLAG_WRITE : 0);
    let major = 0;
    for (;;) {
      if (!mm.mmapSem.tryRead()) yield* mm.mmapSem.read();
      const vma = mm.vmaFor(address);
      if (vma === null || (vma.flags & (write ? VM_WRITE : VM_ACCESS)) === 0) {
        mm.mmapSem.unlockRead();
        return VM_FAULT_SIGSEGV;
      }
      let result = this.fast(vma, address, flags);
      if (result < 0) result = yield* this.handleMmFault(mm, vma, address, flags);
      major |= result & VM_FAULT_MAJOR;
      if ((result & VM_FAULT_RETRY) === 0) {
        mm.mmapSem.unlockRead();
        if ((result & VM_FAULT_ERROR) !== 0) return result & VM_FAULT_ERROR;
        this.account(major !== 0);
        return 0;
      }
      // mmap_sem was released while the page's I/O was waited for.
      if (this.vm.scheduler.cpu.process('page fault').fatalSignalPending) return VM_FAULT_SIGBUS;
      flags = (flags & ~FAULT_FLAG_ALLOW_RETRY) | FAULT_FLAG_TRIED;
    }
  }

  /**
   * The fault operation of a file in the page cache (Linux: filemap_fault): finds the page or reads it. For areas with
   * operations of their own, too.
   */
  *filemapFault(vma: Vma, vmf: VmFault): Sleeps<number> {
    const { file } = vma;
    if (file === null) throw new KernelBug('vma-file', 'no file is mapped here', 'filemapFault');
    const { mapping } = file;
    let result = 0;
    let read = false;
    for (;;) {
      if (vmf.pgoff >= Math.ceil(file.size / PAGE_SIZE)) return VM_FAULT_SIGBUS;
      const page = mapping.find(vmf.pgoff);
      if (page === null) {
        result = VM_FAULT_MAJOR;
        read = true;
        const error = yield* this.vm.readPage(mapping, vmf.pgoff);
        if (error !== 0) return failed(vma.mm, error);
        continue;
      }
      this.vm.allocator.get(page);
      if (!this.vm.locks.tryLock(page) && !(yield* this.lockOrRetry(vma.mm, page, vmf.flags))) {
        this.vm.allocator.put(page);
        return result | VM_FAULT_RETRY;
      }
      if (page.mapping !== mapping) {
        // Truncated while we waited.
        this.release(page);
        continue;
      }
      if (page.has(PG_uptodate)) {
        if (vmf.pgoff >= Math.ceil(file.size / PAGE_SIZE)) {
          this.release(page); // being truncated: it will be taken out as soon as it is unlocked
          return VM_FAULT_SIGBUS;
        }
        vmf.page = page;
        return result | VM_FAULT_LOCKED;
      }
      // Its read failed: try once more, unless that was ours.
      const { readpage } = mapping.ops;
      if (read || readpage === undefined) {
        this.release(page);
        return failed(vma.mm, -EIO);
      }
      read = true;
      page.clear(PG_error);
      const error = yield* readpage(file, page);
      this.vm.allocator.put(page);
      if (error !== 0) return failed(vma.mm, error);
    }
  }

  /** Locks the page; else mmap_sem is released and the page unlocked again, or the caller does not want to wait. */
  private *lockOrRetry(mm: AddressSpace, page: Page, flags: number): Sleeps<boolean> {
    const { locks } = this.vm;
    const killable = (flags & FAULT_FLAG_KILLABLE) !== 0;
    if ((flags & FAULT_FLAG_ALLOW_RETRY) !== 0) {
      if ((flags & FAULT_FLAG_RETRY_NOWAIT) !== 0) return false;
      mm.mmapSem.unlockRead();
      if (killable) yield* locks.waitUnlockedKillable(page);
      else yield* locks.waitUnlocked(page);
      return false;
    }
    if (!killable) {
      yield* locks.lock(page);
      return true;
    }
    if (yield* locks.lockKillable(page)) return true;
    mm.mmapSem.unlockRead();
    return false;
  }

  /** Nothing is there yet, in private anonymous memory: the zero page to read, a fresh page to write. */
  private anonymous(vma: Vma, at: number, flags: number): number {
    // Nothing that could be shared (GUP-15), or nothing but what was entered when it was mapped.
    if ((vma.flags & (VM_SHARED | VM_PFNMAP | VM_IO)) !== 0) return VM_FAULT_SIGBUS;
    if ((vma.flags & VM_GROWSDOWN) !== 0 && at === vma.start && !vma.mm.keepStackGuard(vma))
      return VM_FAULT_SIGBUS;
    if (!wantsOwn(flags)) {
      vma.mm.pageTable.set(at, this.vm.zeroPage, PTE_PRESENT | PTE_ACCESSED | PTE_SPECIAL | readable(vma));
      return 0;
    }
    const page = this.vm.allocator.alloc(vma.mm.zeroedPages);
    if (page === null) return VM_FAULT_OOM;
    this.enterAnonymous(vma, at, page, flags);
    return 0;
  }

  /** Nothing is there yet, in a file: enters the page if it is at hand and nobody has to be asked. */
  private cached(vma: Vma, at: number, flags: number): number {
    const { file } = vma;
    if (file === null) return -1;
    const index = vma.pageOffset(at);
    if (index >= Math.ceil(file.size / PAGE_SIZE)) return VM_FAULT_SIGBUS;
    const page = file.mapping.find(index);
    if (page === null || (page.flags & (PG_uptodate | PG_locked)) !== PG_uptodate) return -1;
    if (page.poisoned) return VM_FAULT_HWPOISON;
    if ((vma.flags & VM_SHARED) === 0 && wantsOwn(flags)) {
      this.vm.allocator.get(page); // or it could be dropped to make room for its copy
      const result = this.copyFrom(vma, at, page.phys, flags);
      this.vm.allocator.put(page);
      return result & ~VM_FAULT_WRITE;
    }
    const write = (flags & FAULT_FLAG_WRITE) !== 0;
    if (write && asksToWrite(vma)) return -1;
    this.vm.allocator.get(page);
    this.enterFile(vma, at, page, write);
    return 0;
  }

  /** Something is there and is not writable. */
  private writeProtected(vma: Vma, at: number, bits: number, flags: number): number {
    const { pageTable } = vma.mm;
    const page = pageTable.page(at);
    const shared = (vma.flags & (VM_SHARED | VM_WRITE)) === (VM_SHARED | VM_WRITE);
    if (page === null) {
      const pfn = pageTable.pfn(at);
      if (!shared && this.vm.frames.pfnToPage(pfn) === null) return VM_FAULT_SIGBUS; // registers can't be copied
      if (!shared) return this.copyFrom(vma, at, pfn * PAGE_SIZE, flags);
      pageTable.setBits(at, bits | PTE_WRITE | PTE_DIRTY | PTE_ACCESSED);
      return VM_FAULT_WRITE;
    }
    if ((bits & PTE_SPECIAL) === 0) {
      const alone = page.anon && page._mapcount === 1;
      if (alone) return this.reuse(vma, at, bits, flags);
      if (shared && !page.anon) {
        if (asksToWrite(vma) || page.has(PG_locked)) return -1;
        this.vm.locks.setDirty(page);
        return this.reuse(vma, at, bits, flags);
      }
    }
    return this.copyFrom(vma, at, page.phys, flags);
  }

  /** The page is this process's alone, or shared for good: no copy is needed. */
  private reuse(vma: Vma, at: number, bits: number, flags: number): number {
    if ((flags & FAULT_FLAG_WRITE) === 0) return 0;
    const writable = (vma.flags & VM_WRITE) !== 0 ? PTE_WRITE : 0;
    vma.mm.pageTable.setBits(at, bits | PTE_ACCESSED | PTE_DIRTY | writable);
    return VM_FAULT_WRITE;
  }

  /** Replaces what is there, if anything, by a private copy of the page at a physical address. */
  private copyFrom(vma: Vma, at: number, phys: number, flags: number): number {
    const zero = phys === this.vm.zeroPage.phys;
    const copy = this.vm.allocator.alloc(zero ? vma.mm.zeroedPages : vma.mm.pages);
    if (copy === null) return VM_FAULT_OOM;
    if (!zero) this.vm.memory.copy(copy.phys, phys, PAGE_SIZE);
    vma.mm.unmapPage(at, 'copy');
    this.enterAnonymous(vma, at, copy, flags);
    return VM_FAULT_WRITE;
  }

  /** A file page that is not at hand, or an area with operations of its own. */
  private *missing(vma: Vma, at: number, flags: number): Sleeps<number> {
    const { allocator, locks } = this.vm;
    const copy = wantsOwn(flags) && (vma.flags & VM_SHARED) === 0 ? allocator.alloc(vma.mm.pages) : null;
    if (copy === null && wantsOwn(flags) && (vma.flags & VM_SHARED) === 0) return VM_FAULT_OOM;
    const vmf: VmFault = { address: at, flags, pgoff: vma.pageOffset(at), page: null };
    const result = yield* vma.ops === null ? this.filemapFault(vma, vmf) : vma.ops.fault(vma, vmf);
    const { page } = vmf;
    if ((result & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY)) !== 0) {
      if (copy !== null) allocator.put(copy);
      return result;
    }
    if (page === null) throw new KernelBug('vma-fault', 'a fault operation returned no page', 'missing');
    if ((result & VM_FAULT_LOCKED) === 0) yield* locks.lock(page);
    const rest = result & ~VM_FAULT_LOCKED;
    if (page.poisoned) {
      this.release(page);
      if (copy !== null) allocator.put(copy);
      return VM_FAULT_HWPOISON;
    }
    if (copy !== null) {
      this.vm.memory.copy(copy.phys, page.phys, PAGE_SIZE);
      this.release(page);
      if (vma.mm.pageTable.bits(at) !== 0)
        allocator.put(copy); // another thread was faster
      else this.enterAnonymous(vma, at, copy, flags);
      return rest;
    }
    return rest | (yield* this.enterLocked(vma, vmf, page));
  }

  /** Enters a locked page of a file, after asking whether it may be written. */
  private *enterLocked(vma: Vma, vmf: VmFault, page: Page): Sleeps<number> {
    const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0;
    if (write) {
      const error = yield* this.askToWrite(vma, vmf, page);
      if (error >= 0) {
        this.vm.allocator.put(page);
        return error;
      }
    }
    if (vma.mm.pageTable.bits(vmf.address) !== 0) {
      this.release(page); // another thread was faster
      return 0;
    }
    this.enterFile(vma, vmf.address, page, write);
    this.vm.locks.unlock(page);
    return 0;
  }

  /** A page of a file that is there is to be written for the first time, and somebody has to be asked. */
  private *writeShared(vma: Vma, at: number, flags: number): Sleeps<number> {
    const { allocator, locks } = this.vm;
    const { pageTable } = vma.mm;
    const page = pageTable.page(at);
    if (page === null) return 0; // changed since: the access is repeated
    allocator.get(page);
    yield* locks.lock(page);
    const vmf: VmFault = { address: at, flags, pgoff: vma.pageOffset(at), page };
    const error = yield* this.askToWrite(vma, vmf, page);
    if (error >= 0) {
      allocator.put(page);
      return error;
    }
    let result = 0;
    if (pageTable.page(at) === page) {
      locks.setDirty(page);
      result = this.reuse(vma, at, pageTable.bits(at), flags);
    }
    this.release(page);
    return result;
  }

  /**
   * Asks the file system whether a locked page may be written.
   * @returns -1 to go on, with the page locked; else what the fault comes to, with the page unlocked
   */
  private *askToWrite(vma: Vma, vmf: VmFault, page: Page): Sleeps<number> {
    if (!asksToWrite(vma)) return -1;
    const { mapping } = page;
    this.vm.locks.unlock(page);
    const result = yield* ask(vma, { ...vmf, page, flags: vmf.flags | FAULT_FLAG_MKWRITE }, page);
    if ((result & (VM_FAULT_ERROR | VM_FAULT_NOPAGE)) !== 0) return result;
    if ((result & VM_FAULT_LOCKED) === 0) yield* this.vm.locks.lock(page);
    if (page.mapping === mapping) return -1;
    this.vm.locks.unlock(page); // truncated meanwhile: the access is repeated
    return 0;
  }

  private enterAnonymous(vma: Vma, at: number, page: Page, flags: number): void {
    page.set(PG_uptodate | PG_swapbacked);
    page.anon = true;
    page.index = vma.pageOffset(at);
    page._mapcount = 1;
    const write = (flags & FAULT_FLAG_WRITE) !== 0 && (vma.flags & VM_WRITE) !== 0;
    const bits = PTE_PRESENT | PTE_ACCESSED | readable(vma) | (write ? PTE_WRITE | PTE_DIRTY : 0);
    vma.mm.pageTable.set(at, page, bits);
    vma.mm.resident++;
  }

  /** Enters a page of a file; the caller's reference becomes the entry's. */
  private enterFile(vma: Vma, at: number, page: Page, write: boolean): void {
    page._mapcount++;
    const writable = write && (vma.flags & VM_WRITE) !== 0 ? PTE_WRITE : 0;
    const bits = PTE_PRESENT | PTE_ACCESSED | readable(vma) | (write ? PTE_DIRTY | writable : 0);
    vma.mm.pageTable.set(at, page, bits);
    vma.mm.resident++;
    if (write) this.vm.locks.setDirty(page);
  }

  private release(page: Page): void {
    this.vm.locks.unlock(page);
    this.vm.allocator.put(page);
  }

  private account(major: boolean): void {
    const task = this.vm.scheduler.cpu.process('page fault');
    if (major) task.maj_flt++;
    else task.min_flt++;
  }
}

/** What a fault comes to whose file answered with an error. */
function failed(mm: AddressSpace, error: number): number {
  if (error === -ENOMEM) return VM_FAULT_OOM;
  mm.faultError = error;
  return VM_FAULT_SIGBUS;
}

function wantsOwn(flags: number): boolean {
  return (flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE)) !== 0;
}

function readable(vma: Vma): number {
  return (vma.flags & VM_ACCESS) !== 0 ? PTE_READ : 0;
}

/** True when somebody has to be asked before a shared page is written. */
function asksToWrite({ ops, file }: Vma): boolean {
  return ops?.pageMkwrite !== undefined || file?.mapping.ops.pageMkwrite !== undefined;
}

function* ask(vma: Vma, vmf: VmFault, page: Page): Sleeps<number> {
  const { ops, file } = vma;
  if (ops?.pageMkwrite !== undefined) return yield* ops.pageMkwrite(vma, vmf);
  const files = file?.mapping.ops.pageMkwrite;
  return file === null || files === undefined ? 0 : yield* files(file, page);
}
