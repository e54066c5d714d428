// What tests of user memory share: processes, their bytes, and a check that nothing is left behind.

import {
  type AddressSpace,
  PAGE_SIZE,
  type Page,
  type Sleeps,
  type Task,
  VM_READ,
  VM_WRITE,
} from '../../src/kernel/index.ts';
import type { LinuxApi } from '../../src/linux/index.ts';
import { assert } from '../run/suite.ts';

export const RW = VM_READ | VM_WRITE;
/** Where tests map memory. */
export const BASE = 0x100000;

/**
 * Runs a body as a process of its own and returns its value. When the process has gone, its memory must be free, and
 * every object and page that was allocated meanwhile given back.
 */
export function asUser<T>(linux: LinuxApi, body: (mm: AddressSpace, task: Task<T>) => Sleeps<T>): T {
  const { allocator, scheduler, spawnProcess } = linux.kernel;
  const pages = () => [...allocator.usage()].sort(([a], [b]) => (a < b ? -1 : 1));
  const pagesBefore = pages();
  const before = linux.slab_in_use();
  const task = spawnProcess<T>('user', (self, mm) => body(mm, self));
  scheduler.run({ until: task });
  assert.equal(pages(), pagesBefore, 'pages left behind');
  assert.is(linux.nr_bounce(), 0);
  assert.equal(linux.slab_in_use(), before, 'objects left behind');
  return task.exitValue as T; // it ended
}

/** Maps private anonymous memory at an address; fails the test if it cannot. */
export function* map(mm: AddressSpace, address: number, pages: number, prot = RW): Sleeps<void> {
  const at = yield* mm.mmap({ address, length: pages * PAGE_SIZE, prot });
  assert.is(at, address);
}

/** Writes as the process would: with page faults. */
export function* poke(linux: LinuxApi, mm: AddressSpace, address: number, bytes: Uint8Array): Sleeps<void> {
  assert.is(yield* linux.kernel.vm.userCopy.toUser(mm, address, bytes), bytes.length);
}

/** Reads as the process would. */
export function* peek(
  linux: LinuxApi,
  mm: AddressSpace,
  address: number,
  length: number,
): Sleeps<Uint8Array> {
  const bytes = new Uint8Array(length);
  assert.is(yield* linux.kernel.vm.userCopy.fromUser(mm, address, bytes), length);
  return bytes;
}

/** Bytes that differ from place to place and from seed to seed. */
export function pattern(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8) * 13 + seed * 31) & 0xff);
}

/** The page of the process at an address. */
export function pageAt(mm: AddressSpace, address: number): Page {
  const page = mm.pageTable.page(address - (address % PAGE_SIZE));
  if (page === null) throw new Error(`no page at 0x${address.toString(16)}`);
  return page;
}
