// Buffers (fs/buffer.c of 3.10): their lock, their life on a page, and I/O on one of them. What fills and writes whole
// pages by their buffers is in buffer-page.ts, the cache of a device in block-dev.ts.

import {
  KernelBug,
  type NoSleep,
  PAGE_SIZE,
  type Page,
  PG_dirty,
  PG_locked,
  PG_private,
  PG_uptodate,
  PG_writeback,
  type SleepOptions,
  type Sleeps,
  WaitQueue,
} from '../kernel/index.ts';
import { mustCount } from './argument.ts';
import { type Bio, READ, REQ_SYNC, WRITE } from './bio-struct.ts';
import {
  BH_Delay,
  BH_Dirty,
  BH_Lock,
  BH_Req,
  BH_Unwritten,
  BH_Uptodate,
  BH_Write_EIO,
  BufferHead,
  bh_offset,
  buffer_dirty,
  buffer_locked,
  buffer_mapped,
  buffer_uptodate,
  clear_buffer_uptodate,
  next_buffer,
  page_buffers,
  set_bh_page,
  set_buffer_dirty,
  set_buffer_uptodate,
  test_clear_buffer_dirty,
} from './buffer-head.ts';
import { EIO } from './errno.ts';
import { GFP_NOFS, GFP_NOIO } from './gfp.ts';
import type { Linux } from './kernel.ts';
import { panic } from './panic.ts';

/** Bytes of struct buffer_head on a 64-bit machine. */
const SIZEOF_BUFFER_HEAD = 104;
const FOR_BUFFER: SleepOptions = { what: 'the buffer lock' };
/** While memory is short whoever needs buffers looks again. */
const FOR_MEMORY: SleepOptions = { what: 'memory for buffers', timeoutNs: 1e9, poll: true };

export function createBuffer(k: Linux) {
  const { allocator, scheduler } = k;
  const { kmem_cache_alloc, kmem_cache_free } = k.slab;
  const heads =
    k.slab.kmem_cache_create('buffer_head', SIZEOF_BUFFER_HEAD, 0, 0, () => new BufferHead()) ??
    panic('buffer_head');

  // ---- the lock of a buffer

  function waitersOf(bh: BufferHead): WaitQueue {
    bh.waiters ??= new WaitQueue(`block ${bh.b_blocknr}`);
    return bh.waiters;
  }

  function tryLock(bh: BufferHead): boolean {
    if (buffer_locked(bh)) return false;
    bh.b_state |= 1 << BH_Lock;
    return true;
  }

  function* lock(bh: BufferHead): Sleeps<void> {
    k.mightSleep('lock_buffer');
    while (!tryLock(bh)) yield scheduler.park(waitersOf(bh), FOR_BUFFER);
  }

  function unlock(bh: BufferHead): void {
    if (!buffer_locked(bh)) throw new KernelBug('buffer-unlock', 'unlocked and not locked', nameOf(bh));
    bh.b_state &= ~(1 << BH_Lock);
    if (bh.waiters !== null && !bh.waiters.empty) scheduler.wakeAll(bh.waiters);
  }

  function* wait(bh: BufferHead): Sleeps<void> {
    k.mightSleep('wait_on_buffer');
    while (buffer_locked(bh)) yield scheduler.park(waitersOf(bh), FOR_BUFFER);
  }

  function put(bh: BufferHead): void {
    if (bh.b_count <= 0) throw new KernelBug('buffer-put', 'a reference too many was dropped', nameOf(bh));
    bh.b_count--;
  }

  // ---- buffers of a page

  /** Buffers for all of a page, first to last but not yet a ring; null when memory is short. */
  function tryAllocBuffers(page: Page, size: number): BufferHead | null {
    mustCount(size, 'the size of a buffer', 'alloc_page_buffers', PAGE_SIZE, 1);
    let head: BufferHead | null = null;
    for (let offset = PAGE_SIZE - size; offset >= 0; offset -= size) {
      const bh = kmem_cache_alloc(heads, GFP_NOFS);
      if (bh === null) {
        freeList(head);
        return null;
      }
      bh.reset();
      bh.b_this_page = head;
      bh.b_size = size;
      set_bh_page(bh, page, offset);
      head = bh;
    }
    return head;
  }

  function freeList(head: BufferHead | null): void {
    for (let bh = head; bh !== null; ) {
      const next: BufferHead | null = bh.b_this_page;
      bh.b_this_page = null;
      bh.b_page = null;
      kmem_cache_free(heads, bh);
      bh = next;
    }
  }

  function* allocBuffers(page: Page, size: number, retry: boolean): Sleeps<BufferHead | null> {
    for (;;) {
      const head = tryAllocBuffers(page, size);
      if (head !== null || !retry) return head;
      yield* scheduler.sleep(allocator.waiters, FOR_MEMORY);
    }
  }

  /** Makes a ring of a list of buffers and hangs it on its page, which it keeps alive. */
  function attach(page: Page, head: BufferHead, state: number): void {
    let tail = head;
    for (let bh: BufferHead | null = head; bh !== null; bh = bh.b_this_page) {
      bh.b_state |= state;
      tail = bh;
    }
    tail.b_this_page = head;
    allocator.get(page);
    page.set(PG_private);
    page.private = head;
  }

  function isBusy(bh: BufferHead): boolean {
    return bh.b_count > 0 || buffer_dirty(bh) || buffer_locked(bh);
  }

  function freeBuffers(page: Page): boolean {
    if (!page.has(PG_locked)) throw new KernelBug('page-buffers', 'freed without the page lock');
    if (page.has(PG_writeback)) return false;
    const head = page_buffers(page);
    let bh = head;
    do {
      if (isBusy(bh)) return false;
      bh = next_buffer(bh);
    } while (bh !== head);
    while (next_buffer(bh) !== head) bh = next_buffer(bh);
    bh.b_this_page = null;
    freeList(head);
    page.clear(PG_private | PG_dirty); // no buffer is dirty, so there is nothing in it to write
    page.private = null;
    allocator.put(page);
    return true;
  }

  // ---- I/O on one buffer

  function readEnd(bh: BufferHead, uptodate: boolean): void {
    if (uptodate) set_buffer_uptodate(bh);
    else clear_buffer_uptodate(bh);
    unlock(bh);
    put(bh);
  }

  function writeEnd(bh: BufferHead, uptodate: boolean): void {
    if (uptodate) {
      set_buffer_uptodate(bh);
    } else {
      k.warnings.warn('buffer', 'lost page write due to I/O error', nameOf(bh));
      bh.b_state |= 1 << BH_Write_EIO;
      clear_buffer_uptodate(bh);
    }
    unlock(bh);
    put(bh);
  }

  function bioEnd(bio: Bio, error: number): NoSleep {
    const bh = bio.bi_private as BufferHead; // submit() put it there
    k.bio.bio_put(bio);
    bh.b_end_io?.(bh, error === 0);
  }

  /** BRFP-05: a read or write stops at the end of the device; what a read does not reach is zero. */
  function guardEnd(bio: Bio, bh: BufferHead, op: number): void {
    const sectors = bio.bi_bdev?.nr_sects ?? 0;
    const left = sectors - bio.bi_iter.bi_sector;
    if (sectors === 0 || left <= 0 || bh.b_size / 512 <= left) return; // wholly past the end it is refused
    const bytes = left * 512;
    const vec = bio.bi_io_vec?.[0];
    if (vec !== undefined) vec.bv_len = bytes;
    bio.bi_iter.bi_size = bytes;
    if (op === READ) k.memory.fill(bh.b_data + bytes, 0, bh.b_size - bytes);
  }

  function* submit(rw: number, bh: BufferHead): Sleeps<number> {
    const why = !buffer_locked(bh)
      ? 'not locked'
      : !buffer_mapped(bh) || bh.b_page === null
        ? 'not mapped'
        : bh.b_end_io === null
          ? 'without b_end_io'
          : (bh.b_state & ((1 << BH_Delay) | (1 << BH_Unwritten))) !== 0
            ? 'without a block'
            : null;
    if (why !== null || bh.b_page === null) throw new KernelBug('BRFP-05', `submitted ${why}`, nameOf(bh));
    const op = rw & WRITE;
    if (op === WRITE && (bh.b_state & (1 << BH_Req)) !== 0) bh.b_state &= ~(1 << BH_Write_EIO);
    bh.b_state |= 1 << BH_Req;
    const bio = (yield* k.bioSet.bio_alloc(GFP_NOIO, 1)) ?? panic('a bio of a set');
    bio.bi_iter.bi_sector = bh.b_blocknr * (bh.b_size / 512);
    bio.bi_bdev = bh.b_bdev;
    const vec = bio.bi_io_vec?.[0];
    if (vec !== undefined) {
      vec.bv_page = bh.b_page;
      vec.bv_len = bh.b_size;
      vec.bv_offset = bh_offset(bh);
    }
    bio.bi_vcnt = 1;
    bio.bi_iter.bi_size = bh.b_size;
    bio.bi_end_io = bioEnd;
    bio.bi_private = bh;
    guardEnd(bio, bh, op);
    yield* k.bio3x.submit_bio(rw, bio);
    return 0;
  }

  /** Starts a read into a locked buffer; its end unlocks it and drops the reference that is taken here. */
  function* startRead(bh: BufferHead): Sleeps<void> {
    bh.b_end_io = readEnd;
    bh.b_count++;
    yield* submit(READ, bh);
  }

  function* startWrite(bh: BufferHead, rw: number): Sleeps<number> {
    bh.b_end_io = writeEnd;
    bh.b_count++;
    return yield* submit(rw | WRITE, bh);
  }

  return {
    /** Takes a buffer's lock: whoever reads or writes it has it until the end of the I/O. */
    *lock_buffer(bh: BufferHead): Sleeps<void> {
      yield* lock(bh);
    },

    /** True when the lock was free, and is the caller's now. */
    trylock_buffer(bh: BufferHead): boolean {
      return tryLock(bh);
    },

    /** Any context: the end of I/O unlocks buffers. @throws KernelBug `buffer-unlock` when it is not locked */
    unlock_buffer(bh: BufferHead): void {
      unlock(bh);
    },

    /** Waits until a buffer is not locked: until its I/O has ended. */
    *wait_on_buffer(bh: BufferHead): Sleeps<void> {
      yield* wait(bh);
    },

    /** One reference more: its page keeps its buffers. */
    get_bh(bh: BufferHead): void {
      bh.b_count++;
    },

    /** One reference less. @throws KernelBug `buffer-put` when there is none */
    put_bh(bh: BufferHead): void {
      put(bh);
    },

    /** put_bh(); null is nothing. */
    brelse(bh: BufferHead | null): void {
      if (bh !== null) put(bh);
    },

    /**
     * Buffers of `size` bytes for all of a page, in order, not attached to it. Null when memory is short, unless `retry`
     * says to wait for some.
     */
    *alloc_page_buffers(page: Page, size: number, retry: boolean): Sleeps<BufferHead | null> {
      return yield* allocBuffers(page, size, retry);
    },

    /** Hangs what alloc_page_buffers() gave on its page. */
    attach_page_buffers(page: Page, head: BufferHead): void {
      attach(page, head, 0);
    },

    /**
     * Gives a locked page buffers, with these bits of b_state beside what the page's own flags say: a page that is up
     * to date or dirty has buffers that are. Waits for memory.
     */
    *create_empty_buffers(page: Page, blocksize: number, b_state: number): Sleeps<void> {
      const head = (yield* allocBuffers(page, blocksize, true)) ?? panic('buffers');
      let state = b_state;
      if (page.has(PG_uptodate)) state |= 1 << BH_Uptodate;
      if (page.has(PG_dirty)) state |= 1 << BH_Dirty;
      attach(page, head, state);
    },

    /** Takes the buffers off a locked page; false when one of them is in use. */
    try_to_free_buffers(page: Page): boolean {
      return freeBuffers(page);
    },

    /** Marks a buffer and its page as changed. */
    mark_buffer_dirty(bh: BufferHead): void {
      if (!buffer_uptodate(bh)) k.warnings.warn('buffer', 'dirtied and not up to date', nameOf(bh));
      set_buffer_dirty(bh);
      bh.b_page?.set(PG_dirty);
    },

    /**
     * Reads or writes one buffer, which is locked, mapped and has a b_end_io. `rw`: READ or WRITE, and REQ_* flags. What
     * lies beyond the end of the device is cut off, and reads as zeros.
     */
    *submit_bh(rw: number, bh: BufferHead): Sleeps<number> {
      return yield* submit(rw, bh);
    },

    /**
     * Starts reads of those buffers that are not up to date, or writes of those that are dirty, and does not wait. A
     * buffer that is locked is left out: somebody else is at it.
     */
    *ll_rw_block(rw: number, nr: number, bhs: readonly BufferHead[]): Sleeps<void> {
      mustCount(nr, 'the number of buffers', 'll_rw_block', bhs.length);
      for (let i = 0; i < nr; i++) {
        const bh = bhs[i];
        if (bh === undefined || !tryLock(bh)) continue;
        if ((rw & WRITE) !== 0) {
          if (test_clear_buffer_dirty(bh)) yield* startWrite(bh, rw);
          else unlock(bh);
        } else if (buffer_uptodate(bh)) {
          unlock(bh);
        } else {
          yield* startRead(bh);
        }
      }
    },

    /** Reads a buffer unless it is up to date, and waits; 0 or -EIO. */
    *bh_submit_read(bh: BufferHead): Sleeps<number> {
      if (buffer_uptodate(bh)) return 0;
      yield* lock(bh);
      if (buffer_uptodate(bh)) {
        unlock(bh);
        return 0;
      }
      yield* startRead(bh);
      yield* wait(bh);
      return buffer_uptodate(bh) ? 0 : -EIO;
    },

    /** Starts writing a buffer if it is dirty. */
    *write_dirty_buffer(bh: BufferHead, rw: number): Sleeps<void> {
      yield* lock(bh);
      if (test_clear_buffer_dirty(bh)) yield* startWrite(bh, rw);
      else unlock(bh);
    },

    /** Writes a buffer if it is dirty, and waits; 0 or -EIO. The caller has a reference. */
    *sync_dirty_buffer(bh: BufferHead): Sleeps<number> {
      yield* lock(bh);
      if (!test_clear_buffer_dirty(bh)) {
        unlock(bh);
        return 0;
      }
      yield* startWrite(bh, REQ_SYNC);
      yield* wait(bh);
      return buffer_uptodate(bh) ? 0 : -EIO;
    },
  };
}

/** A buffer in messages. */
function nameOf(bh: BufferHead): string {
  return `block ${bh.b_blocknr} of ${bh.b_bdev?.bd_name ?? 'no device'}`;
}
