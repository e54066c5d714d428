// What tests of the Solaris kernel share.

import { type AddressSpace, PAGE_SIZE, type Sleeps, VM_READ, VM_WRITE } from '../../src/kernel/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import {
  B_READ,
  type Buf,
  bootSolaris,
  DDI_UMEM_SLEEP,
  DDI_UMEMLOCK_WRITE,
  KM_SLEEP,
  Pointer,
  type Proc,
  type ProcessOptions,
  type SolarisApi,
  type SolarisOptions,
  type UmemCookie,
} from '../../src/solaris/index.ts';
import { assert } from '../run/suite.ts';

export { assertBug, assertDeadlock } from '../kernel/help.ts';

export const RW = VM_READ | VM_WRITE;
/** Where tests map memory. */
export const BASE = 0x100000;
/** Priority of the usual disk controller's interrupt. */
export const DISK_INTR = 5;

/** A kernel on a small machine of its own. */
export async function boot(options: SolarisOptions = {}): Promise<SolarisApi> {
  return bootSolaris(await createMachine({ ram: 'small' }), options);
}

/** Runs a body in a thread of the kernel, to its end, and returns its value. */
export function inThread<T>(solaris: SolarisApi, body: () => Sleeps<T>): T {
  return solaris.kernel.scheduler.complete('test', body);
}

/** Runs something in a disk's interrupt. */
export function inInterrupt<T>(solaris: SolarisApi, body: () => T, priority = DISK_INTR): T {
  return solaris.kernel.cpu.interrupt('test', priority, body);
}

/**
 * Runs a body as a process of its own and returns its value. When the process has gone, its memory must be free, and
 * every object and page that was allocated meanwhile given back.
 */
export function asUser<T>(
  solaris: SolarisApi,
  body: (as: AddressSpace, proc: Proc) => Sleeps<T>,
  options: ProcessOptions = {},
): T {
  const { allocator, scheduler } = solaris.kernel;
  const use = () => [[...allocator.usage()].sort(([a], [b]) => (a < b ? -1 : 1)), [...solaris.kmem_in_use()]];
  const before = use();
  const task = solaris.kernel.spawnProcess<T>('user', (proc, as) => body(as, proc), options);
  scheduler.run({ until: task });
  assert.equal(use(), before, 'pages or objects left behind');
  return task.exitValue as T; // it ended
}

/** The value, where a test is sure that there is one. */
export function must<T>(value: T | null | undefined): T {
  if (value === null || value === undefined) throw new Error('NULL');
  return value;
}

/** A header of getrbuf(). */
export function aBuf(solaris: SolarisApi): Buf {
  return must(inThread(solaris, () => solaris.getrbuf(KM_SLEEP)));
}

/** Maps private anonymous memory at an address; fails the test if it cannot. */
export function* map(as: AddressSpace, address: number, pages: number, prot = RW): Sleeps<void> {
  const at = yield* as.mmap({ address, length: pages * PAGE_SIZE, prot });
  assert.is(at, address);
}

/** Writes as the process would: with page faults. */
export function* poke(
  solaris: SolarisApi,
  as: AddressSpace,
  address: number,
  bytes: Uint8Array,
): Sleeps<void> {
  assert.is(yield* solaris.kernel.vm.userCopy.toUser(as, address, bytes), bytes.length);
}

/** Reads as the process would. */
export function* peek(
  solaris: SolarisApi,
  as: AddressSpace,
  address: number,
  length: number,
): Sleeps<Uint8Array> {
  const bytes = new Uint8Array(length);
  assert.is(yield* solaris.kernel.vm.userCopy.fromUser(as, address, bytes), length);
  return bytes;
}

/** Bytes that differ from place to place and from seed to seed. */
export function pattern(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8) * 13 + seed * 31) & 0xff);
}

/** Maps and fills memory. */
export function* filled(
  solaris: SolarisApi,
  as: AddressSpace,
  pages: number,
  address = BASE,
): Sleeps<Uint8Array> {
  yield* map(as, address, pages);
  const bytes = pattern(pages * PAGE_SIZE);
  yield* poke(solaris, as, address, bytes);
  return bytes;
}

/** Locks memory that is there; fails the test if it cannot. */
export function* locked(
  solaris: SolarisApi,
  pages: number,
  flags = DDI_UMEMLOCK_WRITE,
  address = BASE,
): Sleeps<UmemCookie> {
  const cookiep = new Pointer<UmemCookie>();
  assert.is(yield* solaris.ddi_umem_lock(address, pages * PAGE_SIZE, flags, cookiep), 0);
  return must(cookiep.value);
}

/** A buf over a part of a cookie. */
export function* setup(
  solaris: SolarisApi,
  cookie: UmemCookie,
  off: number,
  len: number,
  direction = B_READ,
): Sleeps<Buf> {
  return must(yield* solaris.ddi_umem_iosetup(cookie, off, len, direction, 7, 100, null, DDI_UMEM_SLEEP));
}
