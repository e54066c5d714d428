// What the tests of dm-io share: a controller with several disks, buffers of every kind, regions.

import { PAGE_SIZE, type Page, type Sleeps } from '../../src/kernel/index.ts';
import {
  type BlockDevice,
  bootLinux,
  type DmIoClient,
  type DmIoMemory,
  type DmIoRegion,
  type DmIoRequest,
  type IoNotifyFn,
  IS_ERR,
  type LinuxOptions,
  type PageList,
} from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { must } from './help.ts';

export const SECTOR = 512;

/** A kernel on an AHCI controller with `disks` disks of 1 MiB. */
export async function bootDisks(disks: number, options: LinuxOptions = {}) {
  const machine = await createMachine({ diskBytes: disks * 2 ** 20 + 2 ** 20 });
  const controller = machine.addController({ kind: 'ahci' });
  const media = Array.from({ length: disks }, (_, place) => {
    const disk = machine.addDisk({ bytes: 2 ** 20 });
    controller.attach(disk, place);
    return disk;
  });
  const linux = bootLinux(machine, options);
  const host = linux.scsi_add_host(controller);
  const run = <T>(body: () => Sleeps<T>): T => linux.kernel.scheduler.complete('test', body);
  const bdevs = host.disks.map(({ part0 }) => part0);
  const made = run(function* () {
    return linux.dm_io_client_create();
  });
  if (IS_ERR(made)) throw new Error('no client');
  const client: DmIoClient = made;
  return { machine, linux, host, run, bdevs, media, client };
}

export type Rig = Awaited<ReturnType<typeof bootDisks>>;

export function region(bdev: BlockDevice | undefined, sector: number, count: number): DmIoRegion {
  return { bdev: must(bdev), sector, count };
}

export function request(
  client: DmIoClient,
  bi_op: number,
  mem: DmIoMemory,
  fn: IoNotifyFn | null = null,
  context: unknown = null,
): DmIoRequest {
  return { bi_op, bi_op_flags: 0, mem, notify: { fn, context }, client };
}

/** Bytes that differ from sector to sector. */
export function pattern(bytes: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => (i * 3 + (i >>> 9) * 29 + seed) & 0xff);
}

/** Pages with these bytes, the first of them at `offset`, not one beside the other; and the list of them. */
export function pageList({ linux }: Pick<Rig, 'linux'>, bytes: Uint8Array, offset = 0) {
  const { allocator, memory } = linux.kernel;
  const pages: Page[] = [];
  const holes: Page[] = [];
  for (let at = -offset; at < bytes.length; at += PAGE_SIZE) {
    const page = must(allocator.alloc({ tag: 'test' }));
    holes.push(must(allocator.alloc({ tag: 'hole' })));
    const from = Math.max(at, 0);
    memory.fill(page.phys, 0xee, PAGE_SIZE);
    memory.writeBytes(page.phys + from - at, bytes.subarray(from, at + PAGE_SIZE));
    pages.push(page);
  }
  let pl: PageList | null = null;
  for (const page of [...pages].reverse()) pl = { next: pl, page };
  return { pages, pl: must(pl), holes };
}

/** What the pages hold from `offset` of the first one on. */
export function bytesOf(
  { linux }: Pick<Rig, 'linux'>,
  pages: readonly Page[],
  bytes: number,
  offset = 0,
): Uint8Array {
  const all = new Uint8Array(pages.length * PAGE_SIZE);
  for (const [i, page] of pages.entries())
    all.set(linux.kernel.memory.readBytes(page.phys, PAGE_SIZE), i * PAGE_SIZE);
  return all.subarray(offset, offset + bytes);
}
