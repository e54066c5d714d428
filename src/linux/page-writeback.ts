// Writing changed pages back (mm/page-writeback.c of 3.10).

import {
  type AddressSpaceMapping,
  PAGE_SIZE,
  type Page,
  PG_dirty,
  PG_writeback,
  type Sleeps,
} from '../kernel/index.ts';
import type { Linux } from './kernel.ts';
import type { AddressSpaceOperations } from './pagemap.ts';

/** Who writes waits for nothing; who syncs waits for pages that are being written already. */
export const WB_SYNC_NONE = 0;
export const WB_SYNC_ALL = 1;

/** What is to be written (struct writeback_control). */
export class WritebackControl {
  sync_mode = WB_SYNC_NONE;
  /** Pages left to write; without synchronising, writing stops at 0. */
  nr_to_write = Number.MAX_SAFE_INTEGER;
  /** Pages that could not be written now. */
  pages_skipped = 0;
  /** First and last byte of the file. */
  range_start = 0;
  range_end = Number.MAX_SAFE_INTEGER;
}

/** Writes a locked page whose dirty flag is cleared; unlocks it. */
export type WritePage<T> = (page: Page, wbc: WritebackControl, data: T) => Sleeps<number>;

export function createPageWriteback(k: Linux) {
  const { locks, allocator, vm } = k;

  /** Whether a locked page is to be written now, and if so, marks it as clean. */
  function* claim(mapping: AddressSpaceMapping, page: Page, wbc: WritebackControl): Sleeps<boolean> {
    if (page.mapping !== mapping || !page.has(PG_dirty)) return false;
    if (page.has(PG_writeback)) {
      if (wbc.sync_mode === WB_SYNC_NONE) return false;
      yield* locks.waitWriteback(page);
    }
    return vm.clearDirtyForIo(page);
  }

  function* writeCachePages<T>(
    mapping: AddressSpaceMapping,
    wbc: WritebackControl,
    writepage: WritePage<T>,
    data: T,
  ): Sleeps<number> {
    const first = Math.floor(wbc.range_start / PAGE_SIZE);
    const last = Math.floor(wbc.range_end / PAGE_SIZE);
    const dirty: number[] = [];
    for (const [index, page] of mapping.pages) {
      if (index >= first && index <= last && page.has(PG_dirty)) dirty.push(index);
    }
    dirty.sort((a, b) => a - b);
    for (const index of dirty) {
      const page = mapping.find(index);
      if (page === null) continue;
      allocator.get(page); // others can take it out while this one sleeps
      if (!locks.tryLock(page)) yield* locks.lock(page);
      let error = 0;
      const claimed = yield* claim(mapping, page, wbc);
      if (claimed) error = yield* writepage(page, wbc, data);
      else locks.unlock(page);
      allocator.put(page);
      if (error !== 0) return error;
      if (claimed && --wbc.nr_to_write <= 0 && wbc.sync_mode === WB_SYNC_NONE) break;
    }
    return 0;
  }

  return {
    /**
     * Calls `writepage` for each changed page of a range, in ascending order, locked and marked as clean. Stops at the
     * first error and returns it.
     */
    *write_cache_pages<T>(
      mapping: AddressSpaceMapping,
      wbc: WritebackControl,
      writepage: WritePage<T>,
      data: T,
    ): Sleeps<number> {
      return yield* writeCachePages(mapping, wbc, writepage, data);
    },

    /** write_cache_pages() with the file system's own writepage; without one nothing is written. */
    *generic_writepages(mapping: AddressSpaceMapping, wbc: WritebackControl): Sleeps<number> {
      const { writepage }: AddressSpaceOperations = mapping.ops;
      if (writepage === undefined) return 0;
      return yield* writeCachePages(mapping, wbc, (page, control) => writepage(page, control), null);
    },

    /** Marks a locked page as clean before it is written; true if it was changed. */
    clear_page_dirty_for_io(page: Page): boolean {
      return vm.clearDirtyForIo(page);
    },

    /** What could not be written now stays changed. */
    redirty_page_for_writepage(wbc: WritebackControl, page: Page): void {
      wbc.pages_skipped++;
      page.set(PG_dirty);
    },
  };
}
