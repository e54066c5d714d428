// Files as memory sees them: an inode has a size and a page cache; the cache asks its operations for what is missing.

import { EEXIST } from './errno.ts';
import { KernelBug } from './errors.ts';
import { PAGE_SHIFT, type Page, PG_dirty, PG_lru, pageName } from './page.ts';
import type { Sleeps } from './task.ts';
import type { Vma } from './vma.ts';

/** What a file system does for its page cache (Linux: address_space_operations). */
export interface MappingOps {
  /**
   * Fills a page from the backing store. The page is locked, and stays so until its I/O has ended: whoever ends it sets
   * PG_uptodate or PG_error and unlocks. Returns 0 once that is certain to happen, else a negative errno with the page
   * unlocked. Unset: pages of the file are zero (a file in memory).
   */
  readonly readpage?: (inode: Inode, page: Page) => Sleeps<number>;
  /**
   * Marks a page as changed; true only if it was clean. Unset: just the flag.
   */
  readonly setPageDirty?: (page: Page) => boolean;
  /** Called with the page locked before it leaves the cache by truncation: drops what hangs on `page.private`. */
  readonly invalidatePage?: (page: Page) => Sleeps<void>;
  /** Drops what hangs on `page.private` if it can at once; true when the page may leave the cache. */
  readonly releasePage?: (page: Page) => boolean;
  /**
   * A clean page of a shared mapping is about to be written through (Linux: page_mkwrite of the file). The page is not
   * locked. Returns VM_FAULT_… bits: 0 to go on, VM_FAULT_LOCKED when it locked the page, or an error.
   */
  readonly pageMkwrite?: (inode: Inode, page: Page) => Sleeps<number>;
}

/** The file that stands for anonymous memory that is shared: each mapping has one of its own. */
export const DEV_ZERO = '/dev/zero';

/** A file. */
export class Inode {
  readonly name: string;
  /** Length in bytes; `truncate` of the memory manager changes it. */
  size: number;
  readonly mapping: AddressSpaceMapping;
  /** Block size of its file system, as a power of two, at most that of a page (Linux: i_blkbits). */
  blkbits = PAGE_SHIFT;
  /** The file system's. */
  private: unknown = null;

  constructor(fileName: string, size: number, ops: MappingOps = {}) {
    this.name = fileName;
    this.size = size;
    this.mapping = new AddressSpaceMapping(this, ops);
  }
}

/** A page cache (Linux: struct address_space). Each page in it carries one reference of the cache. */
export class AddressSpaceMapping {
  readonly host: Inode;
  readonly ops: MappingOps;
  /** By index in pages. */
  readonly pages = new Map<number, Page>();
  /** Areas of processes that map the file (Linux: i_mmap). */
  readonly areas = new Set<Vma>();
  /** Negative errno of a write that failed since somebody last looked; 0: none. */
  error = 0;

  constructor(host: Inode, ops: MappingOps) {
    this.host = host;
    this.ops = ops;
  }

  /**
   * The page at an index; null when it is not cached. Without a reference: take one before anything that allocates or
   * sleeps, or it can go.
   */
  find(index: number): Page | null {
    return this.pages.get(index) ?? null;
  }

  /**
   * Puts a page in; the caller gives the cache a reference of its own, and locked the page.
   * @returns 0, or -EEXIST when there is one at that index
   */
  add(page: Page, index: number): number {
    if (page.mapping !== null)
      throw new KernelBug('page-cache', 'the page is in a cache already', pageName(page));
    if (this.pages.has(index)) return -EEXIST;
    page.mapping = this;
    page.index = index;
    this.pages.set(index, page);
    return 0;
  }

  /** Takes a page out; its reference goes to the caller. */
  remove(page: Page): void {
    if (page.mapping !== this)
      throw new KernelBug('page-cache', 'the page is not in this cache', pageName(page));
    this.pages.delete(page.index);
    page.mapping = null;
    page.clear(PG_dirty | PG_lru);
  }

  /** Marks a page as changed, as its file system wants it; true only if it was clean. */
  setPageDirty(page: Page): boolean {
    const { setPageDirty } = this.ops;
    return setPageDirty === undefined ? !page.testSet(PG_dirty) : setPageDirty(page);
  }
}
