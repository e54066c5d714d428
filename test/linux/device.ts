// A block device of the test's own: the queue's driver is a function of the test.

import type { Sleeps } from '../../src/kernel/index.ts';
import type { Bio, BioQueue, BioVec, BlockDevice, BvecMergeData, LinuxApi } from '../../src/linux/index.ts';

/** A queue with the default limits, which a test may change. */
export class TestQueue implements BioQueue {
  readonly limits = {
    max_hw_sectors: 255,
    max_sectors: 255,
    max_write_same_sectors: 0,
    max_discard_sectors: 0,
    max_segments: 128,
    max_segment_size: 65536,
    logical_block_size: 512,
    seg_boundary_mask: 0xffffffff,
    virt_boundary_mask: 0,
    cluster: true,
  };
  dying = false;
  wc = false;
  discard = false;
  secure_erase = false;
  make_request_fn: ((q: BioQueue, bio: Bio) => Sleeps<void>) | null = null;
  merge_bvec_fn: ((q: BioQueue, bvm: BvecMergeData, vec: BioVec) => number) | null = null;
}

export class TestDevice implements BlockDevice<TestQueue> {
  readonly bd_name: string;
  nr_sects = 0;
  start_sect = 0;
  bd_contains: BlockDevice<TestQueue> = this;
  queue: TestQueue | null = new TestQueue();

  constructor(bd_name: string) {
    this.bd_name = bd_name;
  }

  /** The queue, which the test did not take away. */
  get q(): TestQueue {
    return this.queue as TestQueue;
  }
}

/** A device that ends each bio at once, without error, and writes down what it got. */
export function sink(linux: LinuxApi, name = 'sink'): TestDevice & { readonly got: Bio[] } {
  const device = Object.assign(new TestDevice(name), { got: [] as Bio[] });
  device.q.make_request_fn = function* (_q, bio) {
    device.got.push(bio);
    linux.bio_endio(bio);
  };
  return device;
}
