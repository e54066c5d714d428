// Mapping memory for devices (include/linux/dma-mapping.h; lib/swiotlb.c of 3.10 for what is out of reach): bus
// addresses are physical addresses, unless a mapping goes through the software I/O TLB.
//
// Every function that maps, syncs or unmaps takes `where` as its last argument: the place as its caller calls it, for
// findings of the guard. While the guard is off it is not looked at, and nothing is noted anywhere.

import { KernelBug, PAGE_SIZE, type Page } from '../kernel/index.ts';
import { INT_MAX, mustCount, mustDevice, mustPage, UINT_MAX, ULONG_MAX } from './argument.ts';
import { type Device, DMA_NONE } from './device.ts';
import { EIO } from './errno.ts';
import { GFP_DMA, GFP_DMA32 } from './gfp.ts';
import type { Linux } from './kernel.ts';
import type { Scatterlist } from './scatterlist.ts';

/** What a mapping that failed returns where there is no overflow buffer (DMA_ERROR_CODE). Page 0 is never mapped. */
export const DMA_ERROR_CODE = 0;
/** The least that a device has: ISA's 24 bits. */
const LEAST_MASK = 2 ** 24 - 1;
const MAX_ORDER = 10;

/** Memory that CPU and device share. */
export interface CoherentMemory {
  readonly cpu_addr: number;
  readonly dma_handle: number;
  readonly size: number;
}

const SIZE = 'the size';
const ENTRIES = 'the number of entries';

export function createDmaMapping(k: Linux) {
  const { swiotlb, dmaDebug } = k;
  /** Null while the guard is off. */
  const debug = k.machine.guard.enabled ? dmaDebug : null;
  const forced = swiotlb.swiotlb_forced();

  function capable(dev: Device, address: number, size: number): boolean {
    return address + size - 1 <= dev.dma_mask;
  }

  function checkDirection(dir: number, where: string): void {
    if (!(dir >= 0 && dir < DMA_NONE)) throw new KernelBug('DMA-01', `direction ${dir}`, where);
  }

  /** Bus address for `size` bytes at `phys`; -1 when the device does not reach them and the pool is full. */
  function busAddress(dev: Device, phys: number, size: number, dir: number): number {
    if (!forced && capable(dev, phys, size)) return phys;
    const tlb = swiotlb.swiotlb_tbl_map_single(dev, phys, size, dir);
    if (tlb < 0 || capable(dev, tlb, size)) return tlb;
    swiotlb.swiotlb_tbl_unmap_single(tlb, size, DMA_NONE); // the pool itself is out of reach: nothing to copy back
    return -1;
  }

  /** DMA-06: what a single mapping gets that found no slot. */
  function full(dev: Device, size: number): number {
    const overflow = swiotlb.swiotlb_overflow();
    k.warnings.warn('DMA-06', `out of software I/O TLB space for ${size} bytes`, dev.name);
    if (overflow !== 0 && size > swiotlb.swiotlb_overflow_size()) {
      throw new KernelBug('DMA-06', `panic: ${size} bytes and no slot: memory would be corrupted`, dev.name);
    }
    return overflow === 0 ? DMA_ERROR_CODE : overflow;
  }

  function unmapBus(address: number, size: number, dir: number): void {
    if (swiotlb.is_swiotlb_buffer(address)) swiotlb.swiotlb_tbl_unmap_single(address, size, dir);
  }

  function traceMap(address: number, cpu: number, bytes: number, direction: number): void {
    if (k.trace.active) k.trace.dma_map({ address, cpu, bytes, direction });
  }

  function traceUnmap(address: number, bytes: number, direction: number): void {
    if (k.trace.active) k.trace.dma_unmap({ address, cpu: address, bytes, direction });
  }

  function mapPhys(
    dev: Device,
    phys: number,
    size: number,
    dir: number,
    kind: 'dma_map_single' | 'dma_map_page',
    where: string,
  ): number {
    checkDirection(dir, kind);
    mustCount(phys, 'the place', kind);
    mustCount(size, SIZE, kind);
    debug?.check_memory(dev, phys, size, dir, where);
    let address = busAddress(dev, phys, size, dir);
    if (address < 0) {
      debug?.exhausted(dev, phys, size, dir, where);
      address = full(dev, size);
    }
    debug?.mapped(dev, { kind, address, cpu: phys, size, dir, where });
    traceMap(address, phys, size, dir);
    return address;
  }

  function unmapPhys(
    dev: Device,
    address: number,
    size: number,
    dir: number,
    kind: 'dma_map_single' | 'dma_map_page',
    where: string,
  ): void {
    checkDirection(dir, kind);
    mustCount(size, SIZE, kind);
    debug?.unmapped(dev, { kind, address, cpu: address, size, dir, where });
    unmapBus(address, size, dir);
    traceUnmap(address, size, dir);
  }

  function sync(dev: Device, address: number, size: number, dir: number, cpu: boolean, where: string): void {
    checkDirection(dir, 'dma_sync');
    mustCount(address, 'the place', 'dma_sync');
    mustCount(size, SIZE, 'dma_sync');
    debug?.synced(dev, address, size, dir, 0, cpu, where);
    syncBus(address, size, dir, cpu);
  }

  function syncBus(address: number, size: number, dir: number, cpu: boolean): void {
    if (!swiotlb.is_swiotlb_buffer(address)) return;
    debug?.copying(true);
    swiotlb.swiotlb_tbl_sync_single(address, size, dir, cpu);
    debug?.copying(false);
  }

  function syncSg(
    dev: Device,
    sgl: Scatterlist,
    nents: number,
    dir: number,
    cpu: boolean,
    where: string,
  ): void {
    checkDirection(dir, 'dma_sync_sg');
    mustCount(nents, ENTRIES, 'dma_sync_sg', INT_MAX);
    let sg: Scatterlist | null = sgl;
    for (let i = 0; i < nents && sg !== null; i++) {
      const { dma_address, dma_length } = sg;
      debug?.synced(dev, dma_address, dma_length, dir, i === 0 ? nents : 0, cpu, where);
      syncBus(dma_address, dma_length, dir, cpu);
      sg = k.scatterlist.sg_next(sg);
    }
  }

  /** Takes back the first `nents` entries of a list. */
  function unmapEntries(sgl: Scatterlist, nents: number, dir: number): void {
    // Mappings outside of the pool leave nothing to be undone.
    if (!k.trace.active && !swiotlb.swiotlb_in_use()) return;
    let sg: Scatterlist | null = sgl;
    for (let i = 0; i < nents && sg !== null; i++) {
      unmapBus(sg.dma_address, sg.dma_length, dir);
      traceUnmap(sg.dma_address, sg.dma_length, dir);
      sg = k.scatterlist.sg_next(sg);
    }
  }

  const api = {
    // ---- what the device can do

    /** Says which addresses the device reaches: 0, or -EIO for less than the 24 bits of ISA. */
    dma_set_mask(dev: Device, mask: number): number {
      mustDevice(dev, 'dma_set_mask');
      mustCount(mask, 'the mask', 'dma_set_mask', ULONG_MAX);
      if (mask < LEAST_MASK) return -EIO;
      dev.dma_mask = mask;
      return 0;
    },

    /** Says which addresses of coherent memory the device reaches: 0, or -EIO for less than 24 bits. */
    dma_set_coherent_mask(dev: Device, mask: number): number {
      mustDevice(dev, 'dma_set_coherent_mask');
      mustCount(mask, 'the mask', 'dma_set_coherent_mask', ULONG_MAX);
      if (mask < LEAST_MASK) return -EIO;
      dev.coherent_dma_mask = mask;
      return 0;
    },

    /** Both masks at once: 0, or -EIO and neither is set. */
    dma_set_mask_and_coherent(dev: Device, mask: number): number {
      const result = api.dma_set_mask(dev, mask);
      if (result === 0) dev.coherent_dma_mask = mask;
      return result;
    },

    /** The highest address that the device reaches, as dma_set_mask() was told. */
    dma_get_mask(dev: Device): number {
      return dev.dma_mask;
    },

    /** Bytes that one segment has at most, for the checks of mapped lists; always 0. */
    dma_set_max_seg_size(dev: Device, size: number): number {
      mustCount(size, SIZE, 'dma_set_max_seg_size', UINT_MAX);
      dev.max_segment_size = size;
      return 0;
    },

    /** A mapping through the software I/O TLB does not cross a multiple of `mask` + 1. */
    dma_set_seg_boundary(dev: Device, mask: number): number {
      mustCount(mask, 'the mask', 'dma_set_seg_boundary', ULONG_MAX);
      dev.segment_boundary_mask = mask;
      return 0;
    },

    // ---- one piece of memory

    /**
     * Maps `size` bytes at a kernel address; the device owns them from now on. Returns the bus address, which
     * dma_mapping_error() must be asked about.
     */
    dma_map_single(dev: Device, cpu_addr: number, size: number, dir: number, where = ''): number {
      mustDevice(dev, 'dma_map_single');
      return mapPhys(dev, cpu_addr, size, dir, 'dma_map_single', where);
    },

    /**
     * Ends a mapping by dma_map_single(), with the size that was mapped: the CPU owns the memory again. Any context.
     */
    dma_unmap_single(dev: Device, addr: number, size: number, dir: number, where = ''): void {
      mustDevice(dev, 'dma_unmap_single');
      unmapPhys(dev, addr, size, dir, 'dma_map_single', where);
    },

    /** As dma_map_single() for `size` bytes from `offset` on in a page. */
    dma_map_page(dev: Device, page: Page, offset: number, size: number, dir: number, where = ''): number {
      mustDevice(dev, 'dma_map_page');
      mustPage(page, 'dma_map_page');
      mustCount(offset, 'the offset', 'dma_map_page');
      return mapPhys(dev, page.phys + offset, size, dir, 'dma_map_page', where);
    },

    /** Ends a mapping by dma_map_page(); as dma_unmap_single(). */
    dma_unmap_page(dev: Device, addr: number, size: number, dir: number, where = ''): void {
      mustDevice(dev, 'dma_unmap_page');
      unmapPhys(dev, addr, size, dir, 'dma_map_page', where);
    },

    /** 0 when the mapping is good. */
    dma_mapping_error(dev: Device, addr: number): number {
      debug?.mapping_error(dev, addr);
      return addr === DMA_ERROR_CODE || addr === swiotlb.swiotlb_overflow() ? 1 : 0;
    },

    // ---- scatter lists

    /**
     * Maps the first `nents` entries of a list and fills in their bus addresses. Returns the entries that the device is
     * to use, 0 when the mapping failed: nothing is mapped then.
     */
    dma_map_sg(dev: Device, sgl: Scatterlist, nents: number, dir: number, where = ''): number {
      mustDevice(dev, 'dma_map_sg');
      checkDirection(dir, 'dma_map_sg');
      mustCount(nents, ENTRIES, 'dma_map_sg', INT_MAX);
      let sg: Scatterlist | null = sgl;
      for (let i = 0; i < nents && sg !== null; i++) {
        const phys = k.scatterlist.sg_page(sg).phys + sg.offset;
        debug?.check_memory(dev, phys, sg.length, dir, where);
        const address = busAddress(dev, phys, sg.length, dir);
        if (address < 0) {
          debug?.exhausted(dev, phys, sg.length, dir, where);
          k.warnings.warn('DMA-06', `out of software I/O TLB space for ${sg.length} bytes`, dev.name);
          unmapEntries(sgl, i, DMA_NONE); // nothing has been written: nothing to copy back
          sgl.dma_length = 0;
          return 0;
        }
        sg.dma_address = address;
        sg.dma_length = sg.length;
        traceMap(address, phys, sg.length, dir);
        sg = k.scatterlist.sg_next(sg);
      }
      debug?.mapped_sg(dev, sgl, nents, dir, where);
      return nents;
    },

    /** Ends a mapping by dma_map_sg(); `nents` is what was given there, not what was returned. */
    dma_unmap_sg(dev: Device, sgl: Scatterlist, nents: number, dir: number, where = ''): void {
      mustDevice(dev, 'dma_unmap_sg');
      checkDirection(dir, 'dma_unmap_sg');
      mustCount(nents, ENTRIES, 'dma_unmap_sg', INT_MAX);
      debug?.unmapped_sg(dev, sgl, nents, dir, where);
      unmapEntries(sgl, nents, dir);
    },

    // ---- whose memory it is

    /** Gives mapped memory to the CPU for a while: it sees what the device has written. */
    dma_sync_single_for_cpu(dev: Device, addr: number, size: number, dir: number, where = ''): void {
      sync(dev, addr, size, dir, true, where);
    },

    /** Gives it back to the device, which sees what the CPU has written. */
    dma_sync_single_for_device(dev: Device, addr: number, size: number, dir: number, where = ''): void {
      sync(dev, addr, size, dir, false, where);
    },

    /** As dma_sync_single_for_cpu() for `size` bytes from `offset` on in the mapping at `addr`. */
    dma_sync_single_range_for_cpu(
      dev: Device,
      addr: number,
      offset: number,
      size: number,
      dir: number,
      where = '',
    ): void {
      sync(dev, addr + offset, size, dir, true, where);
    },

    /** As dma_sync_single_for_device() for a part of the mapping at `addr`. */
    dma_sync_single_range_for_device(
      dev: Device,
      addr: number,
      offset: number,
      size: number,
      dir: number,
      where = '',
    ): void {
      sync(dev, addr + offset, size, dir, false, where);
    },

    /** dma_sync_single_for_cpu() for a list; `nents` is what dma_map_sg() was given. */
    dma_sync_sg_for_cpu(dev: Device, sgl: Scatterlist, nents: number, dir: number, where = ''): void {
      syncSg(dev, sgl, nents, dir, true, where);
    },

    /** dma_sync_single_for_device() for a list; `nents` is what dma_map_sg() was given. */
    dma_sync_sg_for_device(dev: Device, sgl: Scatterlist, nents: number, dir: number, where = ''): void {
      syncSg(dev, sgl, nents, dir, false, where);
    },

    // ---- memory shared for good

    /**
     * Zeroed memory that CPU and device share: whole pages, aligned to their size. Null when there is none that the
     * device reaches.
     */
    dma_alloc_coherent(dev: Device, size: number, gfp: number, where = ''): CoherentMemory | null {
      mustDevice(dev, 'dma_alloc_coherent');
      mustCount(size, SIZE, 'dma_alloc_coherent');
      const order = orderOf(size);
      if (order > MAX_ORDER) return null;
      const mask = dev.coherent_dma_mask;
      const zone =
        (gfp & GFP_DMA) !== 0 || mask <= LEAST_MASK ? 'DMA' : (gfp & GFP_DMA32) !== 0 ? 'DMA32' : 'NORMAL';
      const page = k.allocator.alloc({ order, zone, below: mask + 1, zero: true, tag: 'coherent' });
      if (page === null) return null;
      const { phys } = page;
      debug?.mapped(dev, { kind: 'dma_alloc_coherent', address: phys, cpu: phys, size, dir: 0, where });
      return { cpu_addr: phys, dma_handle: phys, size };
    },

    /** Gives back what dma_alloc_coherent() gave. */
    dma_free_coherent(dev: Device, size: number, cpu_addr: number, dma_handle: number, where = ''): void {
      const kind = 'dma_alloc_coherent';
      debug?.unmapped(dev, { kind, address: dma_handle, cpu: cpu_addr, size, dir: 0, where });
      const page = k.frames.physToPage(cpu_addr);
      if (page === null) throw new KernelBug('coherent-free', 'not an address of RAM', 'dma_free_coherent');
      k.allocator.put(page);
    },

    /** The device is let go by its driver: what is still mapped is a leak. Returns how many mappings that are. */
    dma_release_device(dev: Device): number {
      return debug?.released(dev) ?? 0;
    },

    /**
     * Narrows a bus address to the `bits` bits of a descriptor, as hardware does. A driver that lets this change an
     * address has forgotten to bounce: the guard is told.
     */
    dma_narrow(dev: Device, addr: number, size: number, bits: number, where = ''): number {
      mustCount(size, SIZE, 'dma_narrow');
      mustCount(bits, 'the number of bits', 'dma_narrow', 64, 1);
      const limit = 2 ** Math.min(bits, 53);
      if (addr + size <= limit) return addr;
      debug?.narrowed(dev, addr, size, bits, where);
      return addr % limit;
    },
  };
  return api;
}

function orderOf(size: number): number {
  return size <= PAGE_SIZE ? 0 : Math.ceil(Math.log2(size / PAGE_SIZE));
}
