// Slab caches (include/linux/slab.h). The objects of a cache live in JavaScript; what is modelled is that they are
// counted, that a freed one comes back as its last owner left it, and that there may be none. Memory of the kernel
// that has an address is kmalloc.ts.

import { FailurePlan, KernelBug } from '../kernel/index.ts';
import { mustCount, UINT_MAX } from './argument.ts';
import { gfpflags_allow_blocking } from './gfp.ts';
import type { Linux } from './kernel.ts';

/** What an allocator of pages has in one piece, 2^10 of them: no object is larger. */
const MAX_OBJECT_BYTES = 2 ** 22;

/** What all objects may take, however small the machine: they are not in its memory. */
const LEAST_BYTES = 2 ** 26;

/** Objects of one kind. */
export class KmemCache<T extends object = object> {
  readonly name: string;
  /** Bytes of an object, as C would have it. */
  readonly size: number;
  /** Makes an object where the cache has none that was freed. */
  readonly ctor: () => T;
  /** Which allocations from this cache fail. */
  readonly failures: FailurePlan;
  /** Who uses the cache: kmem_cache_destroy() of the last one destroys it. */
  refcount = 1;
  /** Allocations and frees so far. */
  allocated = 0;
  freed = 0;
  /** Objects that exist, in use or free. */
  made = 0;
  /** Freed objects, the last one first. */
  readonly free: T[] = [];

  constructor(name: string, size: number, ctor: () => T, failures: FailurePlan) {
    this.name = name;
    this.size = size;
    this.ctor = ctor;
    this.failures = failures;
  }

  /** Objects in use. */
  get active(): number {
    return this.allocated - this.freed;
  }
}

/** Objects of one cache that are in use. */
export interface SlabUse {
  readonly cache: string;
  readonly objects: number;
  readonly bytes: number;
}

export function createSlab(k: Linux) {
  const caches = new Set<KmemCache>();
  /** What all objects that were ever made would take of the machine's memory. */
  const charged = { bytes: 0 };
  const most = Math.max(
    LEAST_BYTES,
    k.memory.regions.reduce((sum, { bytes }) => sum + bytes, 0),
  );

  /** A fresh object; null when they would be more than the machine's memory. */
  function make<T extends object>(cache: KmemCache<T>): T | null {
    if (charged.bytes + cache.size > most) return null;
    charged.bytes += cache.size;
    cache.made++;
    return cache.ctor();
  }

  return {
    /** Makes a cache; null when memory is short. `align` and `flags` are accepted and mean nothing here. */
    kmem_cache_create<T extends object>(
      name: string,
      size: number,
      _align: number,
      _flags: number,
      ctor: () => T,
    ): KmemCache<T> | null {
      mustCount(size, 'the size', 'kmem_cache_create', UINT_MAX);
      if (size > MAX_OBJECT_BYTES || k.faults.slab.shouldFail()) return null;
      const cache = new KmemCache(name, size, ctor, new FailurePlan(k.random.fork(`slab ${name}`)));
      caches.add(cache);
      return cache;
    },

    /** Gives up a cache. @throws KernelBug `slab-destroy` when the last user leaves objects in use */
    kmem_cache_destroy(cache: KmemCache): void {
      if (cache.refcount > 1) {
        cache.refcount--;
        return;
      }
      if (cache.active !== 0)
        throw new KernelBug('slab-destroy', `${cache.active} objects still in use`, cache.name);
      cache.refcount = 0;
      charged.bytes -= cache.made * cache.size;
      caches.delete(cache);
    },

    /**
     * Takes an object, in the state in which it was freed; null when memory is short. Never sleeps, since no memory
     * is ever reclaimed here, but with WAIT it is only allowed where sleeping is.
     */
    kmem_cache_alloc<T extends object>(cache: KmemCache<T>, gfp: number): T | null {
      if (gfpflags_allow_blocking(gfp)) k.mightSleep(cache.name);
      if (k.faults.slab.shouldFail() || cache.failures.shouldFail()) return null;
      const object = cache.free.pop() ?? make(cache);
      if (object !== null) cache.allocated++;
      return object;
    },

    /** Gives an object back. @throws KernelBug `slab-free` when none is in use */
    kmem_cache_free<T extends object>(cache: KmemCache<T>, object: T): void {
      if (cache.active === 0) throw new KernelBug('slab-free', 'freed and not allocated', cache.name);
      cache.freed++;
      cache.free.push(object);
    },

    /** What is in use now, cache by cache: for leak checks. */
    slab_in_use(): SlabUse[] {
      return Array.from(caches)
        .filter(({ active }) => active > 0)
        .map(({ name, active, size }) => ({ cache: name, objects: active, bytes: active * size }));
    },
  };
}
