// Copies between the kernel and a process: through the process's page table, faulting in what is missing.

import { type AddressSpace, TASK_SIZE } from './mm.ts';
import { PAGE_SIZE } from './page.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_READ, PTE_WRITE } from './page-table.ts';
import type { Sleeps } from './task.ts';
import type { VirtualMemory } from './vm.ts';

/** One side of a copy is user memory; this is the other: bytes of JavaScript, RAM, or zeros. */
type Kernel =
  | { readonly bytes: Uint8Array; readonly start: number }
  | { readonly phys: number }
  | { readonly fill: number };

export class UserCopy {
  private readonly vm: VirtualMemory;

  constructor(vm: VirtualMemory) {
    this.vm = vm;
  }

  /** True when the range lies in what users may have at all (Linux: access_ok); nothing need be mapped there. */
  accessOk(address: number, length: number): boolean {
    return address >= 0 && length >= 0 && address + length <= TASK_SIZE;
  }

  /**
   * Writes bytes into a process's memory.
   * @param start index of the first byte, default 0
   * @param length default: to the end
   * @returns how many bytes were copied: fewer than asked when a page is missing or may not be written. (Linux's
   *   copy_to_user returns the others.)
   */
  *toUser(
    mm: AddressSpace | null,
    address: number,
    bytes: Uint8Array,
    start = 0,
    length = bytes.length - start,
  ): Sleeps<number> {
    return yield* this.copy(mm, address, length, { bytes, start }, true);
  }

  /** Reads a process's memory into `bytes`; as `toUser`. */
  *fromUser(
    mm: AddressSpace | null,
    address: number,
    bytes: Uint8Array,
    start = 0,
    length = bytes.length - start,
  ): Sleeps<number> {
    return yield* this.copy(mm, address, length, { bytes, start }, false);
  }

  /** Copies RAM into a process's memory; returns how many bytes. @param phys physical address of contiguous RAM */
  *physToUser(mm: AddressSpace | null, address: number, phys: number, length: number): Sleeps<number> {
    return yield* this.copy(mm, address, length, { phys }, true);
  }

  /** Copies a process's memory into RAM; returns how many bytes. */
  *userToPhys(mm: AddressSpace | null, address: number, phys: number, length: number): Sleeps<number> {
    return yield* this.copy(mm, address, length, { phys }, false);
  }

  /** Fills a process's memory with one byte (Linux: clear_user, for 0); returns how many bytes. */
  *fillUser(mm: AddressSpace | null, address: number, fill: number, length: number): Sleeps<number> {
    return yield* this.copy(mm, address, length, { fill }, true);
  }

  /**
   * As `physToUser` (`write`) or `userToPhys`, in any context: stops at the first page that would fault (Linux:
   * copy_to_user_inatomic). The fast half of both.
   */
  physNow(mm: AddressSpace | null, address: number, phys: number, length: number, write: boolean): number {
    if (mm === null || !this.accessOk(address, length) || this.vm.copyFailures.shouldFail()) return 0;
    return this.move(mm, address, length, { phys }, 0, write);
  }

  private *copy(
    mm: AddressSpace | null,
    address: number,
    length: number,
    kernel: Kernel,
    write: boolean,
  ): Sleeps<number> {
    this.vm.scheduler.mightSleep('user copy');
    if (mm === null || !this.accessOk(address, length) || this.vm.copyFailures.shouldFail()) return 0;
    let done = this.move(mm, address, length, kernel, 0, write);
    while (done < length) {
      if (this.isRegister(mm, address + done)) break;
      const fault = yield* this.vm.faults.pageFault(mm, address + done, write);
      if (fault !== 0) break;
      done += this.move(mm, address + done, length - done, kernel, done, write);
    }
    return done;
  }

  /** Moves what the page table allows, up to the first page that it does not; returns how many bytes. */
  private move(
    mm: AddressSpace,
    address: number,
    length: number,
    kernel: Kernel,
    skip: number,
    write: boolean,
  ): number {
    const { pageTable } = mm;
    const needs = write ? PTE_READ | PTE_WRITE : PTE_READ;
    const touched = write ? PTE_ACCESSED | PTE_DIRTY : PTE_ACCESSED;
    let done = 0;
    while (done < length) {
      const offset = (address + done) & (PAGE_SIZE - 1); // exact: bit operations take numbers modulo 2^32
      const at = address + done - offset;
      const bits = pageTable.bits(at);
      if ((bits & needs) !== needs) break;
      const pfn = pageTable.pfn(at);
      if (this.vm.frames.pfnToPage(pfn) === null) break;
      if ((bits & touched) !== touched) pageTable.setBits(at, bits | touched);
      const count = Math.min(PAGE_SIZE - offset, length - done);
      this.transfer(pfn * PAGE_SIZE + offset, kernel, skip + done, count, write);
      done += count;
    }
    return done;
  }

  /** True where a page is mapped that is no RAM: copies leave registers of a device alone. */
  private isRegister(mm: AddressSpace, address: number): boolean {
    const pfn = mm.pageTable.pfn(address - (address & (PAGE_SIZE - 1)));
    return pfn >= 0 && this.vm.frames.pfnToPage(pfn) === null;
  }

  private transfer(user: number, kernel: Kernel, at: number, count: number, write: boolean): void {
    const { memory } = this.vm;
    if ('phys' in kernel) {
      if (write) memory.copy(user, kernel.phys + at, count);
      else memory.copy(kernel.phys + at, user, count);
    } else if ('fill' in kernel) {
      memory.fill(user, kernel.fill, count);
    } else if (write) {
      memory.writeBytes(user, kernel.bytes, kernel.start + at, count);
    } else {
      memory.readInto(user, kernel.bytes, kernel.start + at, count);
    }
  }
}
