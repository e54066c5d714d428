// Memory pools (include/linux/mempool.h): an allocator with a reserve, so that somebody always gets on.

import {
  KernelBug,
  PAGE_SIZE,
  type Page,
  type SleepOptions,
  type Sleeps,
  WaitQueue,
} from '../kernel/index.ts';
import { badArgument, INT_MAX, mustCount } from './argument.ts';
import { ENOMEM } from './errno.ts';
import {
  __GFP_DIRECT_RECLAIM,
  __GFP_IO,
  __GFP_NOMEMALLOC,
  __GFP_NORETRY,
  __GFP_NOWARN,
  __GFP_ZERO,
  GFP_KERNEL,
  gfpflags_allow_blocking,
} from './gfp.ts';
import type { Linux } from './kernel.ts';
import { panic } from './panic.ts';
import type { KmemCache } from './slab.ts';

/** An object, or the address of memory. */
export type Element = object | number;

/**
 * Allocates one element; null when there is none. It must not sleep: a pool asks it without WAIT first, and with the
 * caller's flags only when the reserve is empty too.
 */
export type MempoolAlloc<T extends Element, D> = (gfp: number, pool_data: D) => T | null;
export type MempoolFree<T extends Element, D> = (element: T, pool_data: D) => void;

/** Virtual nanoseconds after which a waiting caller asks the allocator again. */
export const MEMPOOL_POLL_NS = 5e9;

/** Pointers in the 4 MiB that kmalloc() has at most. */
const MAX_ELEMENTS = 2 ** 22 / 8;

const FOR_ELEMENT: SleepOptions = {
  what: 'an element of a memory pool',
  timeoutNs: MEMPOOL_POLL_NS,
  poll: true,
};

/** One pool (mempool_t). */
export class Mempool<T extends Element = object> {
  /** What it is called in reports. */
  readonly name: string;
  /** Bytes of an element that is memory, 0 for objects. */
  readonly elementBytes: number;
  /** What the reserve is to hold. */
  min_nr: number;
  /** The reserve, the element returned last at the end. */
  elements: T[];
  readonly wait: WaitQueue;
  /** The allocator under the pool. */
  readonly alloc: (gfp: number) => T | null;
  readonly free: (element: T) => void;
  /** Elements that callers have. */
  outstanding = 0;

  constructor(
    pool_data: unknown,
    min_nr: number,
    elements: T[],
    alloc: (gfp: number) => T | null,
    free: (element: T) => void,
  ) {
    const { name, elementBytes } = (pool_data ?? {}) as { name?: unknown; elementBytes?: unknown };
    this.name = typeof name === 'string' ? name : 'of its own';
    this.elementBytes = typeof elementBytes === 'number' ? elementBytes : 0;
    this.min_nr = min_nr;
    this.elements = elements;
    this.alloc = alloc;
    this.free = free;
    this.wait = new WaitQueue(`mempool ${this.name}`);
    this.wait.wakers = () =>
      this.outstanding === 0
        ? null
        : `who frees ${this.outstanding === 1 ? 'the one element' : `one of ${this.outstanding} elements`} of ${this.name}`;
  }

  /** What the reserve holds now. */
  get curr_nr(): number {
    return this.elements.length;
  }
}

export function createMempool(k: Linux) {
  /** The table of elements is the one thing beside the elements that a pool allocates. */
  const tables = k.slab.kmem_cache_create<Element[]>('mempool-table', 8, 0, 0, () => []) ?? panic('mempool');

  /** A table for so many elements: null, as kmalloc() says to C, when there are too many for one allocation. */
  function allocTable<T extends Element>(min_nr: number): T[] | null {
    if (min_nr > MAX_ELEMENTS) return null;
    return k.slab.kmem_cache_alloc(tables, GFP_KERNEL) as T[] | null; // empty, so of any type
  }

  function freeTable(elements: Element[]): void {
    elements.length = 0;
    k.slab.kmem_cache_free(tables, elements);
  }

  /** All of mempool_alloc() but the sleep: null only when it has to sleep, or to fail. */
  function tryAlloc<T extends Element>(pool: Mempool<T>, gfp: number): T | null {
    if ((pool as Mempool<T> | null)?.elements === undefined)
      throw badArgument(pool, 'a pool', 'mempool_alloc');
    if (gfpflags_allow_blocking(gfp)) k.mightSleep('mempool_alloc');
    if ((gfp & __GFP_ZERO) !== 0)
      k.warnings.warn('POOL-10', 'elements are never cleared: __GFP_ZERO', pool.wait.name);
    const full = gfp | __GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN;
    const weak = full & ~(__GFP_DIRECT_RECLAIM | __GFP_IO);
    const element = ask(pool, weak);
    if (element !== null || weak === full) return element;
    return ask(pool, full);
  }

  /** The allocator, then the reserve. */
  function ask<T extends Element>(pool: Mempool<T>, gfp: number): T | null {
    const element = (k.faults.mempool.shouldFail() ? null : pool.alloc(gfp)) ?? fromReserve(pool);
    if (element !== null) pool.outstanding++;
    return element;
  }

  function fromReserve<T extends Element>(pool: Mempool<T>): T | null {
    const element = pool.elements.pop() ?? null;
    if (element !== null) k.pools?.taken(element);
    return element;
  }

  function* waitForElement<T extends Element>(pool: Mempool<T>, gfp: number): Sleeps<T> {
    k.pools?.awaited(pool);
    const full = gfp | __GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN;
    for (;;) {
      yield k.scheduler.park(pool.wait, FOR_ELEMENT);
      const element = ask(pool, full);
      if (element === null) continue;
      k.scheduler.noteProgress(); // a poll that found something
      return element;
    }
  }

  /** Gives the reserve beyond `keep` elements back to the allocator. */
  function shrink<T extends Element>(pool: Mempool<T>, keep: number): void {
    while (pool.elements.length > keep) {
      const element = fromReserve(pool) as T; // longer than keep: not empty
      k.pools?.freed(element);
      pool.free(element);
    }
  }

  const api = {
    /**
     * Makes a pool and fills its reserve with `min_nr` elements; null when one of them cannot be had. May sleep.
     */
    mempool_create<T extends Element, D>(
      min_nr: number,
      alloc_fn: MempoolAlloc<T, D>,
      free_fn: MempoolFree<T, D>,
      pool_data: D,
    ): Mempool<T> | null {
      k.mightSleep('mempool_create');
      mustCount(min_nr, 'the number of elements', 'mempool_create', INT_MAX);
      const elements = allocTable<T>(min_nr);
      if (elements === null) return null;
      const pool = new Mempool<T>(
        pool_data,
        min_nr,
        elements,
        (gfp) => alloc_fn(gfp, pool_data),
        (element) => free_fn(element, pool_data),
      );
      while (pool.curr_nr < min_nr) {
        const element = pool.alloc(GFP_KERNEL);
        if (element === null) {
          shrink(pool, 0);
          freeTable(elements);
          return null;
        }
        elements.push(element);
      }
      return pool;
    },

    /** A pool of objects of a slab cache. */
    mempool_create_slab_pool<T extends object>(min_nr: number, cache: KmemCache<T>): Mempool<T> | null {
      const { kmem_cache_alloc, kmem_cache_free } = k.slab;
      return api.mempool_create(
        min_nr,
        (gfp, from: KmemCache<T>) => kmem_cache_alloc(from, gfp),
        (element, from) => kmem_cache_free(from, element),
        cache,
      );
    },

    /** A pool of kmalloc() memory of `size` bytes: its elements are addresses. */
    mempool_create_kmalloc_pool(min_nr: number, size: number): Mempool<number> | null {
      return api.mempool_create(
        min_nr,
        (gfp) => k.kmalloc.kmalloc_now(size, gfp),
        (addr) => k.kmalloc.kfree(addr),
        { name: `kmalloc-${size}`, elementBytes: size },
      );
    },

    /** A pool of 2^order contiguous pages. */
    mempool_create_page_pool(min_nr: number, order: number): Mempool<Page> | null {
      return api.mempool_create(
        min_nr,
        (gfp) => k.pageAlloc.alloc_pages_now(gfp, order, 'mempool'),
        (page) => k.pageAlloc.__free_pages(page, order),
        { name: `pages of order ${order}`, elementBytes: PAGE_SIZE << order },
      );
    },

    /**
     * Takes an element: a fresh one if the allocator has one at once, else one of the reserve, else, with WAIT, whatever
     * comes first. Null only without WAIT. Elements of the reserve are as their last user left them.
     */
    *mempool_alloc<T extends Element>(pool: Mempool<T>, gfp: number): Sleeps<T | null> {
      return tryAlloc(pool, gfp) ?? (gfpflags_allow_blocking(gfp) ? yield* waitForElement(pool, gfp) : null);
    },

    /**
     * The part of mempool_alloc() that never sleeps, for hot paths: null means what it means there, or with WAIT that
     * `mempool_wait` has to follow at once.
     */
    mempool_try_alloc<T extends Element>(pool: Mempool<T>, gfp: number): T | null {
      return tryAlloc(pool, gfp);
    },

    /** What mempool_alloc() does with WAIT when it cannot go on: sleeps until there is an element. */
    *mempool_wait<T extends Element>(pool: Mempool<T>, gfp: number): Sleeps<T> {
      return yield* waitForElement(pool, gfp);
    },

    /** Gives an element back: to the reserve while that is short, else to the allocator. Null is no element. */
    mempool_free<T extends Element>(element: T | null, pool: Mempool<T>): void {
      if (element === null) return;
      if (pool.outstanding === 0)
        throw new KernelBug('POOL-06', 'an element too many was freed', pool.wait.name);
      pool.outstanding--;
      k.pools?.freed(element);
      if (pool.curr_nr >= pool.min_nr) {
        pool.free(element);
        return;
      }
      k.pools?.returned(pool, element);
      pool.elements.push(element);
      if (!pool.wait.empty) k.scheduler.wakeAll(pool.wait);
    },

    /**
     * Changes the size of the reserve: 0, or -ENOMEM if the bigger table cannot be had. A reserve that could not be
     * filled yet is filled by later frees. May sleep.
     */
    mempool_resize<T extends Element>(pool: Mempool<T>, new_min_nr: number): number {
      if (!(Number.isSafeInteger(new_min_nr) && new_min_nr > 0))
        throw new KernelBug('POOL-08', `resized to ${new_min_nr}`, pool.wait.name);
      k.mightSleep('mempool_resize');
      if (new_min_nr > pool.min_nr) {
        const bigger = allocTable<T>(new_min_nr);
        if (bigger === null) return -ENOMEM;
        bigger.push(...pool.elements);
        freeTable(pool.elements);
        pool.elements = bigger;
        pool.min_nr = new_min_nr;
        while (pool.curr_nr < new_min_nr) {
          const element = pool.alloc(GFP_KERNEL);
          if (element === null) break;
          pool.elements.push(element);
        }
        return 0;
      }
      shrink(pool, new_min_nr);
      pool.min_nr = new_min_nr;
      return 0;
    },

    /** Ends a pool; null is no pool. @throws KernelBug `POOL-09` when an element is still out */
    mempool_destroy<T extends Element>(pool: Mempool<T> | null): void {
      if (pool === null) return;
      if (pool.outstanding !== 0)
        throw new KernelBug('POOL-09', `destroyed with ${pool.outstanding} elements out`, pool.wait.name);
      shrink(pool, 0);
      freeTable(pool.elements);
    },
  };
  return api;
}
