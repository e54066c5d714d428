// Fault injection: which allocations are made to fail.

import { FailurePlan, type Random } from '../kernel/index.ts';

/** Plans that are off until somebody sets them. All depend on the seed only. */
export class LinuxFaults {
  /** Pages. */
  readonly page_alloc: FailurePlan;
  /** Objects of every slab cache, kmalloc included; each cache has a plan of its own beside this one. */
  readonly slab: FailurePlan;
  /** Elements that memory pools ask their allocator for: as if memory were short, for pools only. */
  readonly mempool: FailurePlan;
  /** Bios at submission: they end with -EIO (CONFIG_FAIL_MAKE_REQUEST). */
  readonly make_request: FailurePlan;

  constructor(random: Random, page_alloc: FailurePlan) {
    this.page_alloc = page_alloc;
    this.slab = new FailurePlan(random.fork('slab failures'));
    this.mempool = new FailurePlan(random.fork('mempool failures'));
    this.make_request = new FailurePlan(random.fork('make_request failures'));
  }
}
