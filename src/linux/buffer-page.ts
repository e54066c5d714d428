// Pages of files by their buffers (fs/buffer.c of 3.10): what mpage falls back to, one bio a block.

import {
  type AddressSpaceMapping,
  type Inode,
  KernelBug,
  type MappingOps,
  PAGE_SIZE,
  type Page,
  PG_dirty,
  PG_error,
  PG_locked,
  PG_mappedtodisk,
  PG_uptodate,
  type Sleeps,
} from '../kernel/index.ts';
import { READ, REQ_SYNC, WRITE } from './bio-struct.ts';
import {
  BH_Async_Read,
  BH_Async_Write,
  BH_Delay,
  BH_Dirty,
  BH_New,
  BH_Req,
  BH_Uptodate,
  BH_Write_EIO,
  type BufferHead,
  buffer_dirty,
  buffer_mapped,
  buffer_new,
  buffer_uptodate,
  clear_buffer_dirty,
  clear_buffer_mapped,
  clear_buffer_new,
  clear_buffer_uptodate,
  type GetBlock,
  next_buffer,
  page_buffers,
  page_has_buffers,
  set_buffer_dirty,
  set_buffer_uptodate,
  test_clear_buffer_dirty,
} from './buffer-head.ts';
import { EIO } from './errno.ts';
import type { Linux } from './kernel.ts';
import { WB_SYNC_NONE, type WritebackControl } from './page-writeback.ts';

const ASYNC_READ = 1 << BH_Async_Read;
const ASYNC_WRITE = 1 << BH_Async_Write;

export function createBufferPage(k: Linux) {
  const { locks, memory } = k;

  /** The mapping of a page that is locked, and so stays where it is. */
  function mappingOf(page: Page, where: string): AddressSpaceMapping {
    if (!page.has(PG_locked)) throw new KernelBug('page-lock', 'the page is not locked', where);
    if (page.mapping === null) throw new KernelBug('page-cache', 'the page is in no cache', where);
    return page.mapping;
  }

  function zeroPart(bh: BufferHead): void {
    memory.fill(bh.b_data, 0, bh.b_size);
  }

  // ---- reading

  /** BRFP-04: the page unlocks when its last buffer has ended. Any context. */
  function readEnd(bh: BufferHead, uptodate: boolean): void {
    const page = bh.b_page as Page; // it was submitted with one
    if (uptodate) {
      set_buffer_uptodate(bh);
    } else {
      clear_buffer_uptodate(bh);
      page.set(PG_error);
    }
    bh.b_state &= ~ASYNC_READ;
    k.buffer.unlock_buffer(bh);
    let all = true;
    let other = bh;
    do {
      if ((other.b_state & ASYNC_READ) !== 0) return;
      if (!buffer_uptodate(other)) all = false;
      other = next_buffer(other);
    } while (other !== bh);
    if (all && !page.has(PG_error)) page.set(PG_uptodate);
    locks.unlock(page);
  }

  /** Maps a buffer for reading; true when it has to be read. A hole becomes zeros. */
  function* mapForRead(
    inode: Inode,
    page: Page,
    bh: BufferHead,
    iblock: number,
    get_block: GetBlock,
  ): Sleeps<boolean> {
    if (buffer_mapped(bh)) return true;
    let error = 0;
    if (iblock < Math.ceil(inode.size / bh.b_size)) {
      error = yield* get_block(inode, iblock, bh, false);
      if (error !== 0) page.set(PG_error);
    }
    if (buffer_mapped(bh)) return !buffer_uptodate(bh); // get_block may have filled it
    zeroPart(bh);
    if (error === 0) set_buffer_uptodate(bh);
    return false;
  }

  function* readFullPage(page: Page, get_block: GetBlock): Sleeps<number> {
    const inode = mappingOf(page, 'block_read_full_page').host;
    const blocksize = 1 << inode.blkbits;
    if (!page_has_buffers(page)) yield* k.buffer.create_empty_buffers(page, blocksize, 0);
    const head = page_buffers(page);
    const wanted: BufferHead[] = [];
    let iblock = page.index * (PAGE_SIZE / blocksize);
    let mapped = true;
    for (let bh = head; ; iblock++) {
      if (!buffer_uptodate(bh)) {
        if (yield* mapForRead(inode, page, bh, iblock, get_block)) wanted.push(bh);
        if (!buffer_mapped(bh)) mapped = false;
      }
      bh = next_buffer(bh);
      if (bh === head) break;
    }
    if (mapped) page.set(PG_mappedtodisk);
    if (wanted.length === 0) {
      if (!page.has(PG_error)) page.set(PG_uptodate);
      locks.unlock(page);
      return 0;
    }
    for (const bh of wanted) {
      yield* k.buffer.lock_buffer(bh);
      bh.b_end_io = readEnd;
      bh.b_state |= ASYNC_READ;
    }
    for (const bh of wanted) {
      if (buffer_uptodate(bh)) readEnd(bh, true);
      else yield* k.buffer.submit_bh(READ, bh);
    }
    return 0;
  }

  // ---- writing

  function writeEnd(bh: BufferHead, uptodate: boolean): void {
    const page = bh.b_page as Page; // it was submitted with one
    if (uptodate) {
      set_buffer_uptodate(bh);
    } else {
      k.warnings.warn('buffer', 'lost page write due to I/O error', bh.b_bdev?.bd_name ?? '');
      if (page.mapping !== null) page.mapping.error = -EIO;
      bh.b_state |= 1 << BH_Write_EIO;
      clear_buffer_uptodate(bh);
      page.set(PG_error);
    }
    bh.b_state &= ~ASYNC_WRITE;
    k.buffer.unlock_buffer(bh);
    let other = bh;
    do {
      if ((other.b_state & ASYNC_WRITE) !== 0) return;
      other = next_buffer(other);
    } while (other !== bh);
    locks.endWriteback(page);
  }

  /** Gives every dirty buffer of a page inside of the file a block; a negative errno when one can have none. */
  function* mapForWrite(inode: Inode, page: Page, get_block: GetBlock): Sleeps<number> {
    const head = page_buffers(page);
    const last_block = Math.floor((inode.size - 1) / head.b_size);
    let block = page.index * (PAGE_SIZE / head.b_size);
    for (let bh = head; ; block++) {
      if (block > last_block) {
        clear_buffer_dirty(bh); // what lies beyond the end is not the file's
        set_buffer_uptodate(bh);
      } else if (buffer_dirty(bh) && (!buffer_mapped(bh) || (bh.b_state & (1 << BH_Delay)) !== 0)) {
        const error = yield* get_block(inode, block, bh, true);
        if (error !== 0) return error;
        bh.b_state &= ~(1 << BH_Delay);
        if (buffer_new(bh) && bh.b_bdev !== null) {
          clear_buffer_new(bh);
          yield* k.blockDev.unmap_underlying_metadata(bh.b_bdev, bh.b_blocknr, bh.b_size);
        }
      }
      bh = next_buffer(bh);
      if (bh === head) return 0;
    }
  }

  /** Locks the dirty buffers of a page that have a block, and marks them as being written. */
  function* claimDirty(page: Page, wbc: WritebackControl): Sleeps<BufferHead[]> {
    const claimed: BufferHead[] = [];
    const head = page_buffers(page);
    let bh = head;
    do {
      if (buffer_mapped(bh) && (yield* lockForWrite(page, bh, wbc))) {
        bh.b_end_io = writeEnd;
        bh.b_state |= ASYNC_WRITE;
        claimed.push(bh);
      }
      bh = next_buffer(bh);
    } while (bh !== head);
    return claimed;
  }

  /** Locks a buffer if it is dirty, and marks it as clean; who only cleans up does not wait for a lock. */
  function* lockForWrite(page: Page, bh: BufferHead, wbc: WritebackControl): Sleeps<boolean> {
    if (!k.buffer.trylock_buffer(bh)) {
      if (wbc.sync_mode === WB_SYNC_NONE) {
        k.pageWriteback.redirty_page_for_writepage(wbc, page);
        return false;
      }
      yield* k.buffer.lock_buffer(bh);
    }
    if (test_clear_buffer_dirty(bh)) return true;
    k.buffer.unlock_buffer(bh);
    return false;
  }

  /** What cannot get a block is not dirty any more: the error is noted, and it would stay so for ever. */
  function giveUpUnmapped(page: Page): void {
    const head = page_buffers(page);
    let bh = head;
    do {
      if (!buffer_mapped(bh)) clear_buffer_dirty(bh);
      bh = next_buffer(bh);
    } while (bh !== head);
  }

  function* writeFullPage(page: Page, get_block: GetBlock, wbc: WritebackControl): Sleeps<number> {
    const mapping = mappingOf(page, 'block_write_full_page');
    const { host: inode } = mapping;
    const inFile = Math.min(inode.size - page.index * PAGE_SIZE, PAGE_SIZE);
    if (inFile <= 0) {
      yield* invalidate(page); // truncated
      locks.unlock(page);
      return 0;
    }
    memory.fill(page.phys + inFile, 0, PAGE_SIZE - inFile);
    if (!page_has_buffers(page)) {
      const state = (1 << BH_Dirty) | (1 << BH_Uptodate);
      yield* k.buffer.create_empty_buffers(page, 1 << inode.blkbits, state);
    }
    const error = yield* mapForWrite(inode, page, get_block);
    if (error !== 0) {
      page.set(PG_error);
      mapping.error = error;
      giveUpUnmapped(page);
    }
    const claimed = yield* claimDirty(page, wbc);
    if (!locks.startWriteback(page)) throw new KernelBug('page-writeback', 'written twice at once');
    locks.unlock(page);
    for (const bh of claimed) {
      yield* k.buffer.submit_bh(WRITE | (wbc.sync_mode === WB_SYNC_NONE ? 0 : REQ_SYNC), bh);
    }
    if (claimed.length === 0) locks.endWriteback(page);
    return error;
  }

  // ---- leaving the cache

  /** Takes all that is known about the disk off the buffers of a locked page, and the buffers off the page. */
  function* invalidate(page: Page): Sleeps<void> {
    if (!page_has_buffers(page)) return;
    const head = page_buffers(page);
    let bh = head;
    do {
      yield* k.buffer.lock_buffer(bh);
      clear_buffer_dirty(bh);
      clear_buffer_mapped(bh);
      bh.b_bdev = null;
      bh.b_state &= ~((1 << BH_Req) | (1 << BH_New) | (1 << BH_Delay));
      k.buffer.unlock_buffer(bh);
      bh = next_buffer(bh);
    } while (bh !== head);
    k.buffer.try_to_free_buffers(page);
  }

  function setDirty(page: Page): boolean {
    if (page_has_buffers(page)) {
      const head = page_buffers(page);
      let bh = head;
      do {
        set_buffer_dirty(bh);
        bh = next_buffer(bh);
      } while (bh !== head);
    }
    return !page.testSet(PG_dirty);
  }

  /** What a file system whose pages can have buffers does when pages are dirtied or leave the cache. */
  const buffer_page_ops: MappingOps = {
    setPageDirty: setDirty,
    invalidatePage: (page) => invalidate(page),
    releasePage(page: Page): boolean {
      if (!page_has_buffers(page)) return true;
      if (!locks.tryLock(page)) return false;
      const freed = k.buffer.try_to_free_buffers(page);
      locks.unlock(page);
      return freed;
    },
  };

  return {
    buffer_page_ops,

    /**
     * Reads a locked page block by block: holes become zeros, every other block that is not up to date a bio. The page
     * unlocks when the last one has ended; it is up to date if all went well. Returns 0.
     */
    *block_read_full_page(page: Page, get_block: GetBlock): Sleeps<number> {
      return yield* readFullPage(page, get_block);
    },

    /**
     * Writes the dirty buffers of a locked page, which get blocks if they have none, and unlocks it. Its writeback ends
     * when the last one has ended. Returns 0, or what get_block returned.
     */
    *block_write_full_page(page: Page, get_block: GetBlock, wbc: WritebackControl): Sleeps<number> {
      return yield* writeFullPage(page, get_block, wbc);
    },

    /** Drops the buffers of a locked page that leaves the cache. */
    *block_invalidatepage(page: Page): Sleeps<void> {
      yield* invalidate(page);
    },

    /** Marks a page and all of its buffers as changed; true only if it was clean. */
    __set_page_dirty_buffers(page: Page): boolean {
      return setDirty(page);
    },

    /** A locked page gets buffers, one of them with what get_block said of it: it came filled. */
    *map_buffer_to_page(page: Page, bh: BufferHead, page_block: number): Sleeps<void> {
      const inode = mappingOf(page, 'map_buffer_to_page').host;
      if (!page_has_buffers(page)) {
        if (1 << inode.blkbits === PAGE_SIZE && buffer_uptodate(bh)) {
          page.set(PG_uptodate); // a page of one block needs no buffer to say so
          return;
        }
        yield* k.buffer.create_empty_buffers(page, 1 << inode.blkbits, 0);
      }
      let own = page_buffers(page);
      for (let i = 0; i < page_block; i++) own = next_buffer(own);
      own.b_state = bh.b_state;
      own.b_bdev = bh.b_bdev;
      own.b_blocknr = bh.b_blocknr;
    },
  };
}
