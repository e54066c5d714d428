// The limits of a queue (block/blk-settings.c of 4.8): what its hardware can do, as its driver says, and how the limits
// of a stacked device follow from those of the devices below.
//
// What is out of range is raised to the least that is possible, as in the kernel, and noted among the warnings.

import { KernelBug } from '../kernel/index.ts';
import { INT_MAX, mustCount, UINT_MAX, ULONG_MAX, USHRT_MAX } from './argument.ts';
import type { BlockDevice } from './bio-struct.ts';
import {
  BLK_BOUNCE_ANY,
  BLK_DEF_MAX_SECTORS,
  BLK_MAX_SEGMENT_SIZE,
  BLK_MAX_SEGMENTS,
  BLK_SAFE_MAX_SECTORS,
  BLK_SEG_BOUNDARY_MASK,
  BLKDEV_MAX_RQ,
  type Gendisk,
  type MakeRequestFn,
  type QueueLimits,
  type Request,
  type RequestQueue,
} from './blkdev.ts';
import { EINVAL } from './errno.ts';
import { GFP_DMA, GFP_NOIO } from './gfp.ts';
import type { Linux } from './kernel.ts';

const PAGE_SIZE = 4096;
const SECTORS_A_PAGE = 8;
/** The page frame that a limit must lie below to be served from the ISA pool: that of the last page under 4 GiB. */
const DMA_BOUNCE_PFN = 0xfffff;

export function createSettings(k: Linux) {
  const lastLowPfn = k.memory.regions.reduce(
    (last, { base, bytes }) => Math.max(last, (base + bytes) / PAGE_SIZE - 1),
    0,
  );

  function raised(where: string, asked: number, given: number): void {
    k.warnings.warn('LIM-02', `${asked} is too small, set to ${given}`, where);
  }

  return {
    /** The limits of a device of which nothing is known. */
    blk_set_default_limits(lim: QueueLimits): void {
      lim.max_segments = BLK_MAX_SEGMENTS;
      lim.seg_boundary_mask = BLK_SEG_BOUNDARY_MASK;
      lim.virt_boundary_mask = 0;
      lim.max_segment_size = BLK_MAX_SEGMENT_SIZE;
      lim.max_sectors = lim.max_hw_sectors = BLK_SAFE_MAX_SECTORS;
      lim.max_dev_sectors = 0;
      lim.chunk_sectors = 0;
      lim.max_write_same_sectors = 0;
      lim.max_discard_sectors = lim.max_hw_discard_sectors = 0;
      lim.discard_granularity = 0;
      lim.discard_alignment = 0;
      lim.discard_misaligned = false;
      lim.discard_zeroes_data = false;
      lim.logical_block_size = lim.physical_block_size = lim.io_min = 512;
      lim.bounce_pfn = Math.floor(BLK_BOUNCE_ANY / PAGE_SIZE);
      lim.alignment_offset = 0;
      lim.io_opt = 0;
      lim.misaligned = false;
      lim.cluster = true;
    },

    /** The limits to start from when those of other devices are to be stacked: none. */
    blk_set_stacking_limits(lim: QueueLimits): void {
      k.settings.blk_set_default_limits(lim);
      lim.discard_zeroes_data = true;
      lim.max_segments = USHRT_MAX;
      lim.max_segment_size = UINT_MAX;
      lim.max_hw_sectors = lim.max_sectors = lim.max_dev_sectors = UINT_MAX;
      lim.max_write_same_sectors = UINT_MAX;
    },

    /** Makes `mfn` the function that takes the queue's bios, and sets all limits to their defaults. */
    blk_queue_make_request(q: RequestQueue, mfn: MakeRequestFn): void {
      q.nr_requests = BLKDEV_MAX_RQ;
      q.make_request_fn = mfn;
      q.dma_alignment = 511;
      k.settings.blk_set_default_limits(q.limits);
      q.bounce_gfp = GFP_NOIO;
      q.limits.bounce_pfn = lastLowPfn; // BLK_BOUNCE_HIGH: the limit of a machine without high memory
    },

    /**
     * Sets the highest address that the device reaches. Below 4 GiB, bounce pages come from the small ISA pool, whatever
     * the limit: that is how 64-bit kernels are.
     */
    blk_queue_bounce_limit(q: RequestQueue, max_addr: number): void {
      mustCount(max_addr, 'the highest address', 'blk_queue_bounce_limit', ULONG_MAX);
      const pfn = Math.floor(max_addr / PAGE_SIZE);
      q.bounce_gfp = GFP_NOIO;
      if (pfn >= DMA_BOUNCE_PFN) {
        q.limits.bounce_pfn = Math.max(lastLowPfn, pfn);
        return;
      }
      k.bounce.init_emergency_isa_pool();
      q.bounce_gfp = GFP_NOIO | GFP_DMA;
      q.limits.bounce_pfn = pfn;
    },

    /** Hard limit in sectors of 512 bytes; the soft one becomes as large as it may. */
    blk_queue_max_hw_sectors(q: RequestQueue, max_hw_sectors: number): void {
      mustCount(max_hw_sectors, 'the number of sectors', 'blk_queue_max_hw_sectors', UINT_MAX);
      const { limits } = q;
      if (max_hw_sectors < SECTORS_A_PAGE) {
        raised('blk_queue_max_hw_sectors', max_hw_sectors, SECTORS_A_PAGE);
        max_hw_sectors = SECTORS_A_PAGE;
      }
      limits.max_hw_sectors = max_hw_sectors;
      limits.max_sectors = Math.min(minNotZero(max_hw_sectors, limits.max_dev_sectors), BLK_DEF_MAX_SECTORS);
    },

    /** No request may cross a multiple of so many sectors. @throws KernelBug LIM-06 unless a power of two */
    blk_queue_chunk_sectors(q: RequestQueue, chunk_sectors: number): void {
      if (!isPowerOfTwo(chunk_sectors)) {
        throw new KernelBug(
          'LIM-06',
          `chunk_sectors ${chunk_sectors} is no power of two`,
          'blk_queue_chunk_sectors',
        );
      }
      q.limits.chunk_sectors = chunk_sectors;
    },

    /** Sectors of 512 bytes that one discard has at most; 0: the device has none. */
    blk_queue_max_discard_sectors(q: RequestQueue, max_discard_sectors: number): void {
      mustCount(max_discard_sectors, 'the number of sectors', 'blk_queue_max_discard_sectors', UINT_MAX);
      q.limits.max_hw_discard_sectors = max_discard_sectors;
      q.limits.max_discard_sectors = max_discard_sectors;
    },

    /** Sectors of 512 bytes that one write-same has at most; 0: the device has none. */
    blk_queue_max_write_same_sectors(q: RequestQueue, max_write_same_sectors: number): void {
      mustCount(
        max_write_same_sectors,
        'the number of sectors',
        'blk_queue_max_write_same_sectors',
        UINT_MAX,
      );
      q.limits.max_write_same_sectors = max_write_same_sectors;
    },

    /** Entries that the scatter list of a request has at most; 0 is raised to 1 (LIM-02). */
    blk_queue_max_segments(q: RequestQueue, max_segments: number): void {
      mustCount(max_segments, 'the number of segments', 'blk_queue_max_segments', USHRT_MAX);
      if (max_segments < 1) {
        raised('blk_queue_max_segments', max_segments, 1);
        max_segments = 1;
      }
      q.limits.max_segments = max_segments;
    },

    /** Bytes. */
    blk_queue_max_segment_size(q: RequestQueue, max_size: number): void {
      mustCount(max_size, 'the size', 'blk_queue_max_segment_size', UINT_MAX);
      if (max_size < PAGE_SIZE) {
        raised('blk_queue_max_segment_size', max_size, PAGE_SIZE);
        max_size = PAGE_SIZE;
      }
      q.limits.max_segment_size = max_size;
    },

    /** Least that can be addressed, in bytes; the larger units are raised to it. */
    blk_queue_logical_block_size(q: RequestQueue, size: number): void {
      mustCount(size, 'the size', 'blk_queue_logical_block_size', USHRT_MAX, 1);
      const { limits } = q;
      limits.logical_block_size = size;
      limits.physical_block_size = Math.max(limits.physical_block_size, size);
      limits.io_min = Math.max(limits.io_min, limits.physical_block_size);
    },

    /** Least that can be written without reading first, in bytes. */
    blk_queue_physical_block_size(q: RequestQueue, size: number): void {
      mustCount(size, 'the size', 'blk_queue_physical_block_size', UINT_MAX, 1);
      const { limits } = q;
      limits.physical_block_size = Math.max(size, limits.logical_block_size);
      limits.io_min = Math.max(limits.io_min, limits.physical_block_size);
    },

    /** How far the first sector stands behind the start of a physical block, in bytes. */
    blk_queue_alignment_offset(q: RequestQueue, offset: number): void {
      mustCount(offset, 'the offset', 'blk_queue_alignment_offset', UINT_MAX);
      q.limits.alignment_offset = offset & (q.limits.physical_block_size - 1);
      q.limits.misaligned = false;
    },

    /** Bytes that are worth a request of their own; at least a physical block. */
    blk_limits_io_min(limits: QueueLimits, min: number): void {
      mustCount(min, 'the size', 'blk_limits_io_min', UINT_MAX);
      limits.io_min = Math.max(min, limits.logical_block_size, limits.physical_block_size);
    },

    /** blk_limits_io_min() for the limits of a queue. */
    blk_queue_io_min(q: RequestQueue, min: number): void {
      k.settings.blk_limits_io_min(q.limits, min);
    },

    /** Bytes of a request that suits the device best; 0: it does not say. */
    blk_limits_io_opt(limits: QueueLimits, opt: number): void {
      mustCount(opt, 'the size', 'blk_limits_io_opt', UINT_MAX);
      limits.io_opt = opt;
    },

    /** blk_limits_io_opt() for the limits of a queue. */
    blk_queue_io_opt(q: RequestQueue, opt: number): void {
      k.settings.blk_limits_io_opt(q.limits, opt);
    },

    /** A segment may not cross a multiple of `mask` + 1. */
    blk_queue_segment_boundary(q: RequestQueue, mask: number): void {
      mustCount(mask, 'the mask', 'blk_queue_segment_boundary', ULONG_MAX);
      if (mask < PAGE_SIZE - 1) {
        raised('blk_queue_segment_boundary', mask, PAGE_SIZE - 1);
        mask = PAGE_SIZE - 1;
      }
      q.limits.seg_boundary_mask = mask;
    },

    /** Between two segments these address bits must be 0 (NVMe's PRP: all but the first start a page). */
    blk_queue_virt_boundary(q: RequestQueue, mask: number): void {
      mustCount(mask, 'the mask', 'blk_queue_virt_boundary', ULONG_MAX);
      q.limits.virt_boundary_mask = mask;
    },

    /** User memory whose address or length has one of these bits is copied, not mapped. */
    blk_queue_dma_alignment(q: RequestQueue, mask: number): void {
      mustCount(mask, 'the mask', 'blk_queue_dma_alignment', INT_MAX);
      q.dma_alignment = mask;
    },

    /** As blk_queue_dma_alignment(), but only ever raises it. @throws KernelBug LIM-04 for more than a page */
    blk_queue_update_dma_alignment(q: RequestQueue, mask: number): void {
      mustCount(mask, 'the mask', 'blk_queue_update_dma_alignment', INT_MAX);
      if (mask > PAGE_SIZE) {
        throw new KernelBug(
          'LIM-04',
          `alignment mask ${mask} is larger than a page`,
          'blk_queue_update_dma_alignment',
        );
      }
      q.dma_alignment = Math.max(q.dma_alignment, mask);
    },

    /** The alignment mask of a queue, or of none. */
    queue_dma_alignment(q: RequestQueue | null): number {
      return q === null ? 511 : q.dma_alignment;
    },

    /** The device takes lengths that are multiples of `mask` + 1 only; blk_rq_map_sg() fills up. */
    blk_queue_dma_pad(q: RequestQueue, mask: number): void {
      mustCount(mask, 'the mask', 'blk_queue_dma_pad', UINT_MAX);
      q.dma_pad_mask = mask;
    },

    /** As blk_queue_dma_pad(), but only ever raises it. */
    blk_queue_update_dma_pad(q: RequestQueue, mask: number): void {
      mustCount(mask, 'the mask', 'blk_queue_update_dma_pad', UINT_MAX);
      q.dma_pad_mask = Math.max(q.dma_pad_mask, mask);
    },

    /**
     * The device may move more than it was asked for: `size` bytes at physical address `buf` take it up, as one segment
     * more at the end of each request for which `needed` says so. 0, or -EINVAL when there is no segment to spare.
     */
    blk_queue_dma_drain(
      q: RequestQueue,
      needed: (rq: Request) => boolean,
      buf: number,
      size: number,
    ): number {
      mustCount(size, 'the size', 'blk_queue_dma_drain', UINT_MAX);
      if (q.limits.max_segments < 2) return -EINVAL;
      k.settings.blk_queue_max_segments(q, q.limits.max_segments - 1);
      q.dma_drain_needed = needed;
      q.dma_drain_buffer = buf;
      q.dma_drain_size = size;
      return 0;
    },

    /** `pfn` is called once for each request before the driver gets it; BLKPREP_*. */
    blk_queue_prep_rq(q: RequestQueue, pfn: RequestQueue['prep_rq_fn']): void {
      q.prep_rq_fn = pfn;
    },

    /** `ufn` is called when a request that was prepared ends. */
    blk_queue_unprep_rq(q: RequestQueue, ufn: RequestQueue['unprep_rq_fn']): void {
      q.unprep_rq_fn = ufn;
    },

    /** Virtual ns until a started request times out (the kernel counts jiffies). */
    blk_queue_rq_timeout(q: RequestQueue, timeout: number): void {
      mustCount(timeout, 'the time', 'blk_queue_rq_timeout');
      q.rq_timeout = timeout;
    },

    /** `fn` is called in interrupt context when a request has timed out; BLK_EH_*. */
    blk_queue_rq_timed_out(q: RequestQueue, fn: RequestQueue['rq_timed_out_fn']): void {
      q.rq_timed_out_fn = fn;
    },

    /** Whether the device has a volatile write cache, and can write past it. */
    blk_queue_write_cache(q: RequestQueue, wc: boolean, fua: boolean): void {
      q.wc = wc;
      q.fua = wc && fua;
    },

    /**
     * Lowers the limits `t` of a stacked device to what the device below with limits `b`, used from sector `start` on,
     * can do. 0, or -1 and t.misaligned when the blocks of the two cannot line up.
     */
    blk_stack_limits(t: QueueLimits, b: QueueLimits, start: number): number {
      mustCount(start, 'the first sector', 'blk_stack_limits');
      stackSizes(t, b);
      const fits = stackAlignment(t, b, start);
      stackDiscard(t, b, start);
      if (fits) return 0;
      t.misaligned = true;
      return -1;
    },

    /** blk_stack_limits() for a device that begins at sector `start` of `bdev`. */
    bdev_stack_limits(t: QueueLimits, bdev: BlockDevice<RequestQueue>, start: number): number {
      const q = bdev.queue;
      return q === null ? 0 : k.settings.blk_stack_limits(t, q.limits, start + bdev.start_sect);
    },

    /** Stacks a disk on a device, from byte `offset` on; what does not line up is noted among the warnings. */
    disk_stack_limits(disk: Gendisk, bdev: BlockDevice<RequestQueue>, offset: number): void {
      mustCount(offset, 'the offset', 'disk_stack_limits');
      if (k.settings.bdev_stack_limits(disk.queue.limits, bdev, Math.floor(offset / 512)) >= 0) return;
      k.warnings.warn('LIM-08', `${bdev.bd_name} is misaligned`, disk.disk_name);
    },

    /** blk_stack_limits() for two queues, from the first sector on. */
    queue_stack_limits(t: RequestQueue, b: RequestQueue): void {
      k.settings.blk_stack_limits(t.limits, b.limits, 0);
    },
  };
}

function stackSizes(t: QueueLimits, b: QueueLimits): void {
  t.max_sectors = minNotZero(t.max_sectors, b.max_sectors);
  t.max_hw_sectors = minNotZero(t.max_hw_sectors, b.max_hw_sectors);
  t.max_dev_sectors = minNotZero(t.max_dev_sectors, b.max_dev_sectors);
  t.max_write_same_sectors = Math.min(t.max_write_same_sectors, b.max_write_same_sectors);
  t.bounce_pfn = minNotZero(t.bounce_pfn, b.bounce_pfn);
  t.seg_boundary_mask = minNotZero(t.seg_boundary_mask, b.seg_boundary_mask);
  t.virt_boundary_mask = minNotZero(t.virt_boundary_mask, b.virt_boundary_mask);
  t.max_segments = minNotZero(t.max_segments, b.max_segments);
  t.max_segment_size = minNotZero(t.max_segment_size, b.max_segment_size);
  t.cluster = t.cluster && b.cluster;
  t.misaligned = t.misaligned || b.misaligned;
  t.discard_zeroes_data = t.discard_zeroes_data && b.discard_zeroes_data;
}

/** Stacks block sizes and offsets; false when they cannot line up. */
function stackAlignment(t: QueueLimits, b: QueueLimits, start: number): boolean {
  let fits = true;
  const offset = offsetAt(Math.max(b.physical_block_size, b.io_min), b.alignment_offset, start);
  if (t.alignment_offset !== offset) {
    const top = Math.max(t.physical_block_size, t.io_min) + t.alignment_offset;
    const bottom = Math.max(b.physical_block_size, b.io_min) + offset;
    fits = isMultiple(top, bottom);
  }
  t.logical_block_size = Math.max(t.logical_block_size, b.logical_block_size);
  t.physical_block_size = Math.max(t.physical_block_size, b.physical_block_size);
  t.io_min = Math.max(t.io_min, b.io_min);
  t.io_opt = lcmNotZero(t.io_opt, b.io_opt);
  if (t.physical_block_size % t.logical_block_size !== 0) {
    t.physical_block_size = t.logical_block_size;
    fits = false;
  }
  if (t.io_min % t.physical_block_size !== 0) {
    t.io_min = t.physical_block_size;
    fits = false;
  }
  if (t.io_opt % t.physical_block_size !== 0) {
    t.io_opt = 0;
    fits = false;
  }
  t.alignment_offset = lcmNotZero(t.alignment_offset, offset) % Math.max(t.physical_block_size, t.io_min);
  return fits && t.alignment_offset % t.logical_block_size === 0;
}

function stackDiscard(t: QueueLimits, b: QueueLimits, start: number): void {
  if (b.discard_granularity === 0) return;
  const offset = offsetAt(b.discard_granularity, b.discard_alignment, start);
  if (t.discard_granularity !== 0 && t.discard_alignment !== offset) {
    const top = t.discard_granularity + t.discard_alignment;
    if (!isMultiple(top, b.discard_granularity + offset)) t.discard_misaligned = true;
  }
  t.max_discard_sectors = minNotZero(t.max_discard_sectors, b.max_discard_sectors);
  t.max_hw_discard_sectors = minNotZero(t.max_hw_discard_sectors, b.max_hw_discard_sectors);
  t.discard_granularity = Math.max(t.discard_granularity, b.discard_granularity);
  t.discard_alignment = lcmNotZero(t.discard_alignment, offset) % t.discard_granularity;
}

/** How many bytes behind sector `start` the next unit of `granularity` bytes begins. */
function offsetAt(granularity: number, offset: number, start: number): number {
  const into = (start * 512) % granularity;
  return (granularity + offset - into) % granularity;
}

function isMultiple(a: number, b: number): boolean {
  return Math.max(a, b) % Math.min(a, b) === 0;
}

function minNotZero(a: number, b: number): number {
  if (a === 0) return b;
  return b === 0 ? a : Math.min(a, b);
}

function lcmNotZero(a: number, b: number): number {
  if (a === 0 || b === 0) return a + b;
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return (a / x) * b;
}

function isPowerOfTwo(n: number): boolean {
  return n >= 1 && n <= 2 ** 31 && Number.isInteger(Math.log2(n));
}
