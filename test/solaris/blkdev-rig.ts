// What tests of disks share: a kernel on a machine with a controller and a disk, a process whose memory is where a test
// wants it, and transfers as a driver makes them of locked memory.

import type { AddressSpace, AllocOptions, Sleeps } from '../../src/kernel/index.ts';
import { PAGE_SIZE } from '../../src/kernel/index.ts';
import {
  type Controller,
  createMachine,
  type Disk,
  type Machine,
  type MachineOptions,
} from '../../src/machine/index.ts';
import {
  B_READ,
  B_WRITE,
  type BdDisk,
  type BdHost,
  type BdOptions,
  type Buf,
  bootSolaris,
  DDI_UMEM_SLEEP,
  DDI_UMEMLOCK_READ,
  DDI_UMEMLOCK_WRITE,
  Pointer,
  type SolarisApi,
  type SolarisOptions,
  type UmemCookie,
} from '../../src/solaris/index.ts';
import { assert } from '../run/suite.ts';
import { BASE, filled, must } from './help.ts';

export const MIB = 2 ** 20;
/** Pages out of reach of all that drive 32 lines or less. */
export const HIGH: AllocOptions = { from: 2 ** 32, placement: 'scatter' };
/** Every controller, and those profiles that are narrow in a way of their own. */
export const KINDS = [
  'aha1542',
  'piix-ide',
  'ahci',
  'ahci-32bit',
  'ahci-1slot',
  'nvme',
  'nvme-nosgl',
  'nvme-mdts1',
  'virtio-blk',
  'virtio-blk-segmax1',
  'virtio-blk-sizemax4096',
  'lsi53c895a',
] as const;

export interface BdSetup {
  readonly kind?: string;
  readonly ram?: MachineOptions['ram'];
  readonly options?: SolarisOptions;
  readonly attach?: BdOptions;
  readonly disks?: number;
  readonly sectorBytes?: 512 | 4096;
  readonly diskBytes?: number;
}

export interface BdRig {
  readonly machine: Machine;
  readonly controller: Controller;
  readonly solaris: SolarisApi;
  readonly host: BdHost;
  /** The first disk, as the driver and as the machine has it. */
  readonly disk: BdDisk;
  readonly medium: Disk;
  readonly media: readonly Disk[];
}

/** A kernel on a machine with a controller and its disks, each full of bytes of its own. */
export async function bootDisk(setup: BdSetup = {}): Promise<BdRig> {
  const { kind = 'ahci', sectorBytes = 512, diskBytes = MIB } = setup;
  const machine = await createMachine({ ram: setup.ram ?? 'default', diskBytes: 8 * MIB });
  const controller = machine.addController({ kind });
  const media = Array.from({ length: setup.disks ?? 1 }, (_, place) => {
    const disk = machine.addDisk({ bytes: diskBytes, sectorBytes });
    disk.write(0, content(0, diskBytes, place));
    // An IDE cable has two drives.
    if (controller.kind === 'piix-ide') controller.attach(disk, place % 2, place >> 1);
    else controller.attach(disk, place);
    return disk;
  });
  const solaris = bootSolaris(machine, { placement: 'scatter', ...setup.options });
  const host = solaris.bd_attach(controller, setup.attach);
  machine.guard.clear();
  return { machine, controller, solaris, host, disk: must(host.disks[0]), medium: must(media[0]), media };
}

/** What a disk of bootDisk() has from byte `at` on. */
export function content(at: number, bytes: number, place = 0): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => (i + at) * 7 + ((i + at) >> 9) * 13 + place * 31);
}

/** Rules of the guard's findings. */
export function rules({ machine }: BdRig): string[] {
  return machine.guard.findings().map(({ rule }) => rule);
}

/** Runs a process with `pages` pages of memory at BASE, filled with pattern(), from where `from` says. */
export function process<T>(
  { solaris }: BdRig,
  pages: number,
  body: (as: AddressSpace) => Sleeps<T>,
  from: AllocOptions = {},
): T {
  const { vm, scheduler } = solaris.kernel;
  const as = vm.createSpace(from);
  const task = solaris.kernel.spawnProcess<T>(
    'user',
    function* () {
      yield* filled(solaris, as, pages);
      return yield* body(as);
    },
    { as },
  );
  scheduler.run({ until: task });
  return task.exitValue as T; // it ended
}

export interface Moved {
  readonly error: number;
  readonly resid: number;
  readonly count: number;
}

/** A buf over memory of the process that is locked for it. */
export interface Held {
  readonly bp: Buf;
  readonly cookie: UmemCookie;
}

export function* hold(
  { solaris, disk }: BdRig,
  address: number,
  bytes: number,
  op: 'read' | 'write',
  block: number,
  dev = disk.dev,
): Sleeps<Held> {
  const start = address - (address % PAGE_SIZE);
  const length = Math.max(1, Math.ceil((address + bytes - start) / PAGE_SIZE)) * PAGE_SIZE;
  const access = op === 'read' ? DDI_UMEMLOCK_WRITE : DDI_UMEMLOCK_READ;
  const cookiep = new Pointer<UmemCookie>();
  assert.is(yield* solaris.ddi_umem_lock(start, length, access, cookiep), 0);
  const cookie = must(cookiep.value);
  const way = op === 'read' ? B_READ : B_WRITE;
  const bp = yield* solaris.ddi_umem_iosetup(
    cookie,
    address - start,
    bytes,
    way,
    dev,
    block,
    null,
    DDI_UMEM_SLEEP,
  );
  return { bp: must(bp), cookie };
}

export function drop({ solaris }: BdRig, { bp, cookie }: Held): void {
  solaris.freerbuf(bp);
  solaris.ddi_umem_unlock(cookie);
}

/** One transfer of the process's memory, from its lock to its unlock. */
export function* move(
  rig: BdRig,
  op: 'read' | 'write',
  block: number,
  bytes: number,
  address = BASE,
): Sleeps<Moved> {
  const held = yield* hold(rig, address, bytes, op, block);
  assert.is(rig.solaris.bd_strategy(held.bp), 0);
  const error = yield* rig.solaris.biowait(held.bp);
  const { b_resid: resid, b_bcount: count } = held.bp;
  drop(rig, held);
  return { error, resid, count };
}

/** What is in use beside what the driver has for good: pages, objects, bindings. */
export function inUse({ solaris }: BdRig): unknown {
  const { allocator } = solaris.kernel;
  return [
    [...allocator.usage()].sort(([a], [b]) => (a < b ? -1 : 1)),
    [...solaris.kmem_in_use()].filter(([name]) => name !== 'ddi_dma_handle'),
    [...solaris.dma_bound()].length,
  ];
}
