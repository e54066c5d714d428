// Copies between the kernel and a process: through the process's page table, faulting in what is missing.

import { type AddressSpace, TASK_SIZE } from './mm.ts';
import { PAGE_SIZE } from './page.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_READ, PTE_WRITE } from './page-table.ts';
import type { Sleeps } from './task.ts';
import type { VirtualMemory } from './vm.ts';

// What is on the kernel's side of a copy. The first three write user memory.
const FROM_BYTES = 0;
const FROM_RAM = 1;
const FROM_FILL = 2;
const TO_BYTES = 3;
const TO_RAM = 4;

const NO_BYTES = new Uint8Array(0);

/**
 * All copies return how many bytes they copied: fewer than asked when a page is missing, may not be accessed, or is no
 * RAM. (Linux's copy_to_user and copy_from_user return how many they did not.) `mm` null, for a thread of the kernel,
 * copies nothing.
 */
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
   */
  *toUser(
    mm: AddressSpace | null,
    address: number,
    bytes: Uint8Array,
    start = 0,
    length = bytes.length - start,
  ): Sleeps<number> {
    const done = this.begin(mm, address, length, FROM_BYTES, bytes, start);
    return done >= 0 ? done : yield* this.copy(mm, address, length, FROM_BYTES, bytes, start, -1 - done);
  }

  /** Reads a process's memory into `bytes`; as `toUser`. */
  *fromUser(
    mm: AddressSpace | null,
    address: number,
    bytes: Uint8Array,
    start = 0,
    length = bytes.length - start,
  ): Sleeps<number> {
    const done = this.begin(mm, address, length, TO_BYTES, bytes, start);
    return done >= 0 ? done : yield* this.copy(mm, address, length, TO_BYTES, bytes, start, -1 - done);
  }

  /** Copies RAM into a process's memory. @param phys physical address of contiguous RAM */
  *physToUser(mm: AddressSpace | null, address: number, phys: number, length: number): Sleeps<number> {
    const done = this.begin(mm, address, length, FROM_RAM, NO_BYTES, phys);
    return done >= 0 ? done : yield* this.copy(mm, address, length, FROM_RAM, NO_BYTES, phys, -1 - done);
  }

  /** Copies a process's memory into RAM. */
  *userToPhys(mm: AddressSpace | null, address: number, phys: number, length: number): Sleeps<number> {
    const done = this.begin(mm, address, length, TO_RAM, NO_BYTES, phys);
    return done >= 0 ? done : yield* this.copy(mm, address, length, TO_RAM, NO_BYTES, phys, -1 - done);
  }

  /** Fills a process's memory with one byte (Linux: clear_user, for 0). */
  *fillUser(mm: AddressSpace | null, address: number, fill: number, length: number): Sleeps<number> {
    const done = this.begin(mm, address, length, FROM_FILL, NO_BYTES, fill);
    return done >= 0 ? done : yield* this.copy(mm, address, length, FROM_FILL, NO_BYTES, fill, -1 - done);
  }

  /**
   * As `physToUser` (`write`) or `userToPhys`, in any context: stops at the first page that would fault (Linux:
   * copy_to_user_inatomic).
   */
  physNow(mm: AddressSpace | null, address: number, phys: number, length: number, write: boolean): number {
    if (mm === null || !this.accessOk(address, length) || this.vm.copyFailures.shouldFail()) return 0;
    return this.move(mm, address, length, write ? FROM_RAM : TO_RAM, NO_BYTES, phys, 0);
  }

  /** What the copy comes to if nothing has to fault; else -1 less what is done, and `copy` goes on from there. */
  private begin(
    mm: AddressSpace | null,
    address: number,
    length: number,
    kind: number,
    bytes: Uint8Array,
    start: number,
  ): number {
    this.vm.scheduler.mightSleep('user copy');
    if (mm === null || !this.accessOk(address, length) || this.vm.copyFailures.shouldFail()) return 0;
    const done = this.move(mm, address, length, kind, bytes, start, 0);
    return done === length ? done : -1 - done;
  }

  private *copy(
    mm: AddressSpace | null,
    address: number,
    length: number,
    kind: number,
    bytes: Uint8Array,
    start: number,
    done: number,
  ): Sleeps<number> {
    if (mm === null) return 0;
    while (done < length) {
      if (this.isRegister(mm, address + done)) break;
      const fault = yield* this.vm.faults.pageFault(mm, address + done, kind <= FROM_FILL);
      if (fault !== 0) break;
      done = this.move(mm, address, length, kind, bytes, start, done);
    }
    return done;
  }

  /** Moves what the page table allows, from byte `done` to the first page that it does not; returns the new `done`. */
  private move(
    mm: AddressSpace,
    address: number,
    length: number,
    kind: number,
    bytes: Uint8Array,
    start: number,
    done: number,
  ): number {
    const { pageTable } = mm;
    const write = kind <= FROM_FILL;
    const needs = write ? PTE_READ | PTE_WRITE : PTE_READ;
    const touched = write ? PTE_ACCESSED | PTE_DIRTY : PTE_ACCESSED;
    while (done < length) {
      const offset = (address + done) & (PAGE_SIZE - 1); // exact: bit operations take numbers modulo 2^32
      const at = address + done - offset;
      const bits = pageTable.bits(at);
      if ((bits & needs) !== needs) break;
      const page = pageTable.page(at);
      const pfn = page === null ? pageTable.pfn(at) : page.pfn;
      if (page === null && this.vm.frames.pfnToPage(pfn) === null) break;
      if ((bits & touched) !== touched) pageTable.setBits(at, bits | touched);
      const count = Math.min(PAGE_SIZE - offset, length - done);
      this.transfer(pfn * PAGE_SIZE + offset, kind, bytes, kind === FROM_FILL ? start : start + done, count);
      done += count;
    }
    return done;
  }

  /** True where a page is mapped that is no RAM: copies leave registers of a device alone. */
  private isRegister(mm: AddressSpace, address: number): boolean {
    const pfn = mm.pageTable.pfn(address - (address & (PAGE_SIZE - 1)));
    return pfn >= 0 && this.vm.frames.pfnToPage(pfn) === null;
  }

  private transfer(user: number, kind: number, bytes: Uint8Array, start: number, count: number): void {
    const { memory } = this.vm;
    switch (kind) {
      case FROM_BYTES:
        memory.writeBytes(user, bytes, start, count);
        break;
      case FROM_RAM:
        memory.copy(user, start, count);
        break;
      case FROM_FILL:
        memory.fill(user, start, count);
        break;
      case TO_BYTES:
        memory.readInto(user, bytes, start, count);
        break;
      default:
        memory.copy(start, user, count);
    }
  }
}
