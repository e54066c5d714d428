// Memory with an address of the kernel, in bytes (kmem_alloc(9F)), and caches of objects (kmem_cache_create(9F)).
//
// Every kmem_alloc() has pages of its own: what is written behind the end, or after kmem_free(), hits nobody else.

import { KernelBug, PAGE_SIZE, type Sleeps } from '../kernel/index.ts';
import type { Solaris } from './kernel.ts';
import { boundForDma, takeKernelPages } from './kernel-pages.ts';
import { KM_SLEEP } from './kmem.ts';

const TAG = 'kmem_alloc';

/** A cache of objects that are made alike (kmem_cache_t). */
export class KmemCache<T> {
  readonly name: string;
  readonly make: () => T;
  readonly construct: (buf: T, kmflags: number) => number;
  readonly destroy: (buf: T) => void;
  /** Constructed objects that nobody has. */
  readonly free: T[] = [];
  readonly used = new Set<T>();
  gone = false;

  constructor(
    name: string,
    make: () => T,
    construct: (buf: T, kmflags: number) => number,
    destroy: (buf: T) => void,
  ) {
    this.name = name;
    this.make = make;
    this.construct = construct;
    this.destroy = destroy;
  }
}

export function createKmemAlloc(k: Solaris) {
  /** Sizes by address. */
  const sizes = new Map<number, number>();

  function* alloc(size: number, flag: number, zero: boolean): Sleeps<number | null> {
    if (!(size > 0)) return null;
    const sleeps = flag === KM_SLEEP;
    if (!(yield* k.kmem.kmem_take(TAG, flag))) return null;
    const pages = yield* takeKernelPages(k, Math.ceil(size / PAGE_SIZE), sleeps, { zero, tag: TAG });
    if (pages === null) {
      k.kmem.kmem_give(TAG);
      return null;
    }
    const address = k.kas.map(pages);
    sizes.set(address, size);
    return address;
  }

  function must<T>(cp: KmemCache<T>, where: string): void {
    if (cp.gone) throw new KernelBug('kmem-cache', `${cp.name} was destroyed`, where);
  }

  return {
    /**
     * Memory of the kernel, aligned to a page; what is in it is undefined.
     * @param size bytes
     * @param flag KM_SLEEP, in user and kernel context; or KM_NOSLEEP in any but high-level interrupts: null when there
     *   is none
     * @returns its address; null for size 0, too
     */
    *kmem_alloc(size: number, flag: number): Sleeps<number | null> {
      return yield* alloc(size, flag, false);
    },

    /** kmem_alloc() of zeros. The contexts are those of kmem_alloc(). */
    *kmem_zalloc(size: number, flag: number): Sleeps<number | null> {
      return yield* alloc(size, flag, true);
    },

    /**
     * Gives memory back. Any context but high-level interrupts.
     * @param size what kmem_alloc() was asked for
     * @throws KernelBug `kmem-free` when it is no such memory or was freed, or of another size; `free-mapped` while it is
     *   bound for DMA
     */
    kmem_free(buf: number, size: number): void {
      const known = sizes.get(buf);
      if (known === undefined) throw new KernelBug('kmem-free', 'freed and not allocated', 'kmem_free');
      if (known !== size)
        throw new KernelBug('kmem-free', `${size} bytes freed of ${known} allocated`, 'kmem_free');
      if (boundForDma(k, buf, size))
        throw new KernelBug('free-mapped', 'the memory is bound for DMA', 'kmem_free');
      sizes.delete(buf);
      for (const page of k.kas.unmap(buf) ?? []) k.allocator.put(page);
      k.kmem.kmem_give(TAG);
    },

    /**
     * Makes a cache. User or kernel context.
     * @param make the memory of an object, for which C gives a size
     * @param construct prepares it once, with `priv`: 0, or what is else is no memory; null: nothing to prepare
     * @param destructor undoes that when the cache goes; null: nothing to undo
     */
    kmem_cache_create<T, P>(
      name: string,
      make: () => T,
      _align: number,
      construct: ((buf: T, priv: P, kmflags: number) => number) | null,
      destructor: ((buf: T, priv: P) => void) | null,
      _reclaim: null,
      priv: P,
      _vmp: null,
      _cflags: number,
    ): KmemCache<T> {
      const prepare = (buf: T, kmflags: number): number => construct?.(buf, priv, kmflags) ?? 0;
      return new KmemCache(name, make, prepare, (buf) => destructor?.(buf, priv));
    },

    /**
     * An object in the state in which the constructor or kmem_cache_free() left it. The contexts are those of
     * kmem_alloc().
     * @returns null when there is no memory, with KM_NOSLEEP, or when the constructor fails
     */
    *kmem_cache_alloc<T>(cp: KmemCache<T>, kmflag: number): Sleeps<T | null> {
      must(cp, 'kmem_cache_alloc');
      if (!(yield* k.kmem.kmem_take(cp.name, kmflag))) return null;
      let object = cp.free.pop();
      if (object === undefined) {
        object = cp.make();
        if (cp.construct(object, kmflag) !== 0) {
          k.kmem.kmem_give(cp.name);
          return null;
        }
      }
      cp.used.add(object);
      return object;
    },

    /**
     * Gives an object back, constructed. Any context.
     * @throws KernelBug `kmem-cache` when it is none of the cache's, or was freed
     */
    kmem_cache_free<T>(cp: KmemCache<T>, object: T): void {
      must(cp, 'kmem_cache_free');
      if (!cp.used.delete(object))
        throw new KernelBug('kmem-cache', `freed and not allocated from ${cp.name}`, 'kmem_cache_free');
      cp.free.push(object);
      k.kmem.kmem_give(cp.name);
    },

    /** The end of a cache. User or kernel context. @throws KernelBug `kmem-cache` while somebody has an object */
    kmem_cache_destroy<T>(cp: KmemCache<T>): void {
      must(cp, 'kmem_cache_destroy');
      if (cp.used.size > 0)
        throw new KernelBug(
          'kmem-cache',
          `${cp.used.size} objects of ${cp.name} are in use`,
          'kmem_cache_destroy',
        );
      cp.gone = true;
      for (const object of cp.free.splice(0)) cp.destroy(object);
    },
  };
}
