// The page cache (include/linux/pagemap.h, mm/filemap.c, mm/readahead.c of 3.10). An address_space is the kernel base's
// AddressSpaceMapping; locks and flags of pages are in page-alloc.ts.

import {
  type AddressSpaceMapping,
  KernelBug,
  type MappingOps,
  PAGE_SIZE,
  type Page,
  PG_locked,
  PG_lru,
  PG_writeback,
  type Sleeps,
} from '../kernel/index.ts';
import { EEXIST } from './errno.ts';
import { __GFP_NORETRY, __GFP_NOWARN, GFP_KERNEL } from './gfp.ts';
import type { Linux } from './kernel.ts';
import type { WritebackControl } from './page-writeback.ts';
import { BlkPlug } from './plug.ts';

/** What a file system of Linux does for its page cache beside what every kernel's does. */
export interface AddressSpaceOperations extends MappingOps {
  /** Starts reads of all pages of the list that are not cached yet, and empties it. */
  readonly readpages?: (mapping: AddressSpaceMapping, pages: LruList, nr_pages: number) => Sleeps<number>;
  /** Starts writing a locked page whose dirty flag is cleared already; unlocks it. */
  readonly writepage?: (page: Page, wbc: WritebackControl) => Sleeps<number>;
}

/**
 * Pages in a row (struct list_head through page->lru). The next one of the list is the page that was added last, the
 * previous one, at the tail, the one that was added first: added in ascending order the tail has the lowest index.
 */
export class LruList {
  readonly #pages: (Page | null)[] = [];
  /** Place of the tail in the array; what lies before has been taken. */
  #tail = 0;

  get length(): number {
    return this.#pages.length - this.#tail;
  }

  get empty(): boolean {
    return this.length === 0;
  }

  /** Adds a page at the head (list_add). */
  add(page: Page): void {
    this.#pages.push(page);
  }

  /** The page at the tail (list->prev); null when the list is empty. */
  get prev(): Page | null {
    return this.#pages[this.#tail] ?? null;
  }

  /** Takes the page at the tail out; null when the list is empty. */
  takePrev(): Page | null {
    const page = this.prev;
    if (page === null) return null;
    this.#pages[this.#tail++] = null;
    if (this.empty) {
      this.#pages.length = 0;
      this.#tail = 0;
    }
    return page;
  }
}

/** Pages of one piece of a forced read ahead: 2 MiB. */
const READ_CHUNK = (2 * 2 ** 20) / PAGE_SIZE;

export function createPagemap(k: Linux) {
  const { allocator, locks, vm } = k;

  function add(page: Page, mapping: AddressSpaceMapping, index: number): number {
    allocator.get(page); // the cache's
    const error = vm.enterCache(mapping, page, index);
    if (error !== 0) allocator.put(page);
    else page.set(PG_lru);
    return error;
  }

  function find(mapping: AddressSpaceMapping, index: number): Page | null {
    const page = mapping.find(index);
    if (page !== null) allocator.get(page);
    return page;
  }

  function* findLocked(mapping: AddressSpaceMapping, index: number): Sleeps<Page | null> {
    for (;;) {
      const page = find(mapping, index);
      if (page === null) return null;
      if (!locks.tryLock(page)) yield* locks.lock(page);
      if (page.mapping === mapping) return page;
      locks.unlock(page); // truncated meanwhile
      allocator.put(page);
    }
  }

  function putAll(pages: LruList): void {
    for (let page = pages.takePrev(); page !== null; page = pages.takePrev()) allocator.put(page);
  }

  /** Takes the first page of a list into the cache; null when it is cached already. The list's reference is gone. */
  function takeIn(mapping: AddressSpaceMapping, pages: LruList): Page | null {
    const page = pages.takePrev();
    if (page === null) throw new KernelBug('MPAGE-01', 'fewer pages in the list than were told', 'readpages');
    const error = add(page, mapping, page.index);
    allocator.put(page);
    return error === 0 ? page : null;
  }

  function* readPages(mapping: AddressSpaceMapping, pages: LruList): Sleeps<number> {
    const ops: AddressSpaceOperations = mapping.ops;
    const plug = new BlkPlug();
    k.plug.blk_start_plug(plug);
    let error = 0;
    if (ops.readpages !== undefined) {
      error = yield* ops.readpages(mapping, pages, pages.length);
      putAll(pages);
    } else {
      while (!pages.empty) {
        const page = takeIn(mapping, pages);
        if (page !== null && ops.readpage !== undefined) yield* ops.readpage(mapping.host, page);
      }
    }
    k.plug.blk_finish_plug(plug);
    return error;
  }

  function* readahead(
    mapping: AddressSpaceMapping,
    offset: number,
    nr_to_read: number,
    list: LruList,
  ): Sleeps<number> {
    const end = Math.min(offset + nr_to_read, Math.ceil(mapping.host.size / PAGE_SIZE));
    for (let index = offset; index < end; index++) {
      if (mapping.find(index) !== null) continue;
      const gfp = GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN;
      const page =
        k.pageAlloc.alloc_pages_now(gfp, 0, 'cache') ?? (yield* k.pageAlloc.alloc_page(gfp, 'cache'));
      if (page === null) break;
      page.index = index;
      list.add(page);
    }
    const started = list.length;
    if (started > 0) yield* readPages(mapping, list);
    return started;
  }

  return {
    /**
     * Puts a page into a cache, locked, with a reference of the cache's own. 0, or -EEXIST when there is one already:
     * the page is unlocked then.
     */
    add_to_page_cache_lru(page: Page, mapping: AddressSpaceMapping, index: number, _gfp: number): number {
      return add(page, mapping, index);
    },

    /** Takes a locked page out of its cache, whose reference goes. */
    delete_from_page_cache(page: Page): void {
      if ((page.flags & PG_locked) === 0)
        throw new KernelBug('page-cache', 'taken out without its lock', 'delete_from_page_cache');
      page.mapping?.remove(page);
      allocator.put(page);
    },

    /** The cached page at an index with a reference for the caller; null when there is none. */
    find_get_page(mapping: AddressSpaceMapping, index: number): Page | null {
      return find(mapping, index);
    },

    /** find_get_page(), and takes its lock. */
    *find_lock_page(mapping: AddressSpaceMapping, index: number): Sleeps<Page | null> {
      return yield* findLocked(mapping, index);
    },

    /** find_lock_page(); a page that is not there is made, with nothing in it. Null when memory is short. */
    *find_or_create_page(mapping: AddressSpaceMapping, index: number, gfp: number): Sleeps<Page | null> {
      for (;;) {
        const found = yield* findLocked(mapping, index);
        if (found !== null) return found;
        const page = yield* k.pageAlloc.alloc_page(gfp, 'cache');
        if (page === null) return null;
        const error = add(page, mapping, index);
        if (error === 0) return page;
        allocator.put(page);
        if (error !== -EEXIST) return null;
      }
    },

    /** The page of a file, read if need be, with a reference for the caller; or a negative errno. */
    *read_mapping_page(mapping: AddressSpaceMapping, index: number): Sleeps<Page | number> {
      return yield* vm.getPage(mapping.host, index);
    },

    /** Waits until a flag of a page is clear: PG_locked or PG_writeback. */
    *wait_on_page_bit(page: Page, flag: number): Sleeps<void> {
      if (flag === PG_locked) yield* locks.waitUnlocked(page);
      else if (flag === PG_writeback) yield* locks.waitWriteback(page);
      else throw new KernelBug('page-wait', `nobody wakes who waits for flag 0x${flag.toString(16)}`);
    },

    /**
     * Takes the pages of a list into a cache, lowest index first, and calls `filler` for each that was not there. When
     * one fails the rest is dropped, and its error returned.
     */
    *read_cache_pages<T>(
      mapping: AddressSpaceMapping,
      pages: LruList,
      filler: (data: T, page: Page) => Sleeps<number>,
      data: T,
    ): Sleeps<number> {
      while (!pages.empty) {
        const page = takeIn(mapping, pages);
        if (page === null) continue;
        const error = yield* filler(data, page);
        if (error === 0) continue;
        putAll(pages);
        return error;
      }
      return 0;
    },

    /** Drops the references of a list, and empties it. */
    put_pages_list(pages: LruList): void {
      putAll(pages);
    },

    /**
     * Starts reads of all pages of a range that are not cached yet, up to the end of the file, and does not wait for
     * them. Returns how many pages it allocated for that.
     */
    *__do_page_cache_readahead(
      mapping: AddressSpaceMapping,
      offset: number,
      nr_to_read: number,
    ): Sleeps<number> {
      return yield* readahead(mapping, offset, nr_to_read, new LruList());
    },

    /** __do_page_cache_readahead() in pieces of 2 MiB. */
    *force_page_cache_readahead(
      mapping: AddressSpaceMapping,
      offset: number,
      nr_to_read: number,
    ): Sleeps<number> {
      let started = 0;
      const list = new LruList();
      for (let done = 0; done < nr_to_read; done += READ_CHUNK) {
        started += yield* readahead(mapping, offset + done, Math.min(READ_CHUNK, nr_to_read - done), list);
      }
      return started;
    },
  };
}
