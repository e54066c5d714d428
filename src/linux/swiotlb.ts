// The software I/O TLB (lib/swiotlb.c of 3.10): a pool of low memory through which mappings go whose memory the device
// does not reach. The pool consists of slots of 2 KiB; a mapping takes a run of them.

import { KernelBug, PAGE_SIZE, type Page } from '../kernel/index.ts';
import { mustCount } from './argument.ts';
import { type Device, DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_TO_DEVICE } from './device.ts';
import type { Linux } from './kernel.ts';

/** Bytes of a slot, and the slots of a group that no mapping leaves: 256 KiB. */
export const IO_TLB_SIZE = 2048;
export const IO_TLB_SEGSIZE = 128;
/** Bytes of the buffer that a mapping gets that must not fail and finds no slot. */
export const IO_TLB_OVERFLOW = 32 * 1024;
const DEFAULT_BYTES = 64 * 2 ** 20;
/** Contiguous memory comes in pieces of at most 2^10 pages. */
const MAX_ORDER = 10;
const BELOW = 2 ** 32;

export interface SwiotlbOptions {
  /** Bytes of the pool, a power of two of pages; default a sixteenth of the memory below 4 GiB, at most 4 MiB. */
  readonly bytes?: number;
  /** Every mapping goes through the pool, reachable or not: shows forgotten syncs. */
  readonly force?: boolean;
}

/** The pool, once it is there. */
class Pool {
  readonly start: number;
  readonly slots: number;
  /** 1: in use. */
  readonly used: Uint8Array;
  /** Physical address of the memory behind each slot in use. */
  readonly original: Float64Array;
  /** Where the next search begins. */
  index = 0;
  inUse = 0;

  constructor(start: number, bytes: number) {
    this.start = start;
    this.slots = bytes / IO_TLB_SIZE;
    this.used = new Uint8Array(this.slots);
    this.original = new Float64Array(this.slots);
  }
}

export function createSwiotlb(k: Linux) {
  const options = k.options.swiotlb ?? {};
  const enabled = options !== false && hasHighMemory(k);
  let pool: Pool | null = null;
  let overflow = 0;

  /** The pool is taken at boot, from where 24-bit devices don't reach if there is such memory. */
  function setUp(): void {
    const wanted = options === false ? 0 : (options.bytes ?? defaultBytes(k));
    const order = Math.log2(wanted / PAGE_SIZE);
    if (!(Number.isInteger(order) && order >= 0 && order <= MAX_ORDER)) {
      throw new RangeError(`swiotlb.bytes is ${wanted}; it must be a power of two from 4096 to 4194304`);
    }
    const page = take(order);
    const spare = take(Math.log2(IO_TLB_OVERFLOW / PAGE_SIZE));
    if (page === null || spare === null) {
      k.warnings.warn('DMA-03', `no ${wanted} bytes of low memory for the pool`, 'swiotlb');
      return;
    }
    pool = new Pool(page.phys, wanted);
    overflow = spare.phys;
  }

  function take(order: number): Page | null {
    return k.allocator.alloc({ order, zone: 'DMA32', below: BELOW, tag: 'swiotlb' });
  }

  /** DMA-05: the first slot of a run of free ones, next-fit, wrapping once; -1 when there is none. */
  function find(of: Pool, dev: Device, slots: number, bytes: number): number {
    if (slots > IO_TLB_SEGSIZE) return -1;
    const stride = bytes > PAGE_SIZE ? PAGE_SIZE / IO_TLB_SIZE : 1;
    const first = Math.ceil(of.index / stride) * stride;
    const steps = Math.ceil(of.slots / stride);
    let slot = first >= of.slots ? 0 : first;
    for (let i = 0; i < steps; i++) {
      if (isFree(of, slot, slots) && !crosses(of, dev, slot, slots)) return slot;
      slot += stride;
      if (slot >= of.slots) slot = 0;
    }
    return -1;
  }

  function isFree(of: Pool, slot: number, slots: number): boolean {
    if ((slot % IO_TLB_SEGSIZE) + slots > IO_TLB_SEGSIZE || slot + slots > of.slots) return false;
    for (let i = slot; i < slot + slots; i++) if (of.used[i] !== 0) return false;
    return true;
  }

  function crosses(of: Pool, dev: Device, slot: number, slots: number): boolean {
    const unit = dev.segment_boundary_mask + 1;
    const first = of.start + slot * IO_TLB_SIZE;
    return Math.floor(first / unit) !== Math.floor((first + slots * IO_TLB_SIZE - 1) / unit);
  }

  function copy(to: number, from: number, bytes: number): void {
    k.memory.copy(to, from, bytes);
    k.trace.pages_copied('swiotlb', bytes);
  }

  /** Where the memory behind a bus address of the pool is. */
  function originalOf(of: Pool, tlb: number): number {
    const offset = tlb - of.start;
    const slot = Math.floor(offset / IO_TLB_SIZE);
    return (of.original[slot] as number) + (offset % IO_TLB_SIZE);
  }

  /** The guard reports another size than was mapped; one that leaves the pool would do harm here. */
  function mustBeInPool(of: Pool, tlb: number, size: number, where: string): void {
    mustCount(size, 'the size', where);
    if (tlb + size > of.start + of.slots * IO_TLB_SIZE)
      throw new KernelBug(
        'map-size',
        `${size} bytes at bus address 0x${tlb.toString(16)} leave the pool`,
        where,
      );
  }

  if (enabled) setUp();

  return {
    /** True for a bus address in the pool. */
    is_swiotlb_buffer(address: number): boolean {
      return pool !== null && address >= pool.start && address < pool.start + pool.slots * IO_TLB_SIZE;
    },

    /** Slots in all, and in use. */
    swiotlb_usage(): { slots: number; used: number } {
      return { slots: pool?.slots ?? 0, used: pool?.inUse ?? 0 };
    },

    /** Whether any slot is in use. */
    swiotlb_in_use(): boolean {
      return pool !== null && pool.inUse > 0;
    },

    /** Bus address that a mapping gets which failed; 0: there is no pool. */
    swiotlb_overflow(): number {
      return overflow;
    },

    /** Bytes of that buffer. */
    swiotlb_overflow_size(): number {
      return IO_TLB_OVERFLOW;
    },

    /** True when even what the device reaches goes through the pool. */
    swiotlb_forced(): boolean {
      return pool !== null && options !== false && options.force === true;
    },

    /**
     * Puts `size` bytes at `phys` behind slots of the pool and copies them there if the device will read them. Returns
     * the bus address, -1 when no run of slots is free.
     * @throws KernelBug DMA-09 for no bytes
     */
    swiotlb_tbl_map_single(dev: Device, phys: number, size: number, dir: number): number {
      mustCount(size, 'the size', 'swiotlb_tbl_map_single');
      if (size === 0) throw new KernelBug('DMA-09', 'a mapping of no bytes', dev.name);
      if (pool === null) return -1;
      const slots = Math.ceil(size / IO_TLB_SIZE);
      const slot = find(pool, dev, slots, size);
      if (slot < 0) return -1;
      if (k.frames.physToPage(phys) === null || k.frames.physToPage(phys + size - 1) === null)
        throw new KernelBug('map-memory', `no memory at 0x${phys.toString(16)}`, dev.name);
      for (let i = 0; i < slots; i++) {
        pool.used[slot + i] = 1;
        pool.original[slot + i] = phys + i * IO_TLB_SIZE;
      }
      pool.inUse += slots;
      pool.index = slot + slots < pool.slots ? slot + slots : 0;
      const tlb = pool.start + slot * IO_TLB_SIZE;
      if (dir === DMA_TO_DEVICE || dir === DMA_BIDIRECTIONAL) copy(tlb, phys, size);
      return tlb;
    },

    /** Copies back what the device may have written, and frees the slots. */
    swiotlb_tbl_unmap_single(tlb: number, size: number, dir: number): void {
      if (pool === null) return;
      mustBeInPool(pool, tlb, size, 'swiotlb_tbl_unmap_single');
      if (dir === DMA_FROM_DEVICE || dir === DMA_BIDIRECTIONAL) copy(originalOf(pool, tlb), tlb, size);
      const slot = Math.floor((tlb - pool.start) / IO_TLB_SIZE);
      const slots = Math.ceil(size / IO_TLB_SIZE);
      for (let i = 0; i < slots; i++) {
        if (pool.used[slot + i] === 1) pool.inUse--;
        pool.used[slot + i] = 0;
      }
    },

    /** Copies from the pool to the memory behind it, for the CPU, or the other way, for the device. */
    swiotlb_tbl_sync_single(tlb: number, size: number, dir: number, forCpu: boolean): void {
      if (pool === null) return;
      mustBeInPool(pool, tlb, size, 'swiotlb_tbl_sync_single');
      const phys = originalOf(pool, tlb);
      if (forCpu && dir !== DMA_TO_DEVICE) copy(phys, tlb, size);
      if (!forCpu && dir !== DMA_FROM_DEVICE) copy(tlb, phys, size);
    },
  };
}

/** Only a machine with memory above 4 GiB needs the pool, or one that is told to bounce everything. */
function hasHighMemory(k: Linux): boolean {
  const { swiotlb } = k.options;
  if (typeof swiotlb === 'object') return true;
  return k.memory.regions.some(({ base, bytes }) => base + bytes > BELOW);
}

function defaultBytes(k: Linux): number {
  const low = k.memory.regions.reduce((sum, { base, bytes }) => sum + (base < BELOW ? bytes : 0), 0);
  const wanted = Math.min(DEFAULT_BYTES, PAGE_SIZE * 2 ** MAX_ORDER, low / 16);
  return 2 ** Math.max(Math.floor(Math.log2(wanted)), Math.log2(PAGE_SIZE));
}
