// Faults in areas of huge pages (Linux: hugetlb). Such a page is a compound, entered as a whole and counted once.
// There is no zero page, and nothing here sleeps.

import {
  FAULT_FLAG_UNSHARE,
  FAULT_FLAG_WRITE,
  VM_FAULT_HWPOISON_LARGE,
  VM_FAULT_OOM,
  VM_FAULT_SIGBUS,
  VM_FAULT_WRITE,
} from './fault-flags.ts';
import { PAGE_SIZE, type Page, PG_huge, PG_uptodate } from './page.ts';
import {
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_HUGE,
  PTE_HWPOISON,
  PTE_PRESENT,
  PTE_READ,
  PTE_WRITE,
} from './page-table.ts';
import type { VirtualMemory } from './vm.ts';
import { VM_ACCESS, VM_SHARED, VM_WRITE, type Vma } from './vma.ts';

/** Resolves a fault at the address of a page; returns VM_FAULT_… bits. */
export function hugeFault(vm: VirtualMemory, vma: Vma, at: number, flags: number): number {
  const bytes = PAGE_SIZE << vma.hugeOrder;
  const base = vma.start + Math.floor((at - vma.start) / bytes) * bytes;
  const { pageTable } = vma.mm;
  const bits = pageTable.bits(base);
  if ((bits & PTE_HWPOISON) !== 0) return VM_FAULT_HWPOISON_LARGE;
  const own = (flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE)) !== 0;
  if (bits === 0) return vma.file === null ? fresh(vm, vma, base, flags) : fromFile(vm, vma, base, flags);
  if (!own || (bits & PTE_WRITE) !== 0) return 0;
  const page = pageTable.page(base);
  if (page === null) return VM_FAULT_SIGBUS;
  if (page.anon && page.mapcount > 1) return copy(vm, vma, base, page, flags);
  if (!page.anon && (vma.flags & VM_SHARED) === 0) return copy(vm, vma, base, page, flags);
  if ((flags & FAULT_FLAG_WRITE) === 0) return 0;
  if (!page.anon) vm.locks.setDirty(page);
  const writable = (vma.flags & VM_WRITE) !== 0 ? PTE_WRITE : 0;
  for (let i = 0; i < 1 << vma.hugeOrder; i++) {
    pageTable.setBits(base + i * PAGE_SIZE, bits | writable | PTE_DIRTY);
  }
  return VM_FAULT_WRITE;
}

function fresh(vm: VirtualMemory, vma: Vma, base: number, flags: number): number {
  const head = allocate(vm, vma, true);
  if (head === null) return VM_FAULT_OOM;
  enterOwn(vm, vma, base, head, flags);
  return 0;
}

function fromFile(vm: VirtualMemory, vma: Vma, base: number, flags: number): number {
  const { file } = vma;
  const index = vma.pageOffset(base);
  if (file === null || index * PAGE_SIZE >= file.size) return VM_FAULT_SIGBUS;
  let head = file.mapping.find(index);
  if (head === null) {
    head = allocate(vm, vma, true);
    if (head === null) return VM_FAULT_OOM;
    head.set(PG_uptodate);
    file.mapping.add(head, index); // there is none: nothing slept since
  }
  if (head.poisoned) return VM_FAULT_HWPOISON_LARGE;
  const own = (flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE)) !== 0;
  if (own && (vma.flags & VM_SHARED) === 0) return copy(vm, vma, base, head, flags);
  vm.allocator.get(head);
  const write = (flags & FAULT_FLAG_WRITE) !== 0;
  if (write) vm.locks.setDirty(head);
  enter(vm, vma, base, head, write);
  return 0;
}

function copy(vm: VirtualMemory, vma: Vma, base: number, from: Page, flags: number): number {
  const head = allocate(vm, vma, false);
  if (head === null) return VM_FAULT_OOM;
  vm.memory.copy(head.phys, from.phys, PAGE_SIZE << vma.hugeOrder);
  vma.mm.unmapRange(base, base + (PAGE_SIZE << vma.hugeOrder), 'copy');
  enterOwn(vm, vma, base, head, flags);
  return VM_FAULT_WRITE;
}

function allocate(vm: VirtualMemory, vma: Vma, zero: boolean): Page | null {
  const head = vm.allocator.alloc({ ...vma.mm.pages, order: vma.hugeOrder, zero, tag: 'huge' });
  if (head === null) return null;
  for (let i = 0; i < 1 << vma.hugeOrder; i++) vm.frames.compoundPage(head, i).set(PG_huge);
  return head;
}

function enterOwn(vm: VirtualMemory, vma: Vma, base: number, head: Page, flags: number): void {
  head.set(PG_uptodate);
  head.anon = true;
  head.index = vma.pageOffset(base);
  enter(vm, vma, base, head, (flags & FAULT_FLAG_WRITE) !== 0);
}

/** Enters the whole huge page; the caller's reference becomes the entries'. */
function enter(vm: VirtualMemory, vma: Vma, base: number, head: Page, write: boolean): void {
  const writable = write && (vma.flags & VM_WRITE) !== 0 ? PTE_WRITE : 0;
  const readable = (vma.flags & VM_ACCESS) !== 0 ? PTE_READ : 0;
  const bits = PTE_PRESENT | PTE_HUGE | PTE_ACCESSED | readable | (write ? PTE_DIRTY : 0) | writable;
  for (let i = 0; i < 1 << vma.hugeOrder; i++) {
    vma.mm.pageTable.set(base + i * PAGE_SIZE, vm.frames.compoundPage(head, i), bits);
  }
  head._mapcount++;
  vma.mm.resident += 1 << vma.hugeOrder;
}
