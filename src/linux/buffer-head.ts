// struct buffer_head and its flags (include/linux/buffer_head.h of 3.10): one block of a device in memory, or, as the
// argument of a get_block function, where a block of a file is. The functions that need a kernel are in buffer.ts and
// buffer-page.ts.

import {
  type Inode,
  KernelBug,
  type NoSleep,
  type Page,
  PG_private,
  pageName,
  type Sleeps,
  type WaitQueue,
} from '../kernel/index.ts';
import type { BlockDevice } from './bio-struct.ts';

// ---- b_state: bit numbers, as the kernel's enum has them.

/** Its bytes are valid. */
export const BH_Uptodate = 0;
/** They changed since they were last written. */
export const BH_Dirty = 1;
export const BH_Lock = 2;
/** Has been submitted for I/O. */
export const BH_Req = 3;
/** Has a disk block: b_bdev and b_blocknr say which. */
export const BH_Mapped = 5;
/** get_block allocated the block just now. */
export const BH_New = 6;
/** Is being read, and its page unlocks when the last of these has ended. */
export const BH_Async_Read = 7;
/** Is being written, and the writeback of its page ends with the last of these. */
export const BH_Async_Write = 8;
/** Has no disk block yet, but will get one. */
export const BH_Delay = 9;
/** To find the block after this one the file system has to read: push what has been gathered. */
export const BH_Boundary = 10;
/** It could not be written. */
export const BH_Write_EIO = 11;
/** Has a disk block that was never written. */
export const BH_Unwritten = 12;

/** Most blocks of a page: those of 512 bytes. */
export const MAX_BUF_PER_PAGE = 8;

/** Called when the I/O of a buffer has ended, in any context. */
export type BhEndIo = (bh: BufferHead, uptodate: boolean) => NoSleep;

/** A block. `new BufferHead()` is the one on a caller's stack that a get_block function fills. */
export class BufferHead {
  /** 1 << BH_… */
  b_state = 0;
  /** The next block of the same page; the last one's is the first. */
  b_this_page: BufferHead | null = null;
  b_page: Page | null = null;
  /** In blocks of b_size bytes; of a mapping the first. */
  b_blocknr = 0;
  /** Bytes; of a mapping how many are wanted, and how many follow each other on the disk. */
  b_size = 0;
  /** Kernel address of its bytes. */
  b_data = 0;
  b_bdev: BlockDevice | null = null;
  b_end_io: BhEndIo | null = null;
  b_private: unknown = null;
  /** References: its page keeps its buffers while there are any. */
  b_count = 0;
  /** Sleepers for its lock; made when first needed. */
  waiters: WaitQueue | null = null;

  /** Makes it as new, but for who waits. */
  reset(): void {
    this.b_state = this.b_blocknr = this.b_size = this.b_data = this.b_count = 0;
    this.b_this_page = null;
    this.b_page = null;
    this.b_bdev = null;
    this.b_end_io = null;
    this.b_private = null;
  }
}

/**
 * Maps block `iblock` of a file, and as many as follow each other on the disk, at most bh_result.b_size bytes: sets
 * BH_Mapped, b_bdev, b_blocknr and b_size. Leaves a hole unmapped. With `create` a hole gets a block. Returns 0 or a
 * negative errno.
 */
export type GetBlock = (
  inode: Inode,
  iblock: number,
  bh_result: BufferHead,
  create: boolean,
) => Sleeps<number>;

/** A mounted file system (struct super_block), as far as its blocks go. */
export interface SuperBlock {
  readonly s_bdev: BlockDevice;
  readonly s_blocksize: number;
  readonly s_blocksize_bits: number;
}

export function buffer_uptodate(bh: BufferHead): boolean {
  return (bh.b_state & (1 << BH_Uptodate)) !== 0;
}

export function set_buffer_uptodate(bh: BufferHead): void {
  bh.b_state |= 1 << BH_Uptodate;
}

export function clear_buffer_uptodate(bh: BufferHead): void {
  bh.b_state &= ~(1 << BH_Uptodate);
}

export function buffer_dirty(bh: BufferHead): boolean {
  return (bh.b_state & (1 << BH_Dirty)) !== 0;
}

export function set_buffer_dirty(bh: BufferHead): void {
  bh.b_state |= 1 << BH_Dirty;
}

export function clear_buffer_dirty(bh: BufferHead): void {
  bh.b_state &= ~(1 << BH_Dirty);
}

/** Clears the flag and says whether it was set. */
export function test_clear_buffer_dirty(bh: BufferHead): boolean {
  const was = buffer_dirty(bh);
  clear_buffer_dirty(bh);
  return was;
}

export function buffer_locked(bh: BufferHead): boolean {
  return (bh.b_state & (1 << BH_Lock)) !== 0;
}

export function buffer_mapped(bh: BufferHead): boolean {
  return (bh.b_state & (1 << BH_Mapped)) !== 0;
}

export function clear_buffer_mapped(bh: BufferHead): void {
  bh.b_state &= ~(1 << BH_Mapped);
}

export function buffer_new(bh: BufferHead): boolean {
  return (bh.b_state & (1 << BH_New)) !== 0;
}

export function set_buffer_new(bh: BufferHead): void {
  bh.b_state |= 1 << BH_New;
}

export function clear_buffer_new(bh: BufferHead): void {
  bh.b_state &= ~(1 << BH_New);
}

export function buffer_boundary(bh: BufferHead): boolean {
  return (bh.b_state & (1 << BH_Boundary)) !== 0;
}

/** For get_block functions: finding the block after this run takes a read. */
export function set_buffer_boundary(bh: BufferHead): void {
  bh.b_state |= 1 << BH_Boundary;
}

export function clear_buffer_boundary(bh: BufferHead): void {
  bh.b_state &= ~(1 << BH_Boundary);
}

export function buffer_write_io_error(bh: BufferHead): boolean {
  return (bh.b_state & (1 << BH_Write_EIO)) !== 0;
}

/** Gives a buffer its disk block. Its size becomes the file system's: who maps more sets b_size afterwards. */
export function map_bh(bh: BufferHead, sb: SuperBlock, block: number): void {
  bh.b_state |= 1 << BH_Mapped;
  bh.b_bdev = sb.s_bdev;
  bh.b_blocknr = block;
  bh.b_size = sb.s_blocksize;
}

/** Says which bytes of a page are the buffer's. */
export function set_bh_page(bh: BufferHead, page: Page, offset: number): void {
  bh.b_page = page;
  bh.b_data = page.phys + offset;
}

/** Offset of its bytes in its page. */
export function bh_offset(bh: BufferHead): number {
  return bh.b_page === null ? 0 : bh.b_data - bh.b_page.phys;
}

export function page_has_buffers(page: Page): boolean {
  return (page.flags & PG_private) !== 0;
}

/** The first buffer of a page. @throws KernelBug `page-buffers` when it has none */
export function page_buffers(page: Page): BufferHead {
  if (!page_has_buffers(page) || !(page.private instanceof BufferHead))
    throw new KernelBug('page-buffers', 'the page has no buffers', pageName(page));
  return page.private;
}

/** The buffer behind this one in the same page; after the last the first. */
export function next_buffer(bh: BufferHead): BufferHead {
  if (bh.b_this_page === null) throw new KernelBug('page-buffers', 'the buffer is not in a page');
  return bh.b_this_page;
}
