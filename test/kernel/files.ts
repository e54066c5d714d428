// Files for tests of the kernel base: on a disk that takes its time, or fails.

import {
  EIO,
  Inode,
  type KernelBase,
  type MappingOps,
  PAGE_SIZE,
  type Page,
  PG_error,
  PG_uptodate,
  Timer,
} from '../../src/kernel/index.ts';

export interface DiskFile {
  readonly inode: Inode;
  /** Indexes of the pages read so far, in order. */
  readonly reads: number[];
  /** Reads of these pages fail: when they are begun, or when they end. */
  readonly failsToBegin: Set<number>;
  readonly failsToEnd: Set<number>;
}

/** Virtual ns that reading a page takes. */
export const DISK_NS = 1000;

/** Byte i of page n is (n + 1) * 16 + (i mod 16). */
export function fileByte(offset: number): number {
  return (Math.floor(offset / PAGE_SIZE) + 1) * 16 + (offset % 16);
}

export function diskFile(
  kernel: Pick<KernelBase, 'scheduler' | 'locks' | 'memory'>,
  size: number,
  ops: MappingOps = {},
): DiskFile {
  const { scheduler, locks, memory } = kernel;
  const file = { reads: [] as number[], failsToBegin: new Set<number>(), failsToEnd: new Set<number>() };
  const finish = (page: Page): void => {
    if (file.failsToEnd.has(page.index)) {
      page.set(PG_error);
    } else {
      const bytes = Uint8Array.from({ length: PAGE_SIZE }, (_, i) => fileByte(page.index * PAGE_SIZE + i));
      memory.writeBytes(page.phys, bytes);
      page.set(PG_uptodate);
    }
    locks.unlock(page);
  };
  const inode = new Inode('file', size, {
    *readpage(_inode, page) {
      file.reads.push(page.index);
      if (file.failsToBegin.has(page.index)) {
        locks.unlock(page);
        return -EIO;
      }
      scheduler.armTimer(new Timer('disk', () => finish(page)), scheduler.now() + DISK_NS);
      return 0;
    },
    ...ops,
  });
  return { inode, ...file };
}
