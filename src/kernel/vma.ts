// Areas of an address space: ranges of user addresses that are alike.

import type { Inode } from './mapping.ts';
import type { AddressSpace } from './mm.ts';
import { PAGE_SIZE, type Page } from './page.ts';
import type { Sleeps } from './task.ts';

// Flags of an area, by Linux's names and numbers.
export const VM_READ = 0x1;
export const VM_WRITE = 0x2;
export const VM_EXEC = 0x4;
export const VM_SHARED = 0x8;
/** What mprotect may allow, and FORCE may do. */
export const VM_MAYREAD = 0x10;
export const VM_MAYWRITE = 0x20;
export const VM_MAYEXEC = 0x40;
export const VM_MAYSHARE = 0x80;
/** A stack: grows towards lower addresses when touched just below. */
export const VM_GROWSDOWN = 0x100;
/** Page frames without descriptors: not to be referenced. */
export const VM_PFNMAP = 0x400;
export const VM_LOCKED = 0x2000;
/** Registers of a device. */
export const VM_IO = 0x4000;
/** Not copied by fork. */
export const VM_DONTCOPY = 0x20000;
export const VM_HUGETLB = 0x400000;

/** Any kind of access. */
export const VM_ACCESS = VM_READ | VM_WRITE | VM_EXEC;

/** One fault, on its way through an area's operations (Linux: struct vm_fault). */
export interface VmFault {
  /** Address of the page. */
  readonly address: number;
  /** FAULT_FLAG_… */
  readonly flags: number;
  /** Page number in the file. */
  readonly pgoff: number;
  /** Set by `fault`: the page, with a reference for the caller. */
  page: Page | null;
}

/** What an area does that is not simply a file or anonymous memory. */
export interface VmaOps {
  /**
   * Provides the page of a fault: sets `vmf.page`, or maps something itself and returns VM_FAULT_NOPAGE. Returns
   * VM_FAULT_… bits. Called with mmap_sem held for reading, which it may release only with VM_FAULT_RETRY.
   */
  readonly fault: (vma: Vma, vmf: VmFault) => Sleeps<number>;
  /** A shared page is about to be written through; as in MappingOps. */
  readonly pageMkwrite?: (vma: Vma, vmf: VmFault) => Sleeps<number>;
}

/** Addresses start..end-1 of one address space. */
export class Vma {
  readonly mm: AddressSpace;
  /** Multiple of 4096; moves down when a stack grows. */
  start: number;
  end: number;
  flags: number;
  readonly file: Inode | null;
  /** Page number in the file, or in anonymous memory, of the first page; moves with `start`. */
  pgoff: number;
  readonly ops: VmaOps | null;
  /** VM_HUGETLB: a huge page has 2^hugeOrder pages. Else 0. */
  readonly hugeOrder: number;
  /**
   * Pages held in place by a kernel that pins by address (Solaris: as_pagelock). While there are any, unmapping,
   * protecting and discarding wait, and fork copies at once what it would share.
   */
  held = 0;

  constructor(mm: AddressSpace, init: VmaInit) {
    this.mm = mm;
    this.start = init.start;
    this.end = init.end;
    this.flags = init.flags;
    this.file = init.file ?? null;
    this.pgoff = init.pgoff ?? init.start / PAGE_SIZE;
    this.ops = init.ops ?? null;
    this.hugeOrder = init.hugeOrder ?? 0;
  }

  has(flags: number): boolean {
    return (this.flags & flags) === flags;
  }

  /** Page number in the file of an address in the area. */
  pageOffset(address: number): number {
    return this.pgoff + Math.floor((address - this.start) / PAGE_SIZE);
  }

  /** Address at which a page of the file is mapped, if it lies in the area. */
  addressOf(pgoff: number): number {
    return this.start + (pgoff - this.pgoff) * PAGE_SIZE;
  }
}

export interface VmaInit {
  readonly start: number;
  readonly end: number;
  readonly flags: number;
  readonly file?: Inode | null;
  readonly pgoff?: number;
  readonly ops?: VmaOps | null;
  readonly hugeOrder?: number;
}
