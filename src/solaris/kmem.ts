// Memory of the kernel for small objects (kmem_alloc(9F)): JavaScript has the memory, so what is left is who waits, who
// fails, and what is in use.

import { KernelBug, type SleepOptions, type Sleeps, WaitQueue } from '../kernel/index.ts';
import type { Solaris } from './kernel.ts';

export const KM_SLEEP = 0;
export const KM_NOSLEEP = 1;

/** An allocation that may sleep is tried again every second of virtual time. */
const FOR_MEMORY: SleepOptions = { what: 'memory', timeoutNs: 1_000_000_000, poll: true };

export function createKmem(k: Solaris) {
  const waiters = new WaitQueue('kmem');
  const inUse = new Map<string, number>();

  return {
    /**
     * Takes the memory for one object: false only with KM_NOSLEEP, when there is none. KM_SLEEP waits. Any context
     * with KM_NOSLEEP.
     * @param cache what for, as `kmem_in_use` lists it
     * @throws KernelBug `ctx-sleep` for KM_SLEEP where nobody may sleep
     */
    *kmem_take(cache: string, kmflag: number): Sleeps<boolean> {
      if (kmflag === KM_SLEEP) k.mightSleep(`kmem_alloc of ${cache}`);
      while (k.kmemFailures.shouldFail()) {
        if (kmflag !== KM_SLEEP) return false;
        yield* k.scheduler.sleep(waiters, FOR_MEMORY);
      }
      inUse.set(cache, (inUse.get(cache) ?? 0) + 1);
      return true;
    },

    /** Gives the memory of one object back. Any context. @throws KernelBug `kmem-free` when none is in use */
    kmem_give(cache: string): void {
      const count = inUse.get(cache) ?? 0;
      if (count === 0) throw new KernelBug('kmem-free', 'freed and not allocated', cache);
      if (count === 1) inUse.delete(cache);
      else inUse.set(cache, count - 1);
    },

    /** Objects in use, by what for. Any context. */
    kmem_in_use(): ReadonlyMap<string, number> {
      return new Map([...inUse].sort(([a], [b]) => (a < b ? -1 : 1)));
    },
  };
}
