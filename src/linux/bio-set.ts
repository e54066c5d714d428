// Allocation of bios: from a set, whose reserve makes sure that somebody always gets on, or from plain memory.
//
// The guarantee (bio_alloc_bioset(9)): with a set and WAIT an allocation of 0..256 vecs never fails, as long as each
// caller has at most one bio of the set that it has not submitted. Under a make_request function submitted bios only
// wait in a list of the task, so a set that is exhausted has its rescuer, a thread, submit them.

import { KernelBug, type Sleeps, Work, WorkQueue } from '../kernel/index.ts';
import { mustBio, mustCount, mustWhole, UINT_MAX } from './argument.ts';
import { BioList, bio_list_add, bio_list_empty, bio_list_init, bio_list_pop } from './bio-list.ts';
import {
  BIO_INLINE_VECS,
  BIO_MAX_PAGES,
  BIO_RESET_BITS,
  BIO_UPTODATE,
  Bio,
  BioVec,
  UIO_MAXIOV,
} from './bio-struct.ts';
import {
  __GFP_DIRECT_RECLAIM,
  __GFP_IO,
  __GFP_NOMEMALLOC,
  __GFP_NORETRY,
  __GFP_NOWARN,
  gfpflags_allow_blocking,
} from './gfp.ts';
import type { Linux } from './kernel.ts';
import type { Mempool } from './mempool.ts';
import { panic } from './panic.ts';
import type { KmemCache } from './slab.ts';

/** Bytes of struct bio and struct bio_vec on a 64-bit machine: they decide which sets share a slab. */
const SIZEOF_BIO = 120;
const SIZEOF_BIO_VEC = 16;

const VECS = 'the number of vecs';

/** Vecs of the arrays that the slabs hand out; a set has a reserve of the last ones. */
export const BVEC_CLASSES = [1, 4, 16, 64, 128, BIO_MAX_PAGES] as const;
const BVEC_MAX_CLASS = 5;

/** Elements of the set that bio_alloc() takes from. */
export const BIO_POOL_SIZE = 2;

/** A set of bios with a reserve (struct bio_set). Made by bioset_create(). */
export class BioSet {
  readonly name: string;
  /** Bytes in front of every bio of the set. */
  readonly front_pad: number;
  readonly bio_slab: KmemCache<Bio>;
  readonly bio_pool: Mempool<Bio>;
  /** Arrays of 256 vecs; null for a set whose bios have none of their own. */
  readonly bvec_pool: Mempool<BioVec[]> | null;
  /** Bios that the rescuer is to submit. */
  readonly rescue_list = new BioList();
  readonly rescue_workqueue: WorkQueue;
  readonly rescue_work: Work;

  constructor(
    init: Pick<BioSet, 'name' | 'front_pad' | 'bio_slab' | 'bio_pool' | 'bvec_pool' | 'rescue_workqueue'>,
    rescue: (bs: BioSet) => Sleeps<void>,
  ) {
    this.name = init.name;
    this.front_pad = init.front_pad;
    this.bio_slab = init.bio_slab;
    this.bio_pool = init.bio_pool;
    this.bvec_pool = init.bvec_pool;
    this.rescue_workqueue = init.rescue_workqueue;
    this.rescue_work = new Work(`rescuer of ${init.name}`, () => rescue(this));
  }
}

export function createBioSet(k: Linux) {
  const { kmem_cache_alloc, kmem_cache_create, kmem_cache_destroy, kmem_cache_free } = k.slab;
  const { mempool_try_alloc, mempool_wait, mempool_free } = k.mempool;

  /** Slabs of bios by the size of their elements. */
  const bioSlabs = new Map<number, KmemCache<Bio>>();
  /** Slabs of vec arrays, by class; the first two are never used: so few vecs are part of the bio. */
  const bvecSlabs = BVEC_CLASSES.map((vecs) =>
    mustCreate(`biovec-${vecs}`, vecs * SIZEOF_BIO_VEC, () => makeVecs(vecs)),
  );
  /** Bios without a set, by room for vecs: powers of two. */
  const plainSlabs: KmemCache<Bio>[] = [];
  const setNames = { next: 0 };

  function mustCreate<T extends object>(name: string, size: number, ctor: () => T): KmemCache<T> {
    return kmem_cache_create(name, size, 0, 0, ctor) ?? panic(name);
  }

  function bvecSlab(vec_class: number): KmemCache<BioVec[]> {
    return bvecSlabs[vec_class] as KmemCache<BioVec[]>; // one for every class
  }

  function findSlab(front_pad: number): KmemCache<Bio> | null {
    const size = SIZEOF_BIO + front_pad + BIO_INLINE_VECS * SIZEOF_BIO_VEC;
    const shared = bioSlabs.get(size);
    if (shared !== undefined) {
      shared.refcount++;
      return shared;
    }
    const made = kmem_cache_create(`bio-${size}`, size, 0, 0, () => new Bio(BIO_INLINE_VECS, front_pad));
    if (made !== null) bioSlabs.set(size, made);
    return made;
  }

  function putSlab(slab: KmemCache<Bio>): void {
    kmem_cache_destroy(slab);
    if (slab.refcount === 0) bioSlabs.delete(slab.size);
  }

  /** mempool_create_slab_pool() with a name that says whose the pool is. */
  function createPool<T extends object>(name: string, size: number, slab: KmemCache<T>): Mempool<T> | null {
    const alloc = (gfp: number): T | null => kmem_cache_alloc(slab, gfp);
    return k.mempool.mempool_create(size, alloc, (element) => kmem_cache_free(slab, element), { name });
  }

  function createSet(pool_size: number, front_pad: number, vecs: boolean): BioSet | null {
    k.mightSleep('bioset_create');
    mustCount(front_pad, 'the bytes in front', 'bioset_create', UINT_MAX);
    const bio_slab = findSlab(front_pad);
    if (bio_slab === null) return null;
    const name = `bioset ${setNames.next++}`;
    const bio_pool = createPool(`bios of ${name}`, pool_size, bio_slab);
    const bvec_pool = vecs ? createPool(`vecs of ${name}`, pool_size, bvecSlab(BVEC_MAX_CLASS)) : null;
    if (bio_pool === null || (vecs && bvec_pool === null)) {
      k.mempool.mempool_destroy(bio_pool);
      k.mempool.mempool_destroy(bvec_pool);
      putSlab(bio_slab);
      return null;
    }
    const rescue_workqueue = new WorkQueue(k.scheduler, name);
    return new BioSet({ name, front_pad, bio_slab, bio_pool, bvec_pool, rescue_workqueue }, rescue);
  }

  /** The rescuer's work: submits what was punted, one by one, from a thread that is under no make_request function. */
  function* rescue(bs: BioSet): Sleeps<void> {
    for (let bio = bio_list_pop(bs.rescue_list); bio !== null; bio = bio_list_pop(bs.rescue_list)) {
      yield* k.submit.generic_make_request(bio);
    }
  }

  /** Hands the bios of this set that wait in the task's lists to the rescuer; all others stay, in order. */
  function punt(bs: BioSet): void {
    for (const list of k.current?.bio_list ?? []) {
      const stay = new BioList();
      for (let bio = bio_list_pop(list); bio !== null; bio = bio_list_pop(list)) {
        bio_list_add(bio.bi_pool === bs ? bs.rescue_list : stay, bio);
      }
      bio_list_init(list);
      list.head = stay.head;
      list.tail = stay.tail;
    }
    bs.rescue_workqueue.queue(bs.rescue_work);
  }

  /** True while earlier bios of this task wait until the active make_request function returns. */
  function bioListWaits(): boolean {
    const lists = k.current?.bio_list ?? null;
    return lists !== null && !(bio_list_empty(lists[0]) && bio_list_empty(lists[1]));
  }

  /** What the last tryFromSet() asked with, and what it got: for the slow() that follows at once. */
  let triedMask = 0;
  let triedBio: Bio | null = null;

  /** The hot path of an allocation from a set: null when it has to wait, to be rescued, or to fail. */
  function tryFromSet(gfp: number, nr_iovecs: number, bs: BioSet): Bio | null {
    mustWhole(nr_iovecs, VECS, 'bio_alloc_bioset');
    if (bs.bvec_pool === null && nr_iovecs > 0) {
      k.warnings.warn('BIO-11', `${nr_iovecs} vecs asked from a set that has none`, bs.name);
      return null;
    }
    triedMask = bioListWaits() ? gfp & ~__GFP_DIRECT_RECLAIM : gfp;
    triedBio = mempool_try_alloc(bs.bio_pool, triedMask);
    return triedBio !== null && prepare(triedBio, triedMask, nr_iovecs, bs) ? triedBio : null;
  }

  /**
   * Goes on where tryFromSet() got no further: with the bio but not its vecs, or not even the bio. A mask that is weaker
   * than `gfp` is restored once, after the rescuer was given what it can help with.
   */
  function* slow(gfp: number, nr_iovecs: number, bs: BioSet): Sleeps<Bio | null> {
    if (bs.bvec_pool === null && nr_iovecs > 0) return null;
    let mask = triedMask;
    let bio = triedBio;
    if (bio === null) {
      if (mask !== gfp) {
        punt(bs);
        mask = gfp;
        bio = mempool_try_alloc(bs.bio_pool, mask);
      }
      if (bio === null && gfpflags_allow_blocking(mask)) bio = yield* mempool_wait(bs.bio_pool, mask);
      if (bio === null || prepare(bio, mask, nr_iovecs, bs)) return bio;
    }
    if (mask !== gfp) {
      punt(bs);
      mask = gfp;
      if (giveVecs(bio, mask, nr_iovecs, bs)) return bio;
    }
    if (bs.bvec_pool !== null && isVecCount(nr_iovecs) && gfpflags_allow_blocking(mask)) {
      attachVecs(bio, yield* mempool_wait(bs.bvec_pool, mask), BVEC_MAX_CLASS, nr_iovecs);
      return bio;
    }
    bio.live = false;
    mempool_free(bio, bs.bio_pool);
    return null;
  }

  /** Makes a fresh bio of an element, with its vecs if they can be had at once. */
  function prepare(bio: Bio, gfp: number, nr_iovecs: number, bs: BioSet): boolean {
    initBio(bio);
    bio.bi_pool = bs;
    if (nr_iovecs < 0 || nr_iovecs > BIO_INLINE_VECS) return giveVecs(bio, gfp, nr_iovecs, bs);
    bio.bi_io_vec = nr_iovecs === 0 ? null : bio.bi_inline_vecs;
    bio.bi_max_vecs = nr_iovecs;
    return true;
  }

  /** Gives the bio an array of vecs; false when there is none without waiting, or when so many are too many. */
  function giveVecs(bio: Bio, gfp: number, nr_iovecs: number, bs: BioSet): boolean {
    if (!isVecCount(nr_iovecs) || bs.bvec_pool === null) return false;
    const vec_class = classFor(nr_iovecs);
    if (vec_class !== BVEC_MAX_CLASS) {
      const tentative =
        (gfp & ~(__GFP_DIRECT_RECLAIM | __GFP_IO)) | __GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN;
      const vecs = kmem_cache_alloc(bvecSlab(vec_class), tentative);
      if (vecs !== null) attachVecs(bio, vecs, vec_class, nr_iovecs);
      if (vecs !== null || !gfpflags_allow_blocking(gfp)) return vecs !== null;
    }
    const vecs = mempool_try_alloc(bs.bvec_pool, gfp);
    if (vecs !== null) attachVecs(bio, vecs, BVEC_MAX_CLASS, nr_iovecs);
    return vecs !== null;
  }

  function allocPlain(gfp: number, nr_iovecs: number): Bio | null {
    mustWhole(nr_iovecs, VECS, 'bio_kmalloc');
    if (nr_iovecs < 0) throw new KernelBug('BIO-07', `${nr_iovecs} vecs without a set`, 'bio_kmalloc');
    if (nr_iovecs > UIO_MAXIOV) return null;
    const slab = plainSlab(nr_iovecs);
    const bio = slab === null ? null : kmem_cache_alloc(slab, gfp);
    if (bio === null) return null;
    initBio(bio);
    bio.bi_io_vec = nr_iovecs === 0 ? null : bio.bi_inline_vecs;
    bio.bi_max_vecs = nr_iovecs;
    return bio;
  }

  function plainSlab(nr_iovecs: number): KmemCache<Bio> | null {
    const order = nr_iovecs === 0 ? 0 : 32 - Math.clz32(nr_iovecs * 2 - 1);
    const known = plainSlabs[order];
    if (known !== undefined) return known;
    const room = order === 0 ? 0 : 2 ** (order - 1);
    const size = SIZEOF_BIO + room * SIZEOF_BIO_VEC;
    const made = kmem_cache_create(`bio-kmalloc-${room}`, size, 0, 0, () => new Bio(room));
    if (made !== null) plainSlabs[order] = made;
    return made;
  }

  const fs_bio_set = createSet(BIO_POOL_SIZE, 0, true) ?? panic('fs_bio_set');

  return {
    /**
     * Makes a set with a reserve of `pool_size` bios and as many arrays of 256 vecs, and a rescuer; null when memory is
     * short. `front_pad` bytes stand in front of each bio for the owner's use. May sleep.
     */
    bioset_create(pool_size: number, front_pad: number): BioSet | null {
      return createSet(pool_size, front_pad, true);
    },

    /** As bioset_create(), for bios that never have vecs of their own: fast clones. */
    bioset_create_nobvec(pool_size: number, front_pad: number): BioSet | null {
      return createSet(pool_size, front_pad, false);
    },

    /** Ends a set: first the rescuer, then the reserves. @throws KernelBug `POOL-09` when a bio of it is alive */
    *bioset_free(bs: BioSet): Sleeps<void> {
      yield* bs.rescue_workqueue.destroy();
      k.mempool.mempool_destroy(bs.bio_pool);
      k.mempool.mempool_destroy(bs.bvec_pool);
      putSlab(bs.bio_slab);
    },

    /**
     * Takes a bio with room for `nr_iovecs` vecs from a set, or with `bs` null from plain memory. With a set and WAIT it
     * never fails for 0..256 vecs; without a set it can fail whatever `gfp` says, and has room for up to 1024.
     */
    *bio_alloc_bioset(gfp: number, nr_iovecs: number, bs: BioSet | null): Sleeps<Bio | null> {
      if (bs === null) return allocPlain(gfp, nr_iovecs);
      return tryFromSet(gfp, nr_iovecs, bs) ?? (yield* slow(gfp, nr_iovecs, bs));
    },

    /** bio_alloc_bioset() from the set of the file systems. */
    *bio_alloc(gfp: number, nr_iovecs: number): Sleeps<Bio | null> {
      return tryFromSet(gfp, nr_iovecs, fs_bio_set) ?? (yield* slow(gfp, nr_iovecs, fs_bio_set));
    },

    /** bio_alloc_bioset() without a set; it never waits. */
    bio_kmalloc(gfp: number, nr_iovecs: number): Bio | null {
      return allocPlain(gfp, nr_iovecs);
    },

    /** Makes a fresh bio of one that lives in its owner's memory; vecs are the owner's business. */
    bio_init(bio: Bio): void {
      mustBio(bio, 'bio_init');
      initBio(bio);
    },

    /**
     * Makes a bio as good as new for the same use: vec array, room, references and set stay, the rest is cleared.
     */
    bio_reset(bio: Bio): void {
      mustBio(bio, 'bio_reset');
      resetBio(bio);
    },

    /** Vecs of a class of arrays, 0..5. */
    bvec_nr_vecs(vec_class: number): number {
      return BVEC_CLASSES[vec_class] ?? 0;
    },

    /** The last reference is gone: bio_put() calls it. */
    bio_free(bio: Bio): void {
      const bs = bio.bi_pool;
      const { bi_io_vec, bi_vec_class } = bio;
      bio.live = false;
      bio.bi_io_vec = null;
      bio.bi_ioc = null;
      if (bs === null) {
        const slab = plainSlab(bio.bi_inline_vecs.length);
        if (slab !== null) kmem_cache_free(slab, bio);
        return;
      }
      if (bi_vec_class === BVEC_MAX_CLASS && bs.bvec_pool !== null) mempool_free(bi_io_vec, bs.bvec_pool);
      else if (bi_vec_class >= 0 && bi_io_vec !== null) kmem_cache_free(bvecSlab(bi_vec_class), bi_io_vec);
      mempool_free(bio, bs.bio_pool);
    },

    /** The set that bio_alloc() takes from. A value, not a getter: those make an object slow. */
    fs_bio_set,
  };
}

function makeVecs(count: number): BioVec[] {
  return Array.from({ length: count }, () => new BioVec());
}

function isVecCount(nr_iovecs: number): boolean {
  return nr_iovecs >= 0 && nr_iovecs <= BIO_MAX_PAGES;
}

function attachVecs(bio: Bio, vecs: BioVec[], vec_class: number, nr_iovecs: number): void {
  bio.bi_io_vec = vecs;
  bio.bi_vec_class = vec_class;
  bio.bi_max_vecs = nr_iovecs;
}

/** The smallest class of arrays with so many vecs; 5 and more go to class 2, since 4 are part of the bio. */
function classFor(nr_iovecs: number): number {
  if (nr_iovecs <= 16) return 2;
  if (nr_iovecs <= 64) return 3;
  return nr_iovecs <= 128 ? 4 : BVEC_MAX_CLASS;
}

/** As bio_reset(), and everything that it keeps. */
function initBio(bio: Bio): void {
  bio.bi_flags = 0;
  resetBio(bio);
  bio.__bi_cnt = 1;
  bio.bi_max_vecs = 0;
  bio.bi_io_vec = null;
  bio.bi_vec_class = -1;
  bio.bi_pool = null;
  bio.live = true;
}

function resetBio(bio: Bio): void {
  bio.bi_next = null;
  bio.bi_bdev = null;
  bio.bi_error = 0;
  bio.bi_op = 0;
  bio.bi_opf = 0;
  bio.bi_flags = (bio.bi_flags & (-1 << BIO_RESET_BITS)) | (1 << BIO_UPTODATE);
  const { bi_iter } = bio;
  bi_iter.bi_sector = 0;
  bi_iter.bi_size = 0;
  bi_iter.bi_idx = 0;
  bi_iter.bi_bvec_done = 0;
  bio.bi_phys_segments = 0;
  bio.bi_seg_front_size = 0;
  bio.bi_seg_back_size = 0;
  bio.__bi_remaining = 1;
  bio.bi_end_io = null;
  bio.bi_private = null;
  bio.bi_ioc = null;
  bio.bi_vcnt = 0;
}
