// Bios over memory of a process or of the kernel (block/bio.c of 4.8): its own pages, pinned, or copies of it.
//
// A vec over pinned pages holds exactly one pin, which unmapping drops.

import { type AddressSpace, KernelBug, PAGE_SIZE, type Page, type Sleeps } from '../kernel/index.ts';
import { bio_flagged } from './bio-iter.ts';
import {
  BIO_NULL_MAPPED,
  BIO_USER_MAPPED,
  type Bio,
  type BioVec,
  REQ_OP_READ,
  REQ_OP_WRITE,
  UIO_MAXIOV,
  WRITE,
} from './bio-struct.ts';
import type { RequestQueue } from './blkdev.ts';
import { EFAULT, EINTR, EINVAL, ENOMEM, type ErrPtr, IS_ERR } from './errno.ts';
import { __GFP_ZERO } from './gfp.ts';
import { type ConstIovIter, dup_iter, IovIter, iov_iter_rw } from './iov-iter.ts';
import type { Linux } from './kernel.ts';
import { panic } from './panic.ts';

/** Pages of the caller that user data is copied through, instead of fresh ones (struct rq_map_data). */
export interface RqMapData {
  /** Each the first of 2^page_order contiguous pages. */
  readonly pages: readonly Page[];
  readonly page_order: number;
  /** How many of `pages` there are. */
  readonly nr_entries: number;
  /** Byte in all these pages at which the data begins; moves with every mapping. */
  offset: number;
  /** There is no user memory: nothing is copied. */
  readonly null_mapped: boolean;
  /** Copy in for a read, too: bytes that the device leaves alone come back unchanged. */
  readonly from_user: boolean;
}

/** What unmapping a copied bio needs; in its bi_private until then (struct bio_map_data). */
export class BioMapData {
  /** Where the bytes go: a copy of the caller's iterator and of its pieces. */
  readonly iter = new IovIter();
  is_our_pages = false;
  /** Whose memory it is. */
  mm: AddressSpace | null = null;
}

const ADDRESS_END = 2 ** 64;

/** The next page of a pin has to be faulted in. */
const PIN_FAULT = 1;

/** User memory on its way into a bio. Reused by later ones. */
class Pin {
  q: RequestQueue;
  bio: Bio;
  iter: ConstIovIter;
  write = false;
  /** The piece in hand, its bytes that do not count, and the bytes left in all. */
  seg = 0;
  skip = 0;
  left = 0;
  /** Of the piece in hand: pages that it touches, those that are pinned, and the address of the first that is not. */
  wanted = 0;
  got = 0;
  rest = 0;
  readonly pages: (Page | null)[] = [];

  constructor(q: RequestQueue, bio: Bio, iter: ConstIovIter) {
    this.q = q;
    this.bio = bio;
    this.iter = iter;
  }

  begin(q: RequestQueue, bio: Bio, iter: ConstIovIter): this {
    this.q = q;
    this.bio = bio;
    this.iter = iter;
    this.write = iov_iter_rw(iter) !== WRITE;
    this.seg = iter.seg;
    this.skip = iter.iov_offset;
    this.left = iter.count;
    this.got = 0;
    return this;
  }

  nextPiece(): void {
    this.seg++;
    this.skip = 0;
  }
}

export function createBioMap(k: Linux) {
  const { bio_get, bio_put } = k.bio;
  const { bio_add_pc_page } = k.bioData;
  const { copy_page_from_iter, copy_page_iter_now, copy_page_to_iter } = k.iovIter;
  const { get_user_pages_fast, __get_user_pages_fast } = k.gup;
  const { allocator, locks, memory } = k;
  const records =
    k.slab.kmem_cache_create('bio_map_data', 64, 0, 0, () => new BioMapData()) ?? panic('bio_map_data');
  const pins: Pin[] = [];
  /** What bio_map_user_try() could not end: for the bio_map_user_rest() that follows at once. */
  let begun: Pin | null = null;

  // ---- pinned pages

  /** Appends pages to a bio, `len` bytes from `offset` of the first one on. False when the queue takes no more. */
  function addPinned(
    q: RequestQueue,
    bio: Bio,
    pages: (Page | null)[],
    nr: number,
    offset: number,
    len: number,
  ): boolean {
    for (let i = 0; i < nr; i++) {
      const page = pages[i] as Page; // so many were pinned
      const bytes = Math.min(PAGE_SIZE - offset, len);
      const vecs = bio.bi_vcnt;
      if (bio_add_pc_page(q, bio, page, bytes, offset) < bytes) {
        for (; i < nr; i++) unpin(pages[i] as Page);
        return false;
      }
      if (bio.bi_vcnt === vecs) unpin(page); // part of a vec that has its pin already
      len -= bytes;
      offset = 0;
    }
    return true;
  }

  function unpin(page: Page): void {
    k.pins?.unpinned(page);
    allocator.put(page);
  }

  function putPages(bio: Bio): void {
    for (let i = 0; i < bio.bi_vcnt; i++) unpin(pageOf(bio, i));
  }

  /** Goes on with a pin as far as no page has to be faulted in: 0, also when the queue takes no more, or PIN_FAULT. */
  function pinPresent(pin: Pin): number {
    const { q, bio, iter, pages } = pin;
    for (; pin.left > 0 && pin.seg < iter.seg + iter.nr_segs; pin.nextPiece()) {
      const vec = iter.iov[pin.seg];
      const len = Math.min(pin.left, (vec?.iov_len ?? 0) - pin.skip);
      if (vec === undefined || len <= 0) continue;
      const base = vec.iov_base + pin.skip;
      const offset = base & (PAGE_SIZE - 1);
      pin.wanted = Math.ceil((offset + len) / PAGE_SIZE);
      if (pin.got === 0) pin.got = __get_user_pages_fast(base, pin.wanted, pin.write, pages);
      if (pin.got < pin.wanted) {
        pin.rest = base - offset + pin.got * PAGE_SIZE;
        return PIN_FAULT;
      }
      pin.got = 0;
      if (!addPinned(q, bio, pages, pin.wanted, offset, len)) return 0;
      pin.left -= len;
    }
    return 0;
  }

  /** Goes on behind PIN_FAULT: 0 or -EFAULT. */
  function* pinRest(pin: Pin): Sleeps<number> {
    const { pages, write } = pin;
    do {
      const { rest, wanted, got } = pin;
      pin.got += Math.max(0, yield* get_user_pages_fast(rest, wanted - got, write, pages, got));
      if (pin.got < wanted) {
        for (let i = 0; i < pin.got; i++) unpin(pages[i] as Page);
        return -EFAULT;
      }
    } while (pinPresent(pin) === PIN_FAULT);
    return 0;
  }

  /** A bio for user memory, and nothing in it yet; or an errno. */
  function allocMapped(q: RequestQueue, iter: ConstIovIter, gfp: number): ErrPtr<Bio> {
    const nr_pages = countPages(iter, true, q.dma_alignment);
    if (nr_pages <= 0) return nr_pages < 0 ? nr_pages : -EINVAL;
    return k.bioSet.bio_kmalloc(gfp, nr_pages) ?? -ENOMEM;
  }

  /** What has been pinned is the bio's, or `error` and an empty one ended it. */
  function finishMapped(pin: Pin, error: number): ErrPtr<Bio> {
    const { bio, iter } = pin;
    pins.push(pin);
    if (error === 0 && bio.bi_vcnt === 0) error = -EINVAL;
    if (error !== 0) {
      putPages(bio);
      bio_put(bio);
      return error;
    }
    if (iov_iter_rw(iter) === WRITE) bio.bi_op = REQ_OP_WRITE;
    bio.bi_flags |= 1 << BIO_USER_MAPPED;
    bio_get(bio); // unmapping needs it even if it is bounced, and then it would be gone with its end
    return bio;
  }

  /** Makes pages of a bio that the device wrote dirty and drops their pins, up to one that is locked: its number. */
  function unpinDirty(bio: Bio, i: number): number {
    for (; i < bio.bi_vcnt; i++) {
      const page = pageOf(bio, i);
      if (!locks.trySetDirtyLock(page)) return i;
      unpin(page);
    }
    return i;
  }

  // ---- copies

  /** A page of the caller's for byte `i` pages into its memory; null when it has no more. */
  function mapDataPage(map_data: RqMapData, i: number): Page | null {
    const entry = i >> map_data.page_order;
    const page = entry < map_data.nr_entries ? map_data.pages[entry] : undefined;
    return page === undefined ? null : k.pageAlloc.nth_page(page, i & ((1 << map_data.page_order) - 1));
  }

  /** Gives a bio pages for `len` bytes: 0, also when the queue takes no more, or -ENOMEM. */
  function* addCopies(
    q: RequestQueue,
    bio: Bio,
    map_data: RqMapData | null,
    len: number,
    gfp: number,
  ): Sleeps<number> {
    const start = map_data?.offset ?? 0;
    let offset = start % PAGE_SIZE;
    const mask = q.bounce_gfp | gfp | (bio.bi_op === REQ_OP_READ ? __GFP_ZERO : 0);
    for (let i = Math.floor(start / PAGE_SIZE); len > 0; i++) {
      const bytes = Math.min(PAGE_SIZE - offset, len);
      const page = map_data === null ? yield* k.pageAlloc.alloc_page(mask, 'copy') : mapDataPage(map_data, i);
      if (page === null) return -ENOMEM;
      // What a device is made to read beyond the data, because it needs round lengths, says nothing.
      if (map_data === null && bytes < PAGE_SIZE) memory.fill(page.phys + bytes, 0, PAGE_SIZE - bytes);
      if (bio_add_pc_page(q, bio, page, bytes, offset) < bytes) {
        if (map_data === null) allocator.put(page);
        return 0;
      }
      len -= bytes;
      offset = 0;
    }
    return 0;
  }

  /** Copies between all pages of a bio and the pieces of an iterator: 0 or -EFAULT. */
  function* copyAll(bio: Bio, iter: IovIter, to: boolean): Sleeps<number> {
    let total = 0;
    let error = 0;
    for (let i = 0; i < bio.bi_vcnt && iter.count > 0; i++) {
      const { bv_len, bv_offset } = vecOf(bio, i);
      const page = pageOf(bio, i);
      let done = copy_page_iter_now(page, bv_offset, bv_len, iter, to);
      if (done < bv_len) {
        const copy = to ? copy_page_to_iter : copy_page_from_iter;
        done += yield* copy(page, bv_offset + done, bv_len - done, iter);
      }
      total += done;
      if (done < bv_len && iter.count > 0) {
        error = -EFAULT;
        break;
      }
    }
    if (k.trace.active) k.trace.pages_copied(to ? 'unmap-user' : 'map-user', total);
    return error;
  }

  function dropRecord(bio: Bio, record: BioMapData): void {
    if (record.is_our_pages) putPages(bio);
    record.mm = null;
    record.iter.assign(NOTHING);
    bio.bi_private = null;
    k.slab.kmem_cache_free(records, record);
  }

  function recordOf(bio: Bio): BioMapData {
    const record = bio.bi_private;
    if (record instanceof BioMapData) return record;
    throw new KernelBug('MAP-25', 'bi_private is not what mapping left there', 'bio_uncopy_user');
  }

  /** bio_kmalloc() for copies of what an iterator names, with its record. */
  function allocCopied(iter: ConstIovIter, map_data: RqMapData | null, gfp: number): ErrPtr<Bio> {
    let nr_pages = countPages(iter, false, 0);
    if (nr_pages < 0) return nr_pages;
    if (map_data !== null && map_data.offset % PAGE_SIZE !== 0) nr_pages++;
    const record = iter.nr_segs > UIO_MAXIOV ? null : k.slab.kmem_cache_alloc(records, gfp);
    if (record === null) return -ENOMEM;
    const bio = k.bioSet.bio_kmalloc(gfp, nr_pages);
    if (bio === null) {
      k.slab.kmem_cache_free(records, record);
      return -ENOMEM;
    }
    dup_iter(record.iter, iter);
    record.is_our_pages = map_data === null;
    record.mm = k.cpu.current?.mm ?? null;
    bio.bi_private = record;
    if (iov_iter_rw(iter) === WRITE) bio.bi_op = REQ_OP_WRITE;
    return bio;
  }

  const api = {
    /**
     * Makes a bio of the user memory itself; what the queue does not take any more is left out. An err-ptr: -EINVAL for
     * nothing, an overflow or an address that is not aligned for the device, -ENOMEM, -EFAULT when a page cannot be
     * pinned. The caller has two references. May sleep whatever `gfp` says.
     */
    *bio_map_user_iov(q: RequestQueue, iter: ConstIovIter, gfp: number): Sleeps<ErrPtr<Bio>> {
      return api.bio_map_user_try(q, iter, gfp) ?? (yield* api.bio_map_user_rest());
    },

    /** The part of bio_map_user_iov() that never sleeps, for hot paths: null when bio_map_user_rest() has to follow. */
    bio_map_user_try(q: RequestQueue, iter: ConstIovIter, gfp: number): ErrPtr<Bio> | null {
      const bio = allocMapped(q, iter, gfp);
      if (IS_ERR(bio)) return bio;
      const pin = (pins.pop() ?? new Pin(q, bio, iter)).begin(q, bio, iter);
      const error = pinPresent(pin);
      if (error !== PIN_FAULT) return finishMapped(pin, error);
      begun = pin;
      return null;
    },

    /** Ends what bio_map_user_try() began. */
    *bio_map_user_rest(): Sleeps<ErrPtr<Bio>> {
      const pin = begun ?? panic('bio_map_user_rest');
      begun = null;
      return finishMapped(pin, yield* pinRest(pin));
    },

    /**
     * Makes a bio of copies of user memory: in fresh pages, or in those of `map_data`. An err-ptr: -EINVAL for an
     * overflow, -ENOMEM, -EFAULT when what is to be written cannot be read. May sleep whatever `gfp` says.
     */
    *bio_copy_user_iov(
      q: RequestQueue,
      map_data: RqMapData | null,
      iter: ConstIovIter,
      gfp: number,
    ): Sleeps<ErrPtr<Bio>> {
      const bio = allocCopied(iter, map_data, gfp);
      if (IS_ERR(bio)) return bio;
      let error = yield* addCopies(q, bio, map_data, iter.count, gfp);
      const write = bio.bi_op === REQ_OP_WRITE && map_data?.null_mapped !== true;
      if (error === 0 && (write || map_data?.from_user === true)) {
        error = yield* copyAll(bio, new IovIter().assign(iter), false);
      }
      if (error === 0) return bio;
      dropRecord(bio, recordOf(bio));
      bio_put(bio);
      return error;
    },

    /** Undoes bio_map_user_iov(): pages that the device wrote become dirty, pins and both references are dropped. */
    *bio_unmap_user(bio: Bio): Sleeps<void> {
      const { bi_vcnt } = bio;
      const done = api.bio_unmap_user_try(bio);
      if (done < bi_vcnt) yield* api.bio_unmap_user_rest(bio, done);
    },

    /**
     * The part of bio_unmap_user() that never sleeps, for hot paths: how many vecs it has done. When that is all of them
     * so are the references; else bio_unmap_user_rest() has to follow.
     */
    bio_unmap_user_try(bio: Bio): number {
      const { bi_vcnt } = bio;
      if (bio.bi_op !== REQ_OP_READ) putPages(bio);
      else {
        const done = unpinDirty(bio, 0);
        if (done < bi_vcnt) return done;
      }
      bio_put(bio);
      bio_put(bio);
      return bi_vcnt;
    },

    /** Ends what bio_unmap_user_try() began: waits for the lock of page `i` and goes on. */
    *bio_unmap_user_rest(bio: Bio, i: number): Sleeps<void> {
      while (i < bio.bi_vcnt) {
        const page = pageOf(bio, i);
        yield* locks.lock(page);
        locks.setDirty(page);
        locks.unlock(page);
        allocator.put(page);
        i = unpinDirty(bio, i + 1);
      }
      bio_put(bio);
      bio_put(bio);
    },

    /**
     * Undoes bio_copy_user_iov(): copies out what was read, frees the pages and drops the reference. 0, -EFAULT, or
     * -EINTR in a task without user memory, which copies nothing.
     */
    *bio_uncopy_user(bio: Bio): Sleeps<number> {
      const record = recordOf(bio);
      const mm = k.cpu.current?.mm ?? null;
      let result = 0;
      if (!bio_flagged(bio, BIO_NULL_MAPPED)) {
        if (mm === null) result = -EINTR;
        else if (record.mm !== mm)
          throw new KernelBug('UNM-05', 'unmapped by another process', 'bio_uncopy_user');
        else if (bio.bi_op === REQ_OP_READ) result = yield* copyAll(bio, record.iter, true);
      }
      dropRecord(bio, record);
      bio_put(bio);
      return result;
    },

    /** Gives up a bio of either kind that was never sent: user memory is as it was. */
    bio_abort_user(bio: Bio): void {
      if (bio_flagged(bio, BIO_USER_MAPPED)) {
        putPages(bio);
        bio_put(bio);
      } else {
        dropRecord(bio, recordOf(bio));
      }
      bio_put(bio);
    },
  };
  return api;
}

const NOTHING = new IovIter();

/**
 * Pages that the pieces of an iterator touch, -EINVAL when one passes the end of all addresses or has one of the bits of
 * `alignment` in its address. `exact`: of what is left; else of all pieces, whole (as the kernel counts for copies).
 */
function countPages(iter: ConstIovIter, exact: boolean, alignment: number): number {
  let pages = 0;
  let skip = exact ? iter.iov_offset : 0;
  let left = exact ? iter.count : Number.POSITIVE_INFINITY;
  for (let s = iter.seg; left > 0 && s < iter.seg + iter.nr_segs; s++, skip = 0) {
    const vec = iter.iov[s];
    if (vec === undefined) break;
    const base = vec.iov_base + skip;
    const len = Math.min(left, vec.iov_len - skip);
    if (len < 0 || base < 0 || base + len + PAGE_SIZE > ADDRESS_END) return -EINVAL;
    if (len === 0) continue;
    if ((base & alignment) !== 0) return -EINVAL;
    pages += Math.ceil((base + len) / PAGE_SIZE) - Math.floor(base / PAGE_SIZE);
    left -= len;
  }
  return pages;
}

function vecOf(bio: Bio, i: number): BioVec {
  return bio.bi_io_vec?.[i] as BioVec; // bi_vcnt of them are there
}

function pageOf(bio: Bio, i: number): Page {
  return vecOf(bio, i).bv_page as Page; // a vec in use has a page
}
